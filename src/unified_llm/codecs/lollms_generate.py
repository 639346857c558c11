"""The native dialect of lollms-webui (``/lollms_generate``): one prompt in, bare text out.

It carries what its OpenAI endpoint does not: images, a seed, top_k and top_p, a personality. A stream is the text
itself, under the type of server-sent events and without any event; an error is a JSON object with the status 200; there
is no usage and no reason for the end. Source: ``lollms/server/endpoints/lollms_generator.py`` of
https://github.com/ParisNeo/lollms-webui.
"""

from __future__ import annotations

import base64
import codecs
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from unified_llm import _json
from unified_llm.codecs.base import CodecContext
from unified_llm.codecs.calls import chat_call
from unified_llm.codecs.errors import error_from_body, error_from_reply, has_error, request_id_of, unusable_body
from unified_llm.codecs.openai_draft import Draft
from unified_llm.codecs.openai_encode import overlay
from unified_llm.codecs.openai_media import media_part
from unified_llm.codecs.openai_options import put_options
from unified_llm.codecs.openai_parts import PartWriter
from unified_llm.codecs.openai_toolless import told_in_words
from unified_llm.codecs.openai_tools import put_response_format, put_tools
from unified_llm.codecs.stand_ins import last_user_turn, stand_in, url_refused
from unified_llm.codecs.think_tags import split_think_tags
from unified_llm.errors import InvalidMessageError, ResponseError, UnifiedLLMError
from unified_llm.messages import Audio, File, Image, Message, MessageRole, Origin, Part, Text, Thinking
from unified_llm.requests import ChatRequest
from unified_llm.responses import ChatResponse
from unified_llm.stream import Finish, StreamEvent, StreamStart
from unified_llm.wire import WireCall, WireReply

__all__ = ["DIALECT", "LollmsGenerateCodec"]

DIALECT: Final = "lollms-generate"

# What the server itself puts before each role when it makes a prompt of messages.
_SEPARATOR = "!@>"


class _Draft(Draft):
    dialect = DIALECT
    __slots__ = ()


class LollmsGenerateCodec:
    """See `ChatCodec`."""

    dialect = DIALECT

    def __init__(self, secrets: Callable[[], Sequence[str]] = tuple) -> None:
        self._secrets = secrets

    def encode(self, request: ChatRequest, context: CodecContext) -> WireCall:
        """The call to send; what the server has no place for is in its adjustments."""
        draft = _Draft(request, context)
        config = request.config
        images: list[str] = []
        scratch: dict[str, Any] = {"messages": _turns(request.messages, images, draft)}
        put_tools(scratch, request.tools, request.tool_choice, draft)
        if request.response_format is not None:
            put_response_format(scratch, request.response_format, draft)
        body: dict[str, Any] = {"prompt": _prompt(scratch["messages"]), "stream": request.stream}
        if request.model:
            body["model_name"] = request.model
        if images:
            body |= {"images": images, "n_predict": -1}  # the default would be 1,024 tokens
        put_options(body, config, draft, has_tools=False)
        if "max_tokens" in body:
            body["n_predict"] = body.pop("max_tokens")
        overlay(body, (config.provider_options or {}).get(draft.provider))
        overlay(body, config.extra_body)
        path = "lollms_generate_with_images" if images else "lollms_generate"
        return chat_call(path, body, request, draft.adjustments)

    def decode(self, reply: WireReply, request: ChatRequest, context: CodecContext) -> ChatResponse:
        """The response of a complete answer. Raises `ResponseError` or the error inside the body."""
        text = reply.body.decode("utf-8", "replace")
        if _is_json(reply.headers):
            text = _text_in(reply.body, reply.headers, context, self._secrets())
        pieces = split_think_tags(text) if text else []
        parts: list[Part] = [Thinking(t) if kind == "thinking" else Text(t) for kind, t in pieces]
        return ChatResponse(
            Message("assistant", parts, origin=Origin(context.provider, DIALECT, request.model)),
            model=request.model or None,
            provider=context.provider,
            request_id=request_id_of(reply.headers),
            response_format=request.response_format,
            headers=reply.headers,
        )

    def decoder(self, headers: Mapping[str, str], request: ChatRequest, context: CodecContext) -> _TextDecoder:
        """A fresh decoder for one streamed answer."""
        return _TextDecoder(headers, context, self._secrets())

    def error(self, status: int, headers: Mapping[str, str], body: bytes, context: CodecContext) -> UnifiedLLMError:
        """The exception (not raised) that an error status stands for."""
        return error_from_reply(status, headers, body, provider=context.provider, secrets=self._secrets())


