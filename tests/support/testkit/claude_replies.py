"""What the Claude double says: scripted replies, the improvised ones, and both of their wire forms."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from testkit.claude_rules import flatten, prefix_hash, sign, sign_redacted
from testkit.schema_values import value_for

__all__ = [
    "Failure",
    "Raw",
    "Reply",
    "answer",
    "events_of",
    "failure",
    "image_url_of",
    "improvise",
    "raw",
    "redacted",
    "text",
    "thinking",
    "tool_use",
]

Block = dict[str, Any]

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}


@dataclass
class Reply:
    """An answer of the model.

    Attributes:
        content: blocks; thinking without a signature is signed when it is sent, bound to the conversation.
        stop_reason: derived from the content when None.
        usage: replaces or adds to the counted figures.
        pieces: how many deltas each text, thinking and tool input is streamed in.
        pause: seconds between streamed events (or before a whole answer): what abandonment tests interrupt.
        cut_after: close the connection after that many streamed events (0: before the first).
        error_after: (events, error type, message): an ``error`` event inside the stream, then its end.
        extra_events: raw ``(event, data)`` pairs put after the first event.
    """

    content: list[Block]
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: dict[str, Any] | None = None
    usage: dict[str, Any] = field(default_factory=dict)
    model: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    pieces: int = 3
    pause: float = 0.0
    cut_after: int | None = None
    error_after: tuple[int, str, str] | None = None
    extra_events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)


@dataclass
class Failure:
    """An error status with the API's error body."""

    status: int
    message: str = "scripted"
    type: str | None = None
    details: dict[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self, request_id: str) -> bytes:
        error: dict[str, Any] = {
            "type": self.type or _ERROR_TYPES.get(self.status, "api_error"),
            "message": self.message,
        }
        if self.details is not None:
            error["details"] = self.details
        return json.dumps({"type": "error", "error": error, "request_id": request_id}).encode()


@dataclass
class Raw:
    """Exactly these bytes: what proxies and broken servers answer."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


def text(content: str, *, citations: list[dict[str, Any]] | None = None) -> Block:
    """A text block."""
    return {"type": "text", "text": content} | ({"citations": citations} if citations else {})


def thinking(content: str) -> Block:
    """A thinking block, signed when it is sent."""
    return {"type": "thinking", "thinking": content, "signature": None}


def redacted(hidden: str = "hidden") -> Block:
    """A redacted thinking block."""
    return {"type": "redacted_thinking", "data": sign_redacted(hidden)}


def tool_use(name: str, arguments: Mapping[str, Any], id: str | None = None) -> Block:
    """A tool call; without `id` it gets one when it is sent."""
    return {"type": "tool_use", "id": id, "name": name, "input": dict(arguments)}


def answer(*content: Block | str, **options: Any) -> Reply:
    """A `Reply` of these blocks; plain strings are text blocks."""
    return Reply([text(c) if isinstance(c, str) else c for c in content], **options)


def failure(status: int, message: str = "scripted", **options: Any) -> Failure:
    """A `Failure`."""
    return Failure(status, message, **options)


def raw(status: int, body: bytes | str, content_type: str = "application/json", **headers: str) -> Raw:
    """A `Raw`."""
    return Raw(status, body.encode() if isinstance(body, str) else body, content_type, headers)


def image_url_of(data: bytes) -> str:
    """A ``data:`` URL of PNG bytes, as OpenAI-shaped tests write images."""
    import base64

    return "data:image/png;base64," + base64.b64encode(data).decode()


# -- improvisation --------------------------------------------------------------------------------------------------


def improvise(body: Mapping[str, Any]) -> Reply:
    """What an obedient model would say: forced and offered tools are called once, schemas are filled, else an echo.

    The last user text decides: tools whose names it contains are called (all of them, in parallel, when the request
    allows), otherwise the first one; after a tool result the answer quotes the results.
    """
    blocks: list[Block] = []
    thinks = body.get("thinking", {}).get("type") in ("adaptive", "enabled")
    said, results = _last_turn(body)
    calls = _calls(body, said) if not results else []
    forced = body.get("tool_choice", {}).get("type") in ("any", "tool")
    if thinks and not forced:
        blocks.append(thinking(f"The user wants: {said or 'the tool results read'}"))
    if calls:
        return Reply([*blocks, *calls])
    wanted = body.get("output_config", {}).get("format")
    if wanted:
        return Reply([*blocks, text(json.dumps(value_for(wanted["schema"])))])
    return _limited(body, blocks, f"The tools said: {'; '.join(results)}" if results else f"You said: {said}")


def _last_turn(body: Mapping[str, Any]) -> tuple[str, list[str]]:
    users = [m for m in body["messages"] if m["role"] == "user"]
    content = users[-1]["content"]
    if isinstance(content, str):
        return content, []
    said = " ".join(b["text"] for b in content if b["type"] == "text")
    return said, [_result_text(b) for b in content if b["type"] == "tool_result"]


def _result_text(block: Block) -> str:
    content = block.get("content", "")
    if isinstance(content, str):
        return content
    return " ".join(b.get("text", f"<{b['type']}>") for b in content)


def _calls(body: Mapping[str, Any], said: str) -> list[Block]:
    tools = [t for t in body.get("tools", []) if "input_schema" in t]
    choice = body.get("tool_choice", {"type": "auto"})
    if not tools or choice["type"] == "none":
        return []
    if choice["type"] == "tool":
        tools = [t for t in tools if t["name"] == choice["name"]]
    named = [t for t in tools if t["name"] in said] or tools[:1]
    if choice.get("disable_parallel_tool_use"):
        named = named[:1]
    return [tool_use(t["name"], value_for(t["input_schema"], text=said or "text")) for t in named]


def _limited(body: Mapping[str, Any], blocks: list[Block], said: str) -> Reply:
    for stop in body.get("stop_sequences", ()):
        if stop in said:
            kept = said.split(stop)[0]
            return Reply([*blocks, text(kept)] if kept.strip() else blocks, "stop_sequence", stop)
    words = said.split(" ")
    if len(words) > body.get("max_tokens", 1 << 60):
        return Reply([*blocks, text(" ".join(words[: body["max_tokens"]]))], "max_tokens")
    return Reply([*blocks, text(said)])


# -- wire forms -----------------------------------------------------------------------------------------------------


def count_tokens(node: Any) -> int:
    """Words of every string inside: not Claude's tokenizer, but it grows with the prompt."""
    if isinstance(node, str):
        return len(node.split()) if len(node) < 10_000 else 1000
    if isinstance(node, Mapping):
        return sum(count_tokens(v) for v in node.values())
    return sum(count_tokens(v) for v in node) if isinstance(node, list) else 0


