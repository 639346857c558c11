"""JSON Schemas as Claude's constrained decoding takes them.

platform.claude.com, "Structured outputs", "JSON Schema limitations": every object closed; no numeric, length or
pattern constraints; no recursion; no maps (``additionalProperties`` with a schema). What only narrows a value moves
into the description, where the model still reads it; what changes the meaning makes the schema unfit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unified_llm import _json

__all__ = ["UnfitSchemaError", "fit_schema"]

_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"})
_KEPT = frozenset({"type", "enum", "const", "description", "title", "anyOf", "allOf", "$ref", "items"})
_SILENT = frozenset(
    {"additionalProperties", "properties", "required", "$defs", "definitions", "$schema", "$id", "examples"}
)


class UnfitSchemaError(Exception):
    """This schema cannot be enforced; the text says why."""


def fit_schema(schema: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A copy that the API accepts, and the constraints it no longer enforces (``price: minimum``).

    Raises:
        UnfitSchemaError: recursion, maps, or values of any type.
    """
    _refuse_recursion(schema)
    lost: list[str] = []
    fitted = _fit(schema, "", lost)
    return fitted, lost


def _fit(schema: Any, path: str, lost: list[str]) -> dict[str, Any]:
    if not isinstance(schema, Mapping) or not schema:
        raise UnfitSchemaError(f"{path or 'the schema'} allows any value")
    fitted: dict[str, Any] = {}
    for key in ("$defs", "definitions"):
        if isinstance(schema.get(key), Mapping):
            fitted[key] = {name: _fit(sub, name, lost) for name, sub in schema[key].items()}
    if "$ref" in schema:
        return fitted | {"$ref": schema["$ref"]}
    fitted |= {key: schema[key] for key in schema if key in _KEPT}
    _fit_alternatives(schema, fitted, path, lost)
    kinds = _types(schema)
    if "object" in kinds or "properties" in schema:
        _fit_object(schema, fitted, path, lost)
    if "array" in kinds:
        _fit_array(schema, fitted, path, lost)
    if not fitted.keys() & {"type", "anyOf", "allOf", "enum", "const"}:
        raise UnfitSchemaError(f"{path or 'the schema'} allows any value")
    _describe_lost(schema, fitted, path, lost)
    return fitted


def _types(schema: Mapping[str, Any]) -> tuple[str, ...]:
    kind = schema.get("type")
    return tuple(kind) if isinstance(kind, list) else (kind,) if kind else ()


def _fit_alternatives(schema: Mapping[str, Any], fitted: dict[str, Any], path: str, lost: list[str]) -> None:
    for key in ("anyOf", "allOf", "oneOf"):
        if key in schema:
            fitted["anyOf" if key == "oneOf" else key] = [
                _fit(sub, f"{path}/{key}/{i}", lost) for i, sub in enumerate(schema[key])
            ]


def _fit_object(schema: Mapping[str, Any], fitted: dict[str, Any], path: str, lost: list[str]) -> None:
    extra = schema.get("additionalProperties")
    if isinstance(extra, Mapping) or schema.get("patternProperties"):
        raise UnfitSchemaError(f"{path or 'the schema'} is a map with free keys")
    if "properties" not in schema and extra is not False and "anyOf" not in fitted and "allOf" not in fitted:
        raise UnfitSchemaError(f"{path or 'the schema'} is an object of any shape")
    if extra is True:
        lost.append(f"{path or '/'}: additionalProperties")
    fitted["properties"] = {
        name: _fit(sub, f"{path}/{name}", lost) for name, sub in (schema.get("properties") or {}).items()
    }
    if "required" in schema:
        fitted["required"] = list(schema["required"])
    fitted["additionalProperties"] = False


def _fit_array(schema: Mapping[str, Any], fitted: dict[str, Any], path: str, lost: list[str]) -> None:
    if "items" not in schema:
        raise UnfitSchemaError(f"{path or 'the schema'} is an array of any values")
    fitted["items"] = _fit(schema["items"], f"{path}/items", lost)
    if schema.get("minItems") in (0, 1):
        fitted["minItems"] = schema["minItems"]


def _describe_lost(schema: Mapping[str, Any], fitted: dict[str, Any], path: str, lost: list[str]) -> None:
    if schema.get("format") in _FORMATS:
        fitted["format"] = schema["format"]
    gone = {k: v for k, v in schema.items() if k not in fitted and k not in _SILENT and k != "oneOf"}
    if not gone:
        return
    lost += [f"{path or '/'}: {name}" for name in gone if name != "default"]  # a default constrains nothing
    rules = "{" + ", ".join(f"{name}: {_json.dumps_str(value)}" for name, value in gone.items()) + "}"
    fitted["description"] = f"{fitted['description']}\n\n{rules}" if fitted.get("description") else rules


def _refuse_recursion(schema: Mapping[str, Any]) -> None:
    definitions = {f"#/{k}/{n}": sub for k in ("$defs", "definitions") for n, sub in (schema.get(k) or {}).items()}
    edges = {ref: _refs(sub) for ref, sub in definitions.items()}
    for start, direct in edges.items():
        seen: set[str] = set()
        todo = list(direct)
        while todo:
            ref = todo.pop()
            if ref == start:
                raise UnfitSchemaError(f"{start} refers to itself")
            if ref not in seen:
                seen.add(ref)
                todo += edges.get(ref, ())
    if "#" in _refs(schema):
        raise UnfitSchemaError("the schema refers to itself")


def _refs(node: Any) -> list[str]:
    if isinstance(node, Mapping):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [ref for value in node.values() for ref in _refs(value)]
    return [ref for value in node for ref in _refs(value)] if isinstance(node, list) else []
