"""Writes the offline server's answers as an OpenAI-style server would: bodies, stream events, error objects.

A streamed answer is a plan: bytes to send, pauses to make, and how it breaks. The driver carries the plan out; nothing
here waits or raises on its way.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, Union

from unified_llm import _json
from unified_llm.errors import ConfigurationError, StreamInterruptedError
from unified_llm.messages import ToolCall
from unified_llm.offline.requests import RecordedRequest
from unified_llm.offline.script import Cut, Failure, Reply
from unified_llm.offline.tokens import count_prompt, count_text, split_text

__all__ = ["Action", "Break", "Pause", "completion", "embeddings", "error_body", "model_list", "stream_plan"]


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing arrives for `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Break:
    """The transport fails with `error`."""

    error: Exception


Action: TypeAlias = Union[bytes, Pause, Break]

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    529: "overloaded_error",
}


def error_body(failure: Failure) -> bytes:
    """The body of an error answer."""
    if isinstance(failure.body, bytes):
        return failure.body
    if isinstance(failure.body, str):
        return failure.body.encode()
    return _json.dumps(_error_object(failure) if failure.body is None else failure.body)


def _error_object(failure: Failure) -> dict[str, Any]:
    kind = _ERROR_TYPES.get(failure.status, "server_error" if failure.status >= 500 else "invalid_request_error")
    return {"error": {"message": failure.message, "type": kind, "param": None, "code": failure.code}}


# -- complete answers -------------------------------------------------------------------------------------------------


def completion(reply: Reply, request: RecordedRequest) -> bytes:
    """The body of an answer that is not streamed."""
    message: dict[str, Any] = {
        "role": "assistant",
        "content": reply.text if reply.text or not reply.tool_calls else None,
    }
    if reply.thinking is not None:
        message["reasoning_content"] = reply.thinking
    if reply.tool_calls:
        message["tool_calls"] = [_whole_call(call) for call in reply.tool_calls]
    body = _frame(reply, request, "chat.completion") | {
        "choices": [{"index": 0, "message": message, "finish_reason": _finish(reply), "logprobs": None}],
        **_usage_field(reply, request),
    }
    return _json.dumps(body)


def _whole_call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments_json}}


def _frame(reply: Reply, request: RecordedRequest, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-offline-{request.number}",
        "object": kind,
        "created": 0,  # no clock here: the same request gives the same bytes
        "model": reply.model or request.model,
    }


def _finish(reply: Reply) -> str:
    return reply.finish_reason or ("tool_calls" if reply.tool_calls else "stop")


def _usage_field(reply: Reply, request: RecordedRequest) -> dict[str, Any]:
    if reply.usage is not None:
        return {"usage": dict(reply.usage)} if reply.usage else {}
    thinking = count_text(reply.thinking or "")
    called = sum(count_text(c.name) + count_text(c.arguments_json) for c in reply.tool_calls)
    prompt, output = count_prompt(request.body), thinking + count_text(reply.text) + called
    usage: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}
    if reply.thinking is not None:
        usage["completion_tokens_details"] = {"reasoning_tokens": thinking}
    return {"usage": usage}


# -- streamed answers -------------------------------------------------------------------------------------------------


def stream_plan(reply: Reply, request: RecordedRequest) -> Iterator[Action]:
    """What a streamed answer sends, when, and how it breaks."""
    actions: Iterable[Action] = _uncut(reply, request) if reply.cut is None else _cut(reply, request, reply.cut)
    return iter(actions) if reply.read_size is None else _recut(actions, reply.read_size)


def _uncut(reply: Reply, request: RecordedRequest) -> Iterator[Action]:
    frame = _frame(reply, request, "chat.completion.chunk")
    yield _chunk(frame, {"role": "assistant", "content": ""})
    for delta in _deltas(reply):
        if reply.chunk_delay:
            yield Pause(reply.chunk_delay)
        yield _chunk(frame, delta)
    yield _chunk(frame, {}, _finish(reply))
    if (request.body.get("stream_options") or {}).get("include_usage"):
        usage = _usage_field(reply, request)
        if usage:
            yield _event(frame | {"choices": []} | usage)
    yield b"data: [DONE]\n\n"


def _event(value: Mapping[str, Any]) -> bytes:
    return b"data: " + _json.dumps(value) + b"\n\n"


def _chunk(frame: Mapping[str, Any], delta: Mapping[str, Any], finish: str | None = None) -> bytes:
    return _event({**frame, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def _deltas(reply: Reply) -> Iterator[dict[str, Any]]:
    for piece in _pieces(reply.thinking or "", reply.chunk_size):
        yield {"reasoning_content": piece}
    for piece in _pieces(reply.text, reply.chunk_size):
        yield {"content": piece}
    for index, call in enumerate(reply.tool_calls):
        head = {"index": index, "id": call.id, "type": "function"}
        yield {"tool_calls": [head | {"function": {"name": call.name, "arguments": ""}}]}
        for piece in _pieces(call.arguments_json, reply.chunk_size):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _pieces(text: str, size: int | None) -> list[str]:
    if size is None:
        return split_text(text)
    return [text[at : at + size] for at in range(0, len(text), size)]


def _cut(reply: Reply, request: RecordedRequest, cut: Cut) -> Iterator[Action]:
    yield from _first_deltas(_uncut(reply, request), cut)
    if cut.error is not None:
        yield _event(_error_object(cut.error) | {"status": cut.error.status})
    elif not cut.clean:
        yield Break(broken_connection())


def broken_connection() -> StreamInterruptedError:
    """What a transport raises when the peer goes away in mid-body."""
    return StreamInterruptedError(
        "the connection broke before the end of the answer", hint="send the request again; .partial holds what came"
    )


def _first_deltas(events: Iterator[Action], cut: Cut) -> Iterator[Action]:
    """The opening event, `cut.after` deltas, and the part of the next event that still arrives."""
    seen = -1  # the opening event has no content
    for action in events:
        if seen < cut.after:
            yield action
            seen += isinstance(action, bytes)
        elif cut.where == "event":
            return
        elif isinstance(action, bytes) and (at := _cut_position(action, cut)) is not None:
            yield action[:at]
            return
        else:
            yield action
    if cut.where == "inside_character":
        raise ConfigurationError(
            f"no event after the first {cut.after} has a character of several bytes",
            provider="offline",
            hint="script a text with a character such as 'é' or '你' late enough",
        )


def _cut_position(event: bytes, cut: Cut) -> int | None:
    if cut.where == "inside_event":
        return len(event) // 2
    return next((at + 1 for at, byte in enumerate(event) if byte >= 0xC0), None)  # after the first byte of a character


def _recut(actions: Iterable[Action], size: int) -> Iterator[Action]:
    """The same bytes in reads of `size`; a pause or a break sends what is there first."""
    buffer = b""
    for action in actions:
        if isinstance(action, bytes):
            buffer += action
            while len(buffer) >= size:
                yield buffer[:size]
                buffer = buffer[size:]
            continue
        if buffer:
            yield buffer
            buffer = b""
        yield action
    if buffer:
        yield buffer


# -- embeddings and models --------------------------------------------------------------------------------------------


def embeddings(vectors: Iterable[Any], request: RecordedRequest) -> bytes:
    """The body of an embeddings answer; `vectors` are arrays of float32."""
    as_text = request.body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": i, "embedding": base64.b64encode(v).decode() if as_text else v.tolist()}
        for i, v in enumerate(vectors)
    ]
    tokens = sum(map(count_text, request.texts))
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return _json.dumps({"object": "list", "data": data, "model": request.model, "usage": usage})


def model_list(ids: Iterable[str]) -> bytes:
    """The body of a list of models."""
    return _json.dumps(
        {"object": "list", "data": [{"id": i, "object": "model", "created": 0, "owned_by": "offline"} for i in ids]}
    )
