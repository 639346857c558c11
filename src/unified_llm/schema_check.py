"""Says whether a value fits a JSON Schema: for answers that were asked for in one, and for examples made from one.

Covers the assertions of draft 2020-12 that tools and structured output use, and the older spellings still met
(`definitions`, `items` as a list, `dependencies`, boolean `exclusiveMinimum`). `format` is an annotation there, and
is not checked here, nor `unevaluatedProperties`. References inside the document only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, TypeAlias
from urllib.parse import unquote

from unified_llm.errors import InvalidRequestError

__all__ = [
    "Schema",
    "bounds",
    "fits",
    "identity",
    "is_multiple",
    "is_type",
    "item_schema",
    "matches",
    "property_schemas",
    "required_with",
    "resolve_ref",
    "schemas_with",
    "unsupported",
]

Schema: TypeAlias = Mapping[str, Any] | bool

_UNSUPPORTED = ("$dynamicRef", "$recursiveRef", "unevaluatedItems")
_MAX_DEPTH = 80  # a few Python frames each


def unsupported(message: str) -> InvalidRequestError:
    """The error for a schema this engine cannot serve."""
    return InvalidRequestError(message, hint="simplify the schema, or script the answer with unified_llm.testing.Reply")


def resolve_ref(root: Schema, ref: str) -> Schema:
    """The schema `ref` points to inside `root`: ``#``, ``#/a/b``, ``#anchor`` or the ``$id`` of a part.

    Raises:
        InvalidRequestError: it points nowhere, or outside the document.
    """
    if ref == "#":
        return root
    if not ref.startswith("#/"):
        found = next(_named(root, ref), None)
        if found is None:
            raise unsupported(f"the schema reference {ref!r} is not inside the schema")
        return found
    node: Any = root
    for step in unquote(ref[2:]).split("/"):
        step = step.replace("~1", "/").replace("~0", "~")
        try:
            node = node[int(step)] if isinstance(node, list) else node[step]
        except (KeyError, IndexError, ValueError, TypeError):
            raise unsupported(f"the schema reference {ref!r} points to nothing") from None
    if not isinstance(node, (Mapping, bool)):
        raise unsupported(f"the schema reference {ref!r} points to a {type(node).__name__}, not a schema")
    return node


def _named(node: Any, name: str) -> Iterator[Mapping[str, Any]]:
    if isinstance(node, Mapping):
        if node.get("$id") == name or (name.startswith("#") and node.get("$anchor") == name[1:]):
            yield node
        for value in node.values():
            yield from _named(value, name)
    elif isinstance(node, list):
        for value in node:
            yield from _named(value, name)


def identity(value: Any) -> Any:
    """A hashable stand-in under which JSON values are equal exactly when JSON Schema says so (1 is 1.0, not true)."""
    if isinstance(value, bool) or value is None:
        return (str(value),)
    if isinstance(value, Mapping):
        return ("object", frozenset((k, identity(v)) for k, v in value.items()))
    if isinstance(value, (list, tuple)):
        return ("array", tuple(identity(v) for v in value))
    return value


def is_type(value: Any, kind: str) -> bool:
    """Whether `value` is of the JSON Schema type `kind`."""
    match kind:
        case "null":
            return value is None
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return _is_number(value) and (isinstance(value, int) or value.is_integer())
        case "number":
            return _is_number(value)
        case "string":
            return isinstance(value, str)
        case "array":
            return isinstance(value, list)
        case "object":
            return isinstance(value, Mapping)
    raise unsupported(f"{kind!r} is not a JSON Schema type")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_multiple(value: float, step: float) -> bool:
    """Whether `value` is a multiple of `step`, both read as the decimals they are written as, and as floats too.

    Validators disagree on ``0.3`` and ``multipleOf: 0.1``; what passes here passes in both kinds.
    """
    if Fraction(str(value)) % Fraction(str(step)):
        return False
    quotient = value / step
    return math.isfinite(quotient) and quotient == int(quotient)


def fits(root: Schema, schema: Schema, value: Any) -> bool:
    """Whether `value` is valid against `schema`, a part of the document `root`.

    Raises:
        InvalidRequestError: the schema uses what this check does not cover, or is no schema.
    """
    return _Check(root).fits(schema, value)


class _Check:
    def __init__(self, root: Schema) -> None:
        self.root = root
        self.depth = 0

    def fits(self, schema: Schema, value: Any) -> bool:
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, Mapping):
            raise unsupported(f"a JSON Schema is an object or a boolean, not {type(schema).__name__}")
        for keyword in _UNSUPPORTED:
            if keyword in schema:
                raise unsupported(f"the schema keyword {keyword!r} is not supported")
        self.depth += 1
        try:
            if self.depth > _MAX_DEPTH:
                raise unsupported("the schema refers to itself without end")
            return self._any_type(schema, value) and self._combined(schema, value) and self._own_type(schema, value)
        finally:
            self.depth -= 1

    def _any_type(self, schema: Mapping[str, Any], value: Any) -> bool:
        kinds = schema.get("type")
        if kinds is not None and not any(is_type(value, k) for k in ([kinds] if isinstance(kinds, str) else kinds)):
            return False
        if "const" in schema and identity(schema["const"]) != identity(value):
            return False
        return "enum" not in schema or identity(value) in [identity(e) for e in schema["enum"]]

    def _combined(self, schema: Mapping[str, Any], value: Any) -> bool:
        if "$ref" in schema and not self.fits(resolve_ref(self.root, schema["$ref"]), value):
            return False
        if not all(self.fits(s, value) for s in schema.get("allOf", ())):
            return False
        if "anyOf" in schema and not any(self.fits(s, value) for s in schema["anyOf"]):
            return False
        if "oneOf" in schema and sum(self.fits(s, value) for s in schema["oneOf"]) != 1:
            return False
        if "not" in schema and self.fits(schema["not"], value):
            return False
        if "if" in schema:
            return self.fits(schema.get("then" if self.fits(schema["if"], value) else "else", True), value)
        return True

    def _own_type(self, schema: Mapping[str, Any], value: Any) -> bool:
        if isinstance(value, str):
            return _string_fits(schema, value)
        if _is_number(value):
            return _number_fits(schema, value)
        if isinstance(value, list):
            return self._array_fits(schema, value)
        return not isinstance(value, Mapping) or self._object_fits(schema, value)

    def _array_fits(self, schema: Mapping[str, Any], value: list[Any]) -> bool:
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", math.inf):
            return False
        if schema.get("uniqueItems") and len({identity(v) for v in value}) < len(value):
            return False
        if not all(self.fits(item_schema(schema, i), v) for i, v in enumerate(value)):
            return False
        if "contains" not in schema:
            return True
        found = sum(self.fits(schema["contains"], v) for v in value)
        return bool(schema.get("minContains", 1) <= found <= schema.get("maxContains", math.inf))

    def _object_fits(self, schema: Mapping[str, Any], value: Mapping[str, Any]) -> bool:
        if not schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", math.inf):
            return False
        if any(key not in value for key in schema.get("required", ())):
            return False
        if any(key not in value for key in required_with(schema, value)):
            return False
        names = schema.get("propertyNames", True)
        if not all(self.fits(names, key) for key in value):
            return False
        if not all(self.fits(s, value) for s in schemas_with(schema, value)):
            return False
        return all(self.fits(s, v) for k, v in value.items() for s in property_schemas(schema, k))


def _string_fits(schema: Mapping[str, Any], value: str) -> bool:
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", math.inf):
        return False
    if "pattern" not in schema:
        return True
    return matches(schema["pattern"], value)


def matches(pattern: str, value: str) -> bool:
    """Whether `pattern` is found in `value`. Raises `InvalidRequestError` when it is no expression of Python's."""
    try:
        return re.search(pattern, value) is not None
    except re.error as exc:
        raise unsupported(f"the pattern {pattern!r} is not supported: {exc}") from exc


