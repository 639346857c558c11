"""What only LM Studio's websocket API does: load with progress, unload, tokenise, count, tell what is in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Literal, TypeAlias

from unified_llm import _json
from unified_llm.codecs.base import CodecContext
from unified_llm.codecs.calls import json_body
from unified_llm.codecs.fields import count_of
from unified_llm.codecs.lmstudio_chat import LMStudioChatCodec, instance_infos, model_infos
from unified_llm.codecs.lmstudio_encode import CHANNEL, config_stack, encode_count, encode_rpc
from unified_llm.drivers.lmstudio import LMStudioDriver
from unified_llm.errors import ResponseError, UnifiedLLMError, UnsupportedOptionError
from unified_llm.messages import Audio, File, Image
from unified_llm.requests import ChatRequest
from unified_llm.responses import ModelInfo
from unified_llm.wire import LineSplitter, WireCall

__all__ = ["LMStudioCalls", "Namespace", "load_call"]

Namespace: TypeAlias = Literal["llm", "embedding"]
_LOADED = ("llm/listLoaded", "embedding/listLoaded")
_LISTS = ("system/listDownloadedModels", *_LOADED)


class LMStudioCalls:
    """The calls besides chat, each with its async twin. They raise `UnifiedLLMError`."""

    def __init__(self, driver: LMStudioDriver, codec: LMStudioChatCodec, context: CodecContext) -> None:
        self._driver = driver
        self._codec = codec
        self._context = context
        self._names: dict[str, str] = {}  # what a model was called when it was loaded -> the id of its instance

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
            return self._loaded(call, self._read(progress.rest()))

    def models(self) -> list[ModelInfo]:
        """The models on disk and in memory."""
        downloaded, *loaded = [self._rows(self.result(encode_rpc(path))) for path in _LISTS]
        return model_infos(downloaded, [m for part in loaded for m in part], self._context.provider)

    def loaded(self) -> list[ModelInfo]:
        """The instances in memory."""
        rows = [self._rows(self.result(encode_rpc(path))) for path in _LOADED]
        return instance_infos([m for part in rows for m in part], self._context.provider)

    def count(self, request: ChatRequest) -> int:
        """Tokens of the whole prompt, the model's template applied."""
        formatted = self._field(self.result(_count_call(request, self._context)), "formatted", str)
        counted = self.result(_text_call("llm/countTokens", formatted, request.model))
        return self._count(counted)

    def tokenize(self, text: str, model: str) -> list[int]:
        """The token ids of `text`."""
        return self._tokens(self.result(_text_call("llm/tokenize", text, model)))

    def context_length(self, model: str) -> int | None:
        """Tokens the loaded model holds."""
        return _window(self.result(_info_call(model)))

    def unload(self, identifier: str, namespace: Namespace) -> None:
        """Free the memory of an instance: named by its id, by the name it was loaded under, or by its model."""
        listed = instance_infos(self._rows(self.result(encode_rpc(f"{namespace}/listLoaded"))), self._context.provider)
        for name in self._instances(identifier, listed):
            self.result(encode_rpc(f"{namespace}/unloadModel", {"identifier": name}))

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
            return self._loaded(call, self._read(progress.rest()))

    async def models_async(self) -> list[ModelInfo]:
        """`models`, without blocking the event loop."""
        downloaded, *loaded = [self._rows(await self.result_async(encode_rpc(path))) for path in _LISTS]
        return model_infos(downloaded, [m for part in loaded for m in part], self._context.provider)

    async def loaded_async(self) -> list[ModelInfo]:
        """`loaded`, without blocking the event loop."""
        rows = [self._rows(await self.result_async(encode_rpc(path))) for path in _LOADED]
        return instance_infos([m for part in rows for m in part], self._context.provider)

    async def count_async(self, request: ChatRequest) -> int:
        """`count`, without blocking the event loop."""
        formatted = self._field(await self.result_async(_count_call(request, self._context)), "formatted", str)
        counted = await self.result_async(_text_call("llm/countTokens", formatted, request.model))
        return self._count(counted)

    async def tokenize_async(self, text: str, model: str) -> list[int]:
        """`tokenize`, without blocking the event loop."""
        return self._tokens(await self.result_async(_text_call("llm/tokenize", text, model)))

    async def context_length_async(self, model: str) -> int | None:
        """`context_length`, without blocking the event loop."""
        return _window(await self.result_async(_info_call(model)))

    async def unload_async(self, identifier: str, namespace: Namespace) -> None:
        """`unload`, without blocking the event loop."""
        rows = self._rows(await self.result_async(encode_rpc(f"{namespace}/listLoaded")))
        for name in self._instances(identifier, instance_infos(rows, self._context.provider)):
            await self.result_async(encode_rpc(f"{namespace}/unloadModel", {"identifier": name}))

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
        raise self._unusable("LM Studio gave no result", value)

    def _field(self, result: Any, name: str, kind: type) -> Any:
        """A field of a result. Raises `ResponseError` where it is not there, or of another type."""
        value = result.get(name) if isinstance(result, Mapping) else None
        if not isinstance(value, kind):
            raise self._unusable(f"LM Studio gave a result without {name}", result)
        return value

    def _loaded(self, call: WireCall, info: Any) -> ModelInfo:
        found = instance_infos([info], self._context.provider)
        if not found:
            raise self._unusable("LM Studio does not say what it loaded", info)
        self._names[_json.loads(call.body or b"{}")["model"]] = found[0].id
        return found[0]

    def _rows(self, listed: Any) -> list[Any]:
        """The entries of a list; None stands for an empty one. Raises `ResponseError` for anything else."""
        if listed is not None and not isinstance(listed, list):
            raise self._unusable("LM Studio gave no list of models", listed)
        return listed or []

    def _count(self, result: Any) -> int:
        count = count_of(self._field(result, "tokenCount", int))
        if count is None:
            raise self._unusable("LM Studio gave a number of tokens that is none", result)
        return count

    def _tokens(self, result: Any) -> list[int]:
        tokens = self._field(result, "tokens", list)
        if not all(type(token) is int for token in tokens):
            raise self._unusable("LM Studio gave tokens that are no numbers", result)
        return list(tokens)

    def _instances(self, name: str, listed: Sequence[ModelInfo]) -> list[str]:
        """The ids of the instances that `name` stands for; the name itself where none is known: the server says so."""
        there = {info.id for info in listed}
        loaded_as = self._names.pop(name, name)
        for known in (name, loaded_as):
            if known in there:
                return [known]
        return [info.id for info in listed if info.raw and info.raw.get("modelKey") == name] or [name]

    def _unusable(self, message: str, body: Any) -> ResponseError:
        return ResponseError(
            message, provider=self._context.provider, hint="see LM Studio's log, and ask again", body=body
        )


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
            fraction = message.get("progress") if isinstance(message, dict) else None
            if self._tell is not None and isinstance(fraction, (int, float)) and message.get("type") == "loadProgress":
                self._tell(fraction)

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
    return WireCall(f"{namespace}/getOrLoad", json_body(order), method=CHANNEL, stream=True, timeout=timeout)


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
    return count_of(window)
