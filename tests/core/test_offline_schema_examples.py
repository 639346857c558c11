"""`example_for_schema`: every value is valid for its schema, the same everywhere, or refused with a clear error."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator, Draft202012Validator
from pydantic import BaseModel, Field

from unified_llm.errors import InvalidRequestError
from unified_llm.offline.schema_examples import example_for_schema
from unified_llm.schema_check import fits

FORMATS = ("date", "date-time", "time", "email", "uri", "uuid", "ipv4", "ipv6", "hostname", "json-pointer", "regex")


def assert_valid(schema: Any, value: Any) -> None:
    problems = [e.message for e in Draft202012Validator(schema, format_checker=FORMAT_CHECKER).iter_errors(value)]
    assert not problems, (value, problems)


FORMAT_CHECKER = Draft202012Validator.FORMAT_CHECKER


# -- random schemas that something fits ------------------------------------------------------------------------------


@st.composite
def strings(draw: st.DrawFn) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    match draw(st.integers(0, 4)):
        case 0:
            schema["format"] = draw(st.sampled_from(FORMATS))
        case 1:
            schema["pattern"] = draw(st.sampled_from(PATTERNS))
        case 2:
            schema["enum"] = draw(st.lists(st.text(max_size=5), min_size=1, max_size=4, unique=True))
        case 3:
            low = draw(st.integers(0, 40))
            schema["minLength"] = low
            schema["maxLength"] = low + draw(st.integers(0, 20))
    return schema


PATTERNS = (
    r"^[A-Z]{3}-\d{4}$",
    r"^(red|green|blue)$",
    r"^\+?[1-9]\d{1,14}$",
    r"^#[0-9a-fA-F]{6}$",
    r"^[^\s@]+@[^\s@]+\.[a-z]{2,}$",
    r"colou?r",
    r"^(?:[a-z0-9]+-)*[a-z0-9]+$",
    r"^v(?P<major>\d+)\.(\d+)(-rc\d)?$",
    r"^[一-龥]{2}$",
    r"x*",
)


@st.composite
def numbers(draw: st.DrawFn) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": draw(st.sampled_from(["integer", "number"]))}
    low = draw(st.integers(-1000, 1000))
    match draw(st.integers(0, 5)):
        case 0:
            schema |= {"minimum": low, "maximum": low + draw(st.integers(0, 50))}
        case 1:
            schema |= {"exclusiveMinimum": low, "exclusiveMaximum": low + 2}
        case 2:
            schema |= {"minimum": low, "multipleOf": draw(st.sampled_from([1, 2, 7, 0.5, 0.1, 0.01, 2.5]))}
        case 3:
            schema |= {"maximum": low, "multipleOf": draw(st.sampled_from([3, 0.25]))}
        case 4 if schema["type"] == "number":
            schema |= {"exclusiveMinimum": low, "exclusiveMaximum": low + 0.001}
    return schema


def arrays(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    many = st.builds(
        lambda items, low, spare: {"type": "array", "items": items, "minItems": low, "maxItems": low + spare},
        inner,
        st.integers(0, 3),
        st.integers(0, 3),
    )
    unique = st.builds(
        lambda low: {"type": "array", "items": {"type": "integer"}, "uniqueItems": True, "minItems": low},
        st.integers(0, 12),
    )
    tuples = st.builds(
        lambda first: {"type": "array", "prefixItems": first, "items": False, "minItems": len(first)},
        st.lists(inner, min_size=1, max_size=3),
    )
    holding = st.builds(
        lambda item, low: {"type": "array", "contains": item, "minItems": low}, inner, st.integers(0, 3)
    )
    return st.one_of(many, unique, tuples, holding)


NAMES = st.sampled_from(["a", "b", "c", "name", "größe", "x-y"])


@st.composite
def objects(draw: st.DrawFn, inner: st.SearchStrategy[dict[str, Any]]) -> dict[str, Any]:
    properties = draw(st.dictionaries(NAMES, inner, max_size=4))
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if properties:
        schema["required"] = draw(st.lists(st.sampled_from(sorted(properties)), unique=True))
        if draw(st.booleans()):
            first, last = min(properties), max(properties)
            schema["dependentRequired"] = {first: [last]}
    match draw(st.integers(0, 3)):
        case 0:
            schema["additionalProperties"] = False
        case 1:
            schema["additionalProperties"] = draw(inner)
            schema["minProperties"] = len(properties) + draw(st.integers(0, 2))
        case 2:
            schema["patternProperties"] = {"^x_": draw(inner)}
    return schema


def combined(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    one_of = st.builds(
        lambda left, right: {
            "oneOf": [
                {
                    "type": "object",
                    "properties": {"kind": {"const": "l"}, "value": left},
                    "required": ["kind", "value"],
                },
                {"type": "object", "properties": {"kind": {"const": "r"}, "value": right}, "required": ["kind"]},
            ]
        },
        inner,
        inner,
    )
    all_of = st.builds(
        lambda left, right: {
            "allOf": [
                {"type": "object", "properties": {"left": left}, "required": ["left"]},
                {"properties": {"right": right}, "required": ["right"]},
            ]
        },
        inner,
        inner,
    )
    any_of = st.builds(lambda options: {"anyOf": options}, st.lists(inner, min_size=1, max_size=3))
    return st.one_of(any_of, one_of, all_of)


LEAVES = st.one_of(
    strings(),
    numbers(),
    st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"const": {"a": [1]}}, {"type": ["string", "null"]}, {}]),
)
SCHEMAS = st.recursive(LEAVES, lambda inner: st.one_of(arrays(inner), objects(inner), combined(inner)), max_leaves=8)


@settings(max_examples=150, deadline=None)
@given(schema=SCHEMAS, seed=st.integers(0, 50))
def test_every_example_is_valid_for_its_schema(schema: dict[str, Any], seed: int) -> None:
    value = example_for_schema(schema, seed)
    assert_valid(schema, value)
    assert value == example_for_schema(schema, seed)


@settings(max_examples=100, deadline=None)
@given(first=SCHEMAS, second=SCHEMAS)
def test_a_conjunction_of_any_two_schemas_gives_a_valid_value_or_a_clear_error(first: Any, second: Any) -> None:
    schema = {"allOf": [first, second]}
    try:
        value = example_for_schema(schema)
    except InvalidRequestError as exc:
        assert exc.hint  # noqa: PT017  # either outcome is right, both are checked
    else:
        # Without formats: where a format and a pattern disagree, the pattern is the rule and the format a remark.
        assert Draft202012Validator(schema).is_valid(value)


@settings(max_examples=120, deadline=None)
@given(
    schema=SCHEMAS,
    value=st.recursive(
        st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-5, 5) | st.text(max_size=6),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
        max_leaves=5,
    ),
)
def test_the_check_agrees_with_the_reference_validator(schema: dict[str, Any], value: Any) -> None:
    assert fits(schema, schema, value) == Draft202012Validator(schema).is_valid(value)


# -- recursion -------------------------------------------------------------------------------------------------------


class Node(BaseModel):
    """A tree."""

    name: str
    parent: Node | None = None
    children: list[Node] = []


class Expression(BaseModel):
    """Ends only in its second branch."""

    left: Expression | int
    right: Expression | Literal["end"]


@pytest.mark.parametrize("model", [Node, Expression])
@pytest.mark.parametrize("seed", [0, 1, 2, 30])
def test_recursive_models_end(model: type[BaseModel], seed: int) -> None:
    model.model_validate(example_for_schema(model, seed), strict=False)


def test_a_schema_that_contains_itself_without_end_is_refused_at_once() -> None:
    schema = {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}
    with pytest.raises(InvalidRequestError, match="without end"):
        example_for_schema(schema)


def test_mutual_references_are_followed() -> None:
    schema = {
        "$ref": "#/$defs/a",
        "$defs": {
            "a": {"type": "object", "properties": {"b": {"$ref": "#/$defs/b"}}, "required": ["b"]},
            "b": {"anyOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/c~1d"}]},
            "c/d": {"type": "integer", "minimum": 9},
        },
    }
    assert_valid(schema, example_for_schema(schema))


# -- single keywords -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": {"type": "boolean"}, "uniqueItems": True, "minItems": 2},
        {
            "type": "array",
            "uniqueItems": True,
            "minItems": 6,
            "items": {"anyOf": [{"enum": [1, 2, 3]}, {"const": "a"}, {"type": "boolean"}]},
        },
        {"type": "object", "minProperties": 3, "propertyNames": {"pattern": "^[a-z]{2}$"}},
        {
            "type": "object",
            "patternProperties": {"^x_": {"type": "integer"}},
            "additionalProperties": False,
            "minProperties": 2,
        },
        {"type": "object", "properties": {"a": True, "b": True, "c": True}, "maxProperties": 1},
        {"type": "object", "required": ["undeclared"], "additionalProperties": {"type": "integer"}},
        {"not": {"type": "string"}},
        {"oneOf": [{"type": "integer"}, {"type": "number", "minimum": 100}]},
        {
            "type": "object",
            "properties": {"kind": {"enum": ["x", "y"]}, "x": {"type": "integer"}, "y": {"type": "integer"}},
            "if": {"properties": {"kind": {"const": "x"}}, "required": ["kind"]},
            "then": {"required": ["x"]},
            "else": {"required": ["y"]},
        },
        {
            "type": "object",
            "required": ["a"],
            "dependentSchemas": {"a": {"required": ["b"], "properties": {"b": {"const": 4}}}},
        },
        {"type": "array", "contains": {"const": 5}, "minContains": 2, "items": {"type": "integer"}},
        {"allOf": [{"type": "number"}, {"type": "integer"}], "multipleOf": 3, "minimum": 4},
        {"allOf": [{"enum": [1, 2, 3]}, {"enum": [3, 4]}]},
        {
            "allOf": [{"properties": {"a": {"minimum": 3}}}, {"properties": {"a": {"type": "integer", "maximum": 3}}}],
            "required": ["a"],
            "type": "object",
        },
        {
            "type": "object",
            "allOf": [{"properties": {"a": {"const": 1}}}],
            "unevaluatedProperties": False,
            "properties": {"b": {"const": 2}},
        },
        {"$defs": {"x": {"$anchor": "here", "const": 3}}, "$ref": "#here"},
        True,
        {},
    ],
)
def test_each_keyword_is_obeyed(schema: Any) -> None:
    for seed in (0, 1, 5):
        assert_valid(schema, example_for_schema(schema, seed))


def test_older_drafts_are_understood() -> None:
    schema = {
        "definitions": {"positive": {"type": "integer", "minimum": 0, "exclusiveMinimum": 0}},
        "type": "object",
        "properties": {
            "pair": {"type": "array", "items": [{"$ref": "#/definitions/positive"}], "additionalItems": False}
        },
        "required": ["pair"],
        "dependencies": {"pair": ["other"]},
    }
    value = example_for_schema(schema)
    assert Draft7Validator(schema).is_valid(value)
    assert value["other"]


def test_what_the_schema_says_itself_comes_first() -> None:
    schema = {
        "type": "object",
        "properties": {
            "unit": {"type": "string", "default": "celsius"},
            "city": {"type": "string", "examples": ["Paris", "Oslo"]},
            "broken": {"type": "integer", "default": "not an integer"},
        },
    }
    assert example_for_schema(schema) == {"unit": "celsius", "city": "Paris", "broken": 1}
    assert example_for_schema(schema, 1)["city"] == "Oslo"


class Meeting(BaseModel):
    """What applications really ask for."""

    title: str = Field(min_length=3, max_length=60)
    day: date
    people: list[str] = Field(min_length=1)
    minutes: int = Field(gt=0, le=480, multiple_of=15)
    mood: Literal["good", "bad"] | None = None
    rooms: dict[str, int]
    place: tuple[float, float]


@pytest.mark.parametrize("seed", range(8))
def test_a_pydantic_class_can_be_filled(seed: int) -> None:
    Meeting.model_validate(example_for_schema(Meeting, seed))


def test_seeds_vary_the_value() -> None:
    assert len({repr(example_for_schema(Meeting, seed)) for seed in range(8)}) == 8


@pytest.mark.parametrize(
    ("schema", "word"),
    [
        (False, "no value fits"),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "minimum"),
        ({"$ref": "#/nowhere"}, "points to nothing"),
        ({"$ref": "https://example.com/schema.json"}, "not inside"),
        ({"type": "text"}, "not a JSON Schema type"),
        ({"type": "string", "pattern": "(?=look)ahead"}, "look-around"),
        ({"type": "string", "pattern": r"\p{L}"}, "not understood"),
        ({"type": "string", "pattern": "("}, "ends too early"),
        ({"type": "string", "pattern": "^a$", "minLength": 2}, "no text between"),
        ({"type": "array", "items": {"type": "boolean"}, "uniqueItems": True, "minItems": 3}, "different items"),
        ({"type": "array", "minItems": 10**9}, "more than"),
        ({"type": "string", "format": "uuid", "maxLength": 3}, "uuid"),
        ({"$dynamicRef": "#x"}, "not supported"),
        ({"allOf": [{"type": "string"}, {"type": "integer"}]}, "common type"),
        ({"not": {}}, "contradict"),
        (int, "pydantic"),
    ],
)
def test_what_cannot_be_filled_is_refused_with_the_reason(schema: Any, word: str) -> None:
    with pytest.raises(InvalidRequestError, match=word) as caught:
        example_for_schema(schema)
    assert caught.value.hint


def test_another_process_makes_the_same_value() -> None:
    schema = {"type": "object", "minProperties": 2, "properties": {"a": {"type": "number"}}, "not": {"required": ["a"]}}
    code = f"from unified_llm.offline.schema_examples import example_for_schema as e; print(e({schema!r}, 3))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == repr(example_for_schema(schema, 3))
