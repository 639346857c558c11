"""What a profile can say of a server. The defaults are what the OpenAI documentation says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

__all__ = ["EFFORTS", "ModelRule", "Profile"]

AuthForm: TypeAlias = Literal["bearer", "api-key", "x-api-key"]
ToolChoiceForm: TypeAlias = Literal["object", "filter", "none"]
JSONForm: TypeAlias = Literal["json_schema", "json_object", "prompt"]
ReasoningForm: TypeAlias = Literal["never", "field", "content", "details"]
ThinkingForm: TypeAlias = Literal["none", "effort", "template", "type", "reasoning", "google"]
CachingForm: TypeAlias = Literal["none", "automatic", "retention", "cache_prompt"]
DialectForm: TypeAlias = Literal["chat", "responses"]

EFFORTS: tuple[str, ...] = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


@dataclass(frozen=True, slots=True)
class ModelRule:
    """How the models whose id matches `pattern` (searched, in lower case) differ from the rest of the server.

    Attributes:
        unsupported: more options that are dropped.
        unsupported_while_thinking: options that are dropped unless thinking is off.
        changes: other fields of the profile, by name.
    """

    pattern: str
    unsupported: frozenset[str] = frozenset()
    unsupported_while_thinking: frozenset[str] = frozenset()
    changes: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Profile:
    """How one server differs from the dialect's documentation.

    Connection
        base_path: path added to a base URL that has none, such as ``v1``.
        auth: header that carries the key: ``Authorization: Bearer``, ``api-key`` or ``x-api-key``.
        free: whether calls cost nothing, because the user runs the engine.
        lists_models: whether the list of models has the names that chats take.

    Options (names are those of `ModelConfig`)
        max_tokens_field: name of the output limit.
        seed_field: name of the seed.
        unsupported: options that are dropped and recorded; `unsupported_while_thinking` unless thinking is off.
        thinking: how thinking is switched on, off or limited: by ``reasoning_effort`` ("effort"), by
            ``chat_template_kwargs.enable_thinking`` ("template"), ``thinking: {type}`` ("type"), ``reasoning: {...}``
            ("reasoning"), Google's ``thinking_config`` ("google"), or not at all ("none").
        thinking_on: the effort that `thinking=True` stands for where the server would not think without it.
        thinking_budget_field: dotted name of the token budget, or None when there is none.
        effort_field: dotted name of the effort.
        efforts: accepted efforts; others are sent as the nearest one, and recorded.
        prompt_caching: "none" (no control), "automatic" (always on), "retention" (OpenAI's field) or "cache_prompt".
        defaults: body fields sent unless the caller sets them.
        stream_usage: whether ``stream_options.include_usage`` is understood.

    Tools
        tools: whether tools are accepted at all.
        tool_choice: a named tool is sent as an "object", or by sending only that tool with `required_word`
            ("filter"); "none" means the field is not read: forced choices are dropped and recorded.
        required_word: the server's word for "some tool".
        forced_tools_while_thinking: whether a tool can be forced while the model thinks.
        tool_id_length: exact length of alphanumeric call ids, or None when any id does; `tool_id_limit`: longest id
            (64 where nothing stricter is known: ids of other providers can be much longer), or None.
        tool_result_images: whether tool results may hold images (else they follow in a user message).
        foreign_call_extra: fields added to tool calls that another provider made.

    Messages
        system_role: role of system messages.
        one_system: system messages are joined into one, the first message.
        alternate_roles: messages of the same role in a row are joined.
        user_after_tool: whether a user message may follow tool results directly.
        empty_content: content of an assistant turn that has only tool calls.
        message_name: whether the field ``name`` of messages is accepted.
        reasoning_back: how reasoning is sent back with its assistant turn: in the field `reasoning_field`, as
            ``content`` parts, as OpenRouter's ``reasoning_details``, or never.
        reasoning_required: turns with tool calls must carry `reasoning_field`, even empty.
        images, image_urls, image_types, audio, files: what a user message may hold. No `image_types` means any.
        think_tags: whether a ``<think>`` block at the start of the text is split off as thinking.

    Structured output
        structured: how a JSON Schema is sent; "prompt" puts it into the system message.
        json_object: whether ``response_format: json_object`` is accepted; else a ``{"type": "object"}`` schema is sent.
        strict: whether the field ``strict`` of schemas is understood.
        format_with_tools: whether a format leaves room for tool calls. A grammar made of it allows no call, so that an
            agent's tools would never be used: the format is then asked for in the prompt as long as there are tools.

    Responses API (`providers.openai_dialect` decides which requests take it)
        dialect: the dialect of requests to the service's own address that need neither in particular.
        builtin_tools: whether tools the server runs itself (web search...) exist there, and not in chat completions.
        encrypted_reasoning: whether reasoning comes back as encrypted items, to be replayed.
        reasoning_summary: whether ``reasoning.summary`` is understood.
        responses_limit: least ``max_output_tokens``; smaller limits are sent as this one, and recorded.
        responses_format: whether ``text.format`` is obeyed.
        responses_status: whether an answer that was cut is called ``incomplete``.

    Embeddings
        embeddings: whether there are any: "yes", "no" or "unknown".
        embedding_base64, embedding_dimensions: whether ``encoding_format: base64`` and ``dimensions`` are honoured.
        embedding_batch: most texts per call.

    Streams
        eof_ends_stream: the end of the body is a regular end, even without a finish reason.

    `models` holds the rules for named models; `for_model` applies them.
    """

    name: str = "openai"
    base_path: str = ""
    auth: AuthForm = "bearer"
    free: bool = False
    lists_models: bool = True

    max_tokens_field: str = "max_tokens"
    seed_field: str = "seed"
    unsupported: frozenset[str] = frozenset()
    unsupported_while_thinking: frozenset[str] = frozenset()
    thinking: ThinkingForm = "none"
    thinking_on: str | None = None
    thinking_budget_field: str | None = None
    effort_field: str = "reasoning_effort"
    efforts: tuple[str, ...] = EFFORTS
    prompt_caching: CachingForm = "none"
    defaults: Mapping[str, Any] = field(default_factory=dict, hash=False)
    stream_usage: bool = True

    tools: bool = True
    tool_choice: ToolChoiceForm = "object"
    required_word: str = "required"
    forced_tools_while_thinking: bool = True
    tool_id_length: int | None = None
    tool_id_limit: int | None = 64
    tool_result_images: bool = False
    foreign_call_extra: Mapping[str, Any] | None = field(default=None, hash=False)

    system_role: str = "system"
    one_system: bool = False
    alternate_roles: bool = False
    user_after_tool: bool = True
    empty_content: Literal["null", "empty"] = "null"
    message_name: bool = True
    reasoning_back: ReasoningForm = "never"
    reasoning_field: str = "reasoning_content"
    reasoning_required: bool = False
    images: bool = True
    image_urls: bool = True
    image_types: frozenset[str] = frozenset()
    audio: bool = False
    files: bool = False
    think_tags: bool = False

    structured: JSONForm = "json_schema"
    json_object: bool = True
    strict: bool = True
    format_with_tools: bool = True

    dialect: DialectForm = "chat"
    builtin_tools: bool = False
    encrypted_reasoning: bool = False
    reasoning_summary: bool = False
    responses_limit: int = 1
    responses_format: bool = True
    responses_status: bool = True

    embeddings: Literal["yes", "no", "unknown"] = "unknown"
    embedding_base64: bool = True
    embedding_dimensions: bool = True
    embedding_batch: int = 2048

    eof_ends_stream: bool = False

    models: tuple[ModelRule, ...] = ()
    _resolved: dict[str, Profile] = field(default_factory=dict, init=False, repr=False, compare=False)

    def for_model(self, model: str) -> Profile:
        """This profile with the rules for `model` applied. Remembered, because every call asks."""
        if not self.models:
            return self
        found = self._resolved.get(model)
        if found is None:
            found = self._resolved[model] = self._apply(model.lower())
        return found

    def with_rule(self, rule: ModelRule) -> Profile:
        """A copy in which `rule` wins over the ones there are."""
        return replace(self, models=(*self.models, rule))

    def _apply(self, model: str) -> Profile:
        profile = replace(self, models=())
        for rule in self.models:
            if re.search(rule.pattern, model):
                profile = replace(
                    profile,
                    unsupported=profile.unsupported | rule.unsupported,
                    unsupported_while_thinking=profile.unsupported_while_thinking | rule.unsupported_while_thinking,
                    **rule.changes,
                )
        return profile
