"""Reasoning that servers leave inside the text, cut anywhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unified_llm.codecs.think_tags import Piece, ThinkTagSplitter, split_think_tags


def joined(pieces: list[Piece]) -> tuple[str, str]:
    """(thinking, text)"""
    return tuple("".join(text for kind, text in pieces if kind == wanted) for wanted in ("thinking", "text"))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("text", "thinking", "answer"),
    [
        ("<think>hmm</think>42", "hmm", "42"),
        ("<think>\nhmm\n</think>\n\n42", "hmm", "42"),
        ("\n <think>a\n\nb</think>c", "a\n\nb", "c"),
        ("<think>\n\n</think>\n\nNo thoughts.", "", "No thoughts."),
        ("[THINK]hmm[/THINK]42", "hmm", "42"),
        ("<thought>hmm</thought>42", "hmm", "42"),
        ("<thinking>hmm</thinking>42", "hmm", "42"),
        ("<think>a</think>b<think>c</think>", "a", "b<think>c</think>"),
        ("<think>a < b </thi</think>c", "a < b </thi", "c"),
        ("<think>no end", "no end", ""),
        ("Use <think> tags", "", "Use <think> tags"),
        ("<thin", "", "<thin"),
        ("<b>bold</b>", "", "<b>bold</b>"),
        ("  indented", "", "  indented"),
        ("plain", "", "plain"),
        ("", "", ""),
    ],
)
def test_a_block_at_the_start_is_thinking_and_the_rest_is_the_answer(text: str, thinking: str, answer: str) -> None:
    assert joined(split_think_tags(text)) == (thinking, answer)


@given(
    st.lists(
        st.sampled_from(["<think>", "</think>", "<thi", "nk>", "\n", " ", "a", "<", "[THINK]", "[/THINK]"]), max_size=12
    ),
    st.data(),
)
def test_cuts_do_not_matter(words: list[str], data: st.DataObject) -> None:
    text = "".join(words)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    splitter = ThinkTagSplitter()
    pieces: list[Piece] = []
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        pieces += splitter.feed(text[start:end])
    pieces += splitter.close()
    assert joined(pieces) == joined(split_think_tags(text))


def test_text_is_not_held_back_longer_than_a_tag_could_be() -> None:
    splitter = ThinkTagSplitter()
    assert splitter.feed("<think>abc") == [("thinking", "abc")]
    assert splitter.feed("def</t") == [("thinking", "def")]
    assert splitter.feed("able>") == [("thinking", "</table>")]
    assert splitter.feed("</think>x") == [("text", "x")]
    assert splitter.plain


def test_no_empty_piece_is_ever_given() -> None:
    splitter = ThinkTagSplitter()
    for text in ("<", "think>", "", "\n", "</think>", "\n", "x", ""):
        assert all(piece for _, piece in splitter.feed(text))
    assert splitter.close() == []
