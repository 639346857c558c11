"""A `ChatRequest` to the body and headers of ``POST /v1/messages``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from unified_llm.codecs import anthropic_options as options
from unified_llm.codecs.anthropic_models import ClaudeFamily, family_of
from unified_llm.codecs.anthropic_notes import Notes
from unified_llm.codecs.anthropic_parts import Block, PartEncoder
from unified_llm.codecs.anthropic_thinking import max_tokens, thinking
from unified_llm.codecs.anthropic_turns import Turn, encode_turns, is_plain_text
from unified_llm.codecs.base import CodecContext
from unified_llm.codecs.calls import json_body
from unified_llm.requests import ChatRequest
from unified_llm.wire import WireCall

__all__ = ["encode_count", "encode_messages", "output_limit"]

_VERSION = "2026-10-21"
_VERSION_WITH_SAMPLING = "2023-06-01"
_COUNTED = ("model", "system", "messages", "tools", "tool_choice", "thinking", "output_config", "cache_control")
_HEADER_OPTIONS = frozenset({"betas", "anthropic_version"})  # in provider_options: sent as headers


def encode_messages(request: ChatRequest, context: CodecContext, *, replay_thinking: bool = True) -> WireCall:
    """The call. See `AnthropicMessages.encode`."""
    body, headers, notes = _build(request, context, replay_thinking)
    if request.stream:
        body["stream"] = True
    return _call("v1/messages", request, body, headers, notes)


def encode_count(request: ChatRequest, context: CodecContext, *, replay_thinking: bool = True) -> WireCall:
    """The call that counts the prompt's tokens."""
    body, headers, notes = _build(request, context, replay_thinking)
    counted = {key: body[key] for key in _COUNTED if key in body}
    return _call("v1/messages/count_tokens", request, counted, headers, notes)


def output_limit(request: ChatRequest, provider: str) -> int:
    """The ``max_tokens`` that is sent: given, set in the extras, or the default on top of a thinking budget."""
    config = request.config
    for source in (config.extra_body or {}, _extra(request, provider)):
        if isinstance(given := source.get("max_tokens"), int):
            return given
    family, notes = family_of(request.model), Notes(None, provider)
    thought = thinking(request, family, notes)[0] if config.thinking and config.max_tokens is None else None
    return max_tokens(config, family, thought, notes)


def _call(path: str, request: ChatRequest, body: dict[str, Any], headers: dict[str, str], notes: Notes) -> WireCall:
    return WireCall(
        path,
        json_body(body),
        headers=tuple(headers.items()),
        stream=request.stream and path == "v1/messages",
        timeout=request.config.timeout,
        adjustments=tuple(notes.found),
    )


def _build(
    request: ChatRequest, context: CodecContext, replay_thinking: bool
) -> tuple[dict[str, Any], dict[str, str], Notes]:
    family = family_of(request.model)
    notes = Notes(request.config.on_unsupported, context.provider)
    options.unsupported(request.config, notes, context.provider)
    encoder = PartEncoder(context.provider, request.model, notes, replay_thinking=replay_thinking)
    system, turns = encode_turns(request.messages, encoder, family)
    fields, instruction = _fields(request, family, turns, system, notes)
    if instruction is not None:
        _append_instruction(turns, instruction, family)
    body: dict[str, Any] = {"model": request.model, "max_tokens": fields.pop("max_tokens")}
    if system:
        body["system"] = system[0]["text"] if is_plain_text(system) else system
    body["messages"] = [turn.to_wire() for turn in turns]
    body |= {key: value for key, value in fields.items() if value is not None}
    extra = _extra(request, context.provider)
    headers = _headers(request, extra)
    for source in (extra, request.config.extra_body or {}):
        _merge(body, {k: v for k, v in source.items() if k not in _HEADER_OPTIONS})
    if options.SAMPLING & body.keys():
        headers.setdefault("anthropic-version", _VERSION_WITH_SAMPLING)
    headers.setdefault("anthropic-version", _VERSION)
    return body, headers, notes


