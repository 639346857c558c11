"""bind_tools: every tool form and every choice form, through one neutral shape that any provider takes."""

from __future__ import annotations

import functools
import json
from typing import Annotated, Any

import pytest
from langchain_core.runnables import RunnableBinding
from langchain_core.tools import tool
from pydantic import BaseModel, Field
from pydantic.v1 import BaseModel as BaseModelV1
from typing_extensions import TypedDict

from langchain_unified_llm import ChatUnifiedLLM
from langchain_unified_llm.tool_binding import neutral_choice, neutral_tool
from testkit.claude_double import ClaudeDouble
from testkit.openai_double import OpenAIDouble
from unified_llm import Tool
from unified_llm.errors import InvalidRequestError
from unified_llm.testing import FakeLLM

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


@tool
def add(a: int) -> int:
    """Add."""
    return a


def plain(a: int) -> int:
    """Add."""
    return a


class Pydantic(BaseModel):
    """Add."""

    a: int = Field(description="a number")


class PydanticV1(BaseModelV1):
    """Add."""

    a: int


class Typed(TypedDict):
    """Add."""

    a: Annotated[int, ..., "a number"]


FORMS: list[Any] = [
    add,
    plain,
    Pydantic,
    PydanticV1,
    Typed,
    Tool("add", "Add.", SCHEMA),
    {"type": "function", "function": {"name": "add", "description": "Add.", "parameters": SCHEMA}},
    {"name": "add", "description": "Add.", "parameters": SCHEMA},
    {"name": "add", "description": "Add.", "input_schema": SCHEMA},
    {"title": "add", "description": "Add.", **SCHEMA},
]


@pytest.mark.parametrize("form", FORMS, ids=lambda f: getattr(f, "__name__", type(f).__name__))
def test_every_form_of_a_tool_becomes_the_same_kind_of_dictionary(form: Any) -> None:
    described = neutral_tool(form)
    json.dumps(described)
    assert described["type"] == "function"
    assert described["function"]["description"] == "Add."
    assert described["function"]["parameters"]["properties"]["a"]["type"] == "integer"
    assert described["function"]["parameters"]["required"] == ["a"]


@pytest.mark.parametrize("form", FORMS, ids=lambda f: getattr(f, "__name__", type(f).__name__))
def test_every_form_of_a_tool_may_be_given_to_a_call_as_well(form: Any) -> None:
    fake = FakeLLM("ok", "ok")
    llm = ChatUnifiedLLM(client=fake)
    llm.invoke("Hi", tools=[form])
    llm.bind_tools([form]).invoke("Hi")
    given, bound = (request.body["tools"] for request in fake.requests)
    assert given == bound


def test_a_tool_of_the_provider_stays_as_it_is() -> None:
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
    assert neutral_tool(search) == search
    assert neutral_tool(search, strict=True) == search


def test_extras_of_a_tool_reach_the_provider_that_knows_them(claude_double: ClaudeDouble) -> None:
    marked = tool(extras={"cache_control": {"type": "ephemeral"}})(plain)
    llm = ChatUnifiedLLM(model="claude:claude-haiku-5-5", api_key=claude_double.key, base_url=claude_double.url)
    llm.bind_tools([marked]).invoke("Hi")
    assert claude_double.last["tools"][0]["cache_control"] == {"type": "ephemeral"}


@pytest.mark.parametrize(
    ("choice", "neutral"),
    [
        (None, None),
        (False, None),
        (True, "required"),
        ("auto", "auto"),
        ("none", "none"),
        ("any", "required"),
        ("required", "required"),
        ("add", {"type": "function", "function": {"name": "add"}}),
        ({"type": "function", "function": {"name": "add"}}, {"type": "function", "function": {"name": "add"}}),
        ({"type": "tool", "name": "add"}, {"type": "function", "function": {"name": "add"}}),
        ({"type": "any"}, "required"),
        ({"type": "auto"}, "auto"),
        ({"type": "none"}, "none"),
    ],
)
def test_every_form_of_a_choice_has_one_meaning(choice: Any, neutral: Any) -> None:
    assert neutral_choice(choice) == neutral


