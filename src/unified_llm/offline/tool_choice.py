"""Which tool the offline engine calls, and with which arguments. The rule is simple, and the same every time.

- ``tool_choice`` "none", or tool results after the last user message: no call (unless one is forced).
- A forced tool ("required", or one by name) is called; of several, the one the message speaks of, else the first. One
  that has answered is not called again while there are others: an agent that demands a call each turn comes to an end.
- Otherwise a tool is called when the last user message speaks of it: it has the tool's name, or one of the words of
  its name with four letters or more ("weather" for ``get_weather``). Tools named in full are all called, in one turn,
  unless ``parallel_tool_calls`` is false; else only the one with most words in common.
- Arguments are the plainest ones valid for the schema (`example_for_schema`). Passages in quotation marks fill free
  texts, in order. ``name(...)`` or ``name {...}`` in the message gives the arguments themselves.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from unified_llm.messages import ToolCall
from unified_llm.offline.requests import RecordedRequest
from unified_llm.offline.schema_examples import example_for_schema
from unified_llm.schema_check import fits

__all__ = ["choose_calls", "fill_with_quotes", "quoted"]

_QUOTES = re.compile(
    r"\"([^\"\n]{1,200})\""
    r"|(?<!\w)'([^'\n]{1,200})'(?!\w)"  # not the apostrophes of "don't"
    r"|`([^`\n]{1,200})`"
    r"|“([^”\n]{1,200})”"
    r"|«\s*([^»\n]{1,200}?)\s*»"
)
_MADE_UP = "example "  # how the texts of `example_for_schema` begin when nothing else decides them
_LONG_WORD = 4


def choose_calls(request: RecordedRequest, *, ids: str, seed: int = 0) -> list[ToolCall]:
    """The tool calls that answer `request`; none when it is to be answered with text.

    Raises:
        InvalidRequestError: no arguments can be made for a tool's schema.
    """
    functions = _candidates(request)
    if not functions:
        return []
    return [
        ToolCall(str(f["name"]), _arguments(request.prompt, f, seed), f"call_{ids}{index}")
        for index, f in enumerate(functions)
    ]


def _candidates(request: RecordedRequest) -> list[Mapping[str, Any]]:
    choice = request.body.get("tool_choice", "auto")
    functions = request.functions
    if isinstance(choice, Mapping):
        wanted = (choice.get("function") or choice).get("name")
        return [f for f in functions if f["name"] == wanted]
    if choice == "none" or not functions or (request.tool_results and choice != "required"):
        return []
    answered = {request.tool_name(result) for result in request.tool_results}
    functions = [f for f in functions if f["name"] not in answered] or functions
    spoken = _spoken_of(request.prompt, functions, several=request.body.get("parallel_tool_calls") is not False)
    return spoken or (functions[:1] if choice == "required" else [])


def _spoken_of(text: str, functions: Sequence[Mapping[str, Any]], *, several: bool) -> list[Mapping[str, Any]]:
    named = [(at, f) for f in functions if (at := _position(text, str(f["name"]))) is not None]
    if named:
        in_order = [f for _, f in sorted(named, key=lambda pair: pair[0])]
        return in_order if several else in_order[:1]
    words = set(re.findall(r"\w+", text.casefold()))
    best = max(functions, key=lambda f: len(_name_words(str(f["name"])) & words))  # the first of equals
    return [best] if _name_words(str(best["name"])) & words else []


def _position(text: str, name: str) -> int | None:
    found = re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text, re.IGNORECASE)
    return None if found is None else found.start()


def _name_words(name: str) -> set[str]:
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name)
    return {w for w in re.split(r"[\W_]+", spaced.casefold()) if len(w) >= _LONG_WORD}


def _arguments(text: str, function: Mapping[str, Any], seed: int) -> dict[str, Any]:
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    example = example_for_schema({"type": "object", **schema}, seed)
    written = _written_arguments(text, str(function["name"]), list(schema.get("properties", {})))
    if written is not None:
        required = {k: v for k, v in example.items() if k in schema.get("required", ())}
        if fits(schema, schema, {**required, **written}):
            return {**required, **written}
    return fill_with_quotes(schema, example, quoted(text))  # type: ignore[no-any-return]  # an object schema


def quoted(text: str) -> list[str]:
    """The passages of `text` in quotation marks, in order."""
    return [next(filter(None, match.groups())) for match in _QUOTES.finditer(text)]


def fill_with_quotes(schema: Mapping[str, Any], example: Any, quotes: Sequence[str]) -> Any:
    """`example` with its made-up texts replaced by `quotes`, in order, as long as it stays valid."""
    if not isinstance(example, dict):
        return example
    left = list(quotes)
    for key, value in example.items():
        if not (left and isinstance(value, str) and value.startswith(_MADE_UP)):
            continue
        filled = {**example, key: left[0]}
        if fits(schema, schema, filled):
            example = filled
            left.pop(0)
    return example


def _written_arguments(text: str, name: str, names: Sequence[str]) -> dict[str, Any] | None:
    """The arguments after the name, as in ``name(3, unit="C")`` or ``name {"x": 3}``; None when there are none."""
    at = _position(text, name)
    if at is None:
        return None
    rest = text[at + len(name) :].lstrip(" :`(")
    if rest.startswith("{"):
        try:
            value = json.JSONDecoder().raw_decode(rest)[0]
        except ValueError:
            return None
        return value if isinstance(value, dict) else None
    return _python_arguments(text[at + len(name) :], names)


def _python_arguments(text: str, names: Sequence[str]) -> dict[str, Any] | None:
    if not text.startswith("("):
        return None
    for end in (i for i, char in enumerate(text) if char == ")"):
        try:
            call = ast.parse(f"f{text[: end + 1]}", mode="eval").body
            return _literal_arguments(call, names)
        except (SyntaxError, ValueError):  # not yet the closing bracket, or not literals: words in brackets
            continue
    return None


def _literal_arguments(call: ast.expr, names: Sequence[str]) -> dict[str, Any] | None:
    if not isinstance(call, ast.Call) or len(call.args) > len(names):
        return None
    values = dict(zip(names, map(ast.literal_eval, call.args), strict=False))
    return values | {k.arg: ast.literal_eval(k.value) for k in call.keywords if k.arg}
