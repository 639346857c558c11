"""What only LM Studio's websocket API does: load with progress, unload, tokenise, count, tell what is in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Literal, TypeAlias

from unified_llm import _json
from unified_llm.codecs.base import CodecContext
from unified_llm.codecs.lmstudio_chat import LMStudioChatCodec, model_infos
from unified_llm.codecs.lmstudio_encode import CHANNEL, config_stack, encode_count, encode_rpc
from unified_llm.drivers.lmstudio import LMStudioDriver
from unified_llm.errors import ResponseError, UnifiedLLMError, UnsupportedOptionError
from unified_llm.messages import Audio, File, Image
from unified_llm.requests import ChatRequest
from unified_llm.responses import ModelInfo
from unified_llm.wire import LineSplitter, WireCall

__all__ = ["LMStudioCalls", "Namespace", "load_call"]

Namespace: TypeAlias = Literal["llm", "embedding"]
_LISTS = ("system/listDownloadedModels", "llm/listLoaded", "embedding/listLoaded")


class LMStudioCalls:
    """The calls besides chat, each with its async twin. They raise `UnifiedLLMError`."""

    def __init__(self, driver: LMStudioDriver, codec: LMStudioChatCodec, context: CodecContext) -> None:
        self._driver = driver
        self._codec = codec
        self._context = context

    # -- sync -------------------------------------------------------------------------------------------------------

    def result(self, call: WireCall) -> Any:
        """The result of a remote call."""
        with self._named():
            return self._read(self._driver.send(call).body)

    def load(self, call: WireCall, on_progress: Callable[[float], None] | None) -> ModelInfo:
        """The loaded model; `on_progress` gets fractions from 0 to 1."""
        progress = _Progress(on_progress)
        with self._named(), self._driver.open(call) as reply:
            for chunk in reply:
                progress.feed(chunk)
            return self._loaded(self._read(progress.rest()))

    def models(self) -> list[ModelInfo]:
        """The models on disk and in memory."""
        downloaded, *loaded = [self.result(encode_rpc(path)) for path in _LISTS]
        return model_infos(downloaded, [m for part in loaded for m in part], self._context.provider)

    def count(self, request: ChatRequest) -> int:
        """Tokens of the whole prompt, the model's template applied."""
        formatted = self.result(_count_call(request, self._context))["formatted"]
        return int(self.result(_text_call("llm/countTokens", formatted, request.model))["tokenCount"])

    def tokenize(self, text: str, model: str) -> list[int]:
        """The token ids of `text`."""
        return list(self.result(_text_call("llm/tokenize", text, model))["tokens"])

    def context_length(self, model: str) -> int | None:
        """Tokens the loaded model holds."""
        return _window(self.result(_info_call(model)))

    def unload(self, identifier: str, namespace: Namespace) -> None:
        """Free the memory of a model."""
        self.result(encode_rpc(f"{namespace}/unloadModel", {"identifier": identifier}))

    # -- async ------------------------------------------------------------------------------------------------------

    async def result_async(self, call: WireCall) -> Any:
        """`result`, without blocking the event loop."""
        with self._named():
            return self._read((await self._driver.send_async(call)).body)

    async def load_async(self, call: WireCall, on_progress: Callable[[float], None] | None) -> ModelInfo:
        """`load`, without blocking the event loop."""
        progress = _Progress(on_progress)
        async with self._named_async(), self._driver.open_async(call) as reply:
            async for chunk in reply:
                progress.feed(chunk)
            return self._loaded(self._read(progress.rest()))

    async def models_async(self) -> list[ModelInfo]:
        """`models`, without blocking the event loop."""
        downloaded, *loaded = [await self.result_async(encode_rpc(path)) for path in _LISTS]
        return model_infos(downloaded, [m for part in loaded for m in part], self._context.provider)

    async def count_async(self, request: ChatRequest) -> int:
        """`count`, without blocking the event loop."""
        formatted = (await self.result_async(_count_call(request, self._context)))["formatted"]
        return int((await self.result_async(_text_call("llm/countTokens", formatted, request.model)))["tokenCount"])

    async def tokenize_async(self, text: str, model: str) -> list[int]:
        """`tokenize`, without blocking the event loop."""
        return list((await self.result_async(_text_call("llm/tokenize", text, model)))["tokens"])

    async def context_length_async(self, model: str) -> int | None:
        """`context_length`, without blocking the event loop."""
        return _window(await self.result_async(_info_call(model)))

    async def unload_async(self, identifier: str, namespace: Namespace) -> None:
        """`unload`, without blocking the event loop."""
        await self.result_async(encode_rpc(f"{namespace}/unloadModel", {"identifier": identifier}))

    # -- reading ----------------------------------------------------------------------------------------------------

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Errors name the provider."""
        try:
            yield
        except UnifiedLLMError as exc:
            exc.with_context(provider=self._context.provider)
            raise

    @asynccontextmanager
    async def _named_async(self) -> AsyncIterator[None]:
        with self._named():
            yield

    def _read(self, body: bytes) -> Any:
        """The result in the last line of an answer. Raises the error it stands for."""
        last = body.rstrip(b"\n").rpartition(b"\n")[2]
        value = _json.loads(last) if last else None
        if isinstance(value, dict) and "result" in value:
            return value["result"]
        if isinstance(value, dict) and value.get("type") == "error":
            raise self._codec.error(200, {}, last, self._context)
        raise ResponseError("LM Studio gave no result", hint="see LM Studio's log, and ask again", body=value)

    def _loaded(self, info: Any) -> ModelInfo:
        found = model_infos((), [info], self._context.provider)
        if not found:
            raise ResponseError(
                "LM Studio does not say what it loaded", hint="see LM Studio's log, and ask again", body=info
            )
        return found[0]


class _Progress:
    """Tells how far loading is; keeps the last line."""

    def __init__(self, on_progress: Callable[[float], None] | None) -> None:
        self._tell = on_progress
        self._lines = LineSplitter()
        self._last = b""

    def feed(self, chunk: bytes) -> None:
        for line in self._lines.feed(chunk):
            self._last = line
            message = _json.loads(line)
            if message.get("type") == "loadProgress" and self._tell is not None:
                self._tell(message["progress"])

    def rest(self) -> bytes:
        return self._last


def load_call(
    model: str,
    *,
    namespace: Namespace,
    ttl: float | None,
    context_length: int | None,
    config: Mapping[str, Any] | None,
    timeout: float | None,
) -> WireCall:
    """The call that loads `model` unless it is in memory. `ttl` in seconds; `config` by the server's own keys."""
    fields = dict(config or {})
    if context_length is not None:
        fields[f"{namespace}.load.contextLength"] = context_length
    order: dict[str, Any] = {"model": model, "config": config_stack(fields)}
    if ttl is not None:
        order["ttl"] = ttl
    return WireCall(f"{namespace}/getOrLoad", _json.dumps(order), method=CHANNEL, stream=True, timeout=timeout)


def _text_call(path: str, text: str, model: str) -> WireCall:
    return encode_rpc(path, {"inputString": text}, model=model)


def _info_call(model: str) -> WireCall:
    return encode_rpc("llm/getModelInfo", {"throwIfNotFound": True}, model=model)


def _count_call(request: ChatRequest, context: CodecContext) -> WireCall:
    for message in request.messages:
        if any(isinstance(p, (Image, Audio, File)) for p in message.parts):
            raise UnsupportedOptionError(
                "LM Studio counts the tokens of texts only",
                provider=context.provider,
                hint="after a call, response.usage.input_tokens has the figure with images",
            )
    return encode_count(request, context)


def _window(info: Any) -> int | None:
    window = info.get("contextLength") if isinstance(info, Mapping) else None
    return window if isinstance(window, int) else None
