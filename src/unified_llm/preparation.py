"""From what a caller passes to a `ChatRequest`: pure, and checked, before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from unified_llm.errors import InvalidMessageError, InvalidRequestError, UnsupportedOptionError
from unified_llm.message_formats import normalize_messages
from unified_llm.messages import Message, MessageRole, Part, Text, Thinking, ToolCall, ToolResult
from unified_llm.open_calls import answered
from unified_llm.providers.registry import canonical_name
from unified_llm.requests import ChatRequest, EmbedRequest, ModelConfig, unknown_option, why_unknown
from unified_llm.responses import Adjustment
from unified_llm.schemas import normalize_response_format
from unified_llm.tools import ToolLike, normalize_tool_choice, normalize_tools

__all__ = ["approximate_part_tokens", "approximate_tokens", "build_request", "embed_texts", "prepare_chat"]


def build_request(
    messages: tuple[Message, ...],
    config: ModelConfig,
    tools: Iterable[ToolLike] | None,
    stream: bool,
    notes: Iterable[Adjustment] = (),
) -> ChatRequest:
    """The request but for its model, which each target sets (`ChatRequest.for_model`).

    Raises:
        InvalidRequestError: a tool, tool choice or response format is not understood.
    """
    normal = normalize_tools(tools)
    choice = normalize_tool_choice(config.tool_choice)
    if config.parallel_tool_calls is None and _one_at_a_time(config.tool_choice):
        config = config.merge(parallel_tool_calls=False)
    if choice is not None and choice.mode == "tool" and choice.name not in {t.name for t in normal}:
        raise InvalidRequestError(
            f"tool_choice names {choice.name!r}, which is not among the tools",
            hint=f"tools given: {', '.join(t.name for t in normal) or 'none'}",
        )
    return ChatRequest(
        model="",
        messages=messages,
        config=config,
        tools=normal,
        tool_choice=choice if normal else None,
        response_format=normalize_response_format(config.response_format),
        stream=stream,
        adjustments=tuple(notes),
    )


def _one_at_a_time(choice: object) -> bool:
    """Whether a tool choice in Anthropic's form asks for one call at most."""
    return isinstance(choice, Mapping) and choice.get("disable_parallel_tool_use") is True


def prepare_chat(
    base: ModelConfig, messages: object, config: ModelConfig | Mapping[str, Any] | None, options: dict[str, Any]
) -> tuple[ModelConfig, tuple[Message, ...], list[Adjustment]]:
    """Merge the options and read the messages. The third value tells what they say that no request carries.

    Raises:
        UnsupportedOptionError: `on_unsupported` is "error", and a name is no option (the hint gives the nearest), or
            the messages say something that no request carries.
        InvalidMessageError: the messages cannot be sent, whatever the provider.
    """
    system = options.pop("system", None)
    if isinstance(config, Mapping):
        config = ModelConfig(**config)
    for one in (base, config):
        if one is not None and not isinstance(one, ModelConfig):
            raise InvalidRequestError(f"config is {type(one).__name__}", hint="pass ModelConfig(...), or a dictionary")
    merged = base if config is None and not options else base.merge(config, **options)
    if merged.provider_options:
        named = {canonical_name(name) or name: value for name, value in merged.provider_options.items()}
        merged = merged.merge(provider_options=named)
    merged, notes = _known(merged)
    normal = normalize_messages(messages, notes)
    if notes and merged.on_unsupported == "error":
        raise UnsupportedOptionError(
            f"{notes[0].what} cannot be sent: {notes[0].reason}",
            hint="leave it out, or set on_unsupported='warn' to go on without it",
        )
    if system:
        normal = (Message(MessageRole.SYSTEM, system), *normal)
    if unanswered := check_history(normal):
        normal = answered(normal, unanswered, notes, broken_only=merged.on_unsupported == "error")
    return merged, normal, notes


