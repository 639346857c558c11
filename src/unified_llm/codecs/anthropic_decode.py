"""Claude content blocks, usage and stop reasons to our values. Every part keeps its block, exactly as it came."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unified_llm import _json
from unified_llm.codecs.anthropic_parts import DIALECT
from unified_llm.codecs.fields import count_of, text_of
from unified_llm.messages import Native, Opaque, Part, Text, Thinking, ToolCall
from unified_llm.responses import Adjustment, FinishReason, Usage

__all__ = ["BlockReader", "finish_details", "finish_of", "transformations", "usage_of"]

_FINISH = {
    "end_turn": FinishReason.STOP,
    "max_tokens": FinishReason.LENGTH,
    "stop_sequence": FinishReason.STOP_SEQUENCE,
    "tool_use": FinishReason.TOOL_CALLS,
    "pause_turn": FinishReason.PAUSE,
    "compaction": FinishReason.PAUSE,
    "refusal": FinishReason.REFUSAL,
    "model_context_window_exceeded": FinishReason.CONTEXT_OVERFLOW,
}


_DETAILS = ("stop_details", "container")


def finish_of(native: str | None, stop_sequence: str | None = None) -> FinishReason | None:
    """Our word for a ``stop_reason``; a word we do not know is OTHER.

    llama.cpp says ``end_turn`` when a stop sequence ended the answer, and names it in ``stop_sequence``.
    """
    if native == "end_turn" and stop_sequence:
        return FinishReason.STOP_SEQUENCE
    return None if native is None else _FINISH.get(native, FinishReason.OTHER)


def finish_details(*said: Mapping[str, Any]) -> dict[str, Any] | None:
    """What an answer says of its end besides the reason: why it was refused, which container goes on. None: nothing."""
    found = {name: value for one in said for name in _DETAILS if (value := one.get(name)) is not None}
    return found or None


def usage_of(native: Any) -> Usage:
    """Tokens. Claude counts cached input apart; our `input_tokens` is the sum.

    Source: platform.claude.com, Messages API, ``usage``: total input is the sum of the three figures.
    """
    if not native or not isinstance(native, Mapping):
        return Usage()
    read = count_of(native.get("cache_read_input_tokens"))
    written = count_of(native.get("cache_creation_input_tokens"))
    fresh = count_of(native.get("input_tokens"))
    details = native.get("output_tokens_details")
    return Usage(
        input_tokens=None if fresh is None else fresh + (read or 0) + (written or 0),
        output_tokens=count_of(native.get("output_tokens")),
        cache_read_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=count_of(details.get("thinking_tokens")) if isinstance(details, Mapping) else None,
        native=native,
    )


def transformations(message: Mapping[str, Any]) -> tuple[Adjustment, ...]:
    """What the server itself left out of the history (thinking of another model or conversation)."""
    found = message.get("input_transformations")
    if not isinstance(found, list):
        return ()
    return tuple(
        Adjustment("lost", str(one.get("type", "input")), f"by the server: {one.get('reason', 'no reason given')}")
        for one in found
        if isinstance(one, Mapping)
    )


class BlockReader:
    """Makes parts of finished content blocks of one answer.

    Calls of `format_tool` are the structured answer itself (see `anthropic_options.format_tool`): they become text.
    """

    __slots__ = ("_model", "_provider", "format_tool")

    def __init__(self, provider: str, model: str, format_tool: str | None = None) -> None:
        self._provider = provider
        self._model = model
        self.format_tool = format_tool

    def is_answer(self, raw: dict[str, Any]) -> bool:
        """Whether a block is the structured answer in the form of a tool call."""
        return self.format_tool is not None and raw.get("type") == "tool_use" and raw.get("name") == self.format_tool

    def finish(self, native: str | None, stop_sequence: str | None) -> FinishReason | None:
        """See `finish_of`; a structured answer that came as a tool call ended as an answer."""
        reason = finish_of(native, stop_sequence)
        return FinishReason.STOP if self.format_tool and reason is FinishReason.TOOL_CALLS else reason

    def part(self, raw: dict[str, Any], arguments: str | None = None) -> Part:
        """The part of a block. `arguments` is the JSON text of a streamed tool call, as it came."""
        if self.is_answer(raw):
            return Text(_arguments(raw, arguments))
        native = Native(DIALECT, raw, self._provider, self._model)
        match raw.get("type"):
            case "text" if isinstance(raw.get("text"), str):
                return Text(raw["text"], _citations(raw), native)
            case "thinking" if isinstance(raw.get("thinking"), str):
                return Thinking(raw["thinking"], raw.get("signature") or None, None, native)
            case "redacted_thinking":
                return Thinking("", None, raw.get("data"), native)
            case "tool_use" if isinstance(raw.get("name"), str):
                return _tool_call(raw, arguments, native)
        return Opaque(native)


def _citations(raw: dict[str, Any]) -> tuple[Any, ...]:
    found = raw.get("citations")
    return tuple(one for one in found if isinstance(one, dict)) if isinstance(found, list) else ()


def _tool_call(raw: dict[str, Any], arguments: str | None, native: Native) -> ToolCall:
    # Only an object may go back as `input`: broken JSON (an answer cut by max_tokens) is rebuilt from the text.
    replayable = isinstance(raw.get("input"), dict) and bool(text_of(raw.get("id")))
    name, known = text_of(raw.get("name")), text_of(raw.get("id"))
    return ToolCall(name or "", _arguments(raw, arguments), known, native=native if replayable else None)


def _arguments(raw: dict[str, Any], streamed: str | None) -> str:
    given = raw.get("input")
    if streamed is not None:
        return streamed
    return given if isinstance(given, str) else _json.dumps_str(given if given is not None else {})
