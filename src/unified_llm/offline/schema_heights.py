"""How deep the shallowest value of a schema is: what keeps recursive schemas from being followed for ever."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from unified_llm.schema_check import Schema, item_schema, property_schemas, resolve_ref

__all__ = ["CONTAINERS", "Heights"]

CONTAINERS = ("object", "array")
_ITEMS_SEEN = 50  # more required items are alike


class Heights:
    """Smallest nesting of the values of any part of `root`; infinite when every value contains another one."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._refs: dict[str, float] = {}
        self._settle()

    def _settle(self) -> None:
        """References start as endless and shrink, round by round, until nothing changes (a fixpoint)."""
        while True:
            before = dict(self._refs)
            self.of(self._root)
            for ref in list(self._refs):
                self._refs[ref] = self.of(resolve_ref(self._root, ref))
            if self._refs == before:
                return

    def of(self, schema: Schema) -> float:
        """The height of `schema`: 0 for a value without items, 1 for an object that may be empty, and so on."""
        if isinstance(schema, bool):
            return 0.0 if schema else math.inf
        if not isinstance(schema, Mapping) or "const" in schema or "enum" in schema:
            return 0.0
        parts = [self.of(s) for s in schema.get("allOf", ())]
        if "$ref" in schema:
            parts.append(self._refs.setdefault(schema["$ref"], math.inf))
        parts += [min(map(self.of, schema[group])) for group in ("anyOf", "oneOf") if schema.get(group)]
        parts.append(self._own(schema))
        return max(parts)

    def _own(self, schema: Mapping[str, Any]) -> float:
        kinds = schema.get("type", ())
        if not isinstance(kinds, str) and any(k not in CONTAINERS for k in kinds):
            return 0.0
        if "object" in kinds or "properties" in schema:
            needed = [s for k in schema.get("required", ()) for s in property_schemas(schema, k)]
            return 1.0 + max(map(self.of, needed), default=0.0)
        if "array" in kinds and schema.get("minItems", 0) > 0:
            return 1.0 + max(self.of(item_schema(schema, i)) for i in range(min(schema["minItems"], _ITEMS_SEEN)))
        return 0.0
