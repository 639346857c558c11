"""The tools `chat` and `get_response`."""

from __future__ import annotations

import time
from typing import Any

from unified_llm import ChatResponse, Message, Part, StreamStart, Text, TextDelta
from unified_llm.detection import split_model_ref
from unified_llm.errors import StreamInterruptedError
from unified_llm_mcp._sdk import Call
from unified_llm_mcp.answer_data import read_data
from unified_llm_mcp.arguments import ChatArguments, GetResponseArguments
from unified_llm_mcp.asked import provider_and_model
from unified_llm_mcp.attachments import read_attachments
from unified_llm_mcp.failures import ToolCallError
from unified_llm_mcp.progress import follow
from unified_llm_mcp.response_schema import refuse_examples_without_end, response_format
from unified_llm_mcp.results import MAX_DATA_BYTES, MAX_TEXT_BYTES, compact, fitting, tool_result
from unified_llm_mcp.runs import Run
from unified_llm_mcp.state import Answer, ChatRun, Conversation, ServerState
from unified_llm_mcp.weights import weight_of_messages

__all__ = ["chat", "chat_result", "get_response", "start_chat"]


async def chat(state: ServerState, arguments: ChatArguments, call: Call) -> dict[str, Any]:
    """Answer, or hand over a `response_id` when the answer takes longer than the client waits."""
    started = await start_chat(state, arguments, call.subject)
    try:
        if arguments.conversation_id == "new":
            await call.resources_changed()
        # Without the tool get_response nobody could fetch what a handle stands for.
        fetchable = "get_response" in state.settings.tools and not call.may_outlive_request
        wait = state.settings.max_wait or None if fetchable else None
        await follow(started.run, call, wait=wait, heartbeat=state.settings.heartbeat)
        if not started.complete:
            await _name(state, started)
    except BaseException:  # cancelled, or the connection is gone: nobody will read the answer, so stop paying for it
        started.run.cancel()
        raise
    if not started.run.done:
        _keep(state, started)
    return chat_result(state, started)


async def get_response(state: ServerState, arguments: GetResponseArguments, call: Call) -> dict[str, Any]:
    """The answer of a chat that was still running, or what there is of it."""
    started = state.results.get(call.subject, arguments.response_id)
    if started is None:
        raise ToolCallError(
            "unknown_response",
            "no answer is kept under this response_id",
            hint="ids live for a limited time after their last use and belong to the caller who got them; "
            "call chat again",
        )
    if arguments.cancel:
        started.run.cancel()
        await started.run.wait_done(None)
    else:
        await follow(started.run, call, wait=arguments.wait_s, heartbeat=state.settings.heartbeat)
    if not started.complete:
        await _name(state, started)
    return chat_result(state, started)


async def start_chat(state: ServerState, arguments: ChatArguments, subject: str) -> ChatRun:
    """Start the run of a chat.

    Raises:
        ToolCallError: an attachment, a conversation or the schema is not usable; nothing was sent.
    """
    schema = arguments.response_schema
    options, notes = _options(state, arguments)
    if schema is not None and await _goes_to_stand_in(state, options.get("model")):
        refuse_examples_without_end(schema)
    content: list[Part] = [Text(arguments.prompt), *await read_attachments(arguments.attachments, state.settings)]
    added = (*(Message(turn.role, turn.content) for turn in arguments.messages), Message("user", content))
    conversation_id, conversation = _conversation(state, arguments, subject)

    async def produce(run: Run[Answer]) -> Answer:
        try:
            return await answer(run)
        except BaseException:
            if arguments.conversation_id == "new" and conversation_id is not None:
                state.conversations.remove(subject, conversation_id)  # a failure does not tell its id
            raise

    async def answer(run: Run[Answer]) -> Answer:
        state.usage.watch(subject)
        learning = state.spending.learning(options.get("model") or "")
        async with state.limits.slot(subject, conversation.turn), learning:
            system = arguments.system or conversation.system
            response = await _answer(state, run, (*conversation.messages, *added), options, system)
            state.usage.add(subject, "chats", response.usage, response.cost)
            data = () if schema is None else await read_data(response, schema, state.schema_processes)
            # Only now: a failed or cancelled call leaves the conversation as it was.
            conversation.messages += (*added, response.message)
            conversation.system = system
            conversation.weight += weight_of_messages((*added, response.message))
            state.conversations.shrink()
        return Answer(response, *data)

    return ChatRun(
        subject=subject,
        run=state.runs.start(produce),
        model=options.get("model") or "",
        notes=notes,
        conversation_id=conversation_id,
    )


async def _goes_to_stand_in(state: ServerState, model: str | None) -> bool:
    """Whether the provider `offline` answers, which makes examples for a schema inside this process."""
    provider, _ = split_model_ref(model)
    return (provider or await state.client.get_provider_async()) == "offline"


async def _answer(
    state: ServerState,
    run: Run[Answer],
    messages: tuple[Message, ...],
    options: dict[str, Any],
    system: str | None,
) -> ChatResponse:
    async with state.client.stream_async(messages, system=system, **options) as stream:
        async for event in stream:
            if isinstance(event, TextDelta):
                run.add(event.text)
            elif isinstance(event, StreamStart):
                run.model = event.model
    if stream.response is None:
        raise StreamInterruptedError(
            "the stream ended without an end event",
            hint="the provider ended its stream early: ask again, and report it to its author",
        )
    return stream.response


