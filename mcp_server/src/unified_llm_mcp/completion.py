"""Suggestions for arguments of prompts and resource templates, while a person types."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from unified_llm_mcp._sdk import Call
from unified_llm_mcp.prompts import PROMPTS
from unified_llm_mcp.resource_list import TEMPLATES

if TYPE_CHECKING:
    from unified_llm_mcp.state import ServerState

__all__ = ["arguments_of", "complete"]

_FIELD = re.compile(r"\{[+?]?(\w+)\}")
PATIENCE = 0.3
"""Seconds to wait for the first list of models: suggestions that come later are of no use."""


def arguments_of(kind: str, name: str) -> list[str]:
    """The arguments of a prompt ("ref/prompt") or of a template, named with or without its query; none if not ours."""
    if kind == "ref/prompt":
        return [*PROMPTS[name].required, *PROMPTS[name].optional] if name in PROMPTS else []
    ours = (template["uriTemplate"] for template in TEMPLATES)
    return [found for uri in ours if _path(uri) == _path(name) for found in _FIELD.findall(uri)]


def _path(template: str) -> str:
    return template.partition("{?")[0]


async def complete(
    state: ServerState, kind: str, argument: str, value: str, call: Call, given: Mapping[str, str]
) -> list[str]:
    """Candidates for an argument, those that begin with `value` first. `given` are values of the other arguments."""
    if argument == "models":
        chosen, comma, last = value.rpartition(",")
        return [f"{chosen}{comma}{found}" for found in _matching(await _model_ids(state), last.strip())]
    return _matching(await _candidates(state, kind, argument, call, given), value)


async def _candidates(state: ServerState, kind: str, argument: str, call: Call, given: Mapping[str, str]) -> list[str]:
    match argument:
        case "model":
            ids = await _model_ids(state)
            if kind == "ref/prompt":
                return ids
            # In the template the provider is a field of its own, which may have been filled in.
            pairs = [ref.partition(":") for ref in ids]
            return [model for provider, _, model in pairs if given.get("provider") in (None, "", provider)]
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
