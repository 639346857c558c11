"""What the body of a streamed call turns out to be: server-sent events, lines of JSON, one document, a web page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias

from unified_llm import _json
from unified_llm.codecs.base import CodecContext
from unified_llm.codecs.errors import has_error, unusable_body
from unified_llm.codecs.openai_decode import decode_chat
from unified_llm.requests import ChatRequest
from unified_llm.responses import ChatResponse
from unified_llm.stream import StreamEnd, StreamEvent, events_of
from unified_llm.wire import LineSplitter, SSEEvent, SSESplitter, WireReply, parse_event

__all__ = ["BodySniffer"]

Form: TypeAlias = Literal["unknown", "events", "lines", "document"]
# Field names of server-sent events; a comment starts with a colon.
_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b":")
_HEAD = 65536
_MARK = b"\xef\xbb\xbf"  # byte order mark


class BodySniffer:
    """Cuts the body into JSON payloads, after looking at its first bytes.

    A server that ignores ``stream`` sends one document, often an error with the status 200; lollms-webui sends lines
    of JSON; a wrong address sends HTML. `decode` reads a whole answer of the dialect.
    """

    __slots__ = ("_context", "_decode", "_form", "_headers", "_held", "_lines", "_request", "_secrets", "_sse")

    def __init__(
        self,
        headers: Mapping[str, str],
        request: ChatRequest,
        context: CodecContext,
        secrets: Sequence[str],
        decode: Callable[[WireReply, ChatRequest, CodecContext, Sequence[str]], ChatResponse] = decode_chat,
    ) -> None:
        self._headers = headers
        self._request = request
        self._context = context
        self._secrets = secrets
        self._decode = decode
        self._form: Form = "unknown"
        self._held = bytearray()
        self._sse = SSESplitter()
        self._lines = LineSplitter()

    def feed(self, chunk: bytes) -> list[bytes]:
        """The payloads completed by `chunk`."""
        if self._form == "events":
            payloads = []
            for block in self._sse.blocks(chunk):
                if block.startswith(b"data: ") and b"\n" not in block:  # what nearly every event looks like
                    payloads.append(block[6:])
                elif block.startswith(b"event: resp") and block.count(b"\n") == block.count(b"\ndata: ") == 1:
                    payloads.append(block.partition(b"\ndata: ")[2])  # as the Responses API has them
                elif (event := parse_event(block)) is not None:
                    payloads.append(_payload(event))
            return payloads
        if self._form == "lines":
            return self._lines.feed(chunk)
        self._held += chunk
        if self._form == "unknown":
            return self._decide(_form_of(self._held))
        return []

    def _decide(self, form: Form) -> list[bytes]:
        self._form = form
        if form not in ("events", "lines"):
            return []
        held, self._held = bytes(self._held), bytearray()
        return self.feed(held)

    def rest(self) -> list[bytes]:
        """The last payload, when the body ended without the separator after it."""
        payloads = []
        if self._form == "unknown" and _is_chunk(self._held):
            payloads = self._decide("lines")
        if self._form == "events":
            return [_payload(e) for e in self._sse.close()]
        return payloads + self._lines.close()

    def whole_answer(self) -> list[StreamEvent] | None:
        """The events of a body that was one document, or None when it was a stream (or empty).

        Raises:
            UnifiedLLMError: the document is an error, or no answer.
        """
        body = bytes(self._held)
        if self._form != "document" and (not body.strip() or _is_chunk(body)):
            return None
        if self._form == "unknown" and body.lstrip().startswith(_FIELDS):
            return None
        if not body.lstrip().startswith((b"{", b"[")):
            why = "text instead of a stream"
            raise unusable_body(
                200, self._headers, body, provider=self._context.provider, why=why, secrets=self._secrets
            )
        reply = WireReply(200, self._headers, body)
        response = self._decode(reply, self._request, self._context, self._secrets)
        return [e for e in events_of(response) if not isinstance(e, StreamEnd)]


def _form_of(held: bytes | bytearray) -> Form:
    """What a body is by its beginning; "unknown" while that is too short to tell."""
    if held.startswith(b"data: "):  # nearly always
        return "events"
    text = bytes(held[:_HEAD])
    if _MARK.startswith(text):
        return "unknown"
    text = text.removeprefix(_MARK).lstrip()
    if not text or any(name.startswith(text) for name in _FIELDS):
        return "unknown"
    if text.startswith(_FIELDS):
        return "events"
    if not text.startswith(b"{"):
        return "document"
    line, ended, _ = text.partition(b"\n")
    if not ended and len(held) < _HEAD:
        return "unknown"
    return "lines" if _is_chunk(line) else "document"


def _is_chunk(line: bytes | bytearray) -> bool:
    """Whether a line is a streamed piece by itself, rather than the first line of a document."""
    try:
        value = _json.loads(bytes(line))
    except ValueError:
        return False
    choices = value.get("choices") if isinstance(value, dict) else None
    return isinstance(choices, list) and bool(choices) and isinstance(choices[0], dict) and "delta" in choices[0]


def _payload(event: SSEEvent) -> bytes:
    """The data of an event; that of an ``event: error`` is made to look like the error it is."""
    if event.event != b"error":
        return event.data
    try:
        value = _json.loads(event.data)
    except ValueError:
        value = event.data.decode("utf-8", "replace")
    return event.data if isinstance(value, dict) and has_error(value) else _json.dumps({"error": value})
