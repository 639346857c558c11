"""The tool `list_models`."""

from __future__ import annotations

from typing import Any

from unified_llm import ModelInfo
from unified_llm_mcp._sdk import Call
from unified_llm_mcp.arguments import ListModelsArguments
from unified_llm_mcp.catalogue import NOT_RUNNING, Models
from unified_llm_mcp.failures import ToolCallError
from unified_llm_mcp.progress import follow
from unified_llm_mcp.results import compact, tool_result
from unified_llm_mcp.state import ServerState

__all__ = ["list_models", "model_entry"]


async def list_models(state: ServerState, arguments: ListModelsArguments, call: Call) -> dict[str, Any]:
    """The models there are, a page of them, and for each provider that could not say, why."""
    try:
        found = await _found(state, arguments.provider, call)
    except TimeoutError as error:
        raise ToolCallError(
            "timeout",
            f"{arguments.provider} did not answer within {state.settings.provider_timeout:g} s",
            hint="check that it runs, and try again",
            retryable=True,
            provider=arguments.provider,
        ) from error
    wanted = [model for model in found.models if _matches(model, arguments)]
    start = _position(arguments.cursor)
    page = wanted[start : start + arguments.limit]
    end = start + len(page)
    structured = compact(
        models=[model_entry(model) for model in page],
        total=len(wanted),
        next_cursor=str(end) if end < len(wanted) else None,
        errors=found.errors or None,
    )
    return tool_result(_text(structured, found), structured)


async def _found(state: ServerState, provider: str, call: Call) -> Models:
    """The models of `provider`, or of all; while they are asked, heartbeats keep the client's patience."""
    run = state.runs.start(lambda _: state.models.find(provider))
    try:
        await follow(run, call, wait=None, heartbeat=state.settings.heartbeat)
    except BaseException:  # cancelled, or the connection is gone
        run.cancel()
        raise
    return run.result()


def _matches(model: ModelInfo, arguments: ListModelsArguments) -> bool:
    """A model whose kind is unknown matches every kind."""
    if arguments.kind != "any" and model.kind not in (None, arguments.kind):
        return False
    return arguments.query.lower() in model.ref.lower()


def _position(cursor: str) -> int:
    if cursor and not (cursor.isascii() and cursor.isdigit() and len(cursor) < 16):
        raise ToolCallError(
            "invalid_arguments", f"cursor {cursor[:40]!r} was not given by list_models", hint="leave it empty to begin"
        )
    return int(cursor or 0)


def model_entry(model: ModelInfo) -> dict[str, Any]:
    """A model as `list_models` and the resources show it; `id` is what chat and embed take."""
    return compact(
        id=model.ref,
        provider=model.provider,
        kind=model.kind,
        context_window=model.context_window,
        max_output_tokens=model.max_output_tokens,
        capabilities=[name for name, has in model.capabilities.items() if has == "yes"] or None,
        loaded=model.loaded,
    )


def _text(structured: dict[str, Any], found: Models) -> str:
    lines = [_line(entry) for entry in structured["models"]] or ["No model matches."]
    if "next_cursor" in structured:
        lines.append(f"... {structured['total']} in all; next_cursor {structured['next_cursor']}")
    idle = [provider for provider, why in found.errors.items() if why == NOT_RUNNING]
    lines += [f"{provider} could not be asked: {why}" for provider, why in found.errors.items() if provider not in idle]
    if idle:
        lines.append(f"Not running on this machine: {', '.join(idle)}")
    return "\n".join(lines)


def _line(entry: dict[str, Any]) -> str:
    details = [entry.get("kind"), entry.get("context_window") and f"{entry['context_window']} tokens"]
    details += ["loaded"] if entry.get("loaded") else []
    known = ", ".join(str(detail) for detail in details if detail)
    return f"{entry['id']} ({known})" if known else str(entry["id"])
