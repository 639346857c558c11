"""JSON Schemas in the form Claude's structured output enforces."""

from __future__ import annotations

from enum import Enum
from typing import Any, Literal

import jsonschema
import pytest
from pydantic import BaseModel, Field

from testkit.claude_rules import faults_of
from testkit.schema_values import value_for
from unified_llm.codecs.anthropic_schema import UnfitSchemaError, fit_schema


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Wheel(BaseModel):
    size: int = Field(gt=0, le=100)


class Car(BaseModel):
    color: Color
    wheels: list[Wheel] = Field(min_length=2, max_length=6)
    plate: str | None = Field(default=None, pattern="[A-Z]+")
    kind: Literal["car", "truck"] = "car"
    site: str = Field(json_schema_extra={"format": "uri"})


def accepted(schema: dict[str, Any]) -> bool:
    body = {
        "model": "claude-sonnet-5-5",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "x"}],
        "output_config": {"format": {"type": "json_schema", "schema": schema}},
    }
    return faults_of(body, version="2026-10-21") == []


def test_a_model_with_references_enums_and_constraints_is_accepted_by_the_api() -> None:
    fitted, lost = fit_schema(Car.model_json_schema())
    assert accepted(fitted)
    assert sorted(lost) == [
        "/plate/anyOf/0: pattern",
        "/wheels: maxItems",
        "/wheels: minItems",
        "Wheel/size: exclusiveMinimum",
        "Wheel/size: maximum",
    ]
    assert fitted["$defs"]["Wheel"]["properties"]["size"]["description"] == "{exclusiveMinimum: 0, maximum: 100}"
    assert fitted["properties"]["site"]["format"] == "uri"


def test_what_fits_the_fitted_schema_has_the_shape_of_the_given_one() -> None:
    fitted, _ = fit_schema(Car.model_json_schema())
    value = value_for(fitted)
    jsonschema.validate(value, fitted)
    assert value.keys() == {"color", "wheels", "site"}


def test_the_given_schema_is_not_touched() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}}
    before = repr(schema)
    fit_schema(schema)
    assert repr(schema) == before


def test_one_of_becomes_any_of_and_all_of_stays() -> None:
    either = {"oneOf": [{"type": "string"}, {"type": "integer"}]}
    both = {"allOf": [{"type": "object", "properties": {}}]}
    fitted, lost = fit_schema({"type": "object", "properties": {"a": either, "b": both}})
    assert fitted["properties"]["a"] == {"anyOf": [{"type": "string"}, {"type": "integer"}]}
    assert "allOf" in fitted["properties"]["b"]
    assert lost == []


def test_open_objects_are_closed_and_said_so() -> None:
    fitted, lost = fit_schema({"type": "object", "properties": {"a": {"type": "null"}}, "additionalProperties": True})
    assert fitted["additionalProperties"] is False
    assert lost == ["/: additionalProperties"]


@pytest.mark.parametrize(
    ("schema", "word"),
    [
        ({}, "any value"),
        ({"type": "object"}, "any shape"),
        ({"type": "array"}, "array of any values"),
        ({"type": "object", "properties": {"a": True}}, "any value"),
        ({"type": "object", "properties": {"a": {"description": "x"}}}, "any value"),
        ({"type": "object", "additionalProperties": {"type": "string"}}, "free keys"),
        ({"type": "object", "patternProperties": {"^x": {"type": "string"}}}, "free keys"),
        (
            {"$ref": "#/$defs/A", "$defs": {"A": {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}}}},
            "refers to itself",
        ),
        ({"type": "object", "properties": {"a": {"$ref": "#"}}}, "refers to itself"),
    ],
)
def test_schemas_that_cannot_be_enforced_say_why(schema: dict[str, Any], word: str) -> None:
    with pytest.raises(UnfitSchemaError, match=word):
        fit_schema(schema)
