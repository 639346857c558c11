"""Keys of message dictionaries: read, told, or refused, and never dropped in silence."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from testkit.wire_server import WireServer, json_reply
from unified_llm import (
    Image,
    InvalidMessageError,
    Message,
    Opaque,
    Text,
    Thinking,
    UnifiedLLM,
    UnsupportedOptionError,
)
from unified_llm.message_formats import normalize_messages
from unified_llm.responses import Adjustment

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n....").decode()


def noted(*messages: dict[str, Any]) -> list[str]:
    notes: list[Adjustment] = []
    normalize_messages(messages, notes)
    assert all(note.kind == "dropped" and note.reason for note in notes)
    return [note.what for note in notes]


@pytest.mark.parametrize(
    ("message", "says", "guess"),
    [
        ({"role": "user", "contnet": "x"}, "unknown key 'contnet'", "'content'"),
        ({"rol": "user", "content": "x"}, "unknown key 'rol'", "'role'"),
        ({"role": "assistant", "content": "x", "tool_call": []}, "'tool_call'", "'tool_calls'"),
        ({"role": "tool", "content": "x", "tool_callid": "c"}, "'tool_callid'", "'tool_call_id'"),
        ({"role": "user", "content": "x", "zzz": 1}, "unknown key 'zzz'", "leave it out"),
        ({"role": "user", "content": [{"type": "text", "text": "x", "txet": "y"}]}, r"content\[0\]", "'text'"),
        (
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "is_eror": True}]},
            "'is_eror'",
            "'is_error'",
        ),
    ],
)
def test_a_key_that_no_format_has_is_refused_with_the_nearest(message: dict[str, Any], says: str, guess: str) -> None:
    with pytest.raises(InvalidMessageError, match=says) as caught:
        normalize_messages(["hello", message])
    assert guess in str(caught.value.hint)
    assert "messages[1]" in str(caught.value)
    with pytest.raises(InvalidMessageError, match=says):
        Message.from_dict(message)


async def test_what_another_format_says_and_no_request_carries_is_recorded_everywhere() -> None:
    noted_in = {"type": "text", "text": "x", "annotations": [{"url": "u"}]}
    message = {"role": "user", "content": [noted_in], "prefix": True}
    expected = ["messages[0].prefix", "messages[0].content[0].annotations"]
    llm = UnifiedLLM("offline")
    answers = [
        llm.chat([message]),
        await llm.chat_async([message]),
        llm.stream([message]).get_response(),
        await llm.stream_async([message]).get_response(),
    ]
    assert [[a.what for a in answer.adjustments] for answer in answers] == [expected] * 4
    assert "extra_body" in answers[0].adjustments[0].reason
    with pytest.raises(UnsupportedOptionError, match="prefix") as caught:
        llm.chat([message], on_unsupported="error")
    assert caught.value.hint


def test_inside_tool_results_too() -> None:
    inner = {"type": "text", "text": "y", "annotations": [{"url": "u"}]}
    block = {"type": "tool_result", "tool_use_id": "c", "content": [inner]}
    assert noted({"role": "user", "content": [block]}) == ["messages[0].content[0].content[0].annotations"]


def test_keys_without_a_value_and_records_of_an_answer_say_nothing() -> None:
    sdk_dump: dict[str, Any] = {
        "role": "assistant",
        "content": "x",
        "refusal": None,
        "audio": None,
        "annotations": [],
        "function_call": None,
        "tool_calls": None,
    }
    anthropic_dump: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": "x", "citations": None}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 1},
    }
    assert noted(sdk_dump, anthropic_dump) == []


def test_vendors_spellings_are_read() -> None:
    signed = {"type": "thinking", "thinking": "hm", "signature": "s"}
    details = [{"type": "reasoning.text", "text": "hm"}]
    said: list[dict[str, Any]] = [
        {"role": "assistant", "content": None, "refusal": "I cannot."},
        {"role": "assistant", "content": "x", "thinking": "hm"},
        {"role": "assistant", "content": "x", "reasoning_content": "hm", "thinking_blocks": [signed]},
        {"role": "user", "content": "x", "images": [PNG, f"data:image/png;base64,{PNG}"]},
        {"role": "assistant", "content": "x", "reasoning_details": details},
    ]
    refusal, ollama, litellm, images, openrouter = (m.parts for m in normalize_messages(said))
    assert refusal == (Text("I cannot."),)
    assert ollama == (Thinking("hm"), Text("x"))
    assert litellm == (Thinking("hm", "s"), Text("x"))
    assert images == (Text("x"), *[Image(data=base64.b64decode(PNG))] * 2)
    assert isinstance(openrouter[1], Opaque)
    assert openrouter[1].native.raw["reasoning_details"] == details
    assert noted(*said) == []


def test_what_openrouter_wants_back_goes_back_to_it() -> None:
    body = {"model": "m", "choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}}]}
    details = [{"type": "reasoning.text", "text": "hm"}]
    history: list[dict[str, Any]] = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": "y", "reasoning_details": details},
        {"role": "user", "content": "z"},
    ]
    with (
        WireServer(json_reply(body)) as server,
        UnifiedLLM("openrouter", base_url=server.url + "/v1", model="m", api_key="0123456789abcdef") as llm,
    ):
        llm.chat(history)
    assert server.requests[0].json()["messages"][1]["reasoning_details"] == details
