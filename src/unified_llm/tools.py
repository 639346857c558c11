"""Tool definitions and the one normaliser of everything people pass as a tool or a tool choice."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, Union

from unified_llm.errors import InvalidRequestError

__all__ = ["Tool", "ToolChoice", "ToolLike", "normalize_tool", "normalize_tool_choice", "normalize_tools"]

ToolMode: TypeAlias = Literal["auto", "none", "required", "tool"]


@dataclass(frozen=True, slots=True, eq=False)
class Tool:
    """A tool the model may call.

    Attributes:
        name: letters, digits, ``_`` and ``-``, at most 64 characters.
        description: what the model reads to decide.
        parameters: JSON Schema of the arguments, an object schema.
        function: the callable behind it, when there is one (never sent).
        strict: ask for arguments that follow the schema exactly, where the provider can.
        native: a provider-defined tool, passed through as it is (web search, code execution...).
        extras: fields that only one provider has for its tools (``cache_control``, ``defer_loading``...), sent by it.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})
    function: Callable[..., Any] | None = field(default=None, repr=False)
    strict: bool | None = None
    native: Mapping[str, Any] | None = None
    extras: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if type(self.name) is not str or not isinstance(self.parameters, (dict, Mapping)):
            raise InvalidRequestError(
                f"the tool {self.name!r} has parameters of the type {type(self.parameters).__name__}"
                if isinstance(self.name, str)
                else f"the name of a tool is {type(self.name).__name__}",
                hint="Tool(name, description, parameters): two texts and a JSON Schema; a function: Tool.from_function",
            )

    def to_dict(self) -> dict[str, Any]:
        """The tool in the OpenAI chat shape."""
        if self.native is not None:
            return dict(self.native)
        function: dict[str, Any] = {
            "name": self.name,
            "description": self.description,
            "parameters": dict(self.parameters),
        }
        if self.strict is not None:
            function["strict"] = self.strict
        tool = {"type": "function", "function": function}
        return tool | {"extras": dict(self.extras)} if self.extras else tool

    @classmethod
    def from_function(
        cls, function: Callable[..., Any], *, name: str | None = None, description: str | None = None
    ) -> Tool:
        """Make a tool from a function's signature, type hints and docstring.

        Raises:
            InvalidRequestError: a parameter's type has no JSON Schema.
        """
        from unified_llm.schemas import function_schema

        return cls(
            name=name or str(getattr(function, "__name__", type(function).__name__)),
            description=description if description is not None else inspect.getdoc(function) or "",
            parameters=function_schema(function),
            function=function,
        )


ToolLike: TypeAlias = Union[Tool, Mapping[str, Any], Callable[..., Any], type]


def normalize_tools(tools: Iterable[ToolLike] | None) -> tuple[Tool, ...]:
    """Turn anything accepted as `tools=` into a tuple of `Tool`; an empty list means no tools.

    Raises:
        InvalidRequestError: something in the list is no tool, or two tools share a name.
    """
    if not tools:
        return ()
    if isinstance(tools, (Tool, Mapping)) or callable(tools):
        tools = [tools]
    if not isinstance(tools, Iterable):
        raise InvalidRequestError(f"tools is {type(tools).__name__}", hint="pass a list of tools")
    result = tuple(normalize_tool(t) for t in tools)
    names = [t.name for t in result]
    if len(set(names)) != len(names):
        twice = sorted({n for n in names if names.count(n) > 1})
        raise InvalidRequestError(f"two tools share the name {twice[0]!r}", hint="give every tool its own name")
    return result


