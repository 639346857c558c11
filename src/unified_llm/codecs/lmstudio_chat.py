"""LM Studio's websocket API: chats as predictions, models in its own lists.

Its messages are those of the OpenAI dialect in another dress, so both transports of one provider share a history.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from unified_llm import _json
from unified_llm.codecs.base import CodecContext
from unified_llm.codecs.errors import error_from_reply
from unified_llm.codecs.fields import count_of, text_of
from unified_llm.codecs.lmstudio_encode import encode_predict
from unified_llm.codecs.lmstudio_errors import websocket_error
from unified_llm.codecs.lmstudio_stream import LMStudioStreamDecoder
from unified_llm.codecs.openai_draft import DIALECT
from unified_llm.errors import UnifiedLLMError
from unified_llm.messages import Origin
from unified_llm.requests import ChatRequest
from unified_llm.responses import Capability, ChatResponse, ModelInfo
from unified_llm.stream import Accumulator
from unified_llm.wire import WireCall, WireReply

__all__ = ["LMStudioChatCodec", "instance_infos", "model_infos"]


class LMStudioChatCodec:
    """See `ChatCodec`. `secrets` gives the texts to mask in errors; it is called only when there is one."""

    dialect = DIALECT

    def __init__(self, secrets: Callable[[], Sequence[str]] = tuple) -> None:
        self._secrets = secrets

    def encode(self, request: ChatRequest, context: CodecContext) -> WireCall:
        """The order to carry out. Raises `InvalidRequestError`; what is not sent as asked is in its adjustments."""
        return encode_predict(request, context)

    def decode(self, reply: WireReply, request: ChatRequest, context: CodecContext) -> ChatResponse:
        """The response of a complete answer. Raises the error inside it, or `StreamInterruptedError`."""
        decoder = self.decoder(reply.headers, request, context)
        collected = Accumulator()
        for event in decoder.feed(reply.body):
            collected.add(event)
        for event in decoder.close():
            collected.add(event)
        return collected.response(
            origin=Origin(context.provider, DIALECT, request.model),
            model=request.model,
            provider=context.provider,
            adjustments=decoder.adjustments,
            response_format=request.response_format,
            raw=decoder.last,
        )

    def decoder(self, headers: Mapping[str, str], request: ChatRequest, context: CodecContext) -> LMStudioStreamDecoder:
        """A fresh decoder for one streamed answer."""
        return LMStudioStreamDecoder(request, context, self._secrets())

    def error(self, status: int, headers: Mapping[str, str], body: bytes, context: CodecContext) -> UnifiedLLMError:
        """The exception (not raised) that a refused call stands for."""
        try:
            value = _json.loads(body)
        except ValueError:
            return error_from_reply(status, headers, body, provider=context.provider, secrets=self._secrets())
        error = value.get("error") if isinstance(value, dict) else value
        return websocket_error(error, provider=context.provider, secrets=self._secrets())


def instance_infos(loaded: Iterable[Any], provider: str) -> list[ModelInfo]:
    """What is in memory, each under the id of its instance; ``raw["modelKey"]`` is the model it was made of."""
    found = ((m, _model(m, [m], provider)) for m in _entries(loaded))
    return [replace(info, id=_instance(m) or info.id) for m, info in found if info is not None]


def _entries(listed: Iterable[Any]) -> list[Mapping[str, Any]]:
    """What describes a model: an object with the name of one."""
    return [m for m in listed if isinstance(m, Mapping) and isinstance(m.get("modelKey"), str)]


def _instance(info: Mapping[str, Any]) -> str | None:
    identifier = info.get("identifier")
    return identifier if isinstance(identifier, str) and identifier else None


def model_infos(downloaded: Iterable[Any], loaded: Iterable[Any], provider: str) -> list[ModelInfo]:
    """The models on disk, those in memory marked; an entry of a kind not known here costs no other its place."""
    running = _entries(loaded)
    on_disk = _entries(downloaded)
    known = {m.get("modelKey") for m in on_disk}
    items = on_disk + [m for m in running if m.get("modelKey") not in known]
    found = (_model(item, running, provider) for item in items)
    return [info for info in found if info is not None]


def _model(item: Mapping[str, Any], running: Sequence[Mapping[str, Any]], provider: str) -> ModelInfo | None:
    key = item.get("modelKey")
    if not isinstance(key, str) or not key:
        return None
    mine = [m for m in running if m.get("modelKey") == key]
    window = (mine[0] if mine else item).get("contextLength", item.get("maxContextLength"))
    flags = {"vision": item.get("vision"), "tools": item.get("trainedForToolUse")}
    capabilities: dict[str, Capability] = {
        name: "yes" if flag else "no" for name, flag in flags.items() if isinstance(flag, bool)
    }
    kinds = {"llm": "chat", "embedding": "embedding"}
    return ModelInfo(
        id=key,
        provider=provider,
        kind=kinds.get(str(item.get("type"))),
        name=text_of(item.get("displayName")),
        context_window=count_of(window),
        capabilities=capabilities,
        loaded=bool(mine),
        quantization=_quantization(item.get("quantization")),
        size_bytes=count_of(item.get("sizeBytes")),
        path=text_of(item.get("path")),
        raw=item,
    )


def _quantization(value: Any) -> str | None:
    if isinstance(value, Mapping):
        value = value.get("name")
    return value if isinstance(value, str) else None