@pytest.mark.parametrize(
    ("choice", "claude", "openai"),
    [
        ("any", {"type": "any"}, "required"),
        ("add", {"type": "tool", "name": "add"}, {"type": "function", "function": {"name": "add"}}),
        ("none", {"type": "none"}, "none"),
        (False, None, None),
    ],
)
def test_what_is_bound_once_is_right_for_each_provider(
    claude_double: ClaudeDouble, choice: Any, claude: Any, openai: Any
) -> None:
    with OpenAIDouble() as double:
        options = {"openai-compatible": {"base_url": double.url}}
        llm = ChatUnifiedLLM(model="claude:claude-haiku-5-5", api_key=claude_double.key, base_url=claude_double.url)
        bound = llm.bind_tools([add], tool_choice=choice)
        bound.invoke("Hi")
        for provider, settings in options.items():
            llm.core_client().configure_provider(provider, settings)
        bound.invoke("Hi", model="openai-compatible:double-1")
    assert claude_double.last.get("tool_choice") == claude
    assert double.requests[-1].body.get("tool_choice") == openai
    assert double.requests[-1].body["tools"][0]["function"]["name"] == "add"


def test_strict_and_parallel_calls_are_asked_for(claude_double: ClaudeDouble) -> None:
    llm = ChatUnifiedLLM(model="claude:claude-haiku-5-5", api_key=claude_double.key, base_url=claude_double.url)
    llm.bind_tools([add], strict=True, parallel_tool_calls=False).invoke("Hi")
    assert claude_double.last["tools"][0]["strict"] is True
    assert claude_double.last["tool_choice"]["disable_parallel_tool_use"] is True


def test_no_tools_are_no_tools() -> None:
    fake = FakeLLM("ok")
    ChatUnifiedLLM(client=fake).bind_tools([]).invoke("Hi")
    assert "tools" not in fake.requests[-1].body


def test_binding_gives_a_binding_that_takes_more_and_runs_streams_and_batches() -> None:
    bound = ChatUnifiedLLM(client=FakeLLM("one", "two", "three")).bind_tools([add], temperature=0.5)
    assert isinstance(bound, RunnableBinding)
    assert bound.kwargs["temperature"] == 0.5
    assert bound.invoke("Hi").text == "one"
    assert "".join(chunk.text for chunk in bound.stream("Hi")) == "two"
    assert bound.batch(["Hi"])[0].text == "three"


@pytest.mark.parametrize("nonsense", [7, object(), {"description": "no name"}, [add]])
def test_what_is_no_tool_is_refused_when_it_is_bound(nonsense: Any) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        ChatUnifiedLLM().bind_tools([nonsense])
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("nonsense", [7, {"who": "knows"}, "another_tool"])
def test_a_choice_that_means_nothing_is_refused_when_it_is_bound(nonsense: Any) -> None:
    with pytest.raises(InvalidRequestError):
        ChatUnifiedLLM().bind_tools([add], tool_choice=nonsense)


SINGLE = {"disable_parallel_tool_use": True}


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ({"type": "auto", **SINGLE}, {"type": "auto", **SINGLE}),
        ({"type": "any", **SINGLE}, {"type": "any", **SINGLE}),
        ({"type": "tool", "name": "plain", **SINGLE}, {"type": "tool", "name": "plain", **SINGLE}),
    ],
)
def test_one_call_at_most_in_the_anthropic_form_reaches_every_provider(choice: Any, sent: Any) -> None:
    with ClaudeDouble() as claude, OpenAIDouble() as double:
        llm = ChatUnifiedLLM(model="claude:claude-haiku-5-5", api_key=claude.key, base_url=claude.url)
        other = ChatUnifiedLLM(model="openai-compatible:m", base_url=double.url)
        for model in (llm, other):
            model.bind_tools([plain], tool_choice=choice).invoke("Hi")
            model.bind_tools([plain]).invoke("Hi", tool_choice=choice)
    assert [r.body["tool_choice"] for r in claude.requests] == [sent, sent]
    assert [r.body["parallel_tool_calls"] for r in double.requests] == [False, False]


def test_allowed_tools_are_refused_in_words_of_their_own() -> None:
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}
    with pytest.raises(InvalidRequestError, match="'allowed_tools'") as caught:
        ChatUnifiedLLM(model="offline").bind_tools([plain], tool_choice=choice)
    assert "only the tools that are allowed" in str(caught.value.hint)


@pytest.mark.parametrize("tool", [functools.partial(plain, 1), lambda a: a])
def test_what_has_no_name_is_no_tool(tool: Any) -> None:
    with pytest.raises(InvalidRequestError, match="cannot be bound as a tool"):
        ChatUnifiedLLM(model="offline").bind_tools([tool])