def message_of(reply: Reply, body: Mapping[str, Any], serial: int, cached: bool) -> dict[str, Any]:
    """The whole ``message`` object: ids given, thinking signed, usage counted."""
    content: list[Block] = []
    before = flatten(body["messages"])
    for i, block in enumerate(reply.content):
        block = dict(block)
        if block["type"] == "tool_use" and block["id"] is None:
            block["id"] = f"toolu_{serial:04d}{i:02d}"
        if block["type"] == "thinking" and block["signature"] is None:
            prefix = prefix_hash(body, before + [("assistant", b) for b in content])
            block["signature"] = sign(block["thinking"], prefix)
        content.append(block)
    stop = reply.stop_reason or ("tool_use" if any(b["type"] == "tool_use" for b in content) else "end_turn")
    return {
        "id": f"msg_{serial:04d}",
        "type": "message",
        "role": "assistant",
        "model": reply.model or body["model"],
        "content": content,
        "stop_reason": stop,
        "stop_sequence": reply.stop_sequence,
        "stop_details": reply.stop_details,
        "usage": _usage(reply, body, content, cached),
    }


def _usage(reply: Reply, body: Mapping[str, Any], content: list[Block], cached: bool) -> dict[str, Any]:
    total = count_tokens({k: body.get(k, "") for k in ("system", "tools", "messages")}) + 3
    thought = count_tokens([b["thinking"] for b in content if b["type"] == "thinking"])
    written = total - 1 if "cache_control" in body and not cached else 0
    read = total - 1 if "cache_control" in body and cached else 0
    return {
        "input_tokens": total - written - read,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "cache_creation": {"ephemeral_5m_input_tokens": written, "ephemeral_1h_input_tokens": 0},
        "output_tokens": count_tokens([b for b in content if b["type"] != "thinking"]) + thought,
        "output_tokens_details": {"thinking_tokens": thought},
        "service_tier": "standard",
    } | reply.usage


def events_of(message: dict[str, Any], pieces: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """The server-sent events a streamed answer is made of: (event, data)."""
    usage = message["usage"]
    start = message | {"content": [], "stop_reason": None, "stop_sequence": None, "stop_details": None}
    yield "message_start", {"type": "message_start", "message": start | {"usage": usage | {"output_tokens": 1}}}
    yield "ping", {"type": "ping"}
    for index, block in enumerate(message["content"]):
        for data in _block_events(block, index, pieces):
            yield data["type"], data
    delta = {k: message[k] for k in ("stop_reason", "stop_sequence", "stop_details")}
    kept = (
        "input_tokens",
        "cache_creation_input_tokens",
        "cache_read_input_tokens",
        "output_tokens",
        "output_tokens_details",
    )
    final = {k: usage[k] for k in kept if k in usage}
    yield "message_delta", {"type": "message_delta", "delta": delta, "usage": final}
    yield "message_stop", {"type": "message_stop"}


def _block_events(block: Block, index: int, pieces: int) -> Iterator[dict[str, Any]]:
    empty, deltas = _deltas(block, pieces)
    yield {"type": "content_block_start", "index": index, "content_block": empty}
    for delta in deltas:
        yield {"type": "content_block_delta", "index": index, "delta": delta}
    yield {"type": "content_block_stop", "index": index}


def _deltas(block: Block, pieces: int) -> tuple[Block, list[Block]]:
    match block["type"]:
        case "text":
            empty = block | {"text": ""} | ({"citations": []} if "citations" in block else {})
            cites = [{"type": "citations_delta", "citation": c} for c in block.get("citations") or ()]
            return empty, [{"type": "text_delta", "text": p} for p in _cut(block["text"], pieces)] + cites
        case "thinking":
            deltas = [{"type": "thinking_delta", "thinking": p} for p in _cut(block["thinking"], pieces)]
            signature = {"type": "signature_delta", "signature": block["signature"]}
            return block | {"thinking": "", "signature": ""}, [*deltas, signature]
        case "tool_use" | "server_tool_use" | "mcp_tool_use":
            parts = ["", *_cut(json.dumps(block["input"]), pieces)] if block["input"] else [""]
            return block | {"input": {}}, [{"type": "input_json_delta", "partial_json": p} for p in parts]
    return block, []


def _cut(content: str, pieces: int) -> list[str]:
    size = max(1, -(-len(content) // pieces))
    return [content[i : i + size] for i in range(0, len(content), size)]
