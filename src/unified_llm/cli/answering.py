"""One answer: a streamed or plain call, tool calls included, that Ctrl-C can stop without losing what came."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from unified_llm.cli.events import Sink
from unified_llm.cli.tool_runs import ToolRunner
from unified_llm.errors import StreamInterruptedError, UnifiedLLMError
from unified_llm.messages import Message, Text
from unified_llm.responses import ChatResponse, FinishReason
from unified_llm.stream import Accumulator, events_of

if TYPE_CHECKING:
    from unified_llm.client import UnifiedLLM

__all__ = ["Answer", "Interrupted", "answer", "kept_partial"]

MAX_ROUNDS = 25
_MARK = "[interrupted by the user]"


@dataclass
class Answer:
    """The last response, with `usage` of all rounds, and every message the turn added to the history."""

    response: ChatResponse
    added: list[Message] = field(default_factory=list)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during an answer. `partial` is what had come; `added` the complete rounds before it."""

    def __init__(self, partial: ChatResponse, added: Sequence[Message] = ()) -> None:
        super().__init__()
        self.partial = partial
        self.added = list(added)


def answer(
    llm: UnifiedLLM,
    messages: Sequence[Message],
    sink: Sink,
    runner: ToolRunner,
    *,
    stream: bool = True,
    on_result: Callable[[str, ToolRunner], None] | None = None,
) -> Answer:
    """Ask until the model answers without calling a tool.

    Args:
        on_result: told after each tool result, with the id of its call.

    Raises:
        Interrupted: Ctrl-C; the request is closed upstream.
        UnifiedLLMError: the call failed, or the model still calls tools after 25 rounds.
    """
    added: list[Message] = []
    rounds: list[ChatResponse] = []
    for _ in range(MAX_ROUNDS):
        response = _one_round(llm, [*messages, *added], sink, runner, stream, added)
        rounds.append(response)
        if not response.tool_calls or not runner.tools:
            return Answer(_with_totals(rounds), [*added, response.message])
        try:
            results = []
            for call in response.tool_calls:
                results.append(runner(call))
                if on_result is not None:
                    on_result(call.id, runner)
        except KeyboardInterrupt:
            raise Interrupted(response.with_details(finish_reason=FinishReason.CANCELLED), added) from None
        added += [response.message, Message("tool", tool_result=results)]
    raise UnifiedLLMError(
        f"the model still calls tools after {MAX_ROUNDS} rounds", hint="ask for less at once, or give other tools"
    )


def _with_totals(rounds: Sequence[ChatResponse]) -> ChatResponse:
    """The last response, with the usage and the cost of all; the cost is unknown when that of one round is."""
    last = rounds[-1]
    if len(rounds) == 1:
        return last
    costs = [r.cost for r in rounds if r.cost is not None]
    return last.with_details(
        usage=sum((r.usage for r in rounds[1:]), rounds[0].usage),
        cost=sum(costs) if len(costs) == len(rounds) else None,
    )


def _one_round(
    llm: UnifiedLLM, messages: list[Message], sink: Sink, runner: ToolRunner, stream: bool, added: list[Message]
) -> ChatResponse:
    so_far = Accumulator()
    tools = runner.tools or None
    try:
        if not stream:
            response = llm.chat(messages, tools=tools)
            for event in events_of(response):
                sink(event)
            return response
        with llm.stream(messages, tools=tools) as events:
            for event in events:
                so_far.add(event)
                sink(event)
    except KeyboardInterrupt:
        raise Interrupted(so_far.response(finish_reason=FinishReason.CANCELLED), added) from None
    if events.response is None:
        raise StreamInterruptedError(
            "the stream ended without an end event",
            partial=so_far.response(),
            hint="the provider ended its stream early: ask again, and report it to its author",
        )
    return events.response


def kept_partial(partial: ChatResponse) -> Message | None:
    """The part of an interrupted answer that can stay in the history, marked; None when no text had come.

    Half a tool call, or reasoning without its signature, would be refused by the server later.
    """
    text = partial.text.rstrip()
    return Message("assistant", [Text(f"{text}\n\n{_MARK}")]) if text else None
