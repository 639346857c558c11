"""What the OpenAI double says: answers, whole and streamed, in the shapes the imitated servers use."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from testkit.openai_quirks import Quirks
from testkit.schema_values import value_for
from testkit.wire_server import Step

__all__ = ["Call", "Cut", "Fail", "Hang", "MidStreamError", "Say", "Wire", "chunks", "completion", "decide", "vector"]


@dataclass(frozen=True)
class Call:
    """A tool call the model makes. `arguments` is a dict, or raw text (broken JSON included)."""

    name: str
    arguments: Mapping[str, Any] | str = field(default_factory=dict)
    id: str | None = None


@dataclass(frozen=True)
class Say:
    """An answer of the model."""

    text: str | None = None
    reasoning: str | None = None
    calls: Sequence[Call] = ()
    finish: str | None = None
    usage: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)  # more fields of the message


@dataclass(frozen=True)
class Fail:
    """An error status. `body` None gives the shape of the imitated server; bytes are sent as they are."""

    status: int = 500
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    message: str = "scripted failure"


@dataclass(frozen=True)
class Cut:
    """`say`, streamed, and cut after `after` events: politely, inside an event, or with a reset."""

    say: Say | str = "cut"
    after: int = 2
    how: Literal["close", "inside_event", "reset"] = "close"


@dataclass(frozen=True)
class MidStreamError:
    """`say`, streamed; after `after` events an error object comes with the status 200."""

    say: Say | str = "broken"
    after: int = 2
    error: Any = field(default_factory=lambda: {"error": {"code": 502, "message": "Provider disconnected"}})


@dataclass(frozen=True)
class Hang:
    """`say`, streamed; after `after` events nothing more comes until the client leaves."""

    say: Say | str = "slow"
    after: int = 2


@dataclass(frozen=True)
class Wire:
    """Any steps of the wire server, as they are."""

    steps: Sequence[Step]


# -- deciding what to say ---------------------------------------------------------------------------------------------


def decide(body: Mapping[str, Any], quirks: Quirks, number: int) -> Say:
    """The answer without a script: forced calls, JSON of the schema, else an echo of the last user text."""
    forced = _forced_tool(body, quirks)
    if forced is not None:
        arguments = value_for(forced["function"].get("parameters") or {"type": "object"})
        return Say(calls=[Call(forced["function"]["name"], arguments)])
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        return Say(json.dumps(value_for(wanted["json_schema"].get("schema") or {"type": "object"})))
    if wanted.get("type") == "json_object":
        return Say('{"answer": "text"}')
    return Say(f"Echo: {_last_text(body['messages'])}")


def _forced_tool(body: Mapping[str, Any], quirks: Quirks) -> Any:
    choice, tools = body.get("tool_choice"), body.get("tools") or []
    if isinstance(choice, dict):
        return next(t for t in tools if t["function"]["name"] == choice["function"]["name"])
    return tools[0] if choice == quirks.required_word and tools else None


def _last_text(messages: Sequence[Mapping[str, Any]]) -> str:
    for message in reversed(messages):
        content = message.get("content")
        if message["role"] in ("user", "tool") and content:
            return content if isinstance(content, str) else " ".join(p.get("text", f"[{p['type']}]") for p in content)
    return ""


# -- whole answers ----------------------------------------------------------------------------------------------------


def _usage(say: Say, body: Mapping[str, Any], quirks: Quirks) -> dict[str, Any]:
    if say.usage is not None:
        return dict(say.usage)
    prompt = max(1, len(json.dumps(body.get("messages", ""))) // 4)
    answer = max(1, len((say.text or "") + (say.reasoning or "") + str(list(say.calls))) // 4)
    total = prompt + answer + quirks.beside
    thought = {"completion_tokens_details": {"reasoning_tokens": quirks.beside}} if quirks.beside else {}
    plain = {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": total}
    return plain | thought | dict(quirks.usage_more)


def _finish(say: Say, quirks: Quirks) -> str:
    return say.finish or (quirks.finish_with_calls if say.calls else quirks.stop_word)


def _call_id(call: Call, quirks: Quirks, i: int) -> str:
    if call.id is not None:
        return call.id
    return f"call00{i:03d}" if "{9}" in quirks.tool_ids else f"call_double_{i}"


def _arguments(call: Call, quirks: Quirks) -> Any:
    if isinstance(call.arguments, str):
        return call.arguments
    if quirks.arguments == "dict":
        return dict(call.arguments)
    return "" if quirks.arguments == "empty" and not call.arguments else json.dumps(dict(call.arguments))


def _calls(say: Say, quirks: Quirks) -> list[dict[str, Any]]:
    return [
        {
            "id": _call_id(c, quirks, i),
            "type": "function",
            "function": {"name": c.name, "arguments": _arguments(c, quirks)},
        }
        for i, c in enumerate(say.calls)
    ]


def _reasoning(say: Say, quirks: Quirks) -> tuple[Any, dict[str, Any]]:
    """Content and further message fields that carry the reasoning, in the server's way."""
    text, thought = say.text, say.reasoning
    if thought is None or quirks.reasoning == "none":
        return text, {}
    match quirks.reasoning:
        case "think_tags":
            return f"<think>{thought}</think>\n\n{text or ''}", {}
        case "content_parts":
            thinking = {"type": "thinking", "thinking": [{"type": "text", "text": thought}]}
            return [thinking, *([{"type": "text", "text": text}] if text else [])], {}
        case "reasoning_details":
            details = [{"type": "reasoning.text", "text": thought, "signature": "c2lnbmVk", "index": 0}]
            return text, {"reasoning": thought, "reasoning_details": details}
    return text, {quirks.reasoning: thought}


