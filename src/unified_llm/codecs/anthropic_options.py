"""Options of a call to fields of Claude's request body."""

from __future__ import annotations

import re
from typing import Any

from unified_llm import _json
from unified_llm.codecs.anthropic_models import ClaudeFamily
from unified_llm.codecs.anthropic_notes import Notes
from unified_llm.codecs.anthropic_schema import UnfitSchemaError, fit_schema
from unified_llm.errors import InvalidRequestError
from unified_llm.requests import ChatRequest, ModelConfig, ResponseFormat, unknown_option
from unified_llm.tools import Tool, ToolChoice

__all__ = [
    "FORMAT_TOOL",
    "SAMPLING",
    "format_tool",
    "metadata",
    "output_config",
    "sampling",
    "stops",
    "tool_fields",
    "unsupported",
]

FORMAT_TOOL = "give_answer"
SAMPLING = frozenset({"temperature", "top_p", "top_k"})
_NO_SUCH_OPTION = ("min_p", "seed", "presence_penalty", "frequency_penalty", "logprobs")
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")


def unsupported(config: ModelConfig, notes: Notes, provider: str) -> None:
    """Record what Claude has no field for, and unknown keywords."""
    for name in _NO_SUCH_OPTION:
        if getattr(config, name) not in (None, False, 0):
            notes.dropped(name, "the Claude API has no such option")
    for name in config.unknown:
        if config.on_unsupported == "error":
            raise unknown_option(name, provider=provider)
        notes.dropped(name, "unknown option: server-specific fields go in extra_body or provider_options")


# -- sampling -----------------------------------------------------------------------------------------------------


def sampling(config: ModelConfig, family: ClaudeFamily, thinks: bool, model: str, notes: Notes) -> dict[str, Any]:
    """temperature, top_p, top_k, as far as the model takes them.

    API version 2026-10-21 has none of them; older models take them with version 2023-06-01, never while thinking.
    """
    given = {name: value for name in sorted(SAMPLING) if (value := getattr(config, name)) is not None}
    if not family.sampling:
        for name in given:
            notes.dropped(name, f"{model} takes no sampling options")
        return {}
    if thinks:
        for name in list(given):
            if not (name == "top_p" and given[name] >= 0.95) and not (name == "temperature" and given[name] == 1):
                notes.dropped(name, "not allowed while the model thinks")
                del given[name]
    if given.get("temperature", 0) > family.max_temperature:
        notes.changed("temperature", f"it ends at {family.max_temperature:g} here")
        given["temperature"] = family.max_temperature
    if {"temperature", "top_p"} <= given.keys() and not family.temperature_and_top_p:
        notes.dropped("top_p", f"{model} takes either temperature or top_p")
        del given["top_p"]
    return given


def stops(config: ModelConfig, notes: Notes) -> list[str] | None:
    """Stop sequences; the API refuses those made of white space."""
    if not config.stop_sequences:
        return None
    kept = [stop for stop in config.stop_sequences if stop.strip()]
    if len(kept) != len(config.stop_sequences):
        notes.dropped("stop_sequences", "Claude refuses stop sequences that are only white space")
    return kept or None


def metadata(config: ModelConfig) -> dict[str, Any] | None:
    """The end user's id."""
    return {"user_id": config.user} if config.user else None


# -- tools --------------------------------------------------------------------------------------------------------


def tool_fields(
    request: ChatRequest, family: ClaudeFamily, notes: Notes, *, words: bool = True
) -> tuple[list[dict[str, Any]] | None, dict[str, Any] | None, str | None]:
    """``tools``, ``tool_choice``, and an instruction that replaces a choice the model does not take.

    `words`: whether there is a place for an instruction; a turn of the assistant that goes on has none.
    """
    if not request.tools:
        return None, None, None
    tools = [_tool(tool, family, notes) for tool in request.tools]
    choice, instruction = _choice(request.tool_choice, family, request.model, notes, words)
    if request.config.parallel_tool_calls is False and (choice or {}).get("type") != "none":
        choice = (choice or {"type": "auto"}) | {"disable_parallel_tool_use": True}
    return tools, choice, instruction