def _known(config: ModelConfig) -> tuple[ModelConfig, list[Adjustment]]:
    """The options without those nobody knows, and what is recorded of these; under "error" the first one raises."""
    if not config.unknown:
        return config, []
    if config.on_unsupported == "error":
        raise unknown_option(next(iter(config.unknown)))
    return config.without_unknown(), [Adjustment("dropped", n, why_unknown(n)) for n in config.unknown]


def check_history(messages: tuple[Message, ...]) -> set[str]:
    """Refuse a history that no provider takes: only system messages, empty turns, results without their call.

    Returns the ids of the calls that have no result.
    """
    if all(m.role is MessageRole.SYSTEM for m in messages):
        raise InvalidMessageError("there is only a system message", hint="add a user message")
    calls: set[str] = set()
    unanswered: set[str] = set()
    for position, message in enumerate(messages):
        for part in message.parts:
            if type(part) is Text:
                if not isinstance(part.text, str):
                    raise _no_text(position, part)
                continue
            if isinstance(part, ToolCall):
                calls.add(part.id)
                unanswered.add(part.id)
            elif isinstance(part, ToolResult):
                if part.call_id not in calls:
                    raise InvalidMessageError(
                        f"messages[{position}] is the result of a tool call {part.call_id!r} not in the history",
                        hint="append the assistant message with the tool call (response.message) before its results",
                    )
                for inner in part.parts:
                    if type(inner) is Text and not isinstance(inner.text, str):
                        raise _no_text(position, inner)
                unanswered.discard(part.call_id)
        if message.parts:
            continue
        if message.role is MessageRole.TOOL:
            raise InvalidMessageError(
                f"messages[{position}] is a tool message without a result",
                hint="give it content; a tool that returned nothing can say 'done'",
            )
        if message.role is MessageRole.USER:
            raise InvalidMessageError(f"messages[{position}] is an empty user message", hint="give it some content")
    return unanswered


def _no_text(position: int, part: Text) -> InvalidMessageError:
    return InvalidMessageError(
        f"messages[{position}] has a text that is {type(part.text).__name__}", hint="convert it with str()"
    )


def embed_texts(text: object) -> tuple[str, ...]:
    """The texts to embed, checked. Raises `InvalidRequestError` for what is no text, or an empty one."""
    if isinstance(text, str):
        texts: tuple[Any, ...] = (text,)
    elif isinstance(text, Iterable) and not isinstance(text, (bytes, bytearray, Mapping)):
        texts = tuple(text)
    else:
        raise InvalidRequestError(
            f"embed() takes a str or a list of str, not {type(text).__name__}",
            hint="embed('one') or embed(['one', 'two'])",
        )
    for position, one in enumerate(texts):
        if not isinstance(one, str):
            raise InvalidRequestError(
                f"texts[{position}] is {type(one).__name__}, not str", hint="convert it, or leave it out"
            )
        if not one.strip():
            raise InvalidRequestError(f"texts[{position}] is empty", hint="servers refuse empty texts: leave them out")
    return texts


def approximate_tokens(request: ChatRequest | EmbedRequest) -> int:
    """An estimate without a tokenizer: 4 bytes of UTF-8 a token, 4 tokens a message, 256 an attachment."""
    if isinstance(request, EmbedRequest):
        return sum(_tokens_of(text) for text in request.texts)
    total = 4 * len(request.messages)
    for message in request.messages:
        for part in message.parts:
            if type(part) is Text and part.text.isascii():  # nearly all of them, for each call
                total += (len(part.text) + 3) // 4
            else:
                total += approximate_part_tokens(part)
    for tool in request.tools:
        total += _tokens_of(str(tool.to_dict()))
    return total


def approximate_part_tokens(part: Part) -> int:
    """The part's share of `approximate_tokens`."""
    if isinstance(part, (Text, Thinking, ToolResult)):
        return _tokens_of(part.text)
    return _tokens_of(part.arguments_json) if isinstance(part, ToolCall) else 256


def _tokens_of(text: str) -> int:
    return ((len(text) if text.isascii() else len(text.encode("utf-8", "replace"))) + 3) // 4
