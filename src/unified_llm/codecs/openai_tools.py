"""Tool definitions, tool choice and structured output in the OpenAI chat dialect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from unified_llm import _json
from unified_llm.codecs.openai_draft import Draft
from unified_llm.codecs.openai_order import add_instruction
from unified_llm.errors import InvalidRequestError
from unified_llm.requests import ResponseFormat
from unified_llm.tools import Tool, ToolChoice

__all__ = ["json_instruction", "json_schema", "put_response_format", "put_tools", "says_json"]

Body: TypeAlias = dict[str, Any]


def put_tools(body: Body, tools: Sequence[Tool], choice: ToolChoice | None, draft: Draft) -> None:
    """Add ``tools`` and ``tool_choice``.

    Raises:
        InvalidRequestError: a tool is demanded that was not given.
    """
    if not tools:
        if choice is not None and choice.mode in ("required", "tool"):
            raise InvalidRequestError("tool_choice demands a tool, and there are no tools", hint="pass tools=[...]")
        return
    if not draft.profile.tools:
        draft.drop("tools", f"{draft.provider} has no tool calls")
        return
    if choice is not None:
        tools, value = _choose(tools, choice, draft)
        if value is not None:
            body["tool_choice"] = value
    if tools:
        body["tools"] = [_tool(t, draft) for t in tools]


def _tool(tool: Tool, draft: Draft) -> Body:
    if tool.native is not None:
        return dict(tool.native)
    parameters = tool.parameters
    function: Body = {
        "name": tool.name,
        "description": tool.description,
        "parameters": parameters if type(parameters) is dict else dict(parameters),
    }
    if tool.strict is not None:
        if draft.profile.strict:
            function["strict"] = tool.strict
        else:
            draft.drop("strict", f"{draft.provider} does not know strict tools")
    if tool.extras:
        draft.rearrange(f"tools[{tool.name}]", f"sent without {', '.join(tool.extras)}: another provider's own fields")
    return {"type": "function", "function": function}


def _choose(tools: Sequence[Tool], choice: ToolChoice, draft: Draft) -> tuple[Sequence[Tool], Any]:
    """The tools to send and the value of ``tool_choice``, or None for not sending it."""
    profile = draft.profile
    reads_it = profile.tool_choice != "none"
    if choice.mode == "auto":
        return tools, "auto" if reads_it else None
    if choice.mode == "none":
        if reads_it:
            return tools, "none"
        draft.change("tool_choice", f"{draft.provider} does not read it: no tools are sent")
        return (), None
    wanted = _named(tools, choice.name) if choice.mode == "tool" else None
    if draft.thinks and not profile.forced_tools_while_thinking:
        draft.drop("tool_choice", "no tool can be forced while the model thinks; thinking=False allows it")
        return tools, None
    if not reads_it:
        return _unforced(tools, wanted, draft), None
    if wanted is None:
        return tools, profile.required_word
    if profile.tool_choice == "object":
        return tools, {"type": "function", "function": {"name": wanted.name}}
    draft.change("tool_choice", f"{draft.provider} cannot name a tool: only {wanted.name!r} is sent, as required")
    return (wanted,), profile.required_word


def _unforced(tools: Sequence[Tool], wanted: Tool | None, draft: Draft) -> Sequence[Tool]:
    draft.drop("tool_choice", f"{draft.provider} does not read it, so no tool call can be forced")
    return tools if wanted is None else (wanted,)


def _named(tools: Sequence[Tool], name: str | None) -> Tool:
    found = next((t for t in tools if t.name == name), None)
    if found is None:
        raise InvalidRequestError(
            f"tool_choice names {name!r}, which is not among the tools",
            hint=f"the tools are {', '.join(t.name for t in tools)}",
        )
    return found


# -- structured output ------------------------------------------------------------------------------------------------


def put_response_format(body: Body, wanted: ResponseFormat, draft: Draft) -> None:
    """Ask for JSON in the strongest way the server has; ``body["messages"]`` gets an instruction where it has none."""
    profile = draft.profile
    if body.get("tools") and body.get("tool_choice") != "none" and not profile.format_with_tools:
        draft.change("response_format", f"{draft.provider} would call no tool: it is asked for in the prompt instead")
        add_instruction(body["messages"], json_instruction(wanted), profile.system_role)
        return
    if profile.structured == "json_schema" and (wanted.schema is not None or not profile.json_object):
        body["response_format"] = {"type": "json_schema", "json_schema": json_schema(wanted, draft)}
        return
    if profile.json_object:
        body["response_format"] = {"type": "json_object"}
    if wanted.schema is not None:
        draft.change("response_format", f"{draft.provider} cannot enforce a schema: it is asked for in the prompt")
        add_instruction(body["messages"], json_instruction(wanted), profile.system_role)
    elif not says_json(body["messages"]):  # OpenAI, Groq and DeepSeek answer 400 when no message says it
        draft.rearrange("response_format", "the instruction to answer with JSON was added to the prompt")
        add_instruction(body["messages"], json_instruction(wanted), profile.system_role)


def json_instruction(wanted: ResponseFormat) -> str:
    """What to tell a model whose server cannot enforce the format."""
    if wanted.schema is None:
        return "Answer with one JSON object."
    return f"Answer with one JSON object that follows this JSON Schema:\n{_json.dumps_str(wanted.schema)}"


def says_json(messages: Sequence[Mapping[str, Any]]) -> bool:
    """Whether some message has the word, without which ``json_object`` is refused."""
    return any(
        "json" in text.lower()
        for message in messages
        for text in _texts(message.get("content"))
    )  # fmt: skip


def _texts(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]
    return [p["text"] for p in content or () if isinstance(p.get("text"), str)]


def json_schema(wanted: ResponseFormat, draft: Draft) -> Body:
    """Name, schema and, where the server knows it, ``strict``."""
    schema = wanted.schema if wanted.schema is not None else {"type": "object"}
    value: Body = {"name": wanted.name, "schema": schema if type(schema) is dict else dict(schema)}
    if draft.profile.strict:
        strict = wanted.strict if wanted.strict is not None else _is_strict(schema)
        if strict or wanted.strict is not None:
            value["strict"] = strict
    elif wanted.strict:
        draft.change("response_format.strict", f"{draft.provider} has no strict mode: the schema itself is sent")
    return value


def _is_strict(schema: Any) -> bool:
    """Whether OpenAI's strict mode takes the schema: every object closed, with all its properties required."""
    if isinstance(schema, list):
        return all(map(_is_strict, schema))
    if not isinstance(schema, Mapping):
        return True
    if schema.get("type") == "object" or "properties" in schema:
        properties = schema.get("properties") or {}
        if schema.get("additionalProperties") is not False or set(schema.get("required") or ()) != set(properties):
            return False
    return all(
        _is_strict(v) for k, v in schema.items() if k not in ("required", "enum", "const", "default", "examples")
    )