def _fields(
    request: ChatRequest, family: ClaudeFamily, turns: list[Turn], system: list[Block], notes: Notes
) -> tuple[dict[str, Any], str | None]:
    """The body's fields besides model, system and messages (None: not sent), and an instruction to append."""
    config = request.config
    tools, choice, instruction = options.tool_fields(request, family, notes, words=turns[-1].role != "assistant")
    answer = options.format_tool(request, family)
    if answer is not None:
        tools, choice = [answer], {"type": "tool", "name": answer["name"]}
    thought, effort = thinking(request, family, notes)
    thought = _allowed_thinking(thought, choice, turns, notes)
    output, words = options.output_config(request.response_format, family, effort, notes, by_tool=answer is not None)
    if words is not None:
        system.append({"type": "text", "text": words})
    thinks = thought is not None and thought["type"] in ("enabled", "adaptive")
    return {
        "max_tokens": max_tokens(config, family, thought, notes),
        "tools": tools,
        "tool_choice": choice,
        "thinking": thought,
        "output_config": output,
        "stop_sequences": options.stops(config, notes),
        "metadata": options.metadata(config),
        "cache_control": _cache_control(config.prompt_caching, notes),
        **options.sampling(config, family, thinks, request.model, notes),
    }, instruction


def _allowed_thinking(
    thought: dict[str, Any] | None, choice: Mapping[str, Any] | None, turns: list[Turn], notes: Notes
) -> dict[str, Any] | None:
    """Thinking with a budget goes neither with a forced tool nor with a tool turn that was made without thinking.

    Source: platform.claude.com, "Extended thinking", sections "Thinking with tool use" and "Preserving blocks".
    """
    if thought is None or thought["type"] != "enabled":
        return thought
    if choice is not None and choice["type"] in ("any", "tool"):
        notes.changed("thinking", "off for this call: a forced tool choice does not go with a thinking budget")
        return None
    last = next((turn for turn in reversed(turns) if turn.role == "assistant"), None)
    in_tool_loop = turns[-1].role == "user" and any(b["type"] == "tool_result" for b in turns[-1].content)
    if in_tool_loop and last is not None and last.content[0]["type"] not in ("thinking", "redacted_thinking"):
        notes.rearranged("thinking", "off for this call: the tool call being answered was made without thinking")
        return None
    return thought


def _append_instruction(turns: list[Turn], text: str, family: ClaudeFamily) -> None:
    """Ask in words, at the end, where it disturbs neither cache nor earlier turns."""
    block = {"type": "text", "text": text}
    if turns[-1].role == "system":
        turns[-1].content.append(block)
    elif turns[-1].role == "user" and family.inline_system:
        turns.append(Turn("system", [block]))
    elif turns[-1].role == "user":
        turns[-1].content.append(block)


def _cache_control(wanted: bool | str | None, notes: Notes) -> dict[str, Any] | None:
    """Automatic caching: a moving breakpoint on the last block that can be cached."""
    if not wanted:
        return None
    if wanted is True:
        return {"type": "ephemeral"}
    if wanted not in ("5m", "1h"):
        notes.changed("prompt_caching", f"no such lifetime: {wanted!r}; the default of 5m is asked")
        return {"type": "ephemeral"}
    return {"type": "ephemeral", "ttl": wanted}


# -- extras ---------------------------------------------------------------------------------------------------------


def _extra(request: ChatRequest, provider: str) -> dict[str, Any]:
    """The caller's options for this provider, whichever of its names they were filed under."""
    filed = request.config.provider_options or {}
    extra: dict[str, Any] = {}
    for name in dict.fromkeys(("anthropic", "claude", provider)):
        extra |= filed.get(name) or {}
    return extra


def _headers(request: ChatRequest, extra: Mapping[str, Any]) -> dict[str, str]:
    headers = {name.lower(): value for name, value in (request.config.extra_headers or {}).items()}
    if version := extra.get("anthropic_version"):
        headers.setdefault("anthropic-version", version)
    if betas := extra.get("betas"):
        names: Iterable[str] = [betas] if isinstance(betas, str) else betas
        given = headers.get("anthropic-beta")
        headers["anthropic-beta"] = ",".join(dict.fromkeys([*([given] if given else []), *names]))
    return headers


def _merge(body: dict[str, Any], extra: Mapping[str, Any]) -> None:
    """Merge `extra` over `body`; objects inside objects are merged, everything else is replaced."""
    for key, value in extra.items():
        known = body.get(key)
        if isinstance(known, dict) and isinstance(value, Mapping):
            body[key] = {**known}
            _merge(body[key], value)
        else:
            body[key] = value
