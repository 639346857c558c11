"""Where and why a value does not fit a JSON Schema, in words for people: `schema_check` only says whether."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from unified_llm import _json
from unified_llm.schema_check import (
    Schema,
    fits,
    is_type,
    item_schema,
    property_schemas,
    required_with,
    resolve_ref,
    schemas_with,
)

__all__ = ["Path", "problem"]

Path: TypeAlias = tuple[str | int, ...]
"""Property names and positions, from the whole value inward."""

Problem: TypeAlias = tuple[Path, str]

_SHOWN = 60
_LIMITS = {
    "minimum": "is less than {}",
    "exclusiveMinimum": "is not more than {}",
    "maximum": "is more than {}",
    "exclusiveMaximum": "is not less than {}",
    "multipleOf": "is no multiple of {}",
    "minLength": "is shorter than {} characters",
    "maxLength": "is longer than {} characters",
    "pattern": "does not match the pattern {}",
    "minItems": "has fewer than {} items",
    "maxItems": "has more than {} items",
    "uniqueItems": "has an item twice",
    "contains": "lacks an item that `contains` asks for",
    "minProperties": "has fewer than {} properties",
    "maxProperties": "has more than {} properties",
    "propertyNames": "has a property whose name is not allowed",
}
"""Assertions about the value itself, and what it says when the value fails it."""

_WITH = {"contains": ("minContains", "maxContains"), "minimum": ("exclusiveMinimum",), "maximum": ("exclusiveMaximum",)}
"""Keywords that change the meaning of another one."""


def problem(schema: Schema, value: Any) -> Problem | None:
    """The innermost place where `value` fails `schema`, and why; None when it fits.

    Raises:
        InvalidRequestError: the schema uses what `schema_check` does not cover, or is no schema.
    """
    return None if fits(schema, schema, value) else _Search(schema).locate(schema, value, ())


class _Search:
    """Follows a value that does not fit down to the assertion it fails. Every `value` given to a method fails."""

    def __init__(self, root: Schema) -> None:
        self._root = root

    def _fails(self, schema: Schema, value: Any) -> bool:
        return not fits(self._root, schema, value)

    def locate(self, schema: Schema, value: Any, path: Path) -> Problem:
        """The failed assertion under `schema`, which `value` at `path` does not fit."""
        if isinstance(schema, bool):
            return path, "is not allowed"
        found = self._of_type(schema, value, path)
        if found is None:
            found = next(self._inside(schema, value, path), None)
        if found is None:
            found = self._combined(schema, value, path)
        return found if found is not None else next(self._limits(schema, value, path), (path, "does not fit"))

    def _of_type(self, schema: Mapping[str, Any], value: Any, path: Path) -> Problem | None:
        kinds = schema.get("type")
        kinds = [kinds] if isinstance(kinds, str) else kinds
        if kinds is not None and not any(is_type(value, kind) for kind in kinds):
            return path, f"is {_shown(value)}, not of type {' or '.join(kinds)}"
        if "const" in schema and self._fails({"const": schema["const"]}, value):
            return path, f"is {_shown(value)}, not {_shown(schema['const'])}"
        if "enum" in schema and self._fails({"enum": schema["enum"]}, value):
            return path, f"is {_shown(value)}, not one of {', '.join(map(_shown, schema['enum']))}"
        return None

    def _inside(self, schema: Mapping[str, Any], value: Any, path: Path) -> Iterator[Problem]:
        """Problems of properties and items, and properties that are missing."""
        if isinstance(value, Mapping):
            for name in [*schema.get("required", ()), *required_with(schema, value)]:
                if name not in value:
                    yield path, f"lacks the property {name!r}"
            for name, inner in value.items():
                for part in property_schemas(schema, name):
                    if part is False:
                        yield path, f"has the property {name!r}, which the schema does not know"
                    elif self._fails(part, inner):
                        yield self.locate(part, inner, (*path, name))
        elif isinstance(value, list):
            for position, inner in enumerate(value):
                part = item_schema(schema, position)
                if self._fails(part, inner):
                    yield self.locate(part, inner, (*path, position))

    def _combined(self, schema: Mapping[str, Any], value: Any, path: Path) -> Problem | None:
        """Problems under references and combinations of schemas."""
        parts: list[Schema] = [resolve_ref(self._root, schema["$ref"])] if "$ref" in schema else []
        parts += schema.get("allOf", ())
        if "if" in schema:
            parts.append(schema.get("else" if self._fails(schema["if"], value) else "then", True))
        if isinstance(value, Mapping):
            parts += schemas_with(schema, value)
        for part in parts:
            if self._fails(part, value):
                return self.locate(part, value, path)
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema and self._fails({keyword: schema[keyword]}, value):
                return self._alternatives(schema[keyword], value, path)
        if "not" in schema and not self._fails(schema["not"], value):
            return path, "fits what the schema rules out with `not`"
        return None

    def _alternatives(self, parts: Sequence[Schema], value: Any, path: Path) -> Problem:
        failed = [part for part in parts if self._fails(part, value)]
        if len(failed) < len(parts):
            return path, f"fits {len(parts) - len(failed)} of the alternatives, where it must fit one"
        found = [self.locate(part, value, path) for part in parts]
        deepest = max(found, key=lambda one: len(one[0]))
        if len(deepest[0]) > len(path) or len(found) == 1:
            return deepest  # the alternative that was meant is the one that fits furthest in
        return path, f"fits none of the alternatives: {'; '.join(dict.fromkeys(reason for _, reason in found))}"

    def _limits(self, schema: Mapping[str, Any], value: Any, path: Path) -> Iterator[Problem]:
        for keyword, words in _LIMITS.items():
            if keyword in schema:
                alone = {key: schema[key] for key in (keyword, *_WITH.get(keyword, ())) if key in schema}
                if self._fails(alone, value):
                    yield path, words.format(_shown(schema[keyword]))


def _shown(value: Any) -> str:
    text = _json.dumps_str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