def completion(say: Say, body: Mapping[str, Any], quirks: Quirks, number: int) -> dict[str, Any]:
    """A complete ``chat.completion``."""
    content, more = _reasoning(say, quirks)
    message: dict[str, Any] = {"role": "assistant", "content": content, **more, **say.extra}
    if say.calls:
        message["tool_calls"] = _calls(say, quirks)
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(say, quirks)}
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 1767225600,
        "model": body["model"],
        "choices": [choice | dict(quirks.choice_more)],
        "usage": _usage(say, body, quirks),
        "system_fingerprint": "fp_double",
        **quirks.answer_more,
    }


# -- streamed answers -------------------------------------------------------------------------------------------------


def chunks(say: Say, body: Mapping[str, Any], quirks: Quirks, number: int) -> Iterator[dict[str, Any]]:
    """The ``chat.completion.chunk`` objects of a streamed answer."""
    head = {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion.chunk",
        "created": 1767225600,
        "model": body["model"],
    }

    usage = _usage(say, body, quirks)
    always = {"usage": usage} if quirks.usage_in == "every" else {}

    def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, **quirks.choice_more}
        return {**head, "choices": [choice], **quirks.answer_more, **always}

    if quirks.first_chunk is not None:
        yield dict(quirks.first_chunk)
    yield chunk({"role": "assistant", "content": ""})
    yield from map(chunk, _deltas(say, quirks))
    asked = quirks.usage and ((body.get("stream_options") or {}).get("include_usage") or say.usage is not None)
    last = chunk({}, _finish(say, quirks))
    if quirks.usage_in == "finish":
        last["usage"] = usage
    if quirks.usage_in == "x_groq":
        last["x_groq"] = {"id": "req_groq", "usage": usage}
    yield last
    if quirks.last_chunk is not None:
        yield {**head, **quirks.last_chunk}
    if asked and quirks.usage_in == "chunk":
        yield {**head, "choices": [], "usage": usage}


def _deltas(say: Say, quirks: Quirks) -> Iterator[dict[str, Any]]:
    content, more = _reasoning(say, quirks)
    details = more.pop("reasoning_details", None)
    for name, value in more.items():
        for piece in _pieces(value):
            whole = [{**d, "text": piece, "signature": None} for d in details or ()]
            yield {name: piece, **({"reasoning_details": whole} if details else {})}
    if details:  # the signature comes last, without a text
        yield {"reasoning_details": [{**d, "text": ""} for d in details]}
    for part in content if isinstance(content, list) else ():
        yield {"content": [part]} if part["type"] == "thinking" else {"content": part["text"]}
    if isinstance(content, str):
        yield from ({"content": piece} for piece in _pieces(content))
    if say.extra:
        yield dict(say.extra)
    yield from _call_deltas(_calls(say, quirks), quirks)


def _pieces(text: str) -> list[str]:
    return [text[i : i + 5] for i in range(0, len(text), 5)]


def _call_deltas(calls: list[dict[str, Any]], quirks: Quirks) -> Iterator[dict[str, Any]]:
    for i, call in enumerate(calls):
        place = (
            {}
            if quirks.tools_in_stream == "no_index"
            else {"index": 0 if quirks.tools_in_stream == "same_index" else i}
        )
        arguments = call["function"]["arguments"]
        if quirks.tools_in_stream in ("whole", "same_index", "no_index") or not isinstance(arguments, str):
            yield {"tool_calls": [{**place, **call}]}
            continue
        name = call["function"]["name"]
        yield {"tool_calls": [{**place, **call, "function": {"name": name, "arguments": ""}}]}
        again = {"id": call["id"]} if quirks.tools_in_stream == "repeat_id" else {}
        named = {"name": name} if again else {}
        for piece in _pieces(arguments):
            yield {"tool_calls": [{**place, **again, "function": {**named, "arguments": piece}}]}


# -- embeddings -------------------------------------------------------------------------------------------------------


def vector(text: Any, dimensions: int) -> list[float]:
    """A unit vector that depends on the words of `text` alone; texts that share words are near each other."""
    sums = [0.0] * dimensions
    for word in str(text).lower().split() or [""]:
        seed = hashlib.sha256(word.encode()).digest()
        for i in range(dimensions):
            sums[i] += seed[i % 32] / 127.5 - 1.0 if i < 32 else math.sin(seed[i % 32] * (i + 1))
    length = math.sqrt(sum(v * v for v in sums)) or 1.0
    single: tuple[float, ...] = struct.unpack(
        f"<{dimensions}f", struct.pack(f"<{dimensions}f", *(v / length for v in sums))
    )
    return list(single)


def embeddings(body: Mapping[str, Any], quirks: Quirks, size: int) -> dict[str, Any]:
    """An embeddings answer; items come in reverse order, because `index` and not position says which is which."""
    texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
    wanted = body.get("dimensions", size) if quirks.dimensions else size
    coded = quirks.base64_embeddings and body.get("encoding_format") == "base64"
    data = []
    for i, text in enumerate(texts):
        values: Any = vector(text, wanted)
        if coded:
            values = base64.b64encode(struct.pack(f"<{wanted}f", *values)).decode()
        data.append({"object": "embedding", "index": i, "embedding": values})
    tokens = sum(max(1, len(str(t)) // 4) for t in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data[::-1], "model": body["model"], "usage": usage}
