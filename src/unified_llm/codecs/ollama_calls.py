"""Ollama's calls about models, and their answers put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unified_llm import _json
from unified_llm.codecs.ollama_models import read_running, with_running, with_shown
from unified_llm.responses import ModelInfo
from unified_llm.wire import WireCall, WireReply

__all__ = ["PS", "TAGS", "completed", "load_call", "pull_call", "show_call"]

TAGS = WireCall("api/tags", method="GET")
"""The models on disk."""

PS = WireCall("api/ps", method="GET")
"""The models in memory."""


def show_call(model: str) -> WireCall:
    """What the server knows of a model."""
    return WireCall("api/show", _json.dumps({"model": model}))


def pull_call(model: str) -> WireCall:
    """Download a model, and tell the progress."""
    return WireCall("api/pull", _json.dumps({"model": model, "stream": True}), stream=True)


def load_call(model: str, num_ctx: int | None, keep_alive: str | float | None) -> WireCall:
    """A chat without messages loads a model, or unloads it with a `keep_alive` of 0."""
    body: dict[str, Any] = {"model": model, "messages": [], "stream": False}
    if keep_alive is not None:
        body["keep_alive"] = keep_alive
    if num_ctx is not None:
        body["options"] = {"num_ctx": num_ctx}
    return WireCall("api/chat", _json.dumps(body))


def completed(models: Sequence[ModelInfo], shown: Mapping[str, WireReply], ps: WireReply) -> list[ModelInfo]:
    """`models` with what the other two lists say. A model that cannot be shown must not hide the others: what is not
    known of it stays unknown. Very old servers do not have the last one."""
    models = [with_shown(m, _object_in(shown[m.id])) if m.id in shown else m for m in models]
    running = read_running(_object_in(ps))
    return models if running is None else [with_running(m, running) for m in models]


def _object_in(reply: WireReply) -> Any:
    if reply.status != 200:
        return None
    try:
        return _json.loads(reply.body)
    except ValueError:
        return None
