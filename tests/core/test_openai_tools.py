"""Tools, tool choice and structured output in the OpenAI dialect, as each profile wants them."""

from __future__ import annotations

from typing import Any

import pytest

from testkit.openai_wire import ADD, MUL, SCHEMA, ask, body_of, encode, said, sent
from unified_llm.errors import InvalidRequestError, UnsupportedOptionError
from unified_llm.messages import (
    Message,
)
from unified_llm.profiles import Profile
from unified_llm.requests import ChatRequest, ResponseFormat
from unified_llm.tools import Tool, ToolChoice

# -- tools -----------------------------------------------------------------------------------------------------------


def tools_of(choice: ToolChoice | None, profile: str | Profile = "openai", **options: Any) -> dict[str, Any]:
    request = ask(tools=(ADD, MUL), tool_choice=choice, **options)
    body = body_of(encode(request, profile))
    names = [t["function"]["name"] for t in body.get("tools", ())]
    return {"tools": names, "choice": body.get("tool_choice"), "said": said(request, profile)}


def test_tools_are_sent_as_they_are_and_strict_only_when_asked() -> None:
    strict = Tool("f", "d", SCHEMA, strict=True)
    plain, asked = body_of(encode(ask(tools=(ADD, strict))))["tools"]
    assert plain == {
        "type": "function",
        "function": {"name": "add", "description": "Adds one", "parameters": dict(ADD.parameters)},
    }
    assert asked["function"]["strict"] is True
    assert "strict" not in body_of(encode(ask(tools=(strict,)), "llamacpp"))["tools"][0]["function"]
    assert said(ask(tools=(strict,)), "llamacpp") == [("dropped", "strict")]


def test_a_provider_defined_tool_passes_through() -> None:
    native = Tool("browser_search", native={"type": "browser_search"})
    assert body_of(encode(ask(tools=(native,)), "groq"))["tools"] == [{"type": "browser_search"}]


@pytest.mark.parametrize("mode", ["auto", "none", "required"])
def test_tool_choice_words_are_sent_as_they_are(mode: Any) -> None:
    assert tools_of(ToolChoice(mode)) == {"tools": ["add", "mul"], "choice": mode, "said": []}


def test_a_named_tool_is_an_object_for_openai() -> None:
    named = {"type": "function", "function": {"name": "mul"}}
    assert tools_of(ToolChoice("tool", "mul")) == {"tools": ["add", "mul"], "choice": named, "said": []}


@pytest.mark.parametrize("profile", ["lmstudio", "llamacpp"])
def test_a_named_tool_is_the_only_one_sent_where_objects_are_not_understood(profile: str) -> None:
    assert tools_of(ToolChoice("tool", "mul"), profile) == {
        "tools": ["mul"],
        "choice": "required",
        "said": [("changed", "tool_choice")],
    }


def test_a_named_tool_is_the_only_one_mistral_gets() -> None:
    found = tools_of(ToolChoice("tool", "mul"), "mistral")
    assert (found["tools"], found["choice"], found["said"]) == (["mul"], "any", [("changed", "tool_choice")])


def test_required_is_called_any_by_mistral() -> None:
    assert tools_of(ToolChoice("required"), "mistral")["choice"] == "any"


def test_a_forced_choice_is_dropped_where_the_field_is_not_read() -> None:
    assert tools_of(ToolChoice("required"), "ollama") == {
        "tools": ["add", "mul"],
        "choice": None,
        "said": [("dropped", "tool_choice")],
    }
    assert tools_of(ToolChoice("tool", "mul"), "ollama")["tools"] == ["mul"]
    assert tools_of(ToolChoice("none"), "ollama") == {
        "tools": [],
        "choice": None,
        "said": [("changed", "tool_choice")],
    }
    assert tools_of(ToolChoice("auto"), "ollama") == {"tools": ["add", "mul"], "choice": None, "said": []}


def test_deepseek_takes_forced_tools_only_without_thinking() -> None:
    assert tools_of(ToolChoice("required"), "deepseek")["said"] == [("dropped", "tool_choice")]
    assert tools_of(ToolChoice("required"), "deepseek", thinking=False)["choice"] == "required"


def test_a_choice_that_names_no_tool_is_refused_and_lists_the_tools() -> None:
    with pytest.raises(InvalidRequestError, match="'div'") as caught:
        encode(ask(tools=(ADD, MUL), tool_choice=ToolChoice("tool", "div")))
    assert "add, mul" in (caught.value.hint or "")


