"""The OpenAI chat dialect as lollms and lollms-webui speak it: what they say that is not so, and what they leave out.

Sources: ``backend/routers/services/openai_v1.py`` of https://github.com/ParisNeo/lollms, and
``lollms/server/endpoints/lollms_generator.py`` of https://github.com/ParisNeo/lollms-webui.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from unified_llm import _json
from unified_llm.codecs.base import CodecContext
from unified_llm.codecs.calls import more_headers
from unified_llm.codecs.errors import error_from_body, has_error, unusable_body
from unified_llm.codecs.openai_chat import OpenAIChatCodec
from unified_llm.codecs.openai_stream import OpenAIStreamDecoder
from unified_llm.errors import PermissionDeniedError, ResponseError, UnifiedLLMError
from unified_llm.requests import ChatRequest, EmbedRequest
from unified_llm.responses import Adjustment, ChatResponse, Embeddings, FinishReason
from unified_llm.stream import Finish, StreamEvent, UsageUpdate
from unified_llm.wire import WireCall, WireReply

__all__ = ["LollmsChatCodec", "LollmsStreamDecoder", "LollmsWebUIChatCodec", "LollmsWebUIEmbeddingsCodec"]


class LollmsChatCodec(OpenAIChatCodec):
    """See `ChatCodec`. Every answer ends with "stop", also one that was cut at its limit: why it ended is not known."""

    def decode(self, reply: WireReply, request: ChatRequest, context: CodecContext) -> ChatResponse:
        """The response of a complete answer. Raises `ResponseError` or the error inside the body."""
        if reply.body.strip() == b"null":
            raise self._nothing(reply, context)
        response = super().decode(reply, request, context)
        if response.finish_reason is FinishReason.STOP:
            response._d.finish_reason = None
        return response

    def decoder(self, headers: Mapping[str, str], request: ChatRequest, context: CodecContext) -> LollmsStreamDecoder:
        """A fresh decoder for one streamed answer."""
        return LollmsStreamDecoder(headers, request, context, self._secrets())

    def error(self, status: int, headers: Mapping[str, str], body: bytes, context: CodecContext) -> UnifiedLLMError:
        """The exception (not raised) that an error status stands for."""
        error = super().error(status, headers, body, context)
        if isinstance(error, PermissionDeniedError) and "not enabled" in error.message:
            error.hint = "its OpenAI service is off by default: an administrator switches it on in the settings"
        return error

    def _nothing(self, reply: WireReply, context: CodecContext) -> ResponseError:
        error = unusable_body(
            reply.status,
            reply.headers,
            reply.body,
            provider=context.provider,
            why="null, as it does while no model is chosen",
            secrets=self._secrets(),
        )
        error.hint = "choose a binding and a model in its settings"
        return error


class LollmsStreamDecoder(OpenAIStreamDecoder):
    """See `OpenAIStreamDecoder`, but for the reason of the end.

    With `ends_with_body` (lollms-webui) every line says "stop" and counts itself as one token: the end of the body is
    the only end, and how many tokens there were is not known.
    """

    __slots__ = ("ends_with_body",)

    def __init__(
        self, headers: Mapping[str, str], request: ChatRequest, context: CodecContext, secrets: Sequence[str] = ()
    ) -> None:
        super().__init__(headers, request, context, secrets)
        self.ends_with_body = context.profile.eof_ends_stream

    def feed(self, chunk: bytes) -> Iterable[StreamEvent]:
        """See `OpenAIStreamDecoder.feed`."""
        return self._honest(super().feed(chunk))

    def close(self) -> Iterable[StreamEvent]:
        """See `OpenAIStreamDecoder.close`."""
        return self._honest(super().close())

    def _honest(self, events: Iterable[StreamEvent]) -> Iterator[StreamEvent]:
        for event in events:
            if isinstance(event, Finish) and event.reason is FinishReason.STOP:
                yield Finish(None, event.native)
            elif isinstance(event, UsageUpdate) and self.ends_with_body:
                yield UsageUpdate(replace(event.usage, output_tokens=None))
            else:
                yield event


class LollmsWebUIChatCodec(LollmsChatCodec):
    """See `LollmsChatCodec`. The server answers with the model of its settings, whatever the request says.

    Attributes:
        active: that model, once it is known.
    """

    active: str | None = None

    def encode(self, request: ChatRequest, context: CodecContext) -> WireCall:
        """The call to send; a model that will not be asked is in its adjustments."""
        call = super().encode(request, context)
        call = replace(call, path=f"v1/{call.path}", body=_flat(call.body or b"{}"))
        if request.model == self.active:
            return call
        reason = "the server answers with the model chosen in its settings, whatever is asked for"
        return replace(call, adjustments=(*call.adjustments, Adjustment("changed", "model", reason)))


def _flat(body: bytes) -> bytes:
    """The body with every content as one text: a list of parts is a 422 there."""
    if b'"content":[' not in body:
        return body
    value = _json.loads(body)
    for message in value["messages"]:
        if isinstance(message.get("content"), list):
            message["content"] = "\n\n".join(part["text"] for part in message["content"])
    return _json.dumps(value)


class LollmsWebUIEmbeddingsCodec:
    """See `EmbedCodec`. ``/lollms_embed`` takes one text at a time, and uses the vectoriser of its settings."""

    def __init__(self, secrets: Callable[[], Sequence[str]] = tuple) -> None:
        self._secrets = secrets

    def encode(self, request: EmbedRequest, context: CodecContext) -> list[WireCall]:
        """One call per text."""
        config = request.config
        return [
            WireCall("lollms_embed", _json.dumps({"text": text}), headers=more_headers(config), timeout=config.timeout)
            for text in request.texts
        ]

    def decode(self, replies: list[WireReply], request: EmbedRequest, context: CodecContext) -> Embeddings:
        """Vectors in the order of the texts. Raises `ResponseError`, or the error inside a body."""
        adjustments: tuple[Adjustment, ...] = ()
        if request.dimensions is not None:
            adjustments = (Adjustment("dropped", "dimensions", f"{context.provider} cannot shorten vectors"),)
        return Embeddings(
            [self._vector(reply, context) for reply in replies],
            model=request.model,
            provider=context.provider,
            adjustments=adjustments,
        )

    def _vector(self, reply: WireReply, context: CodecContext) -> array[float]:
        value: Any = None
        try:
            value = _json.loads(reply.body)
            vector = array("f", value["vector"])
        except (ValueError, KeyError, TypeError) as exc:
            if has_error(value):
                raise error_from_body(
                    value,
                    provider=context.provider,
                    status=reply.status,
                    headers=reply.headers,
                    secrets=self._secrets(),
                ) from exc
            raise self._unusable(reply, context) from exc
        if not vector:
            raise self._unusable(reply, context)
        return vector

    def _unusable(self, reply: WireReply, context: CodecContext) -> ResponseError:
        return unusable_body(
            reply.status,
            reply.headers,
            reply.body,
            provider=context.provider,
            why="no vector",
            secrets=self._secrets(),
        )
