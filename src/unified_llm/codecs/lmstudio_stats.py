"""What LM Studio says of a prediction when it is over: speed, reason, and how full the context is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from unified_llm.responses import ChatResponse, FinishReason, Usage

__all__ = ["REASONS", "PredictionStats", "prediction_stats", "usage_of"]

REASONS: Mapping[str, FinishReason] = {
    "eosFound": FinishReason.STOP,
    "stopStringFound": FinishReason.STOP_SEQUENCE,
    "toolCalls": FinishReason.TOOL_CALLS,
    "maxPredictedTokensReached": FinishReason.LENGTH,
    "contextLengthReached": FinishReason.CONTEXT_OVERFLOW,
    "userStopped": FinishReason.CANCELLED,
    "modelUnloaded": FinishReason.ERROR,
    "failed": FinishReason.ERROR,
}


@dataclass(frozen=True, slots=True)
class PredictionStats:
    """Statistics of one answer; None where the server did not say.

    Attributes:
        stop_reason: the server's word, such as ``eosFound``.
        tokens_per_second: of the generation alone.
        time_to_first_token: seconds, measured by the server.
        prompt_tokens, predicted_tokens, total_tokens: as counted by the engine.
        cached_tokens: tokens of the prompt that were in the cache already.
        context_length: tokens the loaded model holds; context_fill: the share of them in use after the answer, 0 to 1.
        draft_model: the model that drafted tokens (speculative decoding); accepted_draft_tokens: how many were kept.
        gpu_layers: layers that ran on the GPU (-1: all).
    """

    stop_reason: str | None = None
    tokens_per_second: float | None = None
    time_to_first_token: float | None = None
    prompt_tokens: int | None = None
    predicted_tokens: int | None = None
    total_tokens: int | None = None
    cached_tokens: int | None = None
    context_length: int | None = None
    context_fill: float | None = None
    draft_model: str | None = None
    accepted_draft_tokens: int | None = None
    gpu_layers: float | None = None


def prediction_stats(response: ChatResponse) -> PredictionStats | None:
    """The statistics in `response.usage.native`, or None when the answer did not come over the websocket API."""
    native = response.usage.native
    if native is None or "stopReason" not in native:
        return None
    total, window = native.get("totalTokensCount"), native.get("contextLength")
    counted = isinstance(total, int) and isinstance(window, int)
    return PredictionStats(
        stop_reason=native["stopReason"],
        tokens_per_second=native.get("tokensPerSecond"),
        time_to_first_token=native.get("timeToFirstTokenSec"),
        prompt_tokens=native.get("promptTokensCount"),
        predicted_tokens=native.get("predictedTokensCount"),
        total_tokens=total,
        cached_tokens=native.get("cachedTokenCount"),
        context_length=window,
        context_fill=total / window if counted and window else None,
        draft_model=native.get("usedDraftModelKey"),
        accepted_draft_tokens=native.get("acceptedDraftTokensCount"),
        gpu_layers=native.get("numGpuLayers"),
    )


def usage_of(success: Mapping[str, Any], *, cached: int | None, reasoning: int | None) -> Usage:
    """The usage in a ``success`` message. `cached` and `reasoning` tokens were counted on the way."""
    stats = _mapping(success.get("stats"))
    native = dict(stats)
    window = _mapping(success.get("modelInfo")).get("contextLength")
    if isinstance(window, int):
        native["contextLength"] = window
    if cached is not None:
        native["cachedTokenCount"] = cached
    return Usage(
        input_tokens=_count(stats.get("promptTokensCount")),
        output_tokens=_count(stats.get("predictedTokensCount")),
        cache_read_tokens=cached,
        reasoning_tokens=reasoning,
        native=native,
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _count(value: Any) -> int | None:
    """LM Studio sends -1 for what it did not count."""
    return int(value) if isinstance(value, (int, float)) and value >= 0 else None