def test_a_demanded_tool_without_tools_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="no tools"):
        encode(ask(tool_choice=ToolChoice("required")))


def test_tools_are_dropped_and_recorded_where_there_are_none() -> None:
    request = ask(tools=(ADD,))
    assert "tools" not in body_of(encode(request, "perplexity"))
    assert said(request, "perplexity") == [("dropped", "tools")]


# -- structured output -----------------------------------------------------------------------------------------------


def test_a_schema_is_sent_strict_where_it_qualifies() -> None:
    body = sent(response_format=ResponseFormat(SCHEMA, "answer"))
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
    }
    loose = {"type": "object", "properties": {"x": {"type": "integer"}}}
    assert "strict" not in sent(response_format=ResponseFormat(loose))["response_format"]["json_schema"]
    assert (
        sent(response_format=ResponseFormat(SCHEMA, strict=False))["response_format"]["json_schema"]["strict"] is False
    )
    assert "strict" not in sent("llamacpp", response_format=ResponseFormat(SCHEMA))["response_format"]["json_schema"]


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        ({"type": "object", "properties": {}, "additionalProperties": False}, True),
        ({"type": "array", "items": {"type": "object", "properties": {"a": {}}, "required": ["a"]}}, False),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, True),
        ({**SCHEMA, "$defs": {"d": {"type": "object", "properties": {"a": {}}}}}, False),
        ({**SCHEMA, "properties": {"x": {"type": "string", "enum": ["properties"]}}}, True),
    ],
)
def test_strictness_is_judged_on_every_object_of_the_schema(schema: Any, strict: bool) -> None:
    sent_schema = sent(response_format=ResponseFormat(schema))["response_format"]["json_schema"]
    assert sent_schema.get("strict", False) is strict


def test_lm_studio_never_gets_json_object() -> None:
    body = sent("lmstudio", response_format=ResponseFormat())
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "response", "schema": {"type": "object"}},
    }


def test_json_mode_adds_the_word_json_when_no_message_has_it() -> None:
    request = ask("Say hi", response_format=ResponseFormat())
    body = body_of(encode(request))
    assert body["response_format"] == {"type": "json_object"}
    assert "JSON" in body["messages"][0]["content"]
    assert said(request) == [("changed", "response_format")]
    assert said(ask("Say hi in JSON", response_format=ResponseFormat())) == []


@pytest.mark.parametrize(("profile", "kind"), [("deepseek", "json_object"), ("lollms", None)])
def test_a_schema_goes_into_the_prompt_where_it_cannot_be_enforced(profile: str, kind: str | None) -> None:
    request = ask([Message("system", "Be brief."), Message("user", "Hi")], response_format=ResponseFormat(SCHEMA))
    body = body_of(encode(request, profile))
    assert (body.get("response_format") or {}).get("type") == kind
    assert body["messages"][0]["content"].startswith("Be brief.\n\n")
    assert '"additionalProperties":false' in body["messages"][0]["content"]
    assert said(request, profile) == [("changed", "response_format")]


@pytest.mark.parametrize(
    ("profile", "request_"),
    [
        ("lmstudio", ask(tools=[ADD, MUL], tool_choice=ToolChoice("tool", "add"), on_unsupported="error")),
        ("anythingllm", ask(response_format=ResponseFormat(SCHEMA), on_unsupported="error")),
        ("lmstudio", ask(tools=[ADD], response_format=ResponseFormat(SCHEMA), on_unsupported="error")),
        ("mistral", ask(effort="low", on_unsupported="error")),
        ("openai", ask(model="gpt-5.2", thinking=1000, on_unsupported="error")),
    ],
)
def test_a_change_of_meaning_is_refused_when_the_policy_is_error(profile: str, request_: ChatRequest) -> None:
    with pytest.raises(UnsupportedOptionError) as caught:
        encode(request_, profile)
    assert caught.value.hint
    assert caught.value.provider == profile


def test_what_says_the_same_in_another_form_is_no_error() -> None:
    history = [Message("user", "Hi"), Message("system", "Be brief"), Message("user", "Answer")]
    assert said(ask(history, on_unsupported="error"), "mistral") == [("changed", "messages")]
