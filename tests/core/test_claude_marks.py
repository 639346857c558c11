"""Cache breakpoints, citations and context in dictionaries: Claude gets them, whatever shape the block has."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from testkit.claude_double import ClaudeDouble
from testkit.openai_double import OpenAIDouble
from unified_llm import InvalidMessageError, Message, Native, Text, UnifiedLLM, UnsupportedOptionError
from unified_llm.message_formats import normalize_messages
from unified_llm.responses import Adjustment

CACHED: dict[str, Any] = {"cache_control": {"type": "ephemeral"}}
HOUR: dict[str, Any] = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
PNG = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360000000000200015e"
        "2c2c660000000049454e44ae426082"
    )
).decode()
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.fixture
def llm(claude_double: ClaudeDouble) -> Iterator[UnifiedLLM]:
    client = UnifiedLLM("claude", claude_double.key, base_url=claude_double.url, model="claude-haiku-5-5")
    with client as found:
        yield found


def user(*content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(content), **more}


IMAGE_SOURCE = {"type": "base64", "media_type": "image/png", "data": PNG}
PLAIN = {"type": "text", "media_type": "text/plain", "data": "Grass is green."}
URL = f"data:image/png;base64,{PNG}"


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"type": "text", "text": "A", **HOUR}, {"type": "text", "text": "A", **HOUR}),
        ({"type": "input_text", "text": "A", **CACHED}, {"type": "text", "text": "A", **CACHED}),
        (
            {"type": "image_url", "image_url": {"url": URL}, **CACHED},
            {"type": "image", "source": IMAGE_SOURCE, **CACHED},
        ),
        ({"type": "image", "source": IMAGE_SOURCE, **CACHED}, {"type": "image", "source": IMAGE_SOURCE, **CACHED}),
        (
            {"type": "document", "source": PLAIN, "title": "T", "context": "C", "citations": {"enabled": True}},
            {"type": "document", "source": PLAIN, "title": "T", "context": "C", "citations": {"enabled": True}},
        ),
        (
            {
                "type": "file",
                "file": {"filename": "a.txt", "file_data": "data:text/plain;base64,R3Jhc3MgaXMgZ3JlZW4u"},
                "citations": {"enabled": True},
                **CACHED,
            },
            {"type": "document", "source": PLAIN, "title": "a.txt", "citations": {"enabled": True}, **CACHED},
        ),
    ],
    ids=["text", "input_text", "image_url", "image", "document", "file"],
)
def test_fields_of_claude_reach_it_in_any_shape_of_block(
    llm: UnifiedLLM, claude_double: ClaudeDouble, given: Any, sent: Any
) -> None:
    answer = llm.chat([user(given, {"type": "text", "text": "Q"})], on_unsupported="error")
    assert claude_double.last["messages"][0]["content"] == [sent, {"type": "text", "text": "Q"}]
    assert answer.adjustments == ()


def test_calls_and_results_of_tools_have_breakpoints_and_keep_their_ids_in_step(
    llm: UnifiedLLM, claude_double: ClaudeDouble
) -> None:
    use = {"type": "tool_use", "id": "call.1", "name": "f", "input": {}, **CACHED}
    inner = {"type": "text", "text": "42", **CACHED}
    result = {"type": "tool_result", "tool_use_id": "call.1", "content": [inner], **CACHED}
    llm.chat([user({"type": "text", "text": "Q"}), {"role": "assistant", "content": [use]}, user(result)])
    _, asked, answered = claude_double.last["messages"]
    assert asked["content"][0]["cache_control"] == CACHED["cache_control"]
    assert asked["content"][0]["id"] == answered["content"][0]["tool_use_id"] != "call.1"  # a dot is no part of an id
    assert answered["content"][0]["content"] == [inner]
    assert answered["content"][0]["cache_control"] == CACHED["cache_control"]


@pytest.mark.parametrize(
    "message",
    [
        {"role": "system", "content": "A long manual.", **CACHED},
        {"role": "system", "content": [{"type": "text", "text": "A long manual.", **CACHED}]},
    ],
    ids=["beside the content", "in a block"],
)
def test_a_system_prompt_has_its_breakpoint(llm: UnifiedLLM, claude_double: ClaudeDouble, message: Any) -> None:
    llm.chat([message, user("Q")])
    assert claude_double.last["system"] == [{"type": "text", "text": "A long manual.", **CACHED}]


def test_a_breakpoint_beside_the_content_is_at_the_end_of_the_message(
    llm: UnifiedLLM, claude_double: ClaudeDouble
) -> None:
    calling = {"role": "assistant", "content": None, "tool_calls": [CALL], **CACHED}
    llm.chat([user("Q"), calling, {"role": "tool", "tool_call_id": "call_1", "content": "42", **HOUR}])
    _, asked, answered = claude_double.last["messages"]
    assert asked["content"][0]["cache_control"] == CACHED["cache_control"]
    assert answered["content"][0]["cache_control"] == HOUR["cache_control"]


def test_citations_of_an_earlier_answer_go_back_with_it(llm: UnifiedLLM, claude_double: ClaudeDouble) -> None:
    place = {"start_char_index": 0, "end_char_index": 5, "document_index": 0, "document_title": None}
    citation = {"type": "char_location", "cited_text": "Grass", **place}
    said = {"type": "text", "text": "Green.", "citations": [citation]}
    answer = llm.chat([user("Q"), {"role": "assistant", "content": [said]}, user("And?")])
    assert claude_double.last["messages"][1]["content"] == [said]
    assert answer.adjustments == ()


@pytest.mark.parametrize("citation", [{"type": "url_citation", "url": "u"}, {"odd": 1}])
def test_citations_of_another_form_stay_behind_and_are_told(llm: UnifiedLLM, citation: Any) -> None:
    said = {"type": "text", "text": "Green.", "citations": [citation]}
    answer = llm.chat([user("Q"), {"role": "assistant", "content": [said]}, user("And?")])
    assert [a.what for a in answer.adjustments] == ["messages[1].parts[0].citations"]


def test_what_claude_has_no_place_for_is_told(llm: UnifiedLLM) -> None:
    notes: list[Adjustment] = []
    thought = {"type": "thinking", "thinking": "hm", "signature": "s", **CACHED}
    normalize_messages([user("Q"), {"role": "assistant", "content": [thought], **CACHED}], notes)
    assert [note.what for note in notes] == ["messages[1].content[0].cache_control", "messages[1].cache_control"]
    answer = llm.chat([user({"type": "text", "text": " ", **CACHED}, {"type": "text", "text": "Q"})])
    assert "messages[0].parts[0].cache_control" in {a.what for a in answer.adjustments}


async def test_elsewhere_they_are_recorded_as_not_sent() -> None:
    document = {"type": "file", "file": {"file_data": "data:text/plain;base64,QQ==", "filename": "a.txt"}}
    said = [user({"type": "text", "text": "A", **CACHED}, {**document, "citations": {"enabled": True}}, **CACHED)]
    expected = [f"messages[0].parts[{place}" for place in ("0].cache_control", "1].cache_control", "1].citations")]
    with OpenAIDouble("openai") as double, UnifiedLLM("openai", "k", base_url=double.url, model="gpt-4o") as llm:
        answers = [
            llm.chat(said),
            await llm.chat_async(said),
            llm.stream(said).get_response(),
            await llm.stream_async(said).get_response(),
        ]
        for answer in answers:
            assert [a.what for a in answer.adjustments if a.kind == "dropped"] == expected
        assert "prompt_caching=True" in answers[0].adjustments[0].reason
        with pytest.raises(UnsupportedOptionError, match="cache_control") as caught:
            llm.chat(said, on_unsupported="error")
        assert caught.value.hint


def test_blocks_that_the_caller_wrote_as_a_whole_are_told_elsewhere_too() -> None:
    manual = {"type": "text", "text": "A manual.", **CACHED}
    system = Message("system", Text("A manual.", native=Native("anthropic", manual)))
    answer = UnifiedLLM("offline").chat([system, Message("user", "Hi")])
    assert [a.what for a in answer.adjustments] == ["messages[0].parts[0].cache_control"]


def test_they_survive_a_dump(llm: UnifiedLLM, claude_double: ClaudeDouble) -> None:
    message = Message.from_dict(user({"type": "text", "text": "A", **HOUR}))
    llm.chat([Message.from_dict(message.dump()), Message("user", "Q")])
    assert claude_double.last["messages"][0]["content"][0] == {"type": "text", "text": "A", **HOUR}


CIRCLE: dict[str, Any] = {}
CIRCLE["again"] = CIRCLE


@pytest.mark.parametrize("value", [b"x", {1, 2}, {"type": {1}}, CIRCLE], ids=["bytes", "set", "inner set", "circle"])
@pytest.mark.parametrize("stored", [False, True])
def test_marks_that_json_cannot_carry_are_an_error_that_names_them(value: Any, stored: bool) -> None:
    with UnifiedLLM("lmstudio", base_url="http://127.0.0.1:9", model="m", stored_responses=stored) as llm:
        talk: list[Any] = [user({"type": "text", "text": "Hi.", "cache_control": value}), "Go on."]
        with pytest.raises(InvalidMessageError, match="cache_control holds a value that JSON cannot carry") as caught:
            llm.chat(talk)
        assert "ephemeral" in str(caught.value.hint)
        with pytest.raises(InvalidMessageError, match="cache_control"):
            llm.chat([{"role": "user", "content": "Hi.", "cache_control": value}])
