"""Every error says what to do next."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from unified_llm import InvalidRequestError, ModelConfig, UnifiedLLM, errors

ROOT = Path(__file__).parent.parent.parent
SOURCES = ["src/unified_llm", "mcp_server/src", *(str(p.relative_to(ROOT)) for p in ROOT.glob("integrations/*/src"))]
CLASSES = frozenset(name for name in errors.__all__ if name.endswith("Error"))


def made_without_hint(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "id", None) or getattr(node.func, "attr", None)
        if name in CLASSES and not any(k.arg in ("hint", None) for k in node.keywords):  # None: **details
            yield f"{path.relative_to(ROOT)}:{node.lineno} {name}"


def test_no_error_is_made_without_a_hint() -> None:
    paths = [path for source in SOURCES for path in (ROOT / source).rglob("*.py")]
    assert len(paths) > 150
    assert [found for path in paths for found in made_without_hint(path)] == []


def test_the_search_finds_one_without(tmp_path: Path) -> None:
    path = ROOT / "tests/core/test_hints.py"
    assert [line.partition(" ")[2] for line in made_without_hint(path)] == ["InvalidRequestError"]
    assert InvalidRequestError("found by the search").hint is None


@pytest.mark.parametrize(
    "options",
    [
        {"seed": "a"},
        {"seed": 1.5},
        {"temperature": "hot"},
        {"temperature": 3},
        {"temperature": True},
        {"top_p": 7},
        {"top_p": float("nan")},
        {"top_k": "all"},
        {"presence_penalty": "much"},
        {"max_tokens": -5},
        {"max_tokens": "100"},
        {"max_tokens": True},
        {"stop": 5},
        {"timeout": "soon"},
        {"timeout": -1},
        {"deadline": -1},
        {"max_retries": 1.5},
        {"max_retries": -1},
        {"parallel_tool_calls": "yes"},
        {"logprobs": "3"},
        {"prompt_caching": 5},
        {"user": 7},
        {"label": 7},
        {"fallbacks": 5},
        {"on_unsupported": "shrug"},
    ],
    ids=str,
)
async def test_an_option_that_cannot_be_is_refused_with_what_it_can_be(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        ModelConfig(**options)
    name, value = next(iter(options.items()))
    assert caught.value.hint
    assert repr(value) in caught.value.message
    assert name in caught.value.message
    llm = UnifiedLLM("offline")
    for call in (lambda: llm.chat("x", **options), lambda: llm.stream("x", **options).get_response()):
        with pytest.raises(InvalidRequestError):
            call()
    with pytest.raises(InvalidRequestError):
        await llm.chat_async("x", **options)


@pytest.mark.parametrize("limit", [-1, 0])
def test_no_limit_of_tokens_is_told_by_both_usual_numbers(limit: int) -> None:
    assert ModelConfig(max_tokens=limit).max_tokens is None
