"""Tool schemas that every client takes: flat, closed, without ``$ref``, ``title`` or nullable unions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

__all__ = ["flat_schema", "input_schema"]


def input_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON Schema of a tool's arguments."""
    schema = model.model_json_schema()
    return flat_schema(schema, schema.pop("$defs", {}))


def flat_schema(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `schema` with references put in place, titles dropped and ``X or null`` written as X.

    Anthropic refuses tools with ``$ref`` or a top-level union, and several clients show titles to the model, which
    costs tokens and says nothing. Null stays accepted for an optional argument; it just is not advertised.
    """
    if "$ref" in schema:
        target = definitions[schema["$ref"].rpartition("/")[2]]
        return flat_schema({**target, **{k: v for k, v in schema.items() if k != "$ref"}}, definitions)
    if "anyOf" in schema:
        given = [option for option in schema["anyOf"] if option.get("type") != "null"]
        if len(given) == 1:
            return flat_schema(given[0] | {k: v for k, v in schema.items() if k != "anyOf"}, definitions)
    is_class = "properties" in schema  # its description is a Python docstring
    flat: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "title" or (key == "default" and value in (None, [])) or (key == "description" and is_class):
            continue
        if key == "properties":
            flat[key] = {name: flat_schema(one, definitions) for name, one in value.items()}
        elif key == "items":
            flat[key] = flat_schema(value, definitions)
        else:
            flat[key] = value
    return flat
