"""The schema a caller wants an answer to follow: bounded, and without a look at other documents."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from unified_llm_mcp.failures import ToolCallError

__all__ = ["MAX_DEPTH", "refuse_examples_without_end", "response_format"]

MAX_BYTES = 64 * 1024
MAX_DEPTH = 32
MOST_IN_EXAMPLES = 1000
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


def response_format(schema: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The option ``response_format`` of the call, or None.

    Raises:
        ToolCallError: the schema is not that of an object, refers to another document, or is too large or too deep.
    """
    if schema is None:
        return None
    if schema.get("type") != "object":
        raise _refused(
            "must be a JSON Schema with type object",
            'wrap other values: {"type": "object", "properties": {"value": ...}, "required": ["value"]}',
        )
    _check(schema, MAX_DEPTH)
    if len(json.dumps(schema)) > MAX_BYTES:
        raise _refused(f"is larger than {MAX_BYTES >> 10} kB", "ask for less in one call")
    return {"type": "json_schema", "json_schema": {"name": "response", "schema": dict(schema)}}


def refuse_examples_without_end(schema: Any) -> None:
    """Refuse what could take an example of the schema for ever, or all memory, to be made.

    Raises:
        ToolCallError: a pattern, or a least length or number beyond `MOST_IN_EXAMPLES`.
    """
    if isinstance(schema, list):
        schema = dict(enumerate(schema))
    if not isinstance(schema, Mapping):
        return
    for key, value in schema.items():
        patterned = key == "patternProperties" or (key == "pattern" and isinstance(value, str))
        long = key in ("minLength", "minItems", "minProperties") and isinstance(value, int) and value > MOST_IN_EXAMPLES
        if patterned or long:
            raise _refused(f"has {key}, for which the stand-in makes no examples here", "ask a model, or leave it out")
        refuse_examples_without_end(value)


def _check(value: Any, depth: int) -> None:
    if depth == 0:
        raise _refused(f"is nested deeper than {MAX_DEPTH} levels", "make it flatter")
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key in _REFERENCES and isinstance(inner, str) and not inner.startswith("#"):
                raise _refused(f"refers to another document, {inner[:100]!r}", "put the definition under $defs")
            _check(inner, depth - 1)
    elif isinstance(value, list):
        for inner in value:
            _check(inner, depth - 1)


def _refused(problem: str, hint: str) -> ToolCallError:
    return ToolCallError("invalid_arguments", f"response_schema {problem}", hint=hint)
