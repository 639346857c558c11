"""LangChain messages become the core's: every content form, nothing dropped in silence."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)

from langchain_unified_llm.lc_to_core import to_core
from unified_llm import Audio, File, Image, Message, Native, Opaque, Text, Thinking, ToolCall, ToolResult
from unified_llm.errors import InvalidMessageError

PNG = b"\x89PNG\r\n\x1a\n"
PNG64 = base64.b64encode(PNG).decode()
PDF64 = base64.b64encode(b"%PDF-1.4").decode()


def parts_of(content: Any) -> tuple[Any, ...]:
    return to_core([HumanMessage(content)])[0].parts


def test_roles_texts_and_names_are_kept() -> None:
    history = [
        SystemMessage("Be kind."),
        HumanMessage("Hi", name="ada"),
        AIMessage("Hello"),
        ChatMessage(content="Note", role="developer"),
    ]
    assert to_core(history) == [
        Message("system", "Be kind."),
        Message("user", "Hi", name="ada"),
        Message("assistant", "Hello"),
        Message("system", "Note"),
    ]


def test_chunks_are_read_like_the_messages_they_are() -> None:
    assert to_core([AIMessageChunk(content="Hel") + AIMessageChunk(content="lo")]) == [Message("assistant", "Hello")]


def test_tool_calls_come_with_their_ids_and_arguments_and_results_with_their_failure() -> None:
    call = {"name": "add", "args": {"a": 1}, "id": "call_1", "type": "tool_call"}
    ai, ok, bad = to_core(
        [
            AIMessage("Let me see.", tool_calls=[call]),
            ToolMessage("3", tool_call_id="call_1"),
            ToolMessage("no such tool", tool_call_id="call_1", status="error", name="add"),
        ]
    )
    assert ai.parts == (Text("Let me see."), ToolCall("add", {"a": 1}, "call_1"))
    assert ok.parts == (ToolResult("call_1", "3"),)
    assert bad.parts == (ToolResult("call_1", "no such tool", is_error=True, name="add"),)


def test_an_invalid_tool_call_keeps_its_broken_arguments() -> None:
    broken = {"name": "add", "args": '{"a": ', "id": "call_1", "error": "cut", "type": "invalid_tool_call"}
    (message,) = to_core([AIMessage("", invalid_tool_calls=[broken])])
    assert message.tool_calls[0].arguments_json == '{"a": '
    assert message.tool_calls[0].arguments is None


def test_a_function_message_answers_the_call_of_its_name() -> None:
    (message,) = to_core([FunctionMessage(content="3", name="add")])
    assert message.parts == (ToolResult("add", "3", name="add"),)


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "base64": PNG64, "mime_type": "image/png"},
        {"type": "image", "source_type": "base64", "data": PNG64, "mime_type": "image/png"},
        {"type": "image", "url": f"data:image/png;base64,{PNG64}"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG64}"}},
        {"type": "image_url", "image_url": f"data:image/png;base64,{PNG64}"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG64}},
        {"type": "media", "mime_type": "image/png", "data": PNG64},
        {"type": "media", "mime_type": "image/png", "data": PNG},
    ],
)
def test_an_image_is_the_same_bytes_in_every_form(block: dict[str, Any]) -> None:
    assert parts_of([block]) == (Image(data=PNG, media_type="image/png"),)


@pytest.mark.parametrize(
    ("block", "part"),
    [
        ({"type": "image", "url": "https://x.test/a.png"}, Image(url="https://x.test/a.png")),
        (
            {"type": "media", "mime_type": "application/pdf", "file_uri": "https://x.test/a.pdf"},
            File(url="https://x.test/a.pdf", media_type="application/pdf"),
        ),
        ({"type": "image", "file_id": "file_1"}, Image(file_id="file_1")),
        (
            {"type": "file", "base64": PDF64, "mime_type": "application/pdf", "extras": {"filename": "a.pdf"}},
            File(data=b"%PDF-1.4", media_type="application/pdf", name="a.pdf"),
        ),
        ({"type": "file", "id": "file_1", "source_type": "id"}, File(file_id="file_1")),
        (
            {"type": "file", "source_type": "text", "text": "notes", "mime_type": "text/plain"},
            File(data=b"notes", media_type="text/plain"),
        ),
        (
            {"type": "text-plain", "text": "notes", "mime_type": "text/plain", "title": "n.txt"},
            File(data=b"notes", media_type="text/plain", name="n.txt"),
        ),
        ({"type": "audio", "base64": PNG64, "mime_type": "audio/wav"}, Audio(data=PNG, media_type="audio/wav")),
        (
            {"type": "input_audio", "input_audio": {"data": PNG64, "format": "wav"}},
            Audio(data=PNG, media_type="audio/wav"),
        ),
        (
            {"type": "video", "url": "https://x.test/a.mp4", "mime_type": "video/mp4"},
            File(url="https://x.test/a.mp4", media_type="video/mp4"),
        ),
        ({"type": "text", "text": "hi"}, Text("hi")),
        ({"text": "hi"}, Text("hi")),
        ("hi", Text("hi")),
    ],
)
def test_each_kind_of_block_becomes_its_part(block: Any, part: Any) -> None:
    assert parts_of([block]) == (part,)


def test_images_in_a_tool_message_become_parts_of_the_result() -> None:
    block = {"type": "image", "base64": PNG64, "mime_type": "image/png"}
    (message,) = to_core([ToolMessage([{"type": "text", "text": "see"}, block], tool_call_id="c")])
    assert message.parts == (ToolResult("c", [Text("see"), Image(data=PNG, media_type="image/png")]),)


def test_what_is_written_in_a_vendors_own_form_goes_to_that_vendor_as_it_is() -> None:
    marked = {"type": "text", "text": "manual", "cache_control": {"type": "ephemeral"}}
    document = {"type": "document", "source": {"type": "text", "data": "x", "media_type": "text/plain"}, "title": "T"}
    unknown = {"type": "search_result", "title": "T", "source": "S", "content": []}
    (message,) = to_core([HumanMessage([marked, document, unknown])], lambda: "anthropic")
    text, file, opaque = message.parts
    assert isinstance(text, Text)
    assert (text.text, text.native) == ("manual", Native("anthropic", marked))
    assert isinstance(file, File)
    assert (file.name, file.native) == ("T", Native("anthropic", document))
    assert opaque == Opaque(Native("anthropic", unknown))


def test_a_standard_block_may_carry_the_vendors_fields_as_extras() -> None:
    block = {"type": "text", "text": "manual", "extras": {"cache_control": {"type": "ephemeral"}}}
    (message,) = to_core([HumanMessage([block])], lambda: "anthropic")
    assert message.parts[0].native == Native(
        "anthropic", {"type": "text", "text": "manual", "cache_control": {"type": "ephemeral"}}
    )


def test_a_block_of_unknown_type_is_refused_while_nobody_knows_who_is_asked() -> None:
    with pytest.raises(InvalidMessageError, match=r"messages\[0\]: unknown content part type 'hologram'"):
        to_core([HumanMessage([{"type": "hologram"}])])


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "mime_type": "image/png"},
        {"type": "image", "base64": "not base64!", "mime_type": "image/png"},
        {"type": "image_url"},
        {"type": "image", "source": {"type": "teleport"}},
        7,
    ],
)
def test_a_block_that_cannot_be_read_names_its_message(block: Any) -> None:
    message = HumanMessage("x")
    message.content = [block]
    with pytest.raises(InvalidMessageError, match=r"messages\[1\]"):
        to_core([HumanMessage("hi"), message], lambda: "anthropic")


def test_a_message_that_is_an_instruction_to_langchain_is_refused_by_name() -> None:
    with pytest.raises(InvalidMessageError, match="RemoveMessage"):
        to_core([RemoveMessage("1")])


# -- assistant messages of other integrations ------------------------------------------------------------------------


def foreign(content: Any, vendor: str, **fields: Any) -> BaseMessage:
    return AIMessage(content, response_metadata={"model_provider": vendor, "model_name": "m-1"}, **fields)


def test_signed_thinking_of_another_integration_keeps_its_vendor_and_its_model() -> None:
    block = {"type": "thinking", "thinking": "hmm", "signature": "sig"}
    (message,) = to_core([foreign([block, {"type": "text", "text": "Four."}], "anthropic")])
    thought, text = message.parts
    assert isinstance(thought, Thinking)
    assert (thought.text, thought.signature, thought.native) == ("hmm", "sig", Native("anthropic", block, model="m-1"))
    assert text == Text("Four.")


def test_redacted_thinking_of_another_integration_is_kept_whole() -> None:
    block = {"type": "redacted_thinking", "data": "xyz", "index": 0}
    (message,) = to_core([foreign([block, {"type": "text", "text": "Four."}], "anthropic")])
    thought = message.parts[0]
    assert isinstance(thought, Thinking)
    assert thought.redacted == "xyz"
    assert thought.native == Native("anthropic", {"type": "redacted_thinking", "data": "xyz"}, model="m-1")


def test_reasoning_text_of_another_integration_is_known_to_be_foreign() -> None:
    message = AIMessage(
        "Four.", additional_kwargs={"reasoning_content": "hmm"}, response_metadata={"model_provider": "x"}
    )
    thought = to_core([message])[0].parts[0]
    assert isinstance(thought, Thinking)
    assert thought.native is not None
    assert thought.native.dialect == "x"


def test_server_tool_blocks_are_kept_as_their_vendor_sent_them_even_when_they_came_in_chunks() -> None:
    use = {"type": "server_tool_use", "id": "srv_1", "name": "web_search"}
    streamed = {**use, "input": {}, "partial_json": '{"query": "x"}', "index": 0}
    result = {"type": "web_search_tool_result", "tool_use_id": "srv_1", "content": []}
    (message,) = to_core([foreign([streamed, {**result, "index": 1}, {"type": "text", "text": "Found."}], "anthropic")])
    assert message.parts == (
        Opaque(Native("anthropic", {**use, "input": {"query": "x"}}, model="m-1")),
        Opaque(Native("anthropic", result, model="m-1")),
        Text("Found."),
    )


def test_tool_calls_in_the_content_and_in_the_field_are_one_call() -> None:
    call = {"name": "add", "args": {"a": 1}, "id": "toolu_1", "type": "tool_call"}
    content = [{"type": "text", "text": "Hm"}, {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"a": 1}}]
    (message,) = to_core([foreign(content, "anthropic", tool_calls=[call])])
    assert message.parts == (Text("Hm"), ToolCall("add", {"a": 1}, "toolu_1"))


def test_standard_content_of_another_integration_is_read_in_order() -> None:
    content = [
        {"type": "reasoning", "reasoning": "hmm", "extras": {"signature": "sig"}},
        {"type": "text", "text": "Hm", "annotations": [{"type": "citation", "url": "https://x.test"}]},
        {"type": "tool_call", "name": "add", "args": {"a": 1}, "id": "c1"},
        {"type": "server_tool_result", "tool_call_id": "s1", "status": "success"},
        {"type": "refusal", "refusal": "No."},
    ]
    message = AIMessage(
        content,  # type: ignore[arg-type]
        tool_calls=[{"name": "add", "args": {"a": 1}, "id": "c1", "type": "tool_call"}],
        response_metadata={"model_provider": "openai", "output_version": "v1"},
    )
    kinds = [type(part) for part in to_core([message])[0].parts]
    assert kinds == [Thinking, Text, ToolCall, Opaque, Text]
