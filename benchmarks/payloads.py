"""What is asked and what is answered, the same for every client."""

from __future__ import annotations

import base64
import json
from array import array
from typing import Any, Final

MODEL: Final = "bench-model"
CLAUDE_MODEL: Final = "claude-sonnet-5-5"
ANSWER: Final = "The capital of France is Paris, and it has been for most of the last thousand years."
CHUNKS: Final = 2000
WORDS: Final = [f" word{i % 97}" for i in range(CHUNKS)]
VECTORS: Final = 2048
DIMENSIONS: Final = 1536
TEXTS: Final = [f"text number {i}" for i in range(VECTORS)]

CHAT_MESSAGES: Final[list[dict[str, Any]]] = [{"role": "user", "content": "What is the capital of France?"}]


def agent_messages() -> list[dict[str, Any]]:
    """The history of an agent: a system prompt and 25 rounds of question, tool call, tool result, answer: 101."""
    history: list[dict[str, Any]] = [{"role": "system", "content": "You are a careful assistant. " * 20}]
    for i in range(25):
        call = {"name": "tool_3", "arguments": json.dumps({"query": f"item {i}", "limit": 10})}
        history += [
            {"role": "user", "content": f"Question {i}: " + "what do we know about this item? " * 4},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": f"call_{i}", "type": "function", "function": call}],
            },
            {
                "role": "tool",
                "tool_call_id": f"call_{i}",
                "content": json.dumps({"rows": [f"row {i} {j}" for j in range(10)]}),
            },
            {"role": "assistant", "content": f"Answer {i}: " + "this is what the rows say about it. " * 4},
        ]
    history[-1] = {"role": "user", "content": "And what about all of them together?"}
    return history


def _rows(i: int) -> str:
    return json.dumps({"rows": [f"row {i} {j}" for j in range(10)]})


def tools() -> list[dict[str, Any]]:
    """Twenty tools with a JSON Schema of usual size, in the OpenAI shape."""
    return [{"type": "function", "function": _function(i)} for i in range(20)]


def _function(i: int) -> dict[str, Any]:
    properties = {
        "query": {"type": "string", "description": "What to look for."},
        "limit": {"type": "integer", "description": "Most rows to return.", "minimum": 1, "maximum": 100},
        "order": {"type": "string", "enum": ["new", "old", "best"], "description": "Which rows come first."},
        "filters": {"type": "array", "items": {"type": "string"}, "description": "Only rows with these tags."},
    }
    schema = {"type": "object", "properties": properties, "required": ["query"]}
    return {"name": f"tool_{i}", "description": f"Searches source number {i} and returns rows.", "parameters": schema}


def vector(row: int) -> list[float]:
    """The embedding of text `row`: float32 values, so that every encoding carries them exactly."""
    return array("f", [((row * 31 + i * 17) % 1000) / 1000 - 0.5 for i in range(DIMENSIONS)]).tolist()


# -- answers, as bytes ----------------------------------------------------------------------------------------------


def chat_answer() -> bytes:
    """One chat completion."""
    return _json(
        {
            "id": "chatcmpl-9f2c",
            "object": "chat.completion",
            "created": 1764000000,
            "model": MODEL,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": ANSWER, "refusal": None},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 14, "completion_tokens": 20, "total_tokens": 34},
            "system_fingerprint": "fp_1",
        }
    )


def chat_stream() -> bytes:
    """`CHUNKS` text chunks, finish, usage and the end mark."""
    first = {"role": "assistant", "content": ""}
    deltas = [first, *({"content": word} for word in WORDS)]
    events = [_chunk([{"index": 0, "delta": d, "logprobs": None, "finish_reason": None}]) for d in deltas]
    events.append(_chunk([{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}]))
    usage = {"prompt_tokens": 14, "completion_tokens": CHUNKS, "total_tokens": CHUNKS + 14}
    events.append(_chunk([], usage))
    return _chunked([*(b"data: " + e + b"\n\n" for e in events), b"data: [DONE]\n\n"])


def _chunk(choices: list[dict[str, Any]], usage: dict[str, int] | None = None) -> bytes:
    common = {"id": "chatcmpl-9f2c", "object": "chat.completion.chunk", "created": 1764000000, "model": MODEL}
    return _json({**common, "system_fingerprint": "fp_1", "choices": choices, "usage": usage})


def embeddings(first: int, count: int, *, encoded: bool) -> bytes:
    """The embeddings of `count` of `TEXTS` from the `first` on, as base64 or as JSON numbers."""
    rows = [vector(i) for i in range(first, first + count)]
    values: list[Any] = [base64.b64encode(array("f", r)).decode() for r in rows] if encoded else rows
    data = [{"object": "embedding", "index": i, "embedding": v} for i, v in enumerate(values)]
    usage = {"prompt_tokens": 4 * count, "total_tokens": 4 * count}
    return _json({"object": "list", "data": data, "model": MODEL, "usage": usage})


def claude_answer() -> bytes:
    """One Claude message."""
    return _json(
        {
            "id": "msg_01",
            "type": "message",
            "role": "assistant",
            "model": CLAUDE_MODEL,
            "content": [{"type": "text", "text": ANSWER}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 14, "output_tokens": 20},
        }
    )


def claude_stream() -> bytes:
    """`CHUNKS` text deltas inside one content block."""
    message = {**json.loads(claude_answer()), "content": [], "stop_reason": None}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}} for word in WORDS),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": CHUNKS},
        },
        {"type": "message_stop"},
    ]
    return _chunked([b"event: " + e["type"].encode() + b"\ndata: " + _json(e) + b"\n\n" for e in events])


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _chunked(pieces: list[bytes]) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in [*pieces, b""])
