"""A strict loopback server for OpenAI's Responses API: what the real one would refuse is a violation.

    with ResponsesDouble() as double:                # leaving the block fails the test when there were violations
        double.script([thought("hmm"), call("add", {"a": 1})], "Done.", Fail(429))
        UnifiedLLM(provider="openai", dialect="responses", api_key="k", base_url=double.url, model="gpt-5-mini")
        assert double.requests[0].body["store"] is False

An answer is a text or a list of output items; without a script, forced tools are called, a JSON Schema is obeyed and
everything else is echoed. Items given out are remembered: one that comes back changed, or alone, is a violation.
What is to be stored is kept with all before it; `forget` loses that, as a restart or the end of its time does.
"""

from __future__ import annotations

import base64
import itertools
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, TypeAlias, Union

from testkit.openai_answers import Cut, Fail, Hang, MidStreamError
from testkit.responses_rules import input_items, reasons, response_faults
from testkit.schema_values import value_for
from testkit.strict_double import Seen, StrictDouble
from testkit.wire_server import CLOSE, HANG, RESET, Answer, Request, Step, chunked, json_reply, reply

__all__ = [
    "Cut",
    "Fail",
    "Hang",
    "Item",
    "MidStreamError",
    "Respond",
    "ResponsesDouble",
    "call",
    "custom_call",
    "message",
    "picture",
    "refusal",
    "stream_events",
    "thought",
    "web_search",
]

Item: TypeAlias = dict[str, Any]
_HEADERS = {"x-request-id": "req_responses", "openai-processing-ms": "5"}
_numbers = itertools.count(1)


# -- output items -----------------------------------------------------------------------------------------------------


def message(*texts: str, annotations: Sequence[Item] = (), phase: str | None = None) -> Item:
    """An answer of one or several texts; annotations belong to the first."""
    content = [
        {"type": "output_text", "annotations": [] if i else list(annotations), "logprobs": [], "text": t}
        for i, t in enumerate(texts)
    ]
    item = {"id": f"msg_{next(_numbers)}", "type": "message", "status": "completed", "content": content}
    return item | {"role": "assistant"} | ({"phase": phase} if phase else {})


def refusal(text: str = "I cannot help with that.") -> Item:
    """A message that refuses."""
    return message() | {"content": [{"type": "refusal", "refusal": text}]}


def thought(*summary: str, encrypted: bool = True) -> Item:
    """A reasoning item with its summary parts."""
    number = next(_numbers)
    item: Item = {"id": f"rs_{number}", "type": "reasoning", "summary": [_summary(s) for s in summary]}
    return item | {"encrypted_content": base64.b64encode(f"secret {number}".encode()).decode()} if encrypted else item


def _summary(text: str) -> Item:
    return {"type": "summary_text", "text": text}


def call(name: str, arguments: Mapping[str, Any] | str = "{}", call_id: str | None = None) -> Item:
    """A function call."""
    number = next(_numbers)
    text = arguments if isinstance(arguments, str) else json.dumps(dict(arguments))
    item = {"id": f"fc_{number}", "type": "function_call", "status": "completed", "arguments": text}
    return item | {"call_id": call_id or f"call_{number}", "name": name}


def custom_call(name: str, text: str) -> Item:
    """A call of a custom tool, whose input is free text."""
    number = next(_numbers)
    return {"id": f"ctc_{number}", "type": "custom_tool_call", "call_id": f"call_{number}", "name": name, "input": text}


def web_search(query: str = "weather") -> Item:
    """A search that the server did by itself."""
    action = {"type": "search", "query": query, "queries": [query]}
    return {"id": f"ws_{next(_numbers)}", "type": "web_search_call", "status": "completed", "action": action}


def picture(data: bytes) -> Item:
    """An image that the server drew."""
    item = {"id": f"ig_{next(_numbers)}", "type": "image_generation_call", "status": "completed"}
    return item | {"result": base64.b64encode(data).decode()}


@dataclass(frozen=True)
class Respond:
    """An answer with a status or usage of its own; `more` are further fields of the response object."""

    items: Sequence[Item] | str = "Hello."
    status: str = "completed"
    incomplete: str | None = None
    error: Mapping[str, Any] | None = None
    usage: Mapping[str, Any] | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


Script: TypeAlias = Union[str, Sequence[Item], Respond, Fail, Cut, MidStreamError, Hang, Callable[[Any], Any]]


