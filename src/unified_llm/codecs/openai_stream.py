"""The streamed answer of ``chat/completions`` as events, whatever the cuts of the network and the server's habits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import orjson

from unified_llm import _json
from unified_llm.codecs.base import CodecContext
from unified_llm.codecs.errors import error_from_body, has_error, request_id_of, unusable_body
from unified_llm.codecs.event_decoder import EventDecoder
from unified_llm.codecs.openai_body import BodySniffer
from unified_llm.codecs.openai_calls import CallAssembler
from unified_llm.codecs.openai_parts import PartWriter
from unified_llm.codecs.openai_reading import (
    as_list,
    content_pieces,
    finish_reason,
    is_complete,
    merge_details,
    message_extra,
    read_audio,
    read_image,
    read_sources,
    read_usage,
    reasoning_text,
    told_cost,
    word,
)
from unified_llm.errors import ResponseError, StreamInterruptedError
from unified_llm.messages import Part
from unified_llm.requests import ChatRequest
from unified_llm.stream import (
    CitationDelta,
    Finish,
    PartEnd,
    Progress,
    StreamEvent,
    StreamStart,
    TextDelta,
    UsageUpdate,
)

__all__ = ["OpenAIStreamDecoder"]


class OpenAIStreamDecoder(EventDecoder):
    """Bytes in, events out. Text and thinking become parts in the order in which they change over.

    An error inside the stream is raised after the events before it were given out: iterate what `feed` returns.
    """

    __slots__ = (
        "_body",
        "_calls",
        "_choice",
        "_context",
        "_details",
        "_extras",
        "_finish",
        "_headers",
        "_many",
        "_media",
        "_model",
        "_reasoned",
        "_refused",
        "_request",
        "_secrets",
        "_sources",
        "_started",
        "_tier",
        "_told_usage",
        "_usage",
        "_writer",
        "cost",
        "done",
    )

    def __init__(
        self, headers: Mapping[str, str], request: ChatRequest, context: CodecContext, secrets: Sequence[str] = ()
    ) -> None:
        self._headers = headers
        self._request = request
        self._context = context
        self._secrets = secrets
        self._body = BodySniffer(headers, request, context, secrets)
        self._many = _asks_for_many(request)
        self._writer = PartWriter(think_tags=context.profile.think_tags, single=not self._many)
        self._calls = CallAssembler(request)
        self._started = False
        self._model: str | None = None
        self._finish: str | None = None
        self._choice: Mapping[str, Any] = {}
        self._refused = False
        self._reasoned = False  # whether reasoning came as a text of its own: then details only repeat it
        self._details: list[dict[str, Any]] = []
        self._extras: dict[str, Any] = {}
        self._media: list[Part] = []
        self._sources: tuple[dict[str, Any], ...] = ()
        self._usage: dict[str, Any] | None = None
        self._told_usage = False
        self._tier: Any = None
        self.cost: float | None = None  # as the service tells it
        self.done = False

    # -- feeding ----------------------------------------------------------------------------------------------------

    def _read(self, chunk: bytes, events: list[StreamEvent]) -> None:
        for data in self._body.feed(chunk):
            self._take(data, events)

    def _end(self, events: list[StreamEvent]) -> None:
        whole = self._body.whole_answer()
        if whole is not None:
            events += whole
            return
        self._take_rest(events)
        if not self.done:
            self._end_of_body(events)

    def _take_rest(self, events: list[StreamEvent]) -> None:
        """The last event, if the server left out the blank line after it. If it is cut, it does not count."""
        for data in self._body.rest():
            if data.strip() == b"[DONE]" or _is_json(data):
                self._take(data, events)

    def _end_of_body(self, events: list[StreamEvent]) -> None:
        if self._finish is not None or (self._context.profile.eof_ends_stream and self._started):
            self._finalize(events)
            return
        self._writer.flush_tags(events)
        if self._writer.count:
            raise StreamInterruptedError(
                f"the stream of {self._context.provider} ended in the middle of the answer",
                hint="the connection or the server broke: try again; .partial holds what arrived",
                **self._where(),
            )
        raise StreamInterruptedError(
            f"the stream of {self._context.provider} ended before it said anything",
            hint="try again; LM Studio and some proxies do this when the prompt does not fit the context window",
            **self._where(),
        )

    def _where(self) -> dict[str, Any]:
        return {"provider": self._context.provider, "request_id": request_id_of(self._headers)}

    # -- one event --------------------------------------------------------------------------------------------------

    def _take(self, data: bytes, events: list[StreamEvent]) -> None:
        """One ``data:`` payload. Nearly all of them are a single piece of text: that path is short on purpose."""
        if data == b"[DONE]":  # an exception is dear
            self._take_odd(data, events)
            return
        try:
            value = orjson.loads(data)
        except ValueError:
            self._take_odd(data, events)
            return
        writer = self._writer
        if writer.fast:
            try:
                choice = value["choices"][0]
                delta = choice["delta"]
                text = delta["content"]
                if (
                    text
                    and type(text) is str
                    and choice.get("finish_reason") is None
                    and (len(delta) == 1 or (len(delta) == 2 and "role" in delta))
                ):
                    if value.get("usage") is not None:
                        self._usage = value
                    writer.pieces.append(text)
                    events.append(TextDelta(text, writer.part))
                    return
            except (KeyError, IndexError, TypeError, AttributeError):
                pass  # not that simple: the general path decides what it is
        self._take_value(value, events)

    def _take_odd(self, data: bytes, events: list[StreamEvent]) -> None:
        """A payload that is no strict JSON: the end mark, a keep-alive, or JSON with NaN or broken characters."""
        if self.done or not data.strip():
            return
        if data.strip() == b"[DONE]":
            self._finalize(events)
            return
        try:
            value = _json.loads(data)
        except ValueError as exc:
            raise self._nonsense(data, "an event that is not JSON") from exc
        self._take_value(value, events)

    def _nonsense(self, data: bytes, why: str) -> ResponseError:
        return unusable_body(200, self._headers, data, provider=self._context.provider, why=why, secrets=self._secrets)

    def _take_value(self, value: Any, events: list[StreamEvent]) -> None:
        if self.done:
            return
        if not isinstance(value, dict):
            raise self._nonsense(_json.dumps(value), "an event that is not an object")
        self._check(value)
        choices = value.get("choices")
        if not self._started and (choices or value.get("id")):  # Azure begins with results of its filters alone
            self._start(value, events)
        if isinstance(value.get("prompt_progress"), dict):
            _tell_progress(value["prompt_progress"], events)
        self._sources = read_sources(value) or self._sources  # the same ones come with every piece
        if value.get("usage") or value.get("x_groq") or value.get("timings"):
            self._take_usage(value, events, tell=not choices)
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict) or (self._many and choice.get("index")):
            return
        if choice.get("error"):
            self._fail(choice)
        delta = choice.get("delta") or choice.get("message")
        if isinstance(delta, dict):
            self._take_delta(delta, events)
        if choice.get("finish_reason"):
            self._finish = str(choice["finish_reason"])
            self._choice = choice

    def _check(self, value: dict[str, Any]) -> None:
        if has_error(value):
            self._fail(value)
        groq = value.get("x_groq")
        if isinstance(groq, dict) and groq.get("error"):
            self._fail(groq)

    def _fail(self, value: Mapping[str, Any]) -> NoReturn:
        raise error_from_body(
            value, provider=self._context.provider, status=200, headers=self._headers, secrets=self._secrets
        )

    def _start(self, value: Mapping[str, Any], events: list[StreamEvent]) -> None:
        self._started = True
        self._model = word(value.get("model"))
        self._tier = value.get("service_tier")
        events.append(StreamStart(self._model, word(value.get("id")), request_id_of(self._headers)))

    def _take_usage(self, value: dict[str, Any], events: list[StreamEvent], *, tell: bool) -> None:
        """Keep the usage; tell it at once when it comes alone, else at the end: some repeat it on each piece."""
        self._usage = value
        usage = read_usage(value, self._tier) if tell else None
        self._told_usage = usage is not None
        if usage is not None:
            events.append(UsageUpdate(usage))

    # -- one delta --------------------------------------------------------------------------------------------------

    def _take_delta(self, delta: Mapping[str, Any], events: list[StreamEvent]) -> None:
        writer = self._writer
        reasoning = reasoning_text(delta, details=not self._reasoned)
        if reasoning:
            self._reasoned = self._reasoned or not delta.get("reasoning_details")
            writer.flush_tags(events)  # a server that separates the reasoning leaves no tags in the text
            writer.say("thinking", reasoning, events)
        if delta.get("reasoning_details"):
            merge_details(self._details, delta["reasoning_details"])
        content = delta.get("content")
        if content and isinstance(content, str):
            writer.say_content(content, events)
        elif content is not None and content != "":
            for kind, text in content_pieces(content):
                writer.say(kind, text, events)
        if delta.get("refusal"):
            self._refused = True
            writer.say("text", str(delta["refusal"]), events)
        calls = delta.get("tool_calls")
        if calls:
            self._take_calls(calls, events)
        elif isinstance(delta.get("function_call"), dict):
            self._take_calls([{"index": 0, "function": delta["function_call"]}], events)
        if len(delta) > 1 or not (content or calls or reasoning):
            self._take_more(delta, events)

    def _take_calls(self, calls: Any, events: list[StreamEvent]) -> None:
        writer = self._writer
        for raw in calls if isinstance(calls, list) else [calls]:
            if isinstance(raw, dict):
                writer.flush_tags(events)
                writer.end_part(events)
                writer.count += self._calls.add(raw, writer.count, events)

    def _take_more(self, delta: Mapping[str, Any], events: list[StreamEvent]) -> None:
        """Citations, pictures, sound, and what must go back unchanged."""
        for citation in as_list(delta.get("annotations")):
            if isinstance(citation, dict):
                self._writer.cite(citation)
                events.append(CitationDelta(citation, self._writer.part))
        self._media += [image for raw in as_list(delta.get("images")) if (image := read_image(raw)) is not None]
        if "audio" in delta:
            sound, transcript = read_audio(delta["audio"])
            if transcript:
                self._writer.say("text", transcript, events)
            if sound is not None:
                self._media.append(sound)
        extra = delta.get("extra_content")
        if isinstance(extra, dict):
            self._extras.update(extra)

    # -- the end ----------------------------------------------------------------------------------------------------

    def _finalize(self, events: list[StreamEvent]) -> None:
        writer = self._writer
        if self._finish is None and not writer.count and not writer.holds_text:
            raise self._nonsense(b"", "a stream without any choice")
        self.done = True
        writer.flush_tags(events)
        for source in self._sources if writer.writes_text else ():
            writer.cite(source)
            events.append(CitationDelta(source, writer.part))
        writer.end_part(events)
        provider, model = self._context.provider, self._model
        reason = finish_reason(self._finish, self._choice, calls=len(self._calls) > 0, refused=self._refused)
        for place, call in self._calls.finished(provider, model, cut=not is_complete(reason)):
            events.append(PartEnd(call, place))
        extras = [("reasoning_details", self._details), ("extra_content", self._extras)]
        last = [*self._media, *(message_extra(n, v, provider, model) for n, v in extras if v)]
        events.extend(PartEnd(part, writer.count + i) for i, part in enumerate(last))
        usage = None if self._usage is None else read_usage(self._usage, self._tier)
        self.cost = told_cost(usage)
        if usage is not None and not self._told_usage:
            events.append(UsageUpdate(usage))
        events.append(Finish(reason, self._finish))


def _asks_for_many(request: ChatRequest) -> bool:
    """Whether several choices were asked for: then only the first one is followed."""
    asked = [request.config.extra_body or {}, *(request.config.provider_options or {}).values()]
    return any(isinstance(o.get("n"), int) and o["n"] > 1 for o in asked)


def _is_json(data: bytes) -> bool:
    try:
        _json.loads(data)
    except ValueError:
        return False
    return True


def _tell_progress(progress: Mapping[str, Any], events: list[StreamEvent]) -> None:
    """llama.cpp's ``return_progress``: prompt tokens read so far, those found in its cache included."""
    total, processed = progress.get("total"), progress.get("processed")
    if isinstance(total, int) and isinstance(processed, int) and total > 0:
        events.append(Progress("prefill", min(1.0, processed / total)))