def _tool(tool: Tool, family: ClaudeFamily, notes: Notes) -> dict[str, Any]:
    if tool.native is not None:
        return dict(tool.native)
    if not _TOOL_NAME.fullmatch(tool.name):
        raise InvalidRequestError(
            f"tool name {tool.name!r} is not accepted by Claude",
            hint="use letters, digits, _ and -, at most 64 characters",
        )
    wire: dict[str, Any] = {"name": tool.name}
    if tool.description:
        wire["description"] = tool.description
    schema = tool.parameters
    wire["input_schema"] = schema if schema.get("type") == "object" else {**schema, "type": "object"}
    if tool.strict:
        _make_strict(wire, tool, family, notes)
    return {**wire, **tool.extras} if tool.extras else wire


def _make_strict(wire: dict[str, Any], tool: Tool, family: ClaudeFamily, notes: Notes) -> None:
    what = f"tools[{tool.name}].strict"
    if not family.structured_output:
        notes.dropped(what, "this model has no strict tools")
        return
    try:
        schema, lost = fit_schema(wire["input_schema"])
    except UnfitSchemaError as exc:
        notes.dropped(what, f"{exc}, which cannot be enforced")
        return
    if lost:
        notes.changed(what, f"not enforced: {', '.join(lost)}")
    wire["input_schema"] = schema
    wire["strict"] = True


def _choice(
    choice: ToolChoice | None, family: ClaudeFamily, model: str, notes: Notes, words: bool
) -> tuple[dict[str, Any] | None, str | None]:
    if choice is None:
        return None, None
    if choice.mode in ("auto", "none"):
        return {"type": choice.mode}, None
    if family.forced_tools:
        return ({"type": "any"} if choice.mode == "required" else {"type": "tool", "name": choice.name}), None
    if not words:
        notes.dropped("tool_choice", f"{model} does not take a forced tool choice, least of all inside a turn")
        return {"type": "auto"}, None
    notes.changed("tool_choice", f"{model} does not take a forced tool choice: it is asked to in words")
    asked = f"the tool `{choice.name}`" if choice.mode == "tool" else "one of the tools"
    return {"type": "auto"}, f"Answer this turn by calling {asked}. Do not answer in text."


# -- structured output --------------------------------------------------------------------------------------------


def format_tool(request: ChatRequest, family: ClaudeFamily) -> dict[str, Any] | None:
    """The tool whose forced call *is* the structured answer, for servers and models without ``output_config.format``.

    llama.cpp's ``/v1/messages`` ignores the format and enforces the schema of a forced tool.
    """
    wanted = request.response_format
    if wanted is None or wanted.schema is None or family.structured_output or not family.forced_tools:
        return None
    if request.tools or request.config.thinking or wanted.schema.get("type") != "object":
        return None
    return {"name": FORMAT_TOOL, "description": "Give the answer in this form.", "input_schema": wanted.schema}


def output_config(
    wanted: ResponseFormat | None, family: ClaudeFamily, effort: str | None, notes: Notes, *, by_tool: bool = False
) -> tuple[dict[str, Any] | None, str | None]:
    """``output_config``, and a text for the system prompt where the format cannot be enforced."""
    config: dict[str, Any] = {} if effort is None else {"effort": effort}
    if wanted is None:
        return config or None, None
    if by_tool:
        notes.changed("response_format", "asked for as the forced call of a tool: there is no structured output here")
        return config or None, None
    fitted, why = _fitted(wanted, family)
    if fitted is None:
        notes.changed("response_format", f"asked for in the system prompt: {why}")
        return config or None, _format_in_words(wanted)
    schema, lost = fitted
    if lost:
        notes.changed("response_format", f"not enforced: {', '.join(lost)}")
    return config | {"format": {"type": "json_schema", "schema": schema}}, None


def _fitted(wanted: ResponseFormat, family: ClaudeFamily) -> tuple[tuple[dict[str, Any], list[str]] | None, str]:
    if wanted.schema is None:
        return None, "Claude has no JSON mode without a schema"
    if not family.structured_output:
        return None, "this model has no structured output"
    try:
        return fit_schema(wanted.schema), ""
    except UnfitSchemaError as exc:
        return None, f"{exc}, which cannot be enforced"


def _format_in_words(wanted: ResponseFormat) -> str:
    if wanted.schema is None:
        return "Answer with a single JSON object and nothing else: no prose, no code fences."
    schema = _json.dumps_str(dict(wanted.schema))
    return (
        f"Answer with one JSON value that fits this JSON Schema, and nothing else: no prose, no code fences.\n{schema}"
    )
