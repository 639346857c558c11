"""`example_for_schema`: a value that fits a JSON Schema, the same one for the same schema and seed, everywhere.

The plainest choices are tried first (first branch, every optional property, defaults and examples where the schema has
them); when they do not fit together, other choices follow, drawn from a generator seeded by the call. A value is only
returned when `schema_check.fits` accepts it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Any

from unified_llm.offline.patterns import example_for_pattern
from unified_llm.offline.schema_heights import CONTAINERS, Heights
from unified_llm.offline.schema_leaves import example_number, example_string
from unified_llm.offline.schema_merge import COMBINERS, DeadEnd, merge
from unified_llm.schema_check import (
    Schema,
    fits,
    identity,
    item_schema,
    property_schemas,
    required_with,
    resolve_ref,
    schemas_with,
    unsupported,
)

__all__ = ["example_for_schema"]

_TRIES = 60
_MANY = 2_000  # values after which only what is required is made
_TOO_MANY = 20_000
_MAX_DEPTH = 60
_KINDS = ("string", "integer", "boolean", "null", "array", "object")


def example_for_schema(schema: Mapping[str, Any] | bool | type, seed: int = 0) -> Any:
    """Return a JSON value (dict, list, str, int, float, bool, None) that is valid for `schema`.

    Args:
        schema: JSON Schema (draft 2020-12, and the older spellings of drafts 4 to 7), or a pydantic class.
        seed: 0 gives the plainest value; other numbers give other values, always the same for the same number.

    Raises:
        InvalidRequestError: no value was found, or the schema uses something that is not understood: references
            outside the document, `$dynamicRef`, `unevaluatedItems`, look-around in a `pattern`.

    >>> example_for_schema({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
    {'city': 'example city'}
    """
    root = _schema_of(schema)
    heights = Heights(root)
    if math.isinf(heights.of(root)):
        raise unsupported("no value fits the schema, or each one contains another one without end")
    problem = "its rules contradict each other, or are too intricate for this generator"
    for attempt in range(_TRIES):
        try:
            value = _Maker(root, heights, seed, attempt).make()
        except DeadEnd as exc:
            problem = str(exc) or problem
            continue
        if fits(root, root, value):
            return value
    raise unsupported(f"no example found for the schema: {problem}")


def _schema_of(schema: Mapping[str, Any] | bool | type) -> Schema:
    if isinstance(schema, type):
        model_json_schema = getattr(schema, "model_json_schema", None)
        if model_json_schema is None:
            raise unsupported(f"{schema.__name__} is not a pydantic class: it has no JSON Schema")
        made: dict[str, Any] = model_json_schema()
        return made
    return schema


class _Maker:
    """One attempt. `n` is a number spent on the choices met on the way, so that each `n` is another value."""

    def __init__(self, root: Schema, heights: Heights, seed: int, attempt: int) -> None:
        self.root = root
        self.seed = seed
        self.attempt = attempt
        self.random = random.Random(f"{seed}/{attempt}") if attempt > 1 else None  # noqa: S311  # not for secrets
        self.refs: list[str] = []
        self.made = 0
        self.depth = 0
        self.heights = heights

    def make(self) -> Any:
        return self.value(self.root, "value", self.seed)

    # -- choices ------------------------------------------------------------------------------------------------

    @property
    def spare(self) -> bool:
        """Make no more than what is required: inside a recursion, or when there is a lot already."""
        return self.made > _MANY or len(set(self.refs)) < len(self.refs)

    def pick(self, count: int, n: int) -> tuple[int, int]:
        if self.random is not None:
            return self.random.randrange(count), self.random.randrange(100)
        n, digit = divmod(n, count)
        return digit, n

    def wanted(self) -> bool:
        """Whether to make an optional thing."""
        if self.spare or self.attempt == 1:
            return False
        return self.random is None or self.random.random() < 0.5

    # -- one value ----------------------------------------------------------------------------------------------

    def value(self, schema: Schema, name: str, n: int) -> Any:
        self.made += 1
        self.depth += 1
        mark = len(self.refs)
        try:
            if self.made > _TOO_MANY or self.depth > _MAX_DEPTH:
                raise DeadEnd("every value of it is very large")
            flat, n = self.flat(schema, n)
            return self._from_flat(flat, name, n)
        finally:
            self.depth -= 1
            del self.refs[mark:]

    def _from_flat(self, flat: Mapping[str, Any], name: str, n: int) -> Any:
        if "const" in flat:
            return flat["const"]
        if "enum" in flat:
            return self._listed(flat, list(flat["enum"]), n)
        if self.attempt == 0 and n == 0 and "default" in flat and fits(self.root, flat, flat["default"]):
            return flat["default"]
        known = [v for v in flat.get("examples", ()) if fits(self.root, flat, v)] if self.attempt == 0 else []
        if known:
            return known[n % len(known)]
        kind, n = self._kind(flat, n)
        match kind:
            case "object":
                return self._object(flat, n)
            case "array":
                return self._array(flat, name, n)
            case "string":
                return example_string(flat, name, n)
            case "integer" | "number":
                return example_number(flat, kind, n)
            case "boolean":
                return n % 2 == 0
            case "null":
                return None
        raise unsupported(f"{kind!r} is not a JSON Schema type")

    def _listed(self, flat: Mapping[str, Any], values: list[Any], n: int) -> Any:
        rest = {k: v for k, v in flat.items() if k != "enum"}
        fitting = [v for v in values if fits(self.root, rest, v)]
        if not fitting:
            raise DeadEnd("none of the listed values fits the other rules")
        return fitting[self.pick(len(fitting), n)[0]]

    def _kind(self, flat: Mapping[str, Any], n: int) -> tuple[str, int]:
        kinds = flat.get("type")
        if isinstance(kinds, str):
            return kinds, n
        if kinds:
            plain = [k for k in kinds if k not in CONTAINERS] if self.spare else kinds
            index, n = self.pick(len(plain or kinds), n)
            return (plain or kinds)[index], n
        implied = next((kind for kind, keywords in _IMPLIED if any(k in flat for k in keywords)), None)
        if self.random is not None and self.random.random() < 0.5:  # a rule about strings says nothing about numbers
            return self.random.choice(_KINDS), n
        return implied or "string", n

    # -- references and combinations ----------------------------------------------------------------------------

    def flat(self, schema: Schema, n: int) -> tuple[dict[str, Any], int]:
        """`schema` without references, `allOf`, `anyOf`, `oneOf` and `if`: the branches are chosen and merged in."""
        if isinstance(schema, bool):
            if not schema:
                raise DeadEnd("a false schema")
            return {}, n
        if not isinstance(schema, Mapping):
            raise unsupported(f"a JSON Schema is an object or a boolean, not {type(schema).__name__}")
        flat = {k: v for k, v in schema.items() if k not in COMBINERS}
        if "$ref" in schema:
            flat, n = self._with(flat, self._follow(schema["$ref"]), n)
        for part in schema.get("allOf", ()):
            flat, n = self._with(flat, part, n)
        for group in ("anyOf", "oneOf"):
            if group in schema:
                flat, n = self._branch(flat, schema[group], n)
        if "if" in schema:
            flat, n = self._branch(flat, _if_branches(schema), n)
        return flat, n

    def _with(self, flat: dict[str, Any], other: Schema, n: int) -> tuple[dict[str, Any], int]:
        part, n = self.flat(other, n)
        merged = merge(flat, part)
        # Merging may leave groups behind (both sides had one): flatten again until there is none.
        return self.flat(merged, n) if any(k in merged for k in COMBINERS) else (merged, n)

    def _follow(self, ref: str) -> Schema:
        if self.refs.count(ref) > _MAX_DEPTH:
            raise DeadEnd("it refers to itself without end")
        self.refs.append(ref)
        return resolve_ref(self.root, ref)

    def _branch(self, flat: dict[str, Any], branches: list[Schema], n: int) -> tuple[dict[str, Any], int]:
        start, n = self.pick(len(branches), n)
        order = [*branches[start:], *branches[:start]]
        if self.spare:
            order.sort(key=self.heights.of)
        for branch in order:
            mark = len(self.refs)
            try:
                return self._with(flat, branch, n)
            except DeadEnd:
                del self.refs[mark:]
        raise DeadEnd("no branch of anyOf, oneOf or if fits the other rules")

    # -- containers ---------------------------------------------------------------------------------------------

    def _array(self, flat: Mapping[str, Any], name: str, n: int) -> list[Any]:
        least, most = flat.get("minItems", 0), flat.get("maxItems", math.inf)
        prefix = len(flat.get("prefixItems", ())) or (len(flat["items"]) if isinstance(flat.get("items"), list) else 0)
        inside = flat.get("minContains", 1) if "contains" in flat else 0
        length = max(least, inside)
        if length > _TOO_MANY:
            raise unsupported(f"an array of {length} items is more than the offline provider makes")
        if length < max(prefix, 1) <= most and self.wanted():
            length = max(prefix, 1)
        items: list[Any] = []
        for index in range(int(min(length, most))):
            schema = item_schema(flat, index)
            if (index >= prefix and index - prefix < inside) or (prefix >= length and index < inside):
                schema = {"allOf": [schema, flat["contains"]]}
            try:
                items.append(self._item(schema, name, n + index, items if flat.get("uniqueItems") else None))
            except DeadEnd:
                if index < max(least, inside):
                    raise
                break
        return items

    def _item(self, schema: Schema, name: str, n: int, others: list[Any] | None) -> Any:
        """One item, different from `others` when they are given."""
        taken = {identity(v) for v in others or ()}
        for turn in range(1 if others is None else 2 * len(taken) + _TRIES):
            item = self.value(schema, name, n + turn)
            if identity(item) not in taken:
                return item
        raise DeadEnd("there are not enough different items")

    def _object(self, flat: Mapping[str, Any], n: int) -> dict[str, Any]:
        for extra in schemas_with(flat, set(flat.get("required", ()))):
            without = {k: v for k, v in flat.items() if k not in ("dependentSchemas", "dependencies")}
            flat, n = self._with(without, extra, n)
        made: dict[str, Any] = {}
        for key in self._required(flat):
            made[key] = self._property(flat, key, n)
        most = flat.get("maxProperties", math.inf)
        for key in flat.get("properties", {}):
            if key not in made and len(made) < most and (self.wanted() or self._must_grow(flat, made)):
                self._add_optional(flat, made, key, n)
        self._add_unnamed(flat, made, n)
        return {k: made[k] for k in sorted(made, key=_position(flat))}

    def _must_grow(self, flat: Mapping[str, Any], made: Mapping[str, Any]) -> bool:
        """Whether `minProperties` makes an optional property necessary; later attempts may use unnamed ones instead."""
        return len(made) < flat.get("minProperties", 0) and (self.random is None or self.spare)

    def _required(self, flat: Mapping[str, Any]) -> list[str]:
        names = list(flat.get("required", ()))
        for name in names:  # grows while it is walked: a property may require others
            names += [other for other in required_with(flat, {name}) if other not in names]
        return names

    def _property(self, flat: Mapping[str, Any], key: str, n: int) -> Any:
        schemas = property_schemas(_closed(flat), key)
        return self.value(schemas[0] if len(schemas) == 1 else {"allOf": schemas}, key, n)

    def _add_optional(self, flat: Mapping[str, Any], made: dict[str, Any], key: str, n: int) -> None:
        """Add `key` and what it requires, or nothing when that is impossible."""
        names = [k for k in self._required({**flat, "required": [key]}) if k not in made]
        if len(made) + len(names) > flat.get("maxProperties", math.inf):
            return
        if any(math.isinf(self.heights.of(s)) for k in names for s in property_schemas(_closed(flat), k)):
            return
        try:
            made |= {k: self._property(flat, k, n) for k in names}
        except DeadEnd:
            return

    def _add_unnamed(self, flat: Mapping[str, Any], made: dict[str, Any], n: int) -> None:
        """Properties without a name in the schema: to reach `minProperties`, or one to show what a mapping holds."""
        least = flat.get("minProperties", 0)
        if not flat.get("properties") and isinstance(_rest(flat), Mapping) and _rest(flat) and self.wanted():
            least = max(least, min(1, flat.get("maxProperties", 1)))
        for turn in range(int(least) + _TRIES):
            if len(made) >= least:
                return
            key = self._new_key(flat, turn)
            if key not in made and all(s is not False for s in property_schemas(_closed(flat), key)):
                made[key] = self._property(flat, key, n)
        raise DeadEnd("minProperties cannot be reached")

    def _new_key(self, flat: Mapping[str, Any], turn: int) -> str:
        patterns = list(flat.get("patternProperties", ()))
        names = flat.get("propertyNames", True)
        if names is not True:
            key = self.value(merge({"type": "string"}, self.flat(names, 0)[0]), "key", turn)
            return str(key)
        if patterns and _rest(flat) is False:
            return example_for_pattern(patterns[turn % len(patterns)], turn // len(patterns))
        return "key" if turn == 0 else f"key{turn + 1}"


_IMPLIED = (
    ("object", ("properties", "required", "additionalProperties", "minProperties", "patternProperties")),
    ("array", ("items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains")),
    ("string", ("pattern", "minLength", "maxLength", "format")),
    ("number", ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")),
)


def _if_branches(schema: Mapping[str, Any]) -> list[Schema]:
    """`if`/`then`/`else` as branches; that the second one fails the condition is left to the final check."""
    return [{"allOf": [schema["if"], schema.get("then", True)]}, schema.get("else", True)]


def _rest(flat: Mapping[str, Any]) -> Schema:
    rest: Schema = flat.get("additionalProperties", flat.get("unevaluatedProperties", True))
    return rest


def _closed(flat: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same, `unevaluatedProperties` read as `additionalProperties`: here everything is merged already."""
    return {**flat, "additionalProperties": _rest(flat)}


def _position(flat: Mapping[str, Any]) -> Any:
    order = {name: i for i, name in enumerate(flat.get("properties", {}))}
    return lambda name: order.get(name, len(order))
