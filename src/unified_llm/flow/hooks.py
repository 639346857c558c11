"""What an application can watch: requests, responses, errors, retries, fallbacks."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from unified_llm.costs.prices import PriceTable
from unified_llm.errors import UnifiedLLMError
from unified_llm.preparation import approximate_tokens
from unified_llm.requests import ChatRequest, EmbedRequest
from unified_llm.responses import ChatResponse, Embeddings

__all__ = ["CallInfo", "HookList", "Hooks"]

logger = logging.getLogger("unified_llm")


@dataclass(slots=True)
class CallInfo:
    """One call, as hooks see it. The same object is passed to every hook of the call; `state` is theirs.

    Attributes:
        operation: chat, stream or embed.
        provider, model: the target asked now (they change with a fallback); model is None for its default.
        target: key of that target: the provider's name, or ``name/0`` for the first deployment of ``name``.
        request: what is asked, but for the model; hooks must not change it.
        label: the application's own name for the call (``chat(..., label="summary")``), or None.
        attempt: 0 for the first request to this target.
        state: a place for hooks to keep things between calls to them (spans, times).
        prices: the client's price table, or None.
    """

    operation: Literal["chat", "stream", "embed"]
    provider: str = ""
    model: str | None = None
    label: str | None = None
    attempt: int = 0
    state: dict[Any, Any] = field(default_factory=dict)
    target: str = ""
    request: ChatRequest | EmbedRequest | None = field(default=None, repr=False)
    prices: PriceTable | None = field(default=None, repr=False)
    _prompt: int | None = field(default=None, repr=False)

    def prompt_tokens(self) -> int:
        """About how many tokens the prompt has (see `preparation.approximate_tokens`)."""
        if self._prompt is None:
            self._prompt = 0 if self.request is None else approximate_tokens(self.request)
        return self._prompt


class Hooks(Protocol):
    """Implement any of these, sync or async; missing ones are skipped.

    A hook that raises is logged and never breaks the call, except `before_call`, the gate: what it raises stops the
    call before anything is sent.
    """

    def before_call(self, info: CallInfo) -> Any:
        """Raise to refuse the call."""

    def on_request(self, info: CallInfo) -> Any:
        """A request is about to be sent, or its answer was found in the cache."""

    def on_response(self, info: CallInfo, response: ChatResponse | Embeddings) -> Any:
        """The call succeeded (for a stream: it ended)."""

    def on_partial(self, info: CallInfo, response: ChatResponse) -> Any:
        """A stream broke or was left before its end; `response` is what arrived, its usage estimated where not told.

        Once per request that began to answer; `on_error` follows.
        """

    def on_error(self, info: CallInfo, error: BaseException) -> Any:
        """A request failed, or was cancelled or abandoned (GeneratorExit, CancelledError)."""

    def on_retry(self, info: CallInfo, error: UnifiedLLMError, seconds: float) -> Any:
        """The same target is asked again after `seconds`."""

    def on_end(self, info: CallInfo) -> Any:
        """The call is over, well or not; once per call."""

    def on_fallback(self, info: CallInfo, error: UnifiedLLMError | None) -> Any:
        """Another target, now in `info`, is asked because of `error`."""


class HookList:
    """Calls every hook that has a method; knows beforehand which methods anybody has."""

    def __init__(self, hooks: Iterable[object] = ()) -> None:
        self._hooks = list(hooks)
        self._by_name: dict[str, list[Any]] = {}

    def add(self, hook: object) -> None:
        """Add a hook object."""
        self._hooks.append(hook)
        self._by_name.clear()

    def _named(self, name: str) -> list[Any]:
        found = self._by_name.get(name)
        if found is None:
            found = [method for hook in self._hooks if (method := getattr(hook, name, None)) is not None]
            self._by_name[name] = found
        return found

    def call(self, name: str, *args: Any) -> None:
        """Call a hook method of everybody from sync code; coroutines are run to their end."""
        for method in self._named(name):
            try:
                result = method(*args)
                if result is not None and inspect.isawaitable(result):
                    _run(result)
            except Exception as exc:  # somebody else's code must not break the call
                if name == "before_call":
                    raise
                _log(name, method, exc)

    async def call_async(self, name: str, *args: Any) -> None:
        """`call` from async code."""
        for method in self._named(name):
            try:
                result = method(*args)
                if result is not None and inspect.isawaitable(result):
                    await result
            except Exception as exc:  # as above
                if name == "before_call":
                    raise
                _log(name, method, exc)


def _log(name: str, method: Any, exc: Exception) -> None:
    logger.error("the hook %s of %s raised %s", name, getattr(method, "__qualname__", method), type(exc).__name__)


def _run(awaitable: Any) -> None:
    """Run a coroutine from sync code, also inside a running loop (a notebook): there, in a thread of its own."""

    async def main() -> None:
        await awaitable

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(main())
        return
    failure: list[BaseException] = []

    def work() -> None:
        try:
            asyncio.run(main())
        except BaseException as exc:  # noqa: BLE001  # raised again in the calling thread
            failure.append(exc)

    thread = threading.Thread(target=work, name="unified_llm hook")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
