"""The counting rule: four characters of one word, with the blanks before it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unified_llm.offline.tokens import MEDIA_TOKENS, MESSAGE_TOKENS, count_prompt, count_text, split_text


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", []),
        ("Hello world", ["Hell", "o", " worl", "d"]),
        ("a  b\n", ["a", "  b", "\n"]),
        ("日本の首都です", ["日本の首", "都です"]),
    ],
)
def test_a_text_is_cut_into_words_of_four_characters(text: str, tokens: list[str]) -> None:
    assert split_text(text) == tokens
    assert count_text(text) == len(tokens)


@given(st.text())
def test_the_tokens_of_a_text_are_the_text(text: str) -> None:
    assert "".join(split_text(text)) == text


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        ({}, 0),
        ({"messages": [{"role": "user", "content": "Hello world"}]}, MESSAGE_TOKENS + 4),
        ({"messages": [{"role": "assistant", "content": None}]}, MESSAGE_TOKENS),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "what"}, {"type": "image_url"}]}]},
            MESSAGE_TOKENS + 1 + MEDIA_TOKENS,
        ),
        ({"tools": ["abcd"]}, 2),  # its JSON text, with the quotes: "abc d"
    ],
)
def test_a_prompt_counts_texts_messages_media_and_tools(body: dict[str, Any], tokens: int) -> None:
    assert count_prompt(body) == tokens
