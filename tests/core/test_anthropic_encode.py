"""Histories to the Anthropic dialect. Every body passes the request types of the SDK and the API's documented rules."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testkit.claude_calls import CONTEXT, decode, decoded_fixture, encode, events, judged, request
from testkit.claude_rules import sign, sign_redacted
from unified_llm import InvalidMessageError, InvalidRequestError, Message, UnsupportedOptionError
from unified_llm.codecs.anthropic_messages import AnthropicMessages
from unified_llm.message_dumps import dump_message, load_message
from unified_llm.messages import (
    Audio,
    File,
    Image,
    Native,
    Opaque,
    Origin,
    Part,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from unified_llm.stream import Accumulator

PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)
OLD = "claude-haiku-4-5"
CALL = ToolCall("get_weather", {"city": "Paris"}, "toolu_1")


def contents(body: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(m["role"], m["content"]) for m in body["messages"]]


def reasons(adjustments: tuple[Any, ...]) -> list[tuple[str, str]]:
    return [(a.kind, a.what) for a in adjustments]


# -- system prompts and turns -------------------------------------------------------------------------------------


def test_the_smallest_request_has_model_max_tokens_and_messages_only() -> None:
    body, adjustments = encode("Hi")
    assert body == {
        "model": "claude-sonnet-5-5",
        "max_tokens": 16384,
        "messages": [{"role": "user", "content": "Hi"}],
    }
    assert adjustments == ()


def test_leading_system_messages_become_the_system_field() -> None:
    body, adjustments = encode([Message("system", "Be kind."), Message("system", "Be brief."), Message("user", "Hi")])
    assert body["system"] == [{"type": "text", "text": "Be kind."}, {"type": "text", "text": "Be brief."}]
    assert encode([Message("system", "Be kind."), Message("user", "Hi")])[0]["system"] == "Be kind."
    assert adjustments == ()


def test_a_later_system_message_stays_in_its_place_where_the_model_follows_it() -> None:
    talk = [Message("user", "a"), Message("assistant", "b"), Message("user", "c"), Message("system", "In French.")]
    body, adjustments = encode(talk, "claude-opus-5-5")
    assert contents(body)[-1] == ("system", "In French.")
    assert "system" not in body
    assert adjustments == ()


def test_a_system_message_before_its_user_message_is_sent_after_it_and_recorded() -> None:
    talk = [
        Message("user", "a"),
        Message("assistant", "b"),
        Message("system", "In French."),
        Message("system", "Briefly."),
        Message("user", "c"),
    ]
    body, adjustments = encode(talk, "claude-opus-5-5")
    both = [{"type": "text", "text": "In French."}, {"type": "text", "text": "Briefly."}]
    assert contents(body)[2:] == [("user", "c"), ("system", both)]
    assert reasons(adjustments) == [("changed", "messages[2]")]


def test_a_later_system_message_is_user_text_where_the_model_has_no_such_turns() -> None:
    talk = [Message("user", "a"), Message("assistant", "b"), Message("system", "In French."), Message("user", "c")]
    body, adjustments = encode(talk, OLD)
    assert contents(body)[-1][1] == [
        {"type": "text", "text": "<system>\nIn French.\n</system>"},
        {"type": "text", "text": "c"},
    ]
    assert reasons(adjustments) == [("changed", "messages[2]")]


def test_a_system_message_right_after_an_assistant_turn_is_user_text() -> None:
    talk = [Message("user", "a"), Message("assistant", "b"), Message("system", "Go on.")]
    body, adjustments = encode(talk, "claude-opus-5-5")
    assert contents(body)[-1] == ("user", "<system>\nGo on.\n</system>")
    assert reasons(adjustments) == [("changed", "messages[2]")]


def test_turns_of_one_role_are_merged() -> None:
    talk = [Message("user", "a"), Message("user", "b"), Message("assistant", "c"), Message("assistant", "d")]
    body, _ = encode([*talk, Message("user", "e")])
    assert [role for role, _ in contents(body)] == ["user", "assistant", "user"]
    assert [b["text"] for b in contents(body)[1][1]] == ["c", "d"]


def test_an_assistant_who_speaks_first_gets_a_neutral_opening_and_a_record() -> None:
    body, adjustments = encode([Message("assistant", "Welcome!"), Message("user", "Hi")])
    assert [role for role, _ in contents(body)] == ["user", "assistant", "user"]
    assert reasons(adjustments) == [("changed", "messages")]


def test_white_space_is_not_sent_and_recorded_where_there_was_some() -> None:
    body, adjustments = encode([Message("user", [Text("Hi"), Text(""), Text(" \n")])])
    assert contents(body) == [("user", "Hi")]
    assert reasons(adjustments) == [("lost", "messages[0].parts[2]")]


def test_a_conversation_that_ends_with_the_assistant_is_refused_where_it_cannot_be_continued() -> None:
    talk = [Message("user", "a"), Message("assistant", "The answer is ")]
    with pytest.raises(InvalidMessageError, match="ends with an assistant message") as caught:
        encode(talk)
    assert caught.value.hint
    body, adjustments = encode(talk, OLD)
    assert contents(body)[-1] == ("assistant", "The answer is")
    assert reasons(adjustments) == [("changed", "messages")]


def test_a_turn_that_paused_after_plain_text_goes_back_as_it_is_streamed_or_not() -> None:
    message: dict[str, Any] = {"content": [{"type": "text", "text": "First, "}], "stop_reason": "pause_turn"}
    lines = [
        {"type": "message_start", "message": {"model": "m"}},
        {"type": "content_block_start", "index": 0, "content_block": message["content"][0]},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "pause_turn"}},
        {"type": "message_stop"},
    ]
    found = events([b"data: " + json.dumps(line).encode() + b"\n\n" for line in lines])
    streamed = Accumulator()
    for event in found:
        streamed.add(event)
    origin = Origin("claude", "anthropic", "claude-sonnet-5-5")
    for paused in (decode(message).message, streamed.response(origin=origin).message):
        kept = load_message(json.loads(json.dumps(dump_message(paused))))
        assert kept == paused
        call = AnthropicMessages().encode(request([Message("user", "Research."), kept]), CONTEXT)
        assert json.loads(call.body or b"")["messages"][-1] == {"role": "assistant", "content": "First, "}
    ended = decode(message | {"stop_reason": "end_turn"}).message
    assert "paused" not in dump_message(ended)["origin"]
    with pytest.raises(InvalidMessageError, match="ends with an assistant message"):
        encode([Message("user", "Research."), ended])


def test_a_paused_turn_goes_back_as_it_is() -> None:
    paused = decoded_fixture("pause_turn")
    body, adjustments = encode([Message("user", "Research."), paused.message])
    assert contents(body)[-1] == ("assistant", paused.raw["content"])
    assert adjustments == ()


def test_a_system_prompt_alone_is_refused() -> None:
    with pytest.raises(InvalidMessageError, match="nothing to send"):
        AnthropicMessages().encode(request([Message("system", "x"), Message("user", " ")]), CONTEXT)


def test_names_of_speakers_are_recorded_as_not_sent() -> None:
    assert reasons(encode([Message("user", "Hi", name="Ana")])[1]) == [("changed", "messages[0].name")]


# -- media --------------------------------------------------------------------------------------------------------


def test_an_image_is_sent_as_base64_url_or_file_id() -> None:
    parts: list[Part] = [
        Image(data=PNG, media_type="image/png"),
        Image(url="https://example.com/a.png"),
        Image(file_id="file_1"),
    ]
    body, _ = encode([Message("user", [*parts, Text("What is it?")])])
    sources = [b["source"] for b in contents(body)[0][1][:3]]
    assert base64.b64decode(sources[0]["data"]) == PNG
    assert sources[1:] == [{"type": "url", "url": "https://example.com/a.png"}, {"type": "file", "file_id": "file_1"}]


def test_documents_are_pdf_or_text_with_their_name() -> None:
    parts = [
        File(data=b"%PDF-1.7 x", media_type="application/pdf", name="a.pdf"),
        File(data="é".encode(), media_type="text/markdown", name="b.md"),
        File(data=b'{"a": 1}', media_type="application/json"),
        File(url="https://example.com/c.pdf"),
        File(file_id="file_2"),
    ]
    blocks = contents(encode([Message("user", parts)])[0])[0][1]
    assert [b["source"]["type"] for b in blocks] == ["base64", "text", "text", "url", "file"]
    assert [b.get("title") for b in blocks] == ["a.pdf", "b.md", None, None, None]
    assert blocks[1]["source"]["data"] == "é"


@pytest.mark.parametrize(
    ("part", "word"),
    [
        (File(data=b"PK\x03\x04\xff", media_type="application/zip"), "PDF and plain text"),
        (Image(data=b"BM123", media_type="image/bmp"), "image/bmp"),
        (Image(url="http://example.com/a.png"), "https URLs only"),
        (Image(path="a.png"), "nobody has read"),
    ],
)
def test_media_that_claude_cannot_take_are_refused_with_a_way_out(part: Part, word: str) -> None:
    with pytest.raises(InvalidMessageError, match=word) as caught:
        encode([Message("user", [part, Text("x")])])
    assert caught.value.hint


def test_audio_is_recorded_as_lost_or_refused_as_the_policy_says() -> None:
    talk = [Message("user", [Audio(data=b"RIFF", media_type="audio/wav"), Text("What do you hear?")])]
    body, adjustments = encode(talk)
    assert contents(body) == [("user", "What do you hear?")]
    assert reasons(adjustments) == [("lost", "messages[0].parts[0]")]
    assert reasons(encode(talk, on_unsupported="drop")[1]) == [("lost", "messages[0].parts[0]")]
    with pytest.raises(UnsupportedOptionError, match="no audio"):
        encode(talk, on_unsupported="error")


def test_images_of_the_assistant_are_recorded_as_lost() -> None:
    drawn = Message("assistant", [Image(data=PNG, media_type="image/png"), Text("Here.")])
    body, adjustments = encode([Message("user", "Draw."), drawn, Message("user", "Thanks")])
    assert contents(body)[1] == ("assistant", "Here.")
    assert reasons(adjustments) == [("lost", "messages[1].parts[0]")]


# -- tools --------------------------------------------------------------------------------------------------------


def test_results_come_first_in_one_user_turn_with_images_and_errors() -> None:
    second = ToolCall("get_weather", {"city": "Rome"}, "toolu_2")
    talk = [
        Message("user", "Weather?"),
        Message("assistant", [Text("Looking."), CALL, second]),
        Message("tool", ToolResult("toolu_2", "no such city", is_error=True)),
        Message("user", "And hurry."),
        Message("tool", ToolResult("toolu_1", [Text("see"), Image(data=PNG, media_type="image/png")])),
    ]
    body, adjustments = encode(talk)
    turn = contents(body)[2][1]
    assert [b["type"] for b in turn] == ["tool_result", "tool_result", "text"]
    assert turn[0] == {"type": "tool_result", "tool_use_id": "toolu_2", "content": "no such city", "is_error": True}
    assert [b["type"] for b in turn[1]["content"]] == ["text", "image"]
    assert [a.what for a in adjustments] == ["turn 2"]


def test_an_empty_result_has_no_content() -> None:
    talk = [Message("user", "x"), Message("assistant", CALL), Message("tool", ToolResult("toolu_1", ""))]
    assert contents(encode(talk)[0])[2][1] == [{"type": "tool_result", "tool_use_id": "toolu_1"}]


@pytest.mark.parametrize(
    ("talk", "word"),
    [
        ([Message("user", "x"), Message("assistant", CALL)], "has no result"),
        ([Message("user", "x"), Message("assistant", CALL), Message("user", "y")], "has no result"),
        ([Message("user", "x"), Message("tool", ToolResult("toolu_9", "r"))], "not made before"),
        (
            [
                Message("user", "x"),
                Message("assistant", CALL),
                Message("tool", ToolResult("toolu_1", "r")),
                Message("assistant", "ok"),
                Message("tool", ToolResult("toolu_1", "again")),
            ],
            "does not follow",
        ),
        ([Message("user", [CALL])], "tool call in a user message"),
        ([Message("user", "x"), Message("assistant", [ToolResult("toolu_1", "r")])], "tool result in an assistant"),
    ],
)
def test_calls_and_results_that_do_not_pair_are_refused_with_a_hint(talk: list[Message], word: str) -> None:
    with pytest.raises(InvalidMessageError, match=word) as caught:
        encode(talk)
    assert caught.value.hint


def test_call_ids_of_other_servers_are_made_valid_the_same_way_each_time() -> None:
    odd = ["call:1|a b", "call:1|a c", "é" * 80, "plain_1"]
    talk = [
        Message("user", "x"),
        Message("assistant", [ToolCall("f", {}, i) for i in odd]),
        *(Message("tool", ToolResult(i, i)) for i in reversed(odd)),
    ]
    first, second = encode(talk)[0], encode([*talk, Message("assistant", "ok"), Message("user", "y")])[0]
    ids = [b["id"] for b in contents(first)[1][1]]
    assert len(set(ids)) == 4
    assert ids[3] == "plain_1"
    assert [b["content"] for b in contents(first)[2][1]] == list(reversed(odd))
    assert [b["tool_use_id"] for b in contents(first)[2][1]] == list(reversed(ids))
    assert contents(second)[1] == contents(first)[1]


def test_an_id_that_comes_back_in_a_later_turn_is_made_unique() -> None:
    turn = [Message("assistant", ToolCall("f", {}, "call_0")), Message("tool", ToolResult("call_0", "r"))]
    body, _ = encode([Message("user", "x"), *turn, *turn])
    calls = [content[0]["id"] for role, content in contents(body) if role == "assistant"]
    results = [content[0]["tool_use_id"] for role, content in contents(body)[1:] if role == "user"]
    assert len(set(calls)) == 2
    assert results == calls


def test_arguments_that_are_no_object_are_wrapped_and_recorded() -> None:
    broken = ToolCall("f", '{"a": ', "toolu_1")
    body, adjustments = encode(
        [Message("user", "x"), Message("assistant", broken), Message("tool", ToolResult("toolu_1", "bad JSON"))]
    )
    assert contents(body)[1][1][0]["input"] == {"arguments": '{"a": '}
    assert reasons(adjustments) == [("changed", "messages[1].parts[0].arguments")]


def test_openai_histories_are_understood() -> None:
    talk = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "w", "arguments": ""}}],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
    ]
    body, adjustments = encode(talk)
    assert contents(body)[1][1] == [{"type": "tool_use", "id": "call_1", "name": "w", "input": {}}]
    assert adjustments == ()


# -- replay -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["text", "citations", "web_search", "unknown_block", "parallel_tool_calls", "tool_call_without_arguments"]
)
def test_blocks_that_came_from_claude_go_back_byte_for_byte(name: str) -> None:
    response = decoded_fixture(name)
    results = [Message("tool", ToolResult(c.id, "r")) for c in response.tool_calls] or [Message("user", "y")]
    call = AnthropicMessages().encode(request([Message("user", "x"), response.message, *results]), CONTEXT)
    assert call.body is not None
    assert json.loads(call.body)["messages"][1]["content"] == response.raw["content"]
    assert call.adjustments == ()


def thinking_turn(**changes: Any) -> Message:
    raw = {"type": "thinking", "thinking": "hm", "signature": sign("hm")}
    given = {"dialect": "anthropic", "provider": "claude", "model": "claude-sonnet-5-5"} | changes
    return Message("assistant", [Thinking("hm", sign("hm"), native=Native(raw=raw, **given)), Text("Answer.")])


def test_thinking_goes_back_to_the_model_that_made_it() -> None:
    body, adjustments = encode([Message("user", "x"), thinking_turn(), Message("user", "y")])
    assert contents(body)[1][1][0] == {"type": "thinking", "thinking": "hm", "signature": sign("hm")}
    assert adjustments == ()


@pytest.mark.parametrize(
    ("turn", "word"),
    [
        (thinking_turn(dialect="openai", provider="deepseek"), "deepseek"),
        (thinking_turn(provider="lmstudio"), "lmstudio"),
        (thinking_turn(model="claude-opus-5-5"), "claude-opus-5-5"),
        (Message("assistant", [Thinking("hm"), Text("Answer.")]), "without a signature"),
    ],
)
def test_thinking_from_elsewhere_or_unsigned_never_goes_out(turn: Message, word: str) -> None:
    body, adjustments = encode([Message("user", "x"), turn, Message("user", "y")])
    assert contents(body)[1] == ("assistant", "Answer.")
    assert reasons(adjustments) == [("lost", "messages[1].parts[0]")]
    assert word in adjustments[0].reason


def test_thinking_survives_a_dated_model_name() -> None:
    turn = thinking_turn(model="claude-sonnet-4-5-20250929")
    assert encode([Message("user", "x"), turn, Message("user", "y")], "claude-sonnet-4-5")[1] == ()


def test_signed_thinking_given_as_content_blocks_is_sent() -> None:
    talk = [
        {"role": "user", "content": "x"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": sign("hm")},
                {"type": "redacted_thinking", "data": sign_redacted()},
                {"type": "text", "text": "ok"},
            ],
        },
        {"role": "user", "content": "y"},
    ]
    body, _ = encode(talk)
    assert [b["type"] for b in contents(body)[1][1]] == ["thinking", "redacted_thinking", "text"]


def test_without_replay_no_thinking_goes_back_and_each_is_recorded() -> None:
    codec = AnthropicMessages(replay_thinking=False)
    call = codec.encode(request([Message("user", "x"), thinking_turn(), Message("user", "y")]), CONTEXT)
    assert contents(judged(call))[1] == ("assistant", "Answer.")
    assert reasons(call.adjustments) == [("lost", "messages[1].parts[0]")]


def test_opaque_blocks_of_other_servers_stay_behind() -> None:
    foreign = Opaque(Native("openai-responses", {"type": "reasoning", "id": "rs_1"}, "openai"))
    body, adjustments = encode([Message("user", "x"), Message("assistant", [foreign, Text("a")]), Message("user", "y")])
    assert contents(body)[1] == ("assistant", "a")
    assert reasons(adjustments) == [("lost", "messages[1].parts[0]")]


def test_a_native_user_block_carries_what_has_no_neutral_form() -> None:
    raw = {"type": "text", "text": "Long.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    body, _ = encode([Message("user", [Text("Long.", native=Native("anthropic", raw)), Text("Sum up.")])])
    assert contents(body)[0][1][0] == raw


def test_signed_thinking_of_a_turn_made_elsewhere_stays_behind() -> None:
    elsewhere = Message("assistant", [Thinking("hm", "sig"), Text("a")], origin=Origin("openrouter", "openai", "m"))
    body, adjustments = encode([Message("user", "x"), elsewhere, Message("user", "y")])
    assert contents(body)[1] == ("assistant", "a")
    assert reasons(adjustments) == [("lost", "messages[1].parts[0]")]


def test_a_system_prompt_may_set_its_own_cache_breakpoints() -> None:
    raw = {"type": "text", "text": "Long rules.", "cache_control": {"type": "ephemeral"}}
    system = Message("system", [Text("Long rules.", native=Native("anthropic", raw)), Text("Today is Monday.")])
    body, adjustments = encode([system, Message("user", "x")])
    assert body["system"] == [raw, {"type": "text", "text": "Today is Monday."}]
    assert adjustments == ()


def test_an_image_in_a_system_prompt_is_recorded_or_refused() -> None:
    system = Message("system", [Text("Look."), Image(data=PNG, media_type="image/png")])
    assert reasons(encode([system, Message("user", "x")])[1]) == [("lost", "messages[0].parts[1]")]
    with pytest.raises(UnsupportedOptionError):
        encode([system, Message("user", "x")], on_unsupported="error")


def test_a_thinking_budget_is_off_while_a_call_made_without_thinking_is_answered() -> None:
    origin = Origin("lmstudio", "openai", "qwen3")
    talk = [
        Message("user", "x"),
        Message("assistant", CALL, origin=origin),
        Message("tool", ToolResult("toolu_1", "sunny")),
    ]
    body, adjustments = encode(talk, OLD, thinking=2048)
    assert "thinking" not in body
    assert reasons(adjustments) == [("changed", "thinking")]


# -- everything at once -------------------------------------------------------------------------------------------

_texts = st.text(max_size=8).filter(lambda t: "\ud800" not in t)
_user_parts: st.SearchStrategy[Part] = st.one_of(
    _texts.map(Text),
    st.just(Image(data=PNG, media_type="image/png")),
    st.just(File(data=b"%PDF-", media_type="application/pdf")),
)
_assistant_parts: st.SearchStrategy[Part] = st.one_of(
    _texts.map(Text), _texts.map(Thinking), st.just(Thinking("hm", sign("hm")))
)


@st.composite
def histories(draw: st.DrawFn) -> list[Message]:
    talk: list[Message] = []
    for turn in range(draw(st.integers(1, 4))):
        if draw(st.booleans()):
            talk.append(Message("system", draw(_texts)))
        talk.append(Message("user", [Text("q"), *draw(st.lists(_user_parts, max_size=3))]))
        calls = [
            ToolCall("f", {"n": n}, draw(st.sampled_from([f"c{turn}.{n}", f"c_{n}"])))
            for n in range(draw(st.integers(0, 2)))
        ]
        talk.append(Message("assistant", [*draw(st.lists(_assistant_parts, max_size=3)), *calls]))
        talk += [Message("tool", ToolResult(c.id, draw(_texts))) for c in reversed(calls)]
    return [*talk, Message("user", "end")]


@settings(max_examples=150, deadline=None)
@given(histories(), st.sampled_from(["claude-sonnet-5-5", "claude-opus-5", "claude-sonnet-5", OLD]))
def test_any_history_makes_a_body_the_api_takes(talk: list[Message], model: str) -> None:
    encode(talk, model)


def test_values_that_json_cannot_carry_are_refused_by_name() -> None:
    with pytest.raises(InvalidRequestError, match="JSON cannot carry"):
        encode("x", extra_body={"a": object()})
