"""Media that a provider cannot take: a text stands for them in the history; in the turn of now they are an error."""

from __future__ import annotations

import pytest

from testkit.dialects import DIALECTS, maker
from testkit.openai_wire import PNG, ask, body_of, encode, said
from unified_llm.errors import InvalidMessageError
from unified_llm.messages import File, Image, Message, Part
from unified_llm.profiles import PROFILES

URL = Image(url="https://example.org/cat.png")
HTTP_URL = Image(url="http://example.org/cat.png")
BITMAP = Image(data=b"BM", media_type="image/bmp")
CLAUDE_FILE = File(file_id="file_011CNha8iCJcU1wXNR6q4V8w")
OPENAI_FILE = File(file_id="file-abc123")
GIF = Image(data=b"GIF89a", media_type="image/gif")
WORD = File(data=b"PK\x03\x04\x00\xff", media_type="application/msword", name="letter.doc")

# Which dialect cannot take what.
REFUSED: list[tuple[str, Part, str]] = [
    ("claude", HTTP_URL, "[image: http://example.org/cat.png]"),
    ("claude", BITMAP, "[image not sent: this server does not take it]"),
    ("claude", OPENAI_FILE, "[file not sent: this server does not take it]"),
    ("claude", WORD, "[file: letter.doc]"),
    ("ollama", GIF, "[image not sent: this server does not take it]"),
    ("ollama", URL, "[image: https://example.org/cat.png]"),
    ("responses", CLAUDE_FILE, "[file not sent: this server does not take it]"),
    ("responses", Image(file_id="file_011CNha8"), "[image not sent: this server does not take it]"),
]


def history(part: Part) -> list[Message]:
    return [Message("user", ["Look", part]), Message("assistant", "A cat."), Message("user", "Which colour?")]


@pytest.mark.parametrize(("dialect", "part", "text"), REFUSED)
def test_a_text_stands_in_the_history_for_what_a_provider_cannot_take(dialect: str, part: Part, text: str) -> None:
    assert dialect in DIALECTS
    sent = maker(dialect).send(history(part))
    assert not sent.faults
    assert text in sent.text
    assert [a.kind for a in sent.adjustments if a.what.startswith("messages[0]")] == ["lost"]


@pytest.mark.parametrize(("dialect", "part", "text"), REFUSED)
def test_what_is_said_now_is_refused_with_a_hint(dialect: str, part: Part, text: str) -> None:
    with pytest.raises(InvalidMessageError) as caught:
        maker(dialect).send([Message("user", ["Look", part])])
    assert caught.value.hint


@pytest.mark.parametrize(
    ("profile", "part", "text"),
    [
        ("lmstudio", URL, "[image: https://example.org/cat.png]"),
        ("lmstudio", Image(data=PNG, media_type="image/gif"), "[image not sent: this server does not take it]"),
        ("openai", BITMAP, "[image not sent: this server does not take it]"),
        ("gemini", URL, "[image: https://example.org/cat.png]"),
        ("openai", CLAUDE_FILE, "[file not sent: this server does not take it]"),
        ("openai", Image(file_id="file-abc"), "[image not sent: this server does not take it]"),
    ],
)
def test_a_profile_decides_what_a_chat_completion_takes(profile: str, part: Part, text: str) -> None:
    assert profile in PROFILES
    content = body_of(encode(ask(history(part)), profile))["messages"][0]["content"]
    assert content == [{"type": "text", "text": "Look"}, {"type": "text", "text": text}]
    assert [kind for kind, what in said(ask(history(part)), profile) if what.startswith("messages[0]")] == ["lost"]
    with pytest.raises(InvalidMessageError):
        encode(ask([Message("user", ["Look", part])]), profile)


def test_the_ids_of_the_service_itself_go_out_as_they_are() -> None:
    assert "file-abc123" in maker("responses").send([Message("user", ["Look", OPENAI_FILE])]).text
    assert "file_011CNha8" in maker("claude").send([Message("user", ["Look", CLAUDE_FILE])]).text
    content = body_of(encode(ask([Message("user", ["Look", OPENAI_FILE])])))["messages"][0]["content"]
    assert content[1] == {"type": "file", "file": {"file_id": "file-abc123"}}
