"""What a person is told on stderr beside the answer: who answers and why, why nothing comes yet, what it took."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unified_llm.cli.output import Output
from unified_llm.errors import UnifiedLLMError
from unified_llm.responses import ChatResponse

if TYPE_CHECKING:
    from unified_llm.client import UnifiedLLM
    from unified_llm.flow import CallInfo

__all__ = ["WaitNotes", "say_provider", "say_summary"]


class WaitNotes:
    """Hooks of the client that say why nothing comes yet: a retry, another model."""

    def __init__(self, out: Output) -> None:
        self._out = out

    def on_retry(self, info: CallInfo, error: UnifiedLLMError, seconds: float) -> None:
        self._out.note(f"note: {info.provider}: {error.message}; trying again in {seconds:.1f} s")

    def on_fallback(self, info: CallInfo, error: UnifiedLLMError | None) -> None:
        reason = f" ({error.message})" if error is not None else ""
        self._out.note(f"note: asking {info.provider}:{info.model or ''} instead{reason}")


def say_provider(llm: UnifiedLLM, out: Output) -> None:
    """Say which provider was chosen and why, when that was not the caller's choice. Offline explains itself."""
    name = llm.get_provider()
    chosen = llm.detection
    if chosen is not None and (name != "offline" or out.verbose):
        out.note(f"using {name}: {chosen.reason}")
    if chosen is not None and out.verbose and chosen.tried:
        out.note(f"  before that: {', '.join(chosen.tried)}")


def say_summary(response: ChatResponse, out: Output) -> None:
    """What a person should know about the answer: why it is short or empty; with --verbose, its figures."""
    reason = response.finish_reason
    if reason == "length":
        out.warn("note: the answer was cut at the token limit; --max-tokens N allows a longer one")
    elif reason in ("content_filter", "refusal"):
        out.warn("note: the provider stopped the answer for its content")
    elif not response.text and not response.tool_calls:
        out.warn(f"note: the answer has no text (finish reason: {reason or 'unknown'})")
    if out.verbose:
        out.note(_figures(response))


def _figures(response: ChatResponse) -> str:
    usage = response.usage
    known = [
        f"{response.provider}:{response.model}",
        *(
            f"{n} tokens {word}"
            for n, word in ((usage.input_tokens, "in"), (usage.output_tokens, "out"))
            if n is not None
        ),
        *([f"${response.cost:.4f}"] if response.cost else []),
        *([f"{response.latency:.2f} s"] if response.latency is not None else []),
        *([f"first token {response.time_to_first_token:.2f} s"] if response.time_to_first_token is not None else []),
        *([f"request {response.request_id}"] if response.request_id else []),
    ]
    return " · ".join(known)
