"""How the servers that the OpenAI double imitates differ from OpenAI's own: what they refuse, ignore and answer.

Sources: LM Studio bug tracker #189, #670, #1027, #1752; llama.cpp tools/server; Ollama docs/openai; Groq, Mistral,
DeepSeek, OpenRouter and Scaleway API references; vLLM #27752; Azure OpenAI reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["QUIRKS", "Quirks"]

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
        string_errors: errors are ``{"error": "text"}``.
        json_object, json_schema: whether that ``response_format`` is accepted.
        tool_choice: "object" takes named tools, "string" refuses objects, "ignored" does not read the field.
        required_word: what it calls "some tool".
        one_system: refuses a system message that is not the first, or a second one.
        alternate: refuses two user or assistant messages in a row.
        user_after_tool: whether a user message may follow tool results.
        tool_ids: pattern of tool call ids.
        image_urls: whether http image URLs are accepted; image_types: accepted media types.
        images, files: whether the part is accepted at all.
        strings_only_embeddings, base64_embeddings, dimensions: embeddings (ignored when not supported).
        reasoning: how it answers with reasoning.
        needs_reasoning: field that assistant turns with tool calls must carry back.
        done: whether a stream ends with ``[DONE]``; usage: whether it sends usage in streams when asked.
        comments: whether streams carry SSE comments.
        tools_in_stream: "proper", or the deviation in how streamed calls are numbered.
        arguments: form of tool call arguments.
        finish_with_calls: its finish reason when there are calls.
    """

    extras: frozenset[str] = frozenset()
    unknown_fields: Literal["refuse", "ignore"] = "refuse"
    message_extras: frozenset[str] = frozenset()
    call_extras: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()
    token_fields: frozenset[str] = frozenset({"max_tokens", "max_completion_tokens"})
    string_errors: bool = False
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
    images: bool = True
    files: bool = True
    strings_only_embeddings: bool = False
    base64_embeddings: bool = True
    dimensions: bool = True
    reasoning: ReasoningForm = "none"
    needs_reasoning: str | None = None
    done: bool = True
    usage: bool = True
    comments: bool = False
    tools_in_stream: Literal["proper", "whole", "same_index", "no_index", "repeat_id"] = "proper"
    arguments: Literal["text", "dict", "empty"] = "text"
    finish_with_calls: str = "tool_calls"


_SAMPLERS = frozenset({"top_k", "min_p", "repeat_penalty"})
_TEMPLATE = frozenset({"chat_template_kwargs"})

QUIRKS: dict[str, Quirks] = {
    "openai": Quirks(token_fields=frozenset({"max_completion_tokens"})),
    "openai-compatible": Quirks(
        extras=_SAMPLERS, token_fields=frozenset({"max_tokens"}), one_system=True, dimensions=False
    ),
    "lmstudio": Quirks(
        extras=_SAMPLERS | {"ttl", "draft_model"},
        token_fields=frozenset({"max_tokens"}),
        string_errors=True,
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
    "groq": Quirks(
        extras=frozenset({"reasoning_format", "include_reasoning", "search_settings"}),
        refused=frozenset({"logprobs", "top_logprobs", "logit_bias"}),
        reasoning="reasoning",
        files=False,
    ),
    "mistral": Quirks(
        extras=frozenset({"random_seed", "safe_prompt", "prompt_mode"}),
        refused=frozenset(
            {"seed", "user", "logprobs", "top_logprobs", "logit_bias", "max_completion_tokens", "stream_options"}
        ),
        token_fields=frozenset({"max_tokens"}),
        required_word="any",
        user_after_tool=False,
        tool_ids=r"[a-zA-Z0-9]{9}",
        reasoning="content_parts",
        dimensions=False,
        base64_embeddings=False,
    ),
    "deepseek": Quirks(
        extras=frozenset({"thinking"}),
        message_extras=frozenset({"reasoning_content"}),
        token_fields=frozenset({"max_tokens"}),
        json_schema=False,
        images=False,
        files=False,
        reasoning="reasoning_content",
        needs_reasoning="reasoning_content",
    ),
    "openrouter": Quirks(
        extras=_SAMPLERS | {"reasoning", "provider", "models", "transforms", "usage"},
        message_extras=frozenset({"reasoning", "reasoning_details"}),
        token_fields=frozenset({"max_tokens"}),
        reasoning="reasoning_details",
        comments=True,
    ),
    "gemini": Quirks(
        extras=frozenset({"extra_body"}),
        call_extras=frozenset({"extra_content"}),
        image_urls=False,
        files=False,
        refused=frozenset({"seed", "logit_bias", "user", "parallel_tool_calls"}),
    ),
    "scaleway": Quirks(
        refused=frozenset({"frequency_penalty", "n", "top_logprobs", "logit_bias", "user"}),
        token_fields=frozenset({"max_tokens"}),
        one_system=True,
        alternate=True,
        files=False,
    ),
}
