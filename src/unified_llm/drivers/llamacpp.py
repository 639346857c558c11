"""The driver of GGUF models: the OpenAI chat and embeddings dialects, answered by llama.cpp on this machine."""

from __future__ import annotations

import asyncio
import itertools
import threading
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, TypeAlias

from unified_llm import _json
from unified_llm.drivers.base import AsyncReplyStream, ReplyStream
from unified_llm.drivers.llamacpp_answer import AnswerBuilder
from unified_llm.drivers.llamacpp_engine import ENGINES, EngineOptions, EngineSpec, LoadedModel
from unified_llm.drivers.llamacpp_stream import AsyncLlamaStream, LlamaStream, explained
from unified_llm.forks import renew_in_child
from unified_llm.wire import WireCall, WireReply

__all__ = ["EngineOptions", "EngineSpec", "LlamaCppDriver"]

Locate: TypeAlias = Callable[[str, Literal["chat", "embedding"]], EngineSpec]

_NUMBERS = itertools.count()


class LlamaCppDriver:
    """Carries calls to llama.cpp, which runs on this machine in a process of its own. Implements `drivers.base.Driver`.

    A model is loaded by the first call that names it, and shared with the other drivers of this process that ask for
    the same file with the same options. `close` unloads what nobody else uses; the next call loads it again. Calls
    beyond `EngineOptions.parallel` wait in line, however many they are.

    Giving up a call (leaving a stream, cancelling a task, Ctrl-C) stops the computation: at once while it writes, and
    between two batches of `EngineOptions.n_batch` tokens while it reads the prompt. Embeddings are computed to the end
    of their batch.

    Args:
        locate: what to load for the name in a call's ``model`` and the kind of call ("chat", "embedding"); called in
            a thread, once for each name until `close`. Raises `ConfigurationError` for a name it does not know.
        timeout: seconds without progress, 600 by default; a call's own wins. Loading a model does not count.
    """

    def __init__(self, locate: Locate, *, timeout: float | None = None) -> None:
        self._locate = locate
        self._timeout = timeout
        self._specs: dict[tuple[str, str], EngineSpec] = {}
        self._lock = threading.Lock()
        self._user = next(_NUMBERS)
        self._release = weakref.finalize(self, ENGINES.release_later, self._user)
        self._release.atexit = False  # ENGINES unloads everything then
        renew_in_child(self)

    def after_fork(self) -> None:
        """See `Forkable`."""
        self._lock = threading.Lock()

    def send(self, call: WireCall) -> WireReply:
        """The complete answer to `call`. Raises `ConfigurationError` when the model cannot be loaded."""
        if not _is_chat(call):
            model, call = self._ready(call)
            with explained(model):
                return model.driver.send(call)
        builder = AnswerBuilder()
        with self.open(call) as reply:
            if reply.status != 200:
                return WireReply(reply.status, reply.headers, reply.read())
            for chunk in reply:
                builder.feed(chunk)
        status, body = builder.answer()
        return WireReply(status, {**reply.headers, "content-type": "application/json"}, body)

    async def send_async(self, call: WireCall) -> WireReply:
        """`send`, without blocking the event loop, loading included."""
        if not _is_chat(call):
            model, call = await self._ready_async(call)
            with explained(model):
                return await model.driver.send_async(call)
        builder = AnswerBuilder()
        async with self.open_async(call) as reply:
            if reply.status != 200:
                return WireReply(reply.status, reply.headers, await reply.read())
            async for chunk in reply:
                builder.feed(chunk)
        status, body = builder.answer()
        return WireReply(status, {**reply.headers, "content-type": "application/json"}, body)

    def open(self, call: WireCall) -> ReplyStream:
        """A streamed answer; model and call are started when the context is entered."""
        return LlamaStream(lambda: self._ready(call))

    def open_async(self, call: WireCall) -> AsyncReplyStream:
        """`open`, for the running event loop."""
        return AsyncLlamaStream(lambda: self._ready_async(call))

    def close(self) -> None:
        """Unload the models that only this driver uses. Calls in flight are cut off."""
        with self._lock:
            self._specs.clear()
        ENGINES.release(self._user)

    async def aclose(self) -> None:
        """`close`, in a thread: it may wait for the end of a process."""
        await asyncio.to_thread(self.close)

    def is_loaded(self, name: str, kind: Literal["chat", "embedding"] = "chat") -> bool:
        """Whether a call to the model called `name` would find it loaded. Asks nobody, reads nothing."""
        spec = self._specs.get((name, kind))
        return spec is not None and ENGINES.loaded(spec)

    def loaded(self, name: str, kind: Literal["chat", "embedding"] = "chat") -> LoadedModel:
        """The model called `name`, loaded if need be."""
        return ENGINES.get(self._spec(name, kind), self._user).result()

    def _ready(self, call: WireCall) -> tuple[LoadedModel, WireCall]:
        """The loaded model of `call`, and the call as llama.cpp gets it."""
        name, kind, call = self._prepared(call)
        return self.loaded(name, kind), call

    async def _ready_async(self, call: WireCall) -> tuple[LoadedModel, WireCall]:
        name, kind, call = self._prepared(call)
        spec = self._specs.get((name, kind))
        if spec is None:
            spec = await asyncio.to_thread(self._spec, name, kind)
        # Shielded: others may wait for the same model, and a cancelled future would be theirs, too.
        return await asyncio.shield(asyncio.wrap_future(ENGINES.get(spec, self._user))), call

    def _spec(self, name: str, kind: Literal["chat", "embedding"]) -> EngineSpec:
        spec = self._specs.get((name, kind))
        if spec is None:
            spec = self._locate(name, kind)
            with self._lock:
                self._specs[name, kind] = spec
        return spec

    def _prepared(self, call: WireCall) -> tuple[str, Literal["chat", "embedding"], WireCall]:
        body: dict[str, Any] = _json.loads(call.body or b"{}")
        name = str(body.get("model") or "")
        timeout = self._timeout if call.timeout is None else call.timeout
        if not _is_chat(call):
            return name, "embedding" if call.path == "embeddings" else "chat", replace(call, timeout=timeout)
        # Progress is asked for because llama.cpp notices only when it writes that nobody listens.
        body |= {"stream": True, "return_progress": True}
        body.setdefault("stream_options", {"include_usage": True})
        return name, "chat", replace(call, body=_json.dumps(body), stream=True, timeout=timeout)


def _is_chat(call: WireCall) -> bool:
    return call.path == "chat/completions"