def normalize_tool(tool: ToolLike) -> Tool:
    """Accept a `Tool`, a function, a pydantic model class, or a dict in the OpenAI, Anthropic or bare shape."""
    if isinstance(tool, Tool):
        return tool
    if isinstance(tool, (dict, Mapping)):
        return _from_mapping(tool)
    if isinstance(tool, type) and hasattr(tool, "model_json_schema"):
        schema = dict(tool.model_json_schema())
        return Tool(tool.__name__, schema.pop("description", None) or inspect.getdoc(tool) or "", schema)
    if callable(tool):
        return Tool.from_function(tool)
    raise InvalidRequestError(
        f"{type(tool).__name__} is not a tool",
        hint="pass a Tool, a function, a pydantic model, or a dict with name, description and parameters",
    )


def _from_mapping(tool: Mapping[str, Any]) -> Tool:
    inner = tool.get("function")
    if type(inner) is dict and len(inner) == 3 and tool.get("type") == "function":  # what nearly every tool looks like
        name, description, schema = inner.get("name"), inner.get("description"), inner.get("parameters")
        if type(name) is str and name and type(description) is str and type(schema) is dict and schema:
            return Tool(name, description, schema, extras=tool.get("extras") if len(tool) > 2 else None)
    body: Mapping[str, Any] = inner if tool.get("type") == "function" and isinstance(inner, (dict, Mapping)) else tool
    schema = body.get("parameters", body.get("input_schema", body.get("inputSchema")))
    kind = tool.get("type")
    if schema is None and isinstance(kind, str) and kind not in ("function", "custom", "object"):
        return Tool(name=str(tool.get("name", kind)), native=dict(tool))  # a provider-defined tool
    name = body.get("name", body.get("title"))
    if not isinstance(name, str) or not name:
        raise InvalidRequestError("a tool has no name", hint="a tool dict needs 'name', 'description', 'parameters'")
    if schema is None and "properties" in body:  # a bare JSON Schema with a title
        schema = {k: v for k, v in body.items() if k not in ("title", "description")}
    return Tool(
        name=name,
        description=body.get("description") or "",
        parameters=schema or {"type": "object", "properties": {}},
        strict=body.get("strict"),
        extras=tool.get("extras") or _own_fields(tool),
    )


def _own_fields(tool: Mapping[str, Any]) -> dict[str, Any] | None:
    """What an Anthropic tool has besides its definition (cache_control, defer_loading...)."""
    if "input_schema" not in tool:
        return None
    return {k: v for k, v in tool.items() if k not in _ANTHROPIC_DEFINITION} or None


_ANTHROPIC_DEFINITION = frozenset({"name", "description", "input_schema", "strict", "type"})


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """auto (the model decides), none, required (some tool), or tool (the one called `name`)."""

    mode: ToolMode
    name: str | None = None


def normalize_tool_choice(choice: object) -> ToolChoice | None:
    """Accept None, bool, ``auto | none | required | any``, a tool's name, or the OpenAI or Anthropic dict.

    Raises:
        InvalidRequestError: the value has none of these forms.
    """
    if choice is None or isinstance(choice, ToolChoice):
        return choice
    if isinstance(choice, bool):
        return ToolChoice("required" if choice else "none")
    if isinstance(choice, str):
        return _choice_from_text(choice)
    if isinstance(choice, Mapping):
        function = choice.get("function")
        name = function.get("name") if isinstance(function, Mapping) else choice.get("name")
        if isinstance(name, str):
            return ToolChoice("tool", name)
        if choice.get("type") == "allowed_tools":
            raise InvalidRequestError(
                "tool_choice cannot be 'allowed_tools': few servers know it",
                hint="give the call only the tools that are allowed, and tool_choice='auto' or 'required'",
            )
        if isinstance(choice.get("type"), str):
            return _choice_from_text(choice["type"])
    raise InvalidRequestError(
        f"tool_choice {choice!r} is not understood",
        hint="use 'auto', 'none', 'required', a tool's name, or {'type': 'function', 'function': {'name': ...}}",
    )


def _choice_from_text(text: str) -> ToolChoice:
    match text:
        case "auto" | "none" | "required":
            return ToolChoice(text)
        case "any":
            return ToolChoice("required")
        case _:
            return ToolChoice("tool", text)
