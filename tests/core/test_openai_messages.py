"""Messages in the OpenAI dialect, as each profile wants them."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testkit.openai_wire import PNG, ask, body_of, context, encode, said, turn, wires
from unified_llm.codecs.openai_draft import Draft
from unified_llm.errors import InvalidMessageError
from unified_llm.messages import (
    Audio,
    File,
    Image,
    Message,
    Part,
    Text,
    ToolCall,
    ToolResult,
)

# -- messages --------------------------------------------------------------------------------------------------------


def test_a_conversation_with_tools_reads_as_openai_documents_it() -> None:
    history = [
        Message("system", "Be brief."),
        Message("user", "1+1?", name="ann"),
        turn(ToolCall("add", {"a": 1}, "c1"), ToolCall("add", {"a": 2}, "c2"), text="Let me see."),
        Message("tool", ToolResult("c1", "1")),
        Message("tool", [ToolResult("c2", {"sum": 2})]),
        Message("assistant", "2"),
    ]
    assert wires(history) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "1+1?", "name": "ann"},
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}},
                {"id": "c2", "type": "function", "function": {"name": "add", "arguments": '{"a":2}'}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "1"},
        {"role": "tool", "tool_call_id": "c2", "content": '{"sum":2}'},
        {"role": "assistant", "content": "2"},
    ]


def test_the_same_messages_in_the_openai_shape_come_out_unchanged() -> None:
    shape: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "1"},
    ]
    assert wires([Message.from_dict(m) for m in shape]) == shape


@pytest.mark.parametrize(
    ("profile", "content"), [("openai", None), ("lmstudio", ""), ("deepseek", ""), ("openrouter", None)]
)
def test_an_assistant_turn_of_calls_alone_has_the_content_its_server_takes(profile: str, content: str | None) -> None:
    history = [Message("user", "Hi"), turn(ToolCall("add", {}, "c1")), Message("tool", ToolResult("c1", "1"))]
    assert wires(history, profile)[1]["content"] == content


def test_empty_messages_are_refused() -> None:
    with pytest.raises(InvalidMessageError, match="no messages"):
        encode(ask([]))


def test_a_tool_result_without_its_call_is_refused_and_names_the_call() -> None:
    with pytest.raises(InvalidMessageError, match=r"messages\[1\].*'c9'") as caught:
        encode(ask([Message("user", "Hi"), Message("tool", ToolResult("c9", "1"))]))
    assert caught.value.hint


def test_a_failed_tool_says_so_because_the_dialect_has_no_flag() -> None:
    history = [
        Message("user", "Hi"),
        turn(ToolCall("add", {}, "c1"), ToolCall("add", {}, "c2")),
        Message("tool", ToolResult("c1", "no such file", is_error=True)),
        Message("tool", ToolResult("c2", "Error: gone", is_error=True)),
    ]
    assert [m["content"] for m in wires(history)[2:]] == ["Error: no such file", "Error: gone"]


def test_results_inside_a_user_message_come_before_its_text() -> None:
    history = [
        Message("user", "Hi"),
        turn(ToolCall("add", {}, "c1")),
        Message("user", [Text("And now?"), ToolResult("c1", "1")]),
    ]
    assert wires(history)[2:] == [
        {"role": "tool", "tool_call_id": "c1", "content": "1"},
        {"role": "user", "content": "And now?"},
    ]


@pytest.mark.parametrize("text", ["", "null", "  ", '"{}"'])
def test_arguments_that_mean_nothing_are_sent_as_an_empty_object(text: str) -> None:
    history = [Message("user", "Hi"), turn(ToolCall("now", text, "c1")), Message("tool", ToolResult("c1", "1"))]
    assert wires(history)[1]["tool_calls"][0]["function"]["arguments"] == "{}"


def test_broken_arguments_are_sent_wrapped_and_recorded() -> None:
    history = [Message("user", "Hi"), turn(ToolCall("add", '{"a": ', "c1")), Message("tool", ToolResult("c1", "bad"))]
    assert wires(history)[1]["tool_calls"][0]["function"]["arguments"] == '{"invalid_arguments":"{\\"a\\": "}'
    assert said(ask(history)) == [("changed", "messages[1].tool_call")]


# -- order of messages -----------------------------------------------------------------------------------------------


def test_system_messages_are_joined_at_the_start_where_the_server_takes_one_only() -> None:
    history = [
        Message("system", "One."),
        Message("user", "Hi"),
        Message("system", "Two."),
        Message("user", "Still there?"),
    ]
    assert wires(history, "lmstudio") == [
        {"role": "system", "content": "One.\n\nTwo."},
        {"role": "user", "content": "Hi"},
        {"role": "user", "content": "Still there?"},
    ]
    assert said(ask(history), "lmstudio") == [("changed", "messages")]
    assert [m["role"] for m in wires(history, "openai")] == ["system", "user", "system", "user"]


def test_reasoning_models_of_openai_get_developer_messages() -> None:
    request = ask([Message("system", "Be brief."), Message("user", "Hi")], model="gpt-5.2")
    assert body_of(encode(request))["messages"][0]["role"] == "developer"


def test_messages_of_one_role_are_joined_where_roles_must_alternate() -> None:
    history = [Message("user", "A"), Message("user", [Text("B"), Image(data=PNG, media_type="image/png")])]
    (joined,) = wires(history, "scaleway")
    assert [p["type"] for p in joined["content"]] == ["text", "text", "image_url"]
    assert said(ask(history), "scaleway") == [("changed", "messages")]


def test_mistral_gets_an_assistant_turn_between_a_tool_result_and_a_user_message() -> None:
    history = [
        Message("user", "Hi"),
        turn(ToolCall("add", {}, "c1")),
        Message("tool", ToolResult("c1", "1")),
        Message("user", "And?"),
    ]
    assert [m["role"] for m in wires(history, "mistral")] == ["user", "assistant", "tool", "assistant", "user"]
    assert said(ask(history), "mistral") == [("changed", "messages")]


# -- tool call ids ---------------------------------------------------------------------------------------------------


def test_mistral_ids_have_nine_letters_and_calls_and_results_still_match() -> None:
    history = [
        Message("user", "Hi"),
        turn(ToolCall("add", {}, "toolu_01A"), ToolCall("add", {}, "abcDEF123")),
        Message("tool", [ToolResult("toolu_01A", "1"), ToolResult("abcDEF123", "2")]),
    ]
    _, assistant, *results = wires(history, "mistral")
    ids = [c["id"] for c in assistant["tool_calls"]]
    assert ids == [r["tool_call_id"] for r in results]
    assert all(re.fullmatch("[a-zA-Z0-9]{9}", i) for i in ids)
    assert ids[1] == "abcDEF123"


def test_openai_ids_over_forty_characters_are_shortened() -> None:
    history = [Message("user", "Hi"), turn(ToolCall("add", {}, "x" * 64)), Message("tool", ToolResult("x" * 64, "1"))]
    _, assistant, result = wires(history)
    assert len(assistant["tool_calls"][0]["id"]) == 40
    assert assistant["tool_calls"][0]["id"] == result["tool_call_id"]
    assert wires(history, "llamacpp")[1]["tool_calls"][0]["id"] == "x" * 64


@given(st.lists(st.text(min_size=1, max_size=60), unique=True, max_size=40))
def test_mapped_ids_are_valid_distinct_and_the_same_at_every_call(ids: list[str]) -> None:
    def mapped() -> list[str]:
        draft = Draft(ask(), context("mistral"))
        return [draft.call_id(i) for i in ids]

    assert mapped() == mapped()
    assert len(set(mapped())) == len(ids)
    assert all(re.fullmatch("[a-zA-Z0-9]{9}", i) for i in mapped())


def test_an_id_that_looks_like_a_mapped_one_does_not_collide_with_it() -> None:
    first = Draft(ask(), context("mistral")).call_id("some long id")
    draft = Draft(ask(), context("mistral"))
    assert draft.call_id("some long id") == first
    assert draft.call_id(first) != first


# -- media -----------------------------------------------------------------------------------------------------------


def test_an_image_is_a_data_url_or_the_url_itself() -> None:
    history = [
        Message(
            "user",
            [
                Text("Look"),
                Image(data=PNG, media_type="image/png", detail="low"),
                Image(url="https://example.com/a.png"),
            ],
        )
    ]
    text, inline, linked = wires(history)[0]["content"]
    assert text == {"type": "text", "text": "Look"}
    assert inline["image_url"]["url"] == "data:image/png;base64," + base64.b64encode(PNG).decode()
    assert inline["image_url"]["detail"] == "low"
    assert linked == {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}


@pytest.mark.parametrize("profile", ["lmstudio", "ollama", "gemini"])
def test_image_urls_are_refused_where_the_server_does_not_load_them(profile: str) -> None:
    with pytest.raises(InvalidMessageError, match="URL") as caught:
        encode(ask([Message("user", Image(url="https://example.com/a.png"))]), profile)
    assert "bytes" in (caught.value.hint or "")


def test_lm_studio_takes_no_webp_and_the_error_says_what_to_convert_to() -> None:
    with pytest.raises(InvalidMessageError, match="image/webp") as caught:
        encode(ask([Message("user", Image(data=b"RIFF....WEBP", media_type="image/webp"))]), "lmstudio")
    assert "image/png" in (caught.value.hint or "")


def test_a_text_only_server_gets_a_placeholder_and_the_loss_is_recorded() -> None:
    history = [Message("user", [Text("What is this?"), Image(data=PNG)])]
    assert "image not sent" in wires(history, "deepseek")[0]["content"][1]["text"]
    assert said(ask(history), "deepseek") == [("lost", "messages[0].image")]


def test_sound_documents_and_files_by_id() -> None:
    history = [
        Message(
            "user",
            [
                Audio(data=b"RIFF", media_type="audio/wav"),
                File(data=b"%PDF-1.7", media_type="application/pdf", name="a.pdf"),
                File(file_id="file-1"),
            ],
        )
    ]
    sound, document, by_id = wires(history)[0]["content"]
    assert sound == {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
    assert document["file"] == {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0xLjc="}
    assert by_id == {"type": "file", "file": {"file_id": "file-1"}}


def test_a_text_document_goes_into_the_message_everywhere() -> None:
    history = [Message("user", [Text("Read:"), File(data="é".encode(), media_type="text/plain", name="a.txt")])]
    content = wires(history, "deepseek")[0]["content"]
    assert content[1]["text"] == '<document name="a.txt">\né\n</document>'
    assert said(ask(history), "deepseek") == [("changed", "messages[0].file")]


@pytest.mark.parametrize(
    "part",
    [
        Image(path="a.png"),
        Image(file_id="file-1"),
        Audio(data=b"x", media_type="audio/flac"),
        Audio(url="https://example.com/a.wav"),
        File(url="https://example.com/a.pdf"),
    ],
)
def test_media_that_cannot_be_sent_is_refused_with_a_hint(part: Part) -> None:
    with pytest.raises(InvalidMessageError) as caught:
        encode(ask([Message("user", part)]))
    assert caught.value.hint


def test_images_of_tool_results_follow_in_a_user_message_after_all_results() -> None:
    history = [
        Message("user", "Hi"),
        turn(ToolCall("shot", {}, "c1"), ToolCall("shot", {}, "c2")),
        Message("tool", ToolResult("c1", ["Done", Image(data=PNG, media_type="image/png")])),
        Message("tool", ToolResult("c2", "Nothing")),
        Message("assistant", "I see."),
    ]
    roles = [m["role"] for m in wires(history)]
    assert roles == ["user", "assistant", "tool", "tool", "user", "assistant"]
    _, _, first, _, media, _ = wires(history)
    assert first["content"] == "Done"
    assert [p["type"] for p in media["content"]] == ["text", "image_url"]
    assert said(ask(history)) == [("changed", "messages[2].tool_result")]
