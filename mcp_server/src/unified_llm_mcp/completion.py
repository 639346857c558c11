"""Suggestions for arguments of prompts and resource templates, while a person types."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from unified_llm_mcp._sdk import Call
from unified_llm_mcp.prompts import PROMPTS
from unified_llm_mcp.resource_list import TEMPLATES

if TYPE_CHECKING:
    from unified_llm_mcp.state import ServerState

__all__ = ["complete", "known"]

PATIENCE = 0.3
"""Seconds to wait for the first list of models: suggestions that come later are of no use."""


def known(kind: str, name: str) -> bool:
    """Whether a reference names a prompt ("ref/prompt") or a template of ours, with or without its query."""
    if kind == "ref/prompt":
        return name in PROMPTS
    return name.partition("{?")[0] in {template["uriTemplate"].partition("{?")[0] for template in TEMPLATES}


async def complete(state: ServerState, kind: str, argument: str, value: str, call: Call) -> list[str]:
    """Candidates for an argument, those that begin with `value` first."""
    if argument == "models":
        chosen, comma, last = value.rpartition(",")
        return [f"{chosen}{comma}{found}" for found in _matching(await _model_ids(state), last.strip())]
    return _matching(await _candidates(state, kind, argument, call), value)


async def _candidates(state: ServerState, kind: str, argument: str, call: Call) -> list[str]:
    match argument:
        case "model":
            ids = await _model_ids(state)
            # In the template the provider is a field of its own.
            return ids if kind == "ref/prompt" else [ref.partition(":")[2] for ref in ids]
        case "provider":
            return await state.models.providers()
        case "conversation_id":
            return [key for key, _ in state.conversations.items(call.subject)]
        case "response_id":
            return [key for key, _ in state.results.items(call.subject)]
        case _:
            return []


async def _model_ids(state: ServerState) -> list[str]:
    if not state.models.cached():
        # Asking goes on after the patience has run out, so that the next key stroke finds the list.
        await asyncio.wait({state.models.refresh()}, timeout=PATIENCE)
    return [model.ref for model in state.models.cached()]


def _matching(candidates: Iterable[str], value: str) -> list[str]:
    wanted = value.lower()
    unique = dict.fromkeys(candidates)
    first = [one for one in unique if one.lower().startswith(wanted)]
    return first + [one for one in unique if wanted in one.lower() and not one.lower().startswith(wanted)]
