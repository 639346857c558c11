"""Makes a value that fits a JSON Schema: what a scripted model answers when it must call a tool or write JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["value_for"]

_STRINGS = {
    "date-time": "2026-01-02T03:04:05Z",
    "date": "2026-01-02",
    "time": "03:04:05Z",
    "duration": "P1D",
    "email": "someone@example.com",
    "hostname": "example.com",
    "uri": "https://example.com/",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def value_for(schema: Mapping[str, Any], *, root: Mapping[str, Any] | None = None, text: str = "text") -> Any:
    """The smallest value that fits `schema`; strings say `text`. Recursion ends at optional properties, left out."""
    root = schema if root is None else root
    if "$ref" in schema:
        return value_for(_resolve(schema["$ref"], root), root=root, text=text)
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if schema.get("enum"):
        return schema["enum"][0]
    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            return value_for(schema[key][0], root=root, text=text)
    if schema.get("allOf"):
        return value_for(_merged(schema, root), root=root, text=text)
    return _by_type(schema, root, text)


def _by_type(schema: Mapping[str, Any], root: Mapping[str, Any], text: str) -> Any:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) else kind
    match kind:
        case "object":
            properties = schema.get("properties") or {}
            wanted = schema.get("required") or ()
            return {n: value_for(properties.get(n, {}), root=root, text=text) for n in wanted}
        case "array":
            items = schema.get("items") or {}
            return [value_for(items, root=root, text=text) for _ in range(schema.get("minItems", 1))]
        case "integer" | "number":
            return _number(schema, kind)
        case "boolean":
            return True
        case "null":
            return None
    return _string(schema, text)


def _number(schema: Mapping[str, Any], kind: str) -> float:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    if low is not None:
        return float(low) if kind == "number" and "minimum" in schema else int(low) + ("exclusiveMinimum" in schema)
    high = int(schema.get("maximum", 1))
    return min(1, high) if kind == "integer" else min(1.5, high)


def _string(schema: Mapping[str, Any], text: str) -> str:
    value = _STRINGS.get(schema.get("format", ""), text)
    value = value.ljust(schema.get("minLength", 0), "x")
    return value[: schema.get("maxLength", len(value))]


def _resolve(ref: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    node: Any = root
    for step in ref.removeprefix("#").strip("/").split("/"):
        if step:
            node = node[step.replace("~1", "/").replace("~0", "~")]
    assert isinstance(node, Mapping)
    return node


def _merged(schema: Mapping[str, Any], root: Mapping[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {k: v for k, v in schema.items() if k != "allOf"}
    for part in schema["allOf"]:
        part = _resolve(part["$ref"], root) if "$ref" in part else part
        properties = {**merged.get("properties", {}), **part.get("properties", {})}
        required = [*merged.get("required", ()), *part.get("required", ())]
        merged |= dict(part) | {"properties": properties, "required": required}
    return merged
