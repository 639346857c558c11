"""with_structured_output: three methods, every schema form, and no half answer taken for a whole one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage
from pydantic import BaseModel
from typing_extensions import TypedDict

from langchain_unified_llm import ChatUnifiedLLM
from langchain_unified_llm.errors import ModelRefusedError, NoToolCallError, UnifiedStructuredOutputError
from testkit.claude_double import ClaudeDouble, answer
from testkit.openai_double import OpenAIDouble, Say
from unified_llm.errors import InvalidRequestError, StructuredOutputError
from unified_llm.testing import FakeLLM, Reply, ToolCall


class Joke(BaseModel):
    """A joke."""

    setup: str
    punchline: str


class JokeDict(TypedDict):
    """A joke."""

    setup: str
    punchline: str


class Tree(BaseModel):
    """A tree."""

    name: str
    children: list[Tree] = []


VALUE = {"setup": "Why?", "punchline": "Because."}
TEXT = json.dumps(VALUE)
METHODS = ["json_schema", "function_calling", "json_mode"]


def model(*script: Any, **fields: Any) -> tuple[ChatUnifiedLLM, FakeLLM]:
    fake = FakeLLM(*script)
    return ChatUnifiedLLM(client=fake, **fields), fake


def answer_for(method: str) -> Any:
    return ToolCall("Joke", VALUE) if method == "function_calling" else TEXT


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("how", ["invoke", "ainvoke", "stream", "astream"])
async def test_a_pydantic_class_gives_instances(method: Any, how: str) -> None:
    llm, _ = model(answer_for(method))
    chain = llm.with_structured_output(Joke, method=method)
    assert await last_of(chain, how) == Joke(**VALUE)


async def last_of(chain: Any, how: str) -> Any:
    match how:
        case "invoke":
            return chain.invoke("A joke")
        case "ainvoke":
            return await chain.ainvoke("A joke")
        case "stream":
            return list(chain.stream("A joke"))[-1]
        case _:
            return [piece async for piece in chain.astream("A joke")][-1]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("schema", [JokeDict, Joke.model_json_schema()], ids=["TypedDict", "JSON Schema"])
def test_other_schemas_give_dictionaries(method: Any, schema: Any) -> None:
    name = "Joke" if isinstance(schema, dict) else "JokeDict"
    llm, _ = model(ToolCall(name, VALUE) if method == "function_calling" else TEXT)
    assert llm.with_structured_output(schema, method=method).invoke("A joke") == VALUE


def test_each_method_asks_in_its_own_way() -> None:
    llm, fake = model(TEXT, ToolCall("Joke", VALUE), TEXT)
    for method in METHODS:
        llm.with_structured_output(Joke, method=method).invoke("A joke")  # type: ignore[arg-type]
    schema, call, mode = (r.body for r in fake.requests if "chat" in r.path)
    assert schema["response_format"]["json_schema"]["name"] == "Joke"
    assert (call["tools"][0]["function"]["name"], call["tool_choice"]) == ("Joke", "required")
    assert mode["response_format"] == {"type": "json_object"}


@pytest.mark.parametrize("strict", [True, False])
def test_strictness_is_passed_on(strict: bool) -> None:
    closed = {**Joke.model_json_schema(), "additionalProperties": False}
    with OpenAIDouble().script(Say(TEXT)) as double:
        llm = ChatUnifiedLLM(model="openai:m", api_key="k", base_url=double.url)
        llm.with_structured_output(closed, strict=strict).invoke("A joke")
    assert double.requests[-1].body["response_format"]["json_schema"]["strict"] is strict


def test_a_recursive_schema_keeps_its_definitions() -> None:
    llm, fake = model('{"name": "a", "children": [{"name": "b", "children": []}]}')
    result = llm.with_structured_output(Tree).invoke("A tree")
    assert result == Tree(name="a", children=[Tree(name="b")])
    assert "$defs" in fake.requests[-1].body["response_format"]["json_schema"]["schema"]


def test_an_openai_dictionary_is_accepted_as_it_is() -> None:
    llm, fake = model(TEXT)
    wanted = {"type": "json_schema", "json_schema": {"name": "J", "schema": Joke.model_json_schema()}}
    assert llm.with_structured_output(wanted).invoke("A joke") == VALUE
    assert fake.requests[-1].body["response_format"]["json_schema"]["name"] == "J"


def test_json_in_a_fence_is_read() -> None:
    llm, _ = model(f"Here you are:\n```json\n{TEXT}\n```")
    assert llm.with_structured_output(Joke, method="json_mode").invoke("A joke") == Joke(**VALUE)


@pytest.mark.parametrize("schema", [Joke, Joke.model_json_schema()], ids=["class", "dict"])
@pytest.mark.parametrize("how", ["invoke", "stream", "astream"])
async def test_an_answer_cut_by_the_token_limit_is_no_answer(schema: Any, how: str) -> None:
    llm, _ = model(Reply(TEXT[:20], finish_reason="length"))
    chain = llm.with_structured_output(schema)
    with pytest.raises(OutputParserException, match="max_tokens") as caught:
        await last_of(chain, how)
    assert isinstance(caught.value, StructuredOutputError)
    assert caught.value.llm_output == TEXT[:20]


@pytest.mark.parametrize("how", ["invoke", "stream"])
def test_arguments_cut_by_the_token_limit_are_no_answer(how: str) -> None:
    cut = ToolCall("Joke", '{"setup": "Why?", "punchline": "Bec')
    llm, _ = model(Reply(tool_calls=[cut], finish_reason="length"))
    chain = llm.with_structured_output(Joke, method="function_calling")
    with pytest.raises(OutputParserException, match="max_tokens"):
        list(chain.stream("A joke")) if how == "stream" else chain.invoke("A joke")


def test_an_answer_that_does_not_fit_the_class_says_which_field() -> None:
    llm, _ = model('{"setup": "Why?"}')
    with pytest.raises(UnifiedStructuredOutputError, match="punchline"):
        llm.with_structured_output(Joke).invoke("A joke")


def test_arguments_that_do_not_fit_the_class_say_which_field() -> None:
    llm, _ = model(ToolCall("Joke", {"setup": "Why?"}))
    with pytest.raises(UnifiedStructuredOutputError, match="punchline"):
        llm.with_structured_output(Joke, method="function_calling").invoke("A joke")


@pytest.mark.parametrize("schema", [Joke, Joke.model_json_schema()], ids=["class", "dict"])
def test_an_answer_without_the_call_is_an_error_and_not_none(schema: Any) -> None:
    llm, _ = model("I would rather not call anything.")
    with pytest.raises(NoToolCallError, match="Joke"):
        llm.with_structured_output(schema, method="function_calling").invoke("A joke")


@pytest.mark.parametrize("how", ["invoke", "stream"])
def test_a_refusal_is_an_error_of_its_own_with_the_message(claude_double: ClaudeDouble, how: str) -> None:
    claude_double.script([answer("I will not.", stop_reason="refusal")])
    llm = ChatUnifiedLLM(model="claude:claude-haiku-5-5", api_key=claude_double.key, base_url=claude_double.url)
    chain = llm.with_structured_output(Joke)
    with pytest.raises(ModelRefusedError, match="I will not") as caught:
        list(chain.stream("A joke")) if how == "stream" else chain.invoke("A joke")
    assert isinstance(caught.value.raw_message, AIMessage)


@pytest.mark.parametrize("method", METHODS)
def test_include_raw_gives_the_message_beside_the_value(method: Any) -> None:
    llm, _ = model(answer_for(method))
    result: Any = llm.with_structured_output(Joke, method=method, include_raw=True).invoke("A joke")
    assert isinstance(result["raw"], AIMessage)
    assert (result["parsed"], result["parsing_error"]) == (Joke(**VALUE), None)


@pytest.mark.parametrize("method", METHODS)
def test_include_raw_gives_the_error_instead_of_raising_it(method: Any) -> None:
    llm, _ = model("not JSON")
    result: Any = llm.with_structured_output(Joke, method=method, include_raw=True).invoke("A joke")
    assert (result["raw"].text, result["parsed"]) == ("not JSON", None)
    assert isinstance(result["parsing_error"], OutputParserException)


def test_tools_may_be_called_instead_of_answering() -> None:
    llm, fake = model(ToolCall("look", {}))
    look = {"name": "look", "description": "", "parameters": {"type": "object", "properties": {}}}
    chain = llm.with_structured_output(Joke, tools=[look], include_raw=True)
    result: Any = chain.invoke("A joke")
    assert result["raw"].tool_calls[0]["name"] == "look"
    assert fake.requests[-1].body["tools"][0]["function"]["name"] == "look"


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_a_schema_needs_no_title(method: Any) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    assert ChatUnifiedLLM(model="offline").with_structured_output(schema, method=method).invoke("Hi").keys() == {"a"}  # type: ignore[union-attr]


@pytest.mark.parametrize(("schema", "method"), [(Joke, "telepathy"), (None, "json_schema"), (7, "json_schema")])
def test_what_cannot_be_asked_for_is_refused_at_once(schema: Any, method: Any) -> None:
    with pytest.raises(InvalidRequestError):
        ChatUnifiedLLM().with_structured_output(schema, method=method)


# -- answers that do not fit -----------------------------------------------------------------------------------------

COUNT = {"title": "Count", "type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


class Counted(TypedDict):
    """A count."""

    n: int
    note: str | None


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("schema", [COUNT, Counted])
@pytest.mark.parametrize("value", [{"wrong": 1}, {"n": "many", "note": "x"}, {"n": 1.5, "note": None}])
async def test_a_dictionary_that_does_not_fit_its_schema_is_an_error(method: Any, schema: Any, value: Any) -> None:
    name = "Count" if schema is COUNT else "Counted"
    told = ToolCall(name, value) if method == "function_calling" else json.dumps(value)
    llm, _ = model(told, told, told)
    chain = llm.with_structured_output(schema, method=method)
    with pytest.raises(OutputParserException, match=f"the answer does not fit {name}"):
        chain.invoke("Count.")
    with pytest.raises(StructuredOutputError, match="does not fit"):
        [piece async for piece in chain.astream("Count.")]
    raw = llm.with_structured_output(schema, method=method, include_raw=True).invoke("Count.")
    assert isinstance(raw, dict)
    assert (raw["parsed"], type(raw["parsing_error"])) == (None, UnifiedStructuredOutputError)


@pytest.mark.parametrize("method", METHODS)
def test_none_of_a_typed_dictionary_fits(method: Any) -> None:
    value = {"n": 1, "note": None}
    llm, _ = model(ToolCall("Counted", value) if method == "function_calling" else json.dumps(value))
    assert llm.with_structured_output(Counted, method=method).invoke("Count.") == value


@pytest.mark.parametrize("text", ["5", "null", "[1]", '"n"'])
def test_json_mode_without_a_schema_wants_an_object(text: str) -> None:
    llm, _ = model(text)
    with pytest.raises(OutputParserException, match="not of type object"):
        llm.with_structured_output(method="json_mode").invoke("Count.")


@pytest.mark.parametrize("method", METHODS)
def test_the_whole_response_format_is_a_schema_for_every_method(method: Any) -> None:
    whole = {
        "type": "json_schema",
        "json_schema": {"name": "Count", "schema": {k: COUNT[k] for k in COUNT if k != "title"}},
    }
    llm, _ = model(ToolCall("Count", {"n": 1}) if method == "function_calling" else '{"n": 1}')
    assert llm.with_structured_output(whole, method=method).invoke("Count.") == {"n": 1}


@pytest.mark.parametrize(
    ("schema", "method"),
    [
        ({"title": "A", "type": "array", "items": {"type": "integer"}}, "function_calling"),
        (Joke | Tree, "json_mode"),
        (Joke | Tree, "json_schema"),
        (Joke | Tree, "function_calling"),
        (list[int], "json_mode"),
        (5, "json_mode"),
    ],
)
def test_what_is_no_schema_for_a_method_is_refused_before_anything_is_sent(schema: Any, method: Any) -> None:
    llm, fake = model("unused")
    with pytest.raises(InvalidRequestError) as caught:
        llm.with_structured_output(schema, method=method)
    assert caught.value.hint
    assert fake.requests == []
