"""Messages: what callers may pass, what is refused, and that nothing is lost on the way through a dictionary."""

from __future__ import annotations

import base64
import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unified_llm import (
    Audio,
    File,
    Image,
    InvalidMessageError,
    Message,
    MessageRole,
    Native,
    Opaque,
    Origin,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from unified_llm.attachments import image_type, resolve
from unified_llm.message_formats import normalize_messages

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 16

texts = st.text(max_size=20)
ids = st.from_regex(r"[a-z0-9_]{1,12}", fullmatch=True)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(texts, json_values, max_size=4)
natives = st.none() | st.builds(Native, ids, objects, ids)
parts = st.one_of(
    st.builds(Text, texts, citations=st.lists(objects, max_size=2).map(tuple), native=natives),
    st.builds(Thinking, texts, st.none() | texts, st.none() | texts, natives),
    st.builds(ToolCall, ids, objects | texts, ids, native=natives),
    st.builds(Image, data=st.binary(max_size=9), media_type=st.none() | st.just("image/png")),
    st.builds(File, url=st.just("https://example.org/a.pdf"), name=st.none() | texts),
    st.builds(Audio, data=st.binary(max_size=9), media_type=st.just("audio/wav")),
    st.builds(Opaque, st.builds(Native, ids, objects)),
    st.builds(ToolResult, ids, texts | st.lists(st.builds(Text, texts), max_size=2), is_error=st.booleans()),
)
messages = st.builds(
    Message,
    st.sampled_from(MessageRole),
    st.lists(parts, max_size=4),
    name=st.none() | ids,
    origin=st.none() | st.builds(Origin, ids, ids, ids),
    id=st.none() | ids,
)


@given(messages)
def test_a_dumped_message_comes_back_equal_through_json(message: Message) -> None:
    again = Message.from_dict(json.loads(json.dumps(message.dump())))
    assert again == message
    assert [getattr(p, "native", None) for p in again.parts] == [getattr(p, "native", None) for p in message.parts]


@given(messages)
def test_messages_survive_pickle_and_copy(message: Message) -> None:
    assert pickle.loads(pickle.dumps(message)) == message
    assert copy.deepcopy(message) == message


@given(messages)
def test_the_openai_shape_is_json(message: Message) -> None:
    json.dumps(message.to_dict())


def test_the_openai_shape_of_a_tool_turn_reads_back() -> None:
    turn = Message("assistant", ["Let me see.", ToolCall("weather", {"city": "Oslo"}, "call_1")])
    assert Message.from_dict(turn.to_dict()) == turn
    result = Message("tool", ToolResult("call_1", "rain"))
    assert Message.from_dict(result.to_dict()) == result


def test_anthropic_blocks_are_read() -> None:
    message = Message.from_dict(
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "sig"},
                {"type": "redacted_thinking", "data": "xyz"},
                {"type": "text", "text": "Rain."},
                {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}},
            ],
        }
    )
    assert message.parts == (
        Thinking("hm", "sig"),
        Thinking("", redacted="xyz"),
        Text("Rain."),
        ToolCall("f", {"a": 1}, "toolu_1"),
    )


def test_anthropic_tool_results_in_a_user_turn_become_a_tool_message() -> None:
    block = {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "42"}], "is_error": True}
    message = Message.from_dict({"role": "user", "content": [block]})
    assert message.role is MessageRole.TOOL
    assert message.tool_results == (ToolResult("t1", "42", is_error=True),)


