"""What LangChain does with the methods of a model: `with_fallbacks` reads their annotations when it is used."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

import langchain_unified_llm
from langchain_unified_llm import ChatUnifiedLLM
from unified_llm.testing import Failure, FakeLLM, ToolCall


class Answer(BaseModel):
    """An answer."""

    text: str


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def pair(*second: Any) -> Any:
    """A model that is down, with one that answers `second`."""
    broken = ChatUnifiedLLM(client=FakeLLM(Failure(status=503)), max_retries=0)
    return broken.with_fallbacks([ChatUnifiedLLM(client=FakeLLM(*second))])


def methods() -> Iterator[Any]:
    for exported in (getattr(langchain_unified_llm, name) for name in langchain_unified_llm.__all__):
        if inspect.isfunction(exported):
            yield pytest.param(exported, id=exported.__name__)
        elif inspect.isclass(exported):
            for name, method in inspect.getmembers(exported, callable):
                if not name.startswith("_") and _is_ours(method):
                    yield pytest.param(method, id=f"{exported.__name__}.{name}")


def _is_ours(method: Any) -> bool:
    return str(getattr(method, "__module__", None)).startswith("langchain_unified_llm")


@pytest.mark.parametrize("method", list(methods()))
def test_the_annotations_of_every_public_method_can_be_evaluated(method: Any) -> None:
    assert isinstance(typing.get_type_hints(method), dict)


def test_tools_are_bound_to_a_model_and_to_its_fallbacks() -> None:
    message = pair(ToolCall("add", {"a": 1, "b": 2})).bind_tools([add]).invoke("1 + 2?")
    assert [call["name"] for call in message.tool_calls] == ["add"]


def test_structured_output_is_asked_of_a_model_and_of_its_fallbacks() -> None:
    assert pair('{"text": "yes"}').with_structured_output(Answer).invoke("Yes?") == Answer(text="yes")
