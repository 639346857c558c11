"""What Claude models accept, as data: one row per family. A new model is a row here, never an ``if`` in the codec.

Sources: the model pages and migration guides on platform.claude.com ("What's new in Claude Opus 5.5", "Forced tool
use is not supported", "Effort", "Mid-conversation system messages", "Structured outputs", API version 2026-10-21).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["CURRENT_MODELS", "ClaudeFamily", "base_id", "family_of"]

CURRENT_MODELS = ("claude-sonnet-5-5", "claude-opus-5-5", "claude-haiku-5-5", "claude-fable-5-2")
"""Named in the hint of an error about a model that is gone."""

_LOW_TO_HIGH = ("low", "medium", "high")
_WITH_MAX = (*_LOW_TO_HIGH, "max")
_ALL_EFFORTS = (*_LOW_TO_HIGH, "xhigh", "max")


@dataclass(frozen=True, slots=True)
class ClaudeFamily:
    """What one family accepts.

    Attributes:
        sampling: temperature, top_p, top_k (only with API version 2023-06-01).
        temperature_and_top_p: both of them in one request; max_temperature: where the scale ends.
        thinking: accepted values of ``thinking.type``.
        efforts: accepted values of ``output_config.effort``, lowest first; empty: no effort parameter.
        efforts_when_off: those accepted together with thinking switched off.
        forced_tools: ``tool_choice`` of type any or tool.
        inline_system: system messages inside the conversation (accepted *and* followed).
        structured_output: ``output_config.format`` and strict tools.
        prefill: a conversation that ends with an assistant turn.
        context_window, max_output: tokens; None for models we do not know.
    """

    sampling: bool = False
    temperature_and_top_p: bool = False
    max_temperature: float = 1.0
    thinking: frozenset[str] = frozenset({"adaptive"})
    efforts: tuple[str, ...] = _ALL_EFFORTS
    efforts_when_off: tuple[str, ...] = _ALL_EFFORTS
    forced_tools: bool = True
    inline_system: bool = True
    structured_output: bool = True
    prefill: bool = False
    context_window: int | None = 1_000_000
    max_output: int | None = 128_000


_ALWAYS = frozenset({"adaptive"})
_SWITCHED = frozenset({"adaptive", "disabled"})
_BUDGET = frozenset({"enabled", "disabled"})

_FREE = ClaudeFamily()  # always thinks, takes forced tools
_UNFORCED = ClaudeFamily(forced_tools=False)
_4_6 = ClaudeFamily(
    sampling=True, thinking=_SWITCHED | _BUDGET, efforts=_WITH_MAX, efforts_when_off=_WITH_MAX, inline_system=False
)
_4_5 = ClaudeFamily(
    sampling=True,
    thinking=_BUDGET,
    efforts=(),
    efforts_when_off=(),
    inline_system=False,
    prefill=True,
    context_window=200_000,
    max_output=64_000,
)

_FAMILIES: dict[str, ClaudeFamily] = {
    "claude-fable-5": _FREE,
    "claude-fable-5-1": _UNFORCED,
    "claude-fable-5-2": _UNFORCED,
    "claude-mythos-preview": ClaudeFamily(inline_system=False),
    "claude-mythos-5": _FREE,
    "claude-mythos-5-1": _UNFORCED,
    "claude-mythos-5-2": _UNFORCED,
    "claude-opus-5": ClaudeFamily(thinking=_SWITCHED, efforts_when_off=_LOW_TO_HIGH),
    "claude-opus-5-5": _UNFORCED,
    "claude-sonnet-5": ClaudeFamily(thinking=_SWITCHED, inline_system=False),  # takes inline system, then ignores it
    "claude-sonnet-5-5": ClaudeFamily(
        thinking=frozenset({"adaptive", "between_tools"}), efforts_when_off=_LOW_TO_HIGH, forced_tools=False
    ),
    "claude-haiku-5-5": ClaudeFamily(thinking=_SWITCHED, efforts_when_off=_LOW_TO_HIGH),
    "claude-opus-4-8": ClaudeFamily(thinking=_SWITCHED),
    "claude-opus-4-7": ClaudeFamily(thinking=_SWITCHED, inline_system=False),
    "claude-opus-4-6": _4_6,
    "claude-sonnet-4-6": _4_6,
    "claude-opus-4-5": ClaudeFamily(
        sampling=True,
        thinking=_BUDGET,
        efforts=_LOW_TO_HIGH,
        efforts_when_off=_LOW_TO_HIGH,
        inline_system=False,
        prefill=True,
        context_window=200_000,
        max_output=64_000,
    ),
    "claude-sonnet-4-5": _4_5,
    "claude-haiku-4-5": _4_5,
}

_NEWER = ClaudeFamily(forced_tools=False, context_window=None, max_output=None)
"""A Claude model this table does not know is taken for a new one: the direction is one way so far."""

_OLDER = ClaudeFamily(
    sampling=True,
    temperature_and_top_p=True,
    thinking=_BUDGET,
    efforts=(),
    inline_system=False,
    structured_output=False,
    prefill=True,
    context_window=200_000,
    max_output=None,
)
"""Claude 4.1 and before, still served by some clouds."""

_FOREIGN = ClaudeFamily(
    sampling=True,
    temperature_and_top_p=True,
    max_temperature=2.0,
    thinking=_BUDGET | _ALWAYS,
    inline_system=False,
    structured_output=False,
    prefill=True,
    context_window=None,
    max_output=None,
)
"""Anything else behind this dialect: llama.cpp, LM Studio, gateways."""

_DATE = re.compile(r"[-@](?:20\d{6}|latest)\b.*$")
_OLD_NAMES = re.compile(r"claude-(?:[123]\b|instant|(?:opus|sonnet)-4(?:-[01])?$|4-)")


def base_id(model: str) -> str:
    """`model` without a cloud's prefix and without its date: ``us.anthropic.claude-opus-4-5-20251101-v1:0`` too."""
    begin = model.find("claude-")
    return _DATE.sub("", model[begin:]) if begin >= 0 else model


def family_of(model: str) -> ClaudeFamily:
    """What `model` accepts; never fails, see the last three rows for models nobody listed."""
    name = base_id(model)
    known = _FAMILIES.get(name)
    if known is not None:
        return known
    if not name.startswith("claude-"):
        return _FOREIGN
    return _OLDER if _OLD_NAMES.match(name) else _NEWER
