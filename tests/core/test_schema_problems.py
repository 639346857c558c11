"""Structured output asked for with a JSON Schema: what does not fit is refused, with the place and the reason."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from testkit.wire_server import WireServer, json_reply
from unified_llm import ChatResponse, StructuredOutputError, UnifiedLLM
from unified_llm.schema_problems import problem
from unified_llm.schemas import normalize_response_format

CITY: dict[str, Any] = {
    "title": "City",
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 2},
        "people": {"type": "integer", "minimum": 0, "exclusiveMaximum": 100},
        "kind": {"enum": ["town", "village"]},
        "twin": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
        "streets": {"type": "array", "items": {"type": "string", "pattern": "^[A-Z]"}, "uniqueItems": True},
    },
    "required": ["name"],
    "additionalProperties": False,
}


def parsed(value: Any, schema: Any = CITY) -> Any:
    text = value if isinstance(value, str) else json.dumps(value)
    return ChatResponse(text, response_format=normalize_response_format(schema)).parsed


def test_what_fits_comes_back_decoded() -> None:
    city = {"name": "Oslo", "people": 7, "kind": "town", "twin": {"name": "Bergen", "twin": None}, "streets": ["A"]}
    assert parsed(city) == city


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({}, "the whole answer lacks the property 'name'"),
        ([], "the whole answer is [], not of type object"),
        ({"name": 5}, "name is 5, not of type string"),
        ({"name": "x"}, "name is shorter than 2 characters"),
        ({"name": "Oslo", "people": -1}, "people is less than 0"),
        ({"name": "Oslo", "people": 100}, "people is not less than 100"),
        ({"name": "Oslo", "people": 1.5}, "people is 1.5, not of type integer"),
        ({"name": "Oslo", "kind": "city"}, 'kind is "city", not one of "town", "village"'),
        ({"name": "Oslo", "nmae": "x"}, "the whole answer has the property 'nmae', which the schema does not know"),
        ({"name": "Oslo", "twin": {"name": "Bergen", "people": "x"}}, 'twin.people is "x", not of type integer'),
        ({"name": "Oslo", "twin": 3}, "twin fits none of the alternatives: is 3, not of type object; is 3, not of"),
        ({"name": "Oslo", "streets": ["A", "b"]}, 'streets.1 does not match the pattern "^[A-Z]"'),
        ({"name": "Oslo", "streets": ["A", "A"]}, "streets has an item twice"),
    ],
    ids=str,
)
def test_what_does_not_fit_names_the_place_and_keeps_the_answer(value: Any, says: str) -> None:
    with pytest.raises(StructuredOutputError) as caught:
        parsed(value)
    assert f"the answer does not fit City: {says}" in caught.value.message
    assert caught.value.partial == json.dumps(value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("schema", "value", "says"),
    [
        ({"oneOf": [{"type": "integer"}, {"minimum": 5}]}, 7, "fits 2 of the alternatives"),
        ({"not": {"type": "integer"}}, 7, "rules out"),
        ({"allOf": [{"required": ["a"]}]}, {}, "lacks the property 'a'"),
        ({"if": {"required": ["a"]}, "then": {"required": ["b"]}}, {"a": 1}, "lacks the property 'b'"),
        ({"dependentRequired": {"a": ["b"]}}, {"a": 1}, "lacks the property 'b'"),
        ({"contains": {"const": 1}, "minContains": 2}, [1], "`contains`"),
        ({"const": {"a": 1}}, {"a": 2}, 'is {"a":2}, not {"a":1}'),
        ({"multipleOf": 5}, 7, "is no multiple of 5"),
        ({"properties": {"a": False}}, {"a": 1}, "has the property 'a'"),
        ({"propertyNames": {"maxLength": 1}}, {"ab": 1}, "whose name is not allowed"),
        ({"$ref": "#/$defs/x", "$defs": {"x": {"type": "null"}}}, 1, "not of type null"),
        ({"maximum": 3, "exclusiveMaximum": True}, 3, "is more than 3"),
    ],
    ids=str,
)
def test_every_kind_of_assertion_has_its_words(schema: dict[str, Any], value: Any, says: str) -> None:
    with pytest.raises(StructuredOutputError) as caught:
        parsed(value, schema)
    assert says in caught.value.message


def test_any_json_object_is_an_object() -> None:
    assert parsed({"a": 1}, "json") == {"a": 1}
    with pytest.raises(StructuredOutputError, match="not of type object"):
        parsed([1], "json")


@pytest.mark.parametrize("schema", [{"$ref": "https://example.org/schema"}, {"required": True}], ids=str)
def test_a_schema_that_cannot_be_checked_lets_pass_and_says_so(
    caplog: pytest.LogCaptureFixture, schema: dict[str, Any]
) -> None:
    with caplog.at_level(logging.WARNING, "unified_llm"):
        assert parsed({"a": 1}, schema) == {"a": 1}
    assert "was not checked against the schema" in caplog.text


def test_the_error_says_whose_answer_it_was() -> None:
    body = {"model": "m", "choices": [{"index": 0, "message": {"role": "assistant", "content": '{"name": 5}'}}]}
    with (
        WireServer(json_reply(body, headers={"x-request-id": "req_7"})) as server,
        UnifiedLLM("openai-compatible", base_url=server.url + "/v1", model="m") as llm,
    ):
        answer = llm.chat("x", response_format=CITY)
        with pytest.raises(StructuredOutputError, match="name is 5") as caught:
            _ = answer.parsed
    error = caught.value
    assert (error.provider, error.model, error.request_id, error.partial) == (
        "openai-compatible",
        "m",
        "req_7",
        '{"name": 5}',
    )


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 9) | st.text("abA", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*CITY["properties"], "x"]), inner),
    max_leaves=8,
)


@given(_VALUES)
def test_it_agrees_with_a_validator_about_what_fits_and_where(value: Any) -> None:
    found = problem(CITY, value)
    errors = list(Draft202012Validator(CITY).iter_errors(value))
    assert (found is None) == (not errors)
    if found is not None:
        outer = {tuple(e.absolute_path) for e in errors}
        assert any(found[0][: len(path)] == path for path in outer)