def _number_fits(schema: Mapping[str, Any], value: float) -> bool:
    low, low_open, high, high_open = bounds(schema)
    if value < low or value > high or (low_open and value == low) or (high_open and value == high):
        return False
    return "multipleOf" not in schema or is_multiple(value, schema["multipleOf"])


def bounds(schema: Mapping[str, Any]) -> tuple[float, bool, float, bool]:
    """Lower bound, whether it is excluded, upper bound, whether it is excluded (both spellings of `exclusive...`)."""
    low, low_open = _tighter(schema.get("minimum"), schema.get("exclusiveMinimum"), -math.inf, max)
    high, high_open = _tighter(schema.get("maximum"), schema.get("exclusiveMaximum"), math.inf, min)
    return low, low_open, high, high_open


def _tighter(inclusive: Any, exclusive: Any, default: float, pick: Any) -> tuple[float, bool]:
    closed = default if inclusive is None else inclusive
    if isinstance(exclusive, bool):  # draft 4
        return closed, exclusive
    if exclusive is None:
        return closed, False
    return pick(closed, exclusive), pick(closed, exclusive) == exclusive


def item_schema(schema: Mapping[str, Any], index: int) -> Schema:
    """The schema of the array item at `index`."""
    items = schema.get("items", True)
    first: Sequence[Schema] = schema.get("prefixItems", ())
    if isinstance(items, list):  # drafts before 2020-12
        first, items = items, schema.get("additionalItems", True)
    rest: Schema = items
    return first[index] if index < len(first) else rest


def property_schemas(schema: Mapping[str, Any], key: str) -> list[Schema]:
    """Every schema the value of property `key` must fit."""
    found: list[Schema] = []
    if key in schema.get("properties", {}):
        found.append(schema["properties"][key])
    found += [s for pattern, s in schema.get("patternProperties", {}).items() if matches(pattern, key)]
    if not found:
        found.append(schema.get("additionalProperties", True))
    return found


def required_with(schema: Mapping[str, Any], present: Mapping[str, Any] | set[str]) -> list[str]:
    """Properties that must be there because of those `present`."""
    rules = {**schema.get("dependencies", {}), **schema.get("dependentRequired", {})}
    return [name for key, names in rules.items() if key in present and isinstance(names, list) for name in names]


def schemas_with(schema: Mapping[str, Any], present: Mapping[str, Any] | set[str]) -> list[Schema]:
    """Schemas the whole object must fit because of the properties `present`."""
    rules = {**schema.get("dependencies", {}), **schema.get("dependentSchemas", {})}
    return [s for key, s in rules.items() if key in present and not isinstance(s, list)]
