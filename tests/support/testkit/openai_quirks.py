"""How the servers that the OpenAI double imitates differ from OpenAI's own: what they refuse, ignore and answer.

The rows here are servers that people run themselves; those of hosted services are in `openai_services`.
Sources: LM Studio bug tracker #189, #670, #1027, #1752; llama.cpp tools/server; Ollama docs/openai; vLLM #27752.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["LOCAL", "Quirks"]

ReasoningForm = Literal["none", "reasoning_content", "reasoning", "think_tags", "content_parts", "reasoning_details"]


@dataclass(frozen=True, slots=True)
class Quirks:
    """One server's ways. The defaults are OpenAI's.

    Attributes:
        extras: top-level request fields it knows besides OpenAI's.
        unknown_fields: "refuse" answers 400 and is a violation; "ignore" is only a violation.
        message_extras: fields it knows on messages, besides OpenAI's.
        call_extras: fields it knows on tool calls.
        refused: OpenAI fields it answers 400 to.
        token_fields: names of the output limit it accepts.
        base_path: where its API is, from the root.
        auth: header of its key; the other one is a violation.
        errors: form of its error bodies: OpenAI's, ``{"error": "text"}``, flat (vLLM's), Mistral's, with a number as
            code, in a list, or with the code beside the text. refusal_status: status of a refused request.
        models_refuse, models_take: pattern of a model to fields that it refuses, or takes, other than the rest.
        exclusive: pairs of fields that do not go together.
        json_object, json_schema: whether that ``response_format`` is accepted.
        tool_choice: "object" takes named tools, "string" refuses objects, "ignored" does not read the field.
        required_word: what it calls "some tool".
        one_system: refuses a system message that is not the first, or a second one.
        alternate: refuses two user or assistant messages in a row.
        user_after_tool: whether a user message may follow tool results.
        tool_ids: pattern of tool call ids.
        image_urls: whether http image URLs are accepted; image_types: accepted media types.
        embeddings, lists_models: whether there are such paths.
        images, files: whether the part is accepted at all.
        strings_only_embeddings, base64_embeddings, dimensions: embeddings (ignored when not supported).
        reasoning: how it answers with reasoning.
        needs_reasoning: field that assistant turns with tool calls must carry back.
        done: whether a stream ends with ``[DONE]``; usage: whether it sends usage in streams when asked.
        usage_in: where it sends it: a chunk of its own when asked, the chunk with the finish reason, every chunk, or
            under ``x_groq``. usage_more: fields of its own; beside: tokens of reasoning that the completion excludes.
        first_chunk, last_chunk: chunks of its own around the answer; choice_more, answer_more: fields of its own.
        comments: whether streams carry SSE comments.
        tools_in_stream: "proper", or the deviation in how streamed calls are numbered.
        arguments: form of tool call arguments.
        stop_word, finish_with_calls: its finish reasons for an answer that ended, and for one with calls.
    """

    extras: frozenset[str] = frozenset()
    unknown_fields: Literal["refuse", "ignore"] = "refuse"
    message_extras: frozenset[str] = frozenset()
    call_extras: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()
    token_fields: frozenset[str] = frozenset({"max_tokens", "max_completion_tokens"})
    base_path: str = "v1"
    auth: Literal["bearer", "api-key"] = "bearer"
    errors: Literal["openai", "text", "flat", "mistral", "number", "list", "code"] = "openai"
    refusal_status: int = 400
    models_refuse: tuple[tuple[str, frozenset[str]], ...] = ()
    models_take: tuple[tuple[str, frozenset[str]], ...] = ()
    exclusive: tuple[tuple[str, str], ...] = ()
    json_object: bool = True
    json_schema: bool = True
    tool_choice: Literal["object", "string", "ignored"] = "object"
    required_word: str = "required"
    one_system: bool = False
    alternate: bool = False
    user_after_tool: bool = True
    tool_ids: str = r".{1,64}"
    image_urls: bool = True
    image_types: frozenset[str] = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
    embeddings: bool = True
    lists_models: bool = True
    images: bool = True
    files: bool = True
    strings_only_embeddings: bool = False
    base64_embeddings: bool = True
    dimensions: bool = True
    reasoning: ReasoningForm = "none"
    needs_reasoning: str | None = None
    done: bool = True
    usage: bool = True
    usage_in: Literal["chunk", "finish", "every", "x_groq"] = "chunk"
    usage_more: Mapping[str, Any] = field(default_factory=dict)
    beside: int = 0
    first_chunk: Mapping[str, Any] | None = None
    last_chunk: Mapping[str, Any] | None = None
    choice_more: Mapping[str, Any] = field(default_factory=dict)
    answer_more: Mapping[str, Any] = field(default_factory=dict)
    comments: bool = False
    tools_in_stream: Literal["proper", "whole", "same_index", "no_index", "repeat_id"] = "proper"
    arguments: Literal["text", "dict", "empty"] = "text"
    stop_word: str = "stop"
    finish_with_calls: str = "tool_calls"


_SAMPLERS = frozenset({"top_k", "min_p", "repeat_penalty"})
_TEMPLATE = frozenset({"chat_template_kwargs"})

LOCAL: dict[str, Quirks] = {
    "openai-compatible": Quirks(
        extras=_SAMPLERS, token_fields=frozenset({"max_tokens"}), one_system=True, dimensions=False
    ),
    "lmstudio": Quirks(
        extras=_SAMPLERS | {"ttl", "draft_model"},
        token_fields=frozenset({"max_tokens"}),
        errors="text",
        json_object=False,
        tool_choice="string",
        one_system=True,
        image_urls=False,
        image_types=frozenset({"image/png", "image/jpeg"}),
        files=False,
        strings_only_embeddings=True,
        base64_embeddings=False,
        dimensions=False,
        reasoning="reasoning_content",
        tools_in_stream="whole",
        refused=frozenset({"chat_template_kwargs"}),
    ),
    "llamacpp": Quirks(
        message_extras=frozenset({"reasoning_content"}),
        extras=_SAMPLERS | _TEMPLATE | {"cache_prompt", "grammar", "n_predict", "reasoning_format", "typical_p"},
        token_fields=frozenset({"max_tokens"}),
        tool_choice="string",
        one_system=True,
        files=False,
        dimensions=False,
        reasoning="reasoning_content",
    ),
    "ollama": Quirks(
        unknown_fields="ignore",
        extras=frozenset(),
        message_extras=frozenset({"reasoning"}),
        token_fields=frozenset({"max_tokens"}),
        tool_choice="ignored",
        image_urls=False,
        files=False,
        reasoning="reasoning",
        tools_in_stream="same_index",
    ),
    "vllm": Quirks(
        extras=_SAMPLERS | _TEMPLATE | {"guided_json", "repetition_penalty", "stop_token_ids"},
        message_extras=frozenset({"reasoning", "reasoning_content"}),
        one_system=True,
        files=False,
        reasoning="reasoning",
    ),
}
