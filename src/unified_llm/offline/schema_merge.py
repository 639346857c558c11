"""Puts several JSON Schemas into one that asks for everything they ask for: what `allOf` and a chosen branch mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from unified_llm.schema_check import Schema, identity, item_schema, property_schemas

__all__ = ["COMBINERS", "DeadEnd", "merge"]


class DeadEnd(Exception):  # noqa: N818  # not an error of the caller: "this way leads nowhere, try another"
    """No value can fit this combination."""


def merge(first: Schema, second: Schema) -> dict[str, Any]:
    """One schema that is fitted by what fits both (validity is checked again later, so approximations are safe).

    Both are flat: without `COMBINERS` at their top.

    Raises:
        DeadEnd: nothing can fit both.
    """
    if first is False or second is False:
        raise DeadEnd("a false schema")
    if first is True or second is True or not first or not second:
        return dict(second if first is True or not first else first)  # type: ignore[arg-type]  # booleans are gone
    merged: dict[str, Any] = {**second, **first}
    for keyword in first.keys() & second.keys():
        if keyword in _MERGERS:
            merged[keyword] = _MERGERS[keyword](first[keyword], second[keyword])
    if "const" in merged or "enum" in merged:
        merged = _literal(merged, first, second)
    if "properties" in merged or "patternProperties" in merged:
        merged["properties"] = _properties(first, second)
    if "items" in merged or "prefixItems" in merged:
        merged |= _items(first, second)
    return merged


COMBINERS = ("$ref", "allOf", "anyOf", "oneOf", "if", "then", "else")


def _same_types(first: str | list[str], second: str | list[str]) -> list[str]:
    left = [first] if isinstance(first, str) else list(first)
    right = [second] if isinstance(second, str) else list(second)
    both = [k for k in left if k in right]
    if "integer" in left + right and "number" in left + right and "integer" not in both:
        both = ["integer" if k == "number" else k for k in both] or ["integer"]
    if not both:
        raise DeadEnd("no common type")
    return both


def _common_multiple(first: float, second: float) -> float:
    left, right = Fraction(str(first)), Fraction(str(second))
    step = Fraction(
        math.lcm(left.numerator * right.denominator, right.numerator * left.denominator),
        left.denominator * right.denominator,
    )
    return int(step) if step.denominator == 1 else float(step)


def _union(first: list[str], second: list[str]) -> list[str]:
    return [*first, *(name for name in second if name not in first)]


def _maps(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**first, **second}
    for key in first.keys() & second.keys():
        one, two = first[key], second[key]
        merged[key] = _union(one, two) if isinstance(one, list) else merge(one, two)
    return merged


def _exclusive(pick: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda a, b: (a or b) if isinstance(a, bool) or isinstance(b, bool) else pick(a, b)


def _schemas(first: Schema, second: Schema) -> Schema:
    """Both, for a part of a schema: merged now, or left to `allOf` where branches are still to be chosen."""
    if isinstance(first, bool) or isinstance(second, bool):
        return second if first is True else first if second is True else False
    if any(k in COMBINERS for k in (*first, *second)):
        return {"allOf": [first, second]}
    return merge(first, second)


_MERGERS: dict[str, Callable[[Any, Any], Any]] = {
    "type": _same_types,
    "minimum": max,
    "maximum": min,
    "exclusiveMinimum": _exclusive(max),
    "exclusiveMaximum": _exclusive(min),
    "minLength": max,
    "maxLength": min,
    "minItems": max,
    "maxItems": min,
    "minProperties": max,
    "maxProperties": min,
    "multipleOf": _common_multiple,
    "uniqueItems": lambda a, b: a or b,
    "required": _union,
    "not": lambda a, b: {"anyOf": [a, b]},
    "contains": lambda a, b: {"allOf": [a, b]},  # one item for both: more than is asked, and simpler
    "minContains": max,
    "maxContains": min,
    "patternProperties": _maps,
    "dependentRequired": _maps,
    "dependentSchemas": _maps,
    "additionalProperties": _schemas,
    "propertyNames": _schemas,
    "pattern": lambda a, b: a if len(a) >= len(b) else b,  # the longer says more; the final check knows both
}


def _literal(merged: dict[str, Any], first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """`const` and `enum` of both, as the one `enum` of the values that all of them allow."""
    lists = [[s["const"]] if "const" in s else s["enum"] for s in (first, second) if "const" in s or "enum" in s]
    allowed = lists[0] if len(lists) == 1 else [v for v in lists[0] if identity(v) in map(identity, lists[1])]
    if not allowed:
        raise DeadEnd("no common value")
    merged = {k: v for k, v in merged.items() if k not in ("const", "enum")}
    return merged | {"enum": allowed}


def _properties(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Schema]:
    """Each property under the rules of both sides: one side's `additionalProperties` meets the other's names."""
    names = _union(list(first.get("properties", {})), list(second.get("properties", {})))
    merged: dict[str, Schema] = {}
    for name in names:
        both: Schema = True
        for schema in (*property_schemas(first, name), *property_schemas(second, name)):
            both = _schemas_or_false(both, schema)
        merged[name] = both
    return merged


def _items(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    length = max(len(_prefix(first)), len(_prefix(second)))
    prefix = [_schemas_or_false(item_schema(first, i), item_schema(second, i)) for i in range(length)]
    rest = _schemas_or_false(item_schema(first, length), item_schema(second, length))
    return {"prefixItems": prefix, "items": rest}


def _prefix(schema: Mapping[str, Any]) -> list[Schema]:
    items = schema.get("items")
    return items if isinstance(items, list) else schema.get("prefixItems", [])


def _schemas_or_false(first: Schema, second: Schema) -> Schema:
    try:
        return _schemas(first, second)
    except DeadEnd:
        return False