class _TextDecoder:
    """Bytes are the text. The end of the body is the only end."""

    ends_with_body: Final = True

    def __init__(self, headers: Mapping[str, str], context: CodecContext, secrets: Sequence[str]) -> None:
        self._headers = headers
        self._context = context
        self._secrets = secrets
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._writer = PartWriter(think_tags=context.profile.think_tags, single=True)
        self._document = bytearray() if _is_json(headers) else None
        self._started = False

    def feed(self, chunk: bytes) -> Iterable[StreamEvent]:
        """Events completed by `chunk`."""
        if self._document is not None:
            self._document += chunk
            return []
        return self._say(self._utf8.decode(chunk))

    def close(self) -> Iterator[StreamEvent]:
        """The last events, `Finish` included. Raises the error that the body was, or `ResponseError`."""
        if self._document is not None:
            text = _text_in(bytes(self._document), self._headers, self._context, self._secrets)
        else:
            text = self._utf8.decode(b"", final=True)
        events = self._say(text)
        self._writer.flush_tags(events)
        self._writer.end_part(events)
        yield from events
        yield Finish(None, None)

    def _say(self, text: str) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        if not self._started:
            self._started = True
            events.append(StreamStart(None, None, request_id_of(self._headers)))
        if text:
            self._writer.say_content(text, events)
        return events


# -- prompts ----------------------------------------------------------------------------------------------------------


def _turns(messages: Sequence[Message], images: list[str], draft: Draft) -> list[dict[str, Any]]:
    """Role and text of each message; images are appended to `images`, and the rest is recorded as lost."""
    if not messages:
        raise InvalidMessageError("there are no messages", hint="pass at least one message")
    turns = []
    now = last_user_turn(messages)
    for i, message in enumerate(told_in_words(messages, draft)):
        draft.past = i < now
        where = f"messages[{i}]"
        texts = [t for p in message.parts if (t := _text_of(p, message, where, images, draft))]
        turns.append({"role": message.role.value, "content": "\n\n".join(texts)})
    return turns


def _text_of(part: Part, message: Message, where: str, images: list[str], draft: Draft) -> str:
    if isinstance(part, Text):
        return part.text
    if message.role is MessageRole.USER:
        if isinstance(part, Image) and part.data is not None:
            images.append(base64.b64encode(part.data).decode())
            return ""
        if isinstance(part, (Audio, File)):
            text: str = media_part(part, where, draft)["text"]
            return text
        if isinstance(part, Image) and draft.past:
            draft.lose(f"{where}.image", f"{draft.provider} does not load images from URLs")
            return stand_in(part)
        if isinstance(part, Image):
            raise url_refused(where, provider=draft.provider)
    draft.lose(f"{where}.{type(part).__name__.lower()}", "a prompt holds text only")
    return ""


def _prompt(turns: Sequence[Mapping[str, Any]]) -> str:
    lines = [f"{_SEPARATOR}{turn['role']}: {turn['content']}\n" for turn in turns]
    return "".join(lines) + f"{_SEPARATOR}assistant:"


# -- answers ----------------------------------------------------------------------------------------------------------


def _is_json(headers: Mapping[str, str]) -> bool:
    return "json" in headers.get("content-type", "")


def _text_in(body: bytes, headers: Mapping[str, str], context: CodecContext, secrets: Sequence[str]) -> str:
    """The text of an answer that is JSON: a text as JSON. Raises its error; null says that no model is chosen."""
    try:
        value = _json.loads(body)
    except ValueError:
        value = None
    if isinstance(value, str):
        return value
    if has_error(value):
        raise error_from_body(value, provider=context.provider, status=200, headers=headers, secrets=secrets)
    raise _no_text(body, headers, context, secrets)


def _no_text(body: bytes, headers: Mapping[str, str], context: CodecContext, secrets: Sequence[str]) -> ResponseError:
    error = unusable_body(
        200,
        headers,
        body,
        provider=context.provider,
        why="no text, as it does while no model is chosen",
        secrets=secrets,
    )
    error.hint = "choose a binding and a model in its settings"
    return error