class ResponsesDouble(StrictDouble):
    """See the module docstring."""

    def __init__(self, *, api_key: str | None = None) -> None:
        super().__init__()
        self.made: dict[str, Item] = {}
        self.stored: dict[str, list[Item]] = {}  # by the id of the response: everything said up to its end
        self._api_key = api_key
        self._script: deque[Script] = deque()

    @property
    def url(self) -> str:
        """The base URL, with ``/v1``."""
        return self._server.url + "/v1"

    def script(self, *items: Script) -> Self:
        """Add answers, used in order; afterwards the double answers by itself again."""
        self._script.extend(items)
        return self

    def forget(self) -> Self:
        """Lose what was stored."""
        self.stored.clear()
        return self

    # -- answering --------------------------------------------------------------------------------------------------

    def _answer(self, request: Request) -> Answer:
        body: Any = json.loads(request.body) if request.body else None
        path = request.target.removeprefix("/v1")
        self.requests.append(Seen(request.method, path, request.headers, body, request))
        if self._api_key is not None and request.headers.get("authorization") != f"Bearer {self._api_key}":
            return self._fail(Fail(401, message=f"Incorrect API key: {request.headers.get('authorization')}"))
        if (request.method, path) == ("GET", "/models"):
            models = [
                {"id": m, "object": "model", "created": 1, "owned_by": "double"} for m in ("gpt-5-mini", "gpt-4o")
            ]
            return json_reply({"object": "list", "data": models}, headers=_HEADERS)
        if path == "/chat/completions":
            only = "This model is only supported in v1/responses and not in v1/chat/completions."
            return self._fail(Fail(404, message=only))
        if (request.method, path) != ("POST", "/responses"):
            return self._fail(Fail(404, message=f"Invalid URL ({request.method} {path})"))
        previous = body.get("previous_response_id")
        if previous is not None and previous not in self.stored:
            return self._fail(Fail(404, {"error": _not_found(previous)}))
        if previous is not None:
            body = body | {"input": [*self.stored[previous], *input_items(body)]}
        faults = response_faults(body, self.made)
        self.violations += faults
        if faults:
            return self._fail(Fail(400, message=faults[0]))
        item: Any = self._script.popleft() if self._script else _decide(body)
        return self._play(item(body) if callable(item) else item, body)

    def _play(self, item: Any, body: Mapping[str, Any]) -> Answer:
        if isinstance(item, Fail):
            return self._fail(item)
        if isinstance(item, (Cut, MidStreamError, Hang)):
            return self._broken(item, body)
        response = self._response(item, body)
        if not body.get("stream"):
            return json_reply(response, headers=_HEADERS)
        return self._sse([_event(e) for e in stream_events(response)])

    def _response(self, item: Any, body: Mapping[str, Any]) -> Item:
        told = item if isinstance(item, Respond) else Respond(item)
        items = [message(told.items)] if isinstance(told.items, str) else list(told.items)
        for one in items:
            assert one["type"] != "reasoning" or reasons(body["model"]), f"{body['model']} does not reason"
        self.made |= {i["id"]: i for i in items}
        tokens = max(1, len(json.dumps(items)) // 4)
        usage = {
            "input_tokens": 10,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 10 + tokens,
        }
        response_id = f"resp_{next(_numbers)}"
        if body.get("store", True):
            self.stored[response_id] = [*input_items(body), *items]
        return {
            "id": response_id,
            "object": "response",
            "created_at": 1767225600.0,
            "status": told.status,
            "error": dict(told.error) if told.error else None,
            "incomplete_details": {"reason": told.incomplete} if told.incomplete else None,
            "instructions": None,
            "metadata": {},
            "model": body["model"] + "-2026-01-01",
            "output": items,
            "parallel_tool_calls": True,
            "temperature": 1.0,
            "tool_choice": body.get("tool_choice", "auto"),
            "tools": [],
            "top_p": 1.0,
            "store": body.get("store", True),
            "usage": dict(told.usage) if told.usage else usage,
            **told.more,
        }

    def _broken(self, item: Cut | MidStreamError | Hang, body: Mapping[str, Any]) -> Answer:
        events = [_event(e) for e in stream_events(self._response(item.say, body))]
        sent: list[Step] = list(events[: item.after])
        if isinstance(item, Hang):
            return self._sse([*sent, HANG])
        if isinstance(item, MidStreamError):
            return self._sse([*sent, _event(item.error)])
        if item.how == "inside_event":
            sent.append(events[item.after][: len(events[item.after]) // 2])
        self.requests[-1].cut = True
        return [*self._sse(sent, end=False), RESET if item.how == "reset" else CLOSE]

    def _sse(self, pieces: Sequence[Step], *, end: bool = True) -> Answer:
        return chunked(pieces, headers={"content-type": "text/event-stream", **_HEADERS}, end=end)

    def _fail(self, fail: Fail) -> Answer:
        headers = {**_HEADERS, **fail.headers}
        if isinstance(fail.body, bytes):
            return reply(fail.status, fail.body, headers)
        kind = "server_error" if fail.status >= 500 else "invalid_request_error"
        error = {"error": {"message": fail.message, "type": kind, "param": None, "code": None}}
        return json_reply(fail.body if fail.body is not None else error, fail.status, headers)


def _not_found(response_id: str) -> Item:
    """Source: the OpenAI API reference, errors of "Create a model response"."""
    code, about = "previous_response_not_found", "previous_response_id"
    told = f"Previous response with id '{response_id}' not found."
    return {"message": told, "type": "invalid_request_error", "param": about, "code": code}


def _decide(body: Mapping[str, Any]) -> Any:
    """The answer without a script."""
    choice, tools = body.get("tool_choice"), [t for t in body.get("tools") or () if t["type"] == "function"]
    wanted = [
        t for t in tools if choice == "required" or (isinstance(choice, dict) and t["name"] == choice.get("name"))
    ]
    if wanted:
        return [call(wanted[0]["name"], value_for(wanted[0]["parameters"] or {"type": "object"}))]
    form = (body.get("text") or {}).get("format") or {}
    if form.get("type") == "json_schema":
        return json.dumps(value_for(form["schema"]))
    if form.get("type") == "json_object":
        return '{"answer": "text"}'
    return f"Echo: {_last_text(body)}"


def _last_text(body: Mapping[str, Any]) -> str:
    for item in reversed(input_items(body)):
        content = item.get("content") or item.get("output")
        if item.get("role") == "user" or str(item.get("type")).endswith("output"):
            return content if isinstance(content, str) else " ".join(p.get("text", "") for p in content or ())
    return ""


# -- streams ----------------------------------------------------------------------------------------------------------


def _event(event: Mapping[str, Any]) -> bytes:
    return f"event: {event.get('type', 'error')}\ndata: {json.dumps(event)}\n\n".encode()


def stream_events(response: Item) -> Iterator[Item]:
    """The events of a streamed response, numbered."""
    begun = response | {"status": "in_progress", "output": [], "usage": None, "error": None, "incomplete_details": None}
    plain: list[Item] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
    ]
    for index, item in enumerate(response["output"]):
        plain += ({"output_index": index, **e} for e in _item_events(item))
    plain.append({"type": f"response.{response['status']}", "response": response})
    for number, event in enumerate(plain):
        yield {**event, "sequence_number": number}


def _item_events(item: Item) -> Iterator[Item]:
    about = {"item_id": item["id"]}
    match item["type"]:
        case "message":
            yield {"type": "response.output_item.added", "item": item | {"status": "in_progress", "content": []}}
            for i, part in enumerate(item["content"]):
                yield from ({**about, "content_index": i, **e} for e in _content_events(part))
        case "reasoning":
            yield {"type": "response.output_item.added", "item": item | {"summary": [], "encrypted_content": "gAAA"}}
            for i, part in enumerate(item["summary"]):
                place = {**about, "summary_index": i}
                yield {"type": "response.reasoning_summary_part.added", **place, "part": part | {"text": ""}}
                for piece in _pieces(part["text"]):
                    yield {"type": "response.reasoning_summary_text.delta", **place, "delta": piece}
                yield {"type": "response.reasoning_summary_text.done", **place, "text": part["text"]}
                yield {"type": "response.reasoning_summary_part.done", **place, "part": part}
        case "function_call":
            yield {"type": "response.output_item.added", "item": item | {"status": "in_progress", "arguments": ""}}
            for piece in _pieces(item["arguments"]):
                yield {"type": "response.function_call_arguments.delta", **about, "delta": piece}
            done = {"arguments": item["arguments"], "name": item["name"]}
            yield {"type": "response.function_call_arguments.done", **about, **done}
        case "custom_tool_call":
            yield {"type": "response.output_item.added", "item": item | {"input": ""}}
            for piece in _pieces(item["input"]):
                yield {"type": "response.custom_tool_call_input.delta", **about, "delta": piece}
            yield {"type": "response.custom_tool_call_input.done", **about, "input": item["input"]}
        case _:
            yield {"type": "response.output_item.added", "item": item}
    yield {"type": "response.output_item.done", "item": item}


def _content_events(part: Item) -> Iterator[Item]:
    empty = part | ({"text": "", "annotations": []} if part["type"] == "output_text" else {"refusal": ""})
    yield {"type": "response.content_part.added", "part": empty}
    if part["type"] == "refusal":
        yield from ({"type": "response.refusal.delta", "delta": piece} for piece in _pieces(part["refusal"]))
        yield {"type": "response.refusal.done", "refusal": part["refusal"]}
    else:
        for piece in _pieces(part["text"]):
            yield {"type": "response.output_text.delta", "delta": piece, "logprobs": []}
        for i, annotation in enumerate(part["annotations"]):
            yield {
                "type": "response.output_text.annotation.added", "annotation_index": i, "annotation": annotation
            }  # fmt: skip
        yield {"type": "response.output_text.done", "text": part["text"], "logprobs": []}
    yield {"type": "response.content_part.done", "part": part}


def _pieces(text: str) -> list[str]:
    return [text[i : i + 5] for i in range(0, len(text), 5)]
