"""Everything LangChain users pass as tools and tool choices, in one neutral form.

The neutral form is the OpenAI dictionary, which the core reads for every provider: what `bind_tools` stores is
JSON-safe (traces, cache keys) and stays right when a later call names another provider's model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, Union

from langchain_core.utils.function_calling import convert_to_openai_tool

from unified_llm.errors import InvalidRequestError
from unified_llm.tools import Tool, normalize_tool, normalize_tool_choice

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

__all__ = ["ToolLike", "bind_arguments", "neutral_choice", "neutral_tool"]

ToolLike: TypeAlias = Union[Mapping[str, Any], type, Callable[..., Any], "BaseTool", Tool]


def neutral_tool(tool: ToolLike, *, strict: bool | None = None) -> dict[str, Any]:
    """One tool as an OpenAI dictionary; a provider-defined tool (web search...) as it is.

    Raises:
        InvalidRequestError: it is no tool.
    """
    from langchain_core.tools import BaseTool  # an eighth of the whole import, for those who bind tools

    if isinstance(tool, (Mapping, Tool)):
        described = normalize_tool(tool).to_dict()
    else:
        try:
            described = convert_to_openai_tool(tool)
        except (TypeError, ValueError, AttributeError) as exc:
            raise _no_tool(tool, exc) from exc
        if described["function"]["name"] == "<lambda>":
            raise _no_tool(tool, "it has no name")
    if isinstance(tool, BaseTool) and (extras := getattr(tool, "extras", None)):
        described["extras"] = dict(extras)
    if strict is not None and described.get("type") == "function" and "strict" not in described["function"]:
        described["function"]["strict"] = strict
    return described


def _no_tool(tool: Any, why: object) -> InvalidRequestError:
    return InvalidRequestError(
        f"{getattr(tool, '__name__', type(tool).__name__)} cannot be bound as a tool: {why}",
        hint="pass a tool, a function with type hints, a pydantic class, a TypedDict, or a dictionary",
    )


def neutral_choice(choice: object) -> str | dict[str, Any] | None:
    """`choice` as None, "auto", "none", "required", or the OpenAI dictionary that names a tool.

    With Anthropic's ``disable_parallel_tool_use`` it is a dictionary that has it, which the core reads.

    True means that some tool must be called; False, as everywhere in LangChain, that nothing is asked for.

    Raises:
        InvalidRequestError: the value has none of the known forms.
    """
    normal = None if choice is False else normalize_tool_choice(choice)
    if normal is None:
        return None
    single = isinstance(choice, Mapping) and choice.get("disable_parallel_tool_use") is True
    one = {"disable_parallel_tool_use": True} if single else {}
    if normal.mode == "tool":
        return {"type": "function", "function": {"name": normal.name}, **one}
    return {"type": normal.mode, **one} if one else normal.mode


def bind_arguments(
    tools: Sequence[ToolLike],
    *,
    tool_choice: object = None,
    strict: bool | None = None,
) -> dict[str, Any]:
    """The keyword arguments to bind: `tools`, and `tool_choice` when there is one.

    Raises:
        InvalidRequestError: something is no tool, or the choice names a tool that is not there.
    """
    neutral = [neutral_tool(tool, strict=strict) for tool in tools]
    bound: dict[str, Any] = {"tools": neutral}
    choice = neutral_choice(tool_choice)
    if isinstance(choice, dict) and "function" in choice:
        _check_named(choice["function"]["name"], neutral)
    if choice is not None:
        bound["tool_choice"] = choice
    return bound


def _check_named(name: str, tools: Sequence[Mapping[str, Any]]) -> None:
    names = [t["function"]["name"] if "function" in t else t.get("name", t.get("type")) for t in tools]
    if name not in names:
        raise InvalidRequestError(
            f"tool_choice names {name!r}, which is not among the tools",
            hint=f"tools given: {', '.join(map(str, names)) or 'none'}",
        )
