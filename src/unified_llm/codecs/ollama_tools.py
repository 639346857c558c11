"""Tool definitions as Ollama reads them.

The server keeps of a property its type, description, enum, items, properties, required and anyOf, and forgets the rest
(``ToolProperty`` in its api/types.go): a property that is only a reference would have no type at all. So references are
put in place here, and the words for the same thing that it does not know are replaced.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unified_llm import _json
from unified_llm.codecs.openai_draft import Draft

__all__ = ["fit_tools"]

Schema = dict[str, Any]


def fit_tools(tools: list[Schema], draft: Draft) -> None:
    """Rewrite the parameters of ``tools`` in place; a schema that contains itself is recorded."""
    for tool in tools:
        function = tool.get("function")
        if isinstance(function, dict) and isinstance(function.get("parameters"), Mapping):
            function["parameters"] = _parameters(function["parameters"], str(function.get("name")), draft)


def _parameters(schema: Mapping[str, Any], name: str, draft: Draft) -> Schema:
    text = _json.dumps_str(dict(schema))
    # Most schemas are plain, and looking at the text is ten times faster than at every node.
    plain = _resolved(schema, name, draft) if any(word in text for word in _TELLTALE) else dict(schema)
    plain.setdefault("type", "object")
    plain.setdefault("properties", {})
    return plain


def _resolved(schema: Mapping[str, Any], name: str, draft: Draft) -> Schema:
    definitions = {
        f"#/{room}/{key}": value for room in _ROOMS for key, value in (schema.get(room) or {}).items()
    }  # fmt: skip
    loops: set[str] = set()
    own = {k: v for k, v in schema.items() if k not in _ROOMS}
    plain: Schema = _placed(own, definitions, (), loops)
    if loops:
        draft.change(f"tools[{name}]", f"{', '.join(sorted(loops))} contains itself: sent as any object")
    return plain


_ROOMS = ("$defs", "definitions")
_TELLTALE = ('"$ref"', '"const"', '"oneOf"', '"allOf"', '"$defs"', '"definitions"')
_SAME = {"oneOf": "anyOf"}
_SCHEMAS = frozenset({"properties", "patternProperties", "dependentSchemas"})  # names to schemas
_VALUES = frozenset({"enum", "default", "examples", "required"})  # no schemas inside


def _placed(node: Any, definitions: Mapping[str, Any], inside: tuple[str, ...], loops: set[str]) -> Any:
    """`node` without references; `inside` are those it is part of."""
    if isinstance(node, list):
        return [_placed(item, definitions, inside, loops) for item in node]
    if not isinstance(node, Mapping):
        return node
    node = _one_of_all(node)
    reference = node.get("$ref")
    if isinstance(reference, str) and reference in definitions:
        rest = {k: v for k, v in node.items() if k != "$ref"}
        if reference in inside:
            loops.add(reference)
            return {"type": "object", **rest}
        return _placed({**definitions[reference], **rest}, definitions, (*inside, reference), loops)
    placed: Schema = {}
    for key, value in node.items():
        if key in _SCHEMAS and isinstance(value, Mapping):  # its keys are names, whatever they look like
            placed[key] = {name: _placed(item, definitions, inside, loops) for name, item in value.items()}
        elif key == "const":
            placed["enum"] = [value]
        else:
            placed[_SAME.get(key, key)] = value if key in _VALUES else _placed(value, definitions, inside, loops)
    return placed


def _one_of_all(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """``allOf`` of one schema, as pydantic 1 writes a reference with a description, is that schema."""
    every = node.get("allOf")
    if not (isinstance(every, list) and len(every) == 1 and isinstance(every[0], Mapping)):
        return node
    return {**every[0], **{k: v for k, v in node.items() if k != "allOf"}}