def _conversation(state: ServerState, arguments: ChatArguments, subject: str) -> tuple[str | None, Conversation]:
    """The conversation of a call: the one named, a new one, or one for this call alone."""
    wanted = arguments.conversation_id
    found = Conversation(arguments.prompt[:60]) if wanted in ("", "new") else state.conversations.get(subject, wanted)
    if found is None:
        raise ToolCallError(
            "unknown_conversation",
            "no conversation is kept under this conversation_id",
            hint="ids live for a limited time after their last use and belong to the caller who got them; "
            "pass 'new' to start one",
        )
    if found.weight > state.settings.max_kept_bytes // 8:
        raise ToolCallError(
            "conversation_too_large",
            "the conversation holds too much to go on",
            hint="start another one with conversation_id 'new', and tell in the prompt what matters of this one",
        )
    if wanted == "new":
        wanted = state.conversations.put(subject, found)
    return wanted or None, found


def _options(state: ServerState, arguments: ChatArguments) -> tuple[dict[str, Any], list[str]]:
    """Options of the call, and what was changed of what was asked for."""
    notes: list[str] = []
    max_tokens, ceiling = arguments.max_tokens, state.settings.max_tokens
    if ceiling is not None:
        if max_tokens is not None and max_tokens > ceiling:
            notes.append(f"max_tokens changed: this server allows {ceiling}")
        max_tokens = min(max_tokens or ceiling, ceiling)
    options = compact(
        model=arguments.model or state.settings.model,
        max_tokens=max_tokens,
        temperature=arguments.temperature,
        response_format=response_format(arguments.response_schema),
        timeout=state.settings.timeout,
        label=state.spending.label,
    )
    return options, notes


def chat_result(state: ServerState, started: ChatRun) -> dict[str, Any]:
    """The result of a chat as it is now: complete, running or cancelled. Raises what the chat raised."""
    run = started.run
    if started.complete:
        return _complete(state, started, run.result())
    text = fitting(run.text, state.settings.max_output_chars)
    truncated = len(text) < len(run.text) and started.response_id is not None
    forgotten = run.done and state.conversations.get(started.subject, started.conversation_id or "") is None
    structured = compact(
        status="cancelled" if run.done else "running",
        text=text,
        model=started.asked[1],
        provider=started.asked[0],
        conversation_id=None if forgotten else started.conversation_id,
        response_id=started.response_id,
        truncated=truncated or None,
    )
    return tool_result(_unfinished_text(started, text), structured, *([_whole(started)] if truncated else []))


async def _name(state: ServerState, started: ChatRun) -> None:
    """Find out whom a chat asks that is not complete: its result says so, too."""
    started.asked = await provider_and_model(state.client, started.model, started.run.model)


def _keep(state: ServerState, started: ChatRun) -> str:
    """Keep a run for `get_response` and the resource of its whole text; returns its id."""
    if started.response_id is None:
        started.response_id = state.results.put(started.subject, started)
    return started.response_id


def _whole(started: ChatRun) -> dict[str, Any]:
    return {
        "type": "resource_link",
        "uri": f"llm://responses/{started.response_id}",
        "name": "whole answer",
        "mimeType": "text/plain",
    }


def _unfinished_text(started: ChatRun, text: str) -> str:
    if started.run.done:
        note = "[Cancelled before the end.]"
    else:
        seconds = time.monotonic() - started.run.started
        note = f"[Still running after {seconds:.0f} s: call get_response with response_id {started.response_id}.]"
    return f"{text}\n{note}" if text else note


def _complete(state: ServerState, started: ChatRun, answer: Answer) -> dict[str, Any]:
    response = answer.response
    size = MAX_TEXT_BYTES if answer.data is None else MAX_DATA_BYTES
    text = fitting(response.text, state.settings.max_output_chars, size)
    truncated = len(text) < len(response.text)
    if truncated:
        _keep(state, started)
    adjustments = started.notes + [f"{a.what} {a.kind}: {a.reason}" for a in response.adjustments]
    adjustments += [answer.note] if answer.note else []
    structured = compact(
        status="complete",
        text=text,
        data=None if truncated else answer.data,
        model=response.model or split_model_ref(started.model)[1] or "",
        provider=response.provider or split_model_ref(started.model)[0] or "",
        finish_reason=response.finish_reason and response.finish_reason.value,
        usage=usage_of(response),
        latency_ms=None if response.latency is None else round(response.latency * 1000),
        conversation_id=started.conversation_id,
        response_id=started.response_id,
        truncated=truncated or None,
        fallback_from=_fallback_from(response) or None,
        adjustments=adjustments or None,
    )
    shown = text or f"[The model returned no text; finish reason: {response.finish_reason}.]"
    return tool_result(shown, structured, *([_whole(started)] if truncated else []))


def _fallback_from(response: ChatResponse) -> list[str]:
    """The models that were asked before the one that answered, each once."""
    answered = f"{response.provider}:{response.model}"
    asked = [f"{one.provider}:{one.model}" if one.model else one.provider for one in response.attempts]
    return [ref for ref in dict.fromkeys(asked) if ref not in (answered, response.provider)]


def usage_of(response: ChatResponse) -> dict[str, Any]:
    """Tokens and cost, as far as known."""
    usage, cost = response.usage, response.cost
    return compact(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cached_tokens=usage.cache_read_tokens,
        cost_usd=cost,
        cost_known=cost is not None,
    )