def test_media_parts_of_the_openai_shape_are_read() -> None:
    url = "data:image/png;base64," + base64.b64encode(PNG).decode()
    audio = {"type": "input_audio", "input_audio": {"data": base64.b64encode(b"RIFF").decode(), "format": "wav"}}
    file = {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}}
    content = [{"type": "image_url", "image_url": {"url": url, "detail": "low"}}, audio, file]
    image, sound, document = Message.from_dict({"role": "user", "content": content}).parts
    assert image == Image(data=PNG, media_type="image/png", detail="low")
    assert sound == Audio(data=b"RIFF", media_type="audio/wav")
    assert document == File(data=b"%PDF", media_type="application/pdf", name="a.pdf")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"content": "x"}, "no role"),
        ({"role": "robot", "content": "x"}, "unknown role 'robot'"),
        ({"role": "user", "content": 7}, "content is int"),
        ({"role": "user", "content": [{"type": "video_call"}]}, "unknown content part type 'video_call'"),
        ({"role": "user", "content": [{"type": "text"}]}, "no text"),
        ({"role": "user", "content": [3]}, "a content part is int"),
        ({"role": "tool", "content": "x"}, "no tool_call_id"),
        ({"role": "assistant", "tool_calls": [{"function": {}}]}, "no function name"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png,abc"}}]},
            "not base64",
        ),
        (
            {"role": "user", "content": [{"type": "image", "source": {"type": "base64", "data": "@@"}}]},
            "not valid base64",
        ),
    ],
)
def test_a_wrong_dictionary_says_what_is_wrong_and_where(value: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidMessageError, match=says) as caught:
        normalize_messages([{"role": "user", "content": "hello"}, value])
    assert "messages[1]" in str(caught.value)


@pytest.mark.parametrize("nothing", ["", "   ", []])
def test_no_messages_is_an_error(nothing: object) -> None:
    with pytest.raises(InvalidMessageError):
        normalize_messages(nothing)


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ('{"a": 1}', {"a": 1}),
        ("", {}),
        ("null", {}),
        ('"{\\"a\\": 1}"', {"a": 1}),
        ('{"a": ', None),
        ("[1]", None),
        ("sunny", None),
    ],
)
def test_tool_call_arguments_are_decoded_or_explained_never_guessed(
    text: str, arguments: dict[str, Any] | None
) -> None:
    call = ToolCall("f", text)
    assert call.arguments == arguments
    assert (call.parse_error is None) == (arguments is not None)
    assert call.arguments_json == text


def test_a_part_of_no_known_type_is_refused() -> None:
    with pytest.raises(InvalidMessageError, match="object is not a message part"):
        Message("user", [object()])  # type: ignore[list-item]  # the point of the test


def test_media_without_a_source_is_refused() -> None:
    with pytest.raises(InvalidMessageError, match="Image needs one of"):
        Image()


def test_paths_are_read_before_encoding(tmp_path: Path) -> None:
    picture, paper = tmp_path / "a.png", tmp_path / "b.pdf"
    picture.write_bytes(PNG)
    paper.write_bytes(b"%PDF-1.7")
    (message,) = resolve((Message("user", "look", [picture, paper]),))
    assert message.parts == (
        Text("look"),
        Image(data=PNG, media_type="image/png"),
        File(data=b"%PDF-1.7", media_type="application/pdf", name="b.pdf"),
    )


def test_messages_without_media_are_not_copied_when_attachments_are_resolved() -> None:
    message = Message("user", "hi")
    assert resolve((message,))[0] is message


def test_an_image_that_is_no_image_is_refused(tmp_path: Path) -> None:
    fake = tmp_path / "photo.png"
    fake.write_bytes(b"<html>not found</html>")
    with pytest.raises(InvalidMessageError, match="no image"):
        resolve((Message("user", "look", [fake]),))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidMessageError, match=r"gone\.png"):
        resolve((Message("user", "look", [tmp_path / "gone.png"]),))


def test_a_wrong_media_type_is_corrected_from_the_bytes() -> None:
    (message,) = resolve((Message("user", Image(data=PNG, media_type="image/jpeg")),))
    assert message.parts == (Image(data=PNG, media_type="image/png"),)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\0\0\0\0WEBP", "image/webp"),
        (b"\0\0\0\x1cftypavif", "image/avif"),
        (b"%PDF", None),
        (b"", None),
    ],
)
def test_images_are_told_by_their_first_bytes(data: bytes, kind: str | None) -> None:
    assert image_type(data) == kind


def test_images_inside_tool_results_are_read_too(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(PNG)
    (message,) = resolve((Message("tool", ToolResult("c", [Text("see"), Image(path=picture)])),))
    assert message.tool_results[0].parts == (Text("see"), Image(data=PNG, media_type="image/png"))


def test_reprs_do_not_show_signatures_or_bytes() -> None:
    text = repr(Message("user", [Thinking("x", "SIGNATURE"), Image(data=PNG)]))
    assert "SIGNATURE" not in text
    assert "PNG" not in text
