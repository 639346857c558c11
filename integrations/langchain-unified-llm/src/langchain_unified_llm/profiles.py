"""A model's capabilities, as LangChain's `ModelProfile`, from what its server says about it now.

Constructing a chat model asks nobody, so its `profile` starts as a promise: the first look into it asks the server for
its models (once), and never from inside a running event loop, where it shows what is known so far; ``await
llm.aload_profile()`` fills it there. Keys nobody knows about are absent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from langchain_core.language_models.model_profile import ModelProfile

if TYPE_CHECKING:
    from unified_llm.responses import ModelInfo

__all__ = ["LiveProfile", "find_model", "profile_of"]

_DECLARED = frozenset(ModelProfile.__annotations__)  # langchain-core warns about keys newer than itself

_FLAGS = {
    "tools": ("tool_calling", "tool_choice", "tool_call_streaming"),
    "vision": ("image_inputs",),
    "audio": ("audio_inputs",),
    "files": ("pdf_inputs",),
    "thinking": ("reasoning_output",),
    "structured_output": ("structured_output",),
}


def profile_of(info: ModelInfo) -> dict[str, Any]:
    """What is known of a model, in LangChain's words; "unknown" is left out."""
    found: dict[str, Any] = {"name": info.name or info.id}
    if info.context_window is not None:
        found["max_input_tokens"] = info.context_window
    if info.max_output_tokens is not None:
        found["max_output_tokens"] = info.max_output_tokens
    if info.kind == "chat":
        found |= {"text_inputs": True, "text_outputs": True}
    for capability, keys in _FLAGS.items():
        answer = info.capabilities.get(capability, "unknown")
        if answer != "unknown":
            found |= dict.fromkeys(keys, answer == "yes")
    return {key: value for key, value in found.items() if key in _DECLARED}


def find_model(models: Iterable[ModelInfo], name: str | None) -> ModelInfo | None:
    """The model called `name`; without a name, the one that a server with a single (loaded) chat model answers with."""
    known = list(models)
    if name is not None:
        return next((m for m in known if m.id == name), None)
    chats = [m for m in known if m.kind in ("chat", None)]
    loaded = [m for m in chats if m.loaded]
    candidates = loaded or chats
    return candidates[0] if len(candidates) == 1 else None


class LiveProfile(dict[str, Any]):
    """A dictionary that fills itself when somebody looks something up in it. Pickles of it are plain dictionaries.

    Until `arm` is called it stays empty: pydantic and langchain-core look into it while a model is constructed.
    Showing and comparing it tell what is known so far.
    """

    def __init__(self, load: Callable[[], Mapping[str, Any]]) -> None:
        super().__init__()
        self._load: Callable[[], Mapping[str, Any]] | None = load
        self._armed = False

    def arm(self) -> None:
        """Let the next look load."""
        self._armed = True

    def fill(self, values: Mapping[str, Any]) -> None:
        """Set the values; nothing is loaded any more."""
        self._load = None
        super().update(values)

    def _look(self) -> None:
        if self._load is None or not self._armed or _in_event_loop():
            return
        load, self._load = self._load, None  # whatever happens, it is asked once
        super().update(load())

    def get(self, key: str, default: Any = None) -> Any:
        self._look()
        return super().get(key, default)

    def __getitem__(self, key: str) -> Any:
        self._look()
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self._look()
        return super().__contains__(key)

    def __iter__(self) -> Iterator[str]:
        self._look()
        return super().__iter__()

    def __len__(self) -> int:
        self._look()
        return super().__len__()

    def __bool__(self) -> bool:
        return len(self) > 0

    @contextmanager
    def asleep(self) -> Iterator[None]:
        """Looks inside this context load nothing: LangChain looks into every field when it shows or traces a model."""
        armed, self._armed = self._armed, False
        try:
            yield
        finally:
            self._armed = armed

    def keys(self) -> Any:
        self._look()
        return super().keys()

    def values(self) -> Any:
        self._look()
        return super().values()

    def items(self) -> Any:
        self._look()
        return super().items()

    def copy(self) -> dict[str, Any]:
        return dict(self.items())

    def __repr__(self) -> str:
        return super().__repr__()

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return dict(super().items())

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(super().items()),)


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
