"""Profiles of services on the internet."""

from __future__ import annotations

from unified_llm.profiles.base import ModelRule, Profile

__all__ = ["HOSTED"]

# What no OpenAI-style service takes: sampling options of local engines.
_ENGINE_SAMPLING = frozenset({"top_k", "min_p"})
_SAMPLING = frozenset({"temperature", "top_p", "presence_penalty", "frequency_penalty", "logprobs"})

# https://developers.openai.com/api/docs/guides/images-vision, https://docs.mistral.ai/capabilities/vision
_IMAGE_TYPES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})

_OPENAI_MODELS = (
    # https://developers.openai.com/api/docs/guides/reasoning: sampling options are refused while the model reasons;
    # gpt-5.1 and later take them again when the effort is "none".
    ModelRule(
        r"(^|/|:)gpt-[5-9](?!.*chat)", unsupported_while_thinking=_SAMPLING, changes={"system_role": "developer"}
    ),
    ModelRule(
        r"(^|/|:)gpt-5(-mini|-nano|-pro|-codex)?(-\d{4}|$)", changes={"efforts": ("minimal", "low", "medium", "high")}
    ),
    ModelRule(
        r"(^|/|:)o\d",
        unsupported=_SAMPLING | {"parallel_tool_calls"},
        changes={"system_role": "developer", "efforts": ("low", "medium", "high")},
    ),
    ModelRule(r"(^|/|:)(o3|o4)", unsupported=frozenset({"stop_sequences"})),
    ModelRule(r"(^|/|:)(gpt-3\.5|gpt-4|chatgpt-4o)", unsupported=frozenset({"effort", "thinking"})),
)

_REASONS = {"encrypted_reasoning": True, "reasoning_summary": True}
# https://developers.openai.com/api/docs/guides/migrate-to-responses: chat completions drop the reasoning between
# tool calls. Other models answer 400 to a request for encrypted reasoning.
_REASONING_MODELS = (ModelRule(r"(^|/|:)(gpt-[5-9](?!.*(chat|search))|o\d|codex-|computer-use)", changes=_REASONS),)
_RESPONSES_MODELS = (
    ModelRule(r"(^|/|:)(gpt-[5-9](?!.*(chat|search))|o\d|codex-|computer-use)", changes={"dialect": "responses"}),
)

HOSTED: tuple[Profile, ...] = (
    # https://developers.openai.com/api/reference/resources/chat
    Profile(
        "openai",
        image_types=_IMAGE_TYPES,
        embeddings="yes",
        max_tokens_field="max_completion_tokens",
        unsupported=_ENGINE_SAMPLING,
        thinking="effort",
        thinking_on="medium",
        prompt_caching="retention",
        tool_id_limit=40,
        audio=True,
        files=True,
        builtin_tools=True,
        responses_limit=16,  # "integer below minimum value"
        models=(*_OPENAI_MODELS, *_REASONING_MODELS, *_RESPONSES_MODELS),
    ),
    # https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle (v1 API)
    Profile(
        "azure",
        image_types=_IMAGE_TYPES,
        embeddings="yes",
        base_path="openai/v1",
        auth="api-key",
        lists_models=False,  # it lists models, and chats take the names of deployments
        max_tokens_field="max_completion_tokens",
        unsupported=_ENGINE_SAMPLING,
        thinking="effort",
        thinking_on="medium",
        prompt_caching="automatic",
        tool_id_limit=40,
        audio=True,
        # The Responses API is not in every region, so that only what needs it goes there.
        builtin_tools=True,
        responses_limit=16,  # "integer below minimum value"
        models=(
            *_OPENAI_MODELS,
            *_REASONING_MODELS,
            # Models of other makers answer 422 to max_completion_tokens.
            ModelRule(r"mistral|ministral|codestral|llama|phi-|cohere", changes={"max_tokens_field": "max_tokens"}),
        ),
    ),
    # https://www.scaleway.com/en/docs/generative-apis/api-cli/using-chat-api/: these answer 400
    Profile(
        "scaleway",
        embeddings="yes",
        unsupported=frozenset({"frequency_penalty", "logprobs", "user", "top_k", "min_p"}),
        thinking="effort",
        one_system=True,
        alternate_roles=True,  # "Conversation roles must alternate" on Mistral models
        empty_content="empty",
        think_tags=True,
        models=(
            ModelRule(r"mistral|ministral|magistral|devstral|pixtral", changes={"tool_id_length": 9}),
            ModelRule(r"qwen3-235b", changes={"json_object": False}),  # takes the object form as a schema only
        ),
    ),
    # https://console.groq.com/docs/openai: unknown fields are refused, reasoning sent back included
    Profile(
        "groq",
        max_tokens_field="max_completion_tokens",
        unsupported=_ENGINE_SAMPLING | {"logprobs"},
        thinking="effort",
        efforts=("low", "medium", "high"),
        prompt_caching="automatic",
        think_tags=True,  # reasoning_format "raw" is the default of several models
        models=(ModelRule(r"qwen", changes={"efforts": ("none", "default"), "thinking_on": "default"}),),
    ),
    # https://docs.mistral.ai/api: unknown fields are 422 extra_forbidden
    Profile(
        "mistral",
        image_types=_IMAGE_TYPES,
        embeddings="yes",
        seed_field="random_seed",
        unsupported=_ENGINE_SAMPLING | {"logprobs", "user"},
        thinking="effort",
        thinking_on="high",
        efforts=("none", "high"),
        prompt_caching="automatic",
        stream_usage=False,  # always sent; the option is not in the schema
        required_word="any",
        tool_choice="filter",
        tool_id_length=9,
        one_system=True,
        user_after_tool=False,  # code 3230
        empty_content="empty",
        message_name=False,
        reasoning_back="content",
        embedding_base64=False,
        embedding_dimensions=False,
        embedding_batch=512,
        models=(ModelRule(r"codestral-embed", changes={"embedding_dimensions": True}),),
    ),
    # https://api-docs.deepseek.com/guides/thinking_mode
    Profile(
        "deepseek",
        embeddings="no",
        unsupported=_ENGINE_SAMPLING | {"seed", "user", "parallel_tool_calls"},
        # Accepted and ignored while the model thinks, which it does by default.
        unsupported_while_thinking=frozenset({"temperature", "presence_penalty", "frequency_penalty"}),
        thinking="type",
        efforts=("minimal", "low", "medium", "high", "xhigh", "max"),  # mapped to low, high and max by the server
        prompt_caching="automatic",
        forced_tools_while_thinking=False,
        empty_content="empty",
        reasoning_back="field",
        reasoning_required=True,  # 400 without it on turns with tool calls
        images=False,
        structured="json_object",
        strict=False,
    ),
    # https://ai.google.dev/gemini-api/docs/openai
    Profile(
        "gemini",
        # https://ai.google.dev/gemini-api/docs/image-understanding
        image_types=frozenset({"image/png", "image/jpeg", "image/webp", "image/heic", "image/heif"}),
        embeddings="yes",
        unsupported=_ENGINE_SAMPLING | {"seed", "user", "parallel_tool_calls", "logprobs"},
        thinking="google",
        thinking_budget_field="extra_body.google.thinking_config.thinking_budget",
        efforts=("none", "minimal", "low", "medium", "high"),
        prompt_caching="automatic",
        image_urls=False,
        audio=True,
        empty_content="null",
        message_name=False,
        # https://ai.google.dev/gemini-api/docs/thought-signatures: for calls that another model made
        foreign_call_extra={
            "extra_content": {"google": {"thought_signature": "skip_thought_signature_validator"}},
        },
        embedding_base64=False,
        embedding_batch=100,
    ),
    # https://openrouter.ai/docs/guides/best-practices/reasoning-tokens
    Profile(
        "openrouter",
        image_types=_IMAGE_TYPES,
        thinking="reasoning",
        thinking_budget_field="reasoning.max_tokens",
        effort_field="reasoning.effort",
        prompt_caching="automatic",
        audio=True,
        files=True,
        reasoning_back="details",
        embedding_base64=False,
    ),
    # https://docs.x.ai/docs/guides/reasoning: reasoning models refuse penalties and stop
    Profile(
        "xai",
        unsupported=_ENGINE_SAMPLING,
        thinking="effort",
        efforts=("none", "low", "medium", "high"),
        prompt_caching="automatic",
        models=(
            ModelRule(
                r"grok-(?!2|.*non-reasoning)",
                unsupported_while_thinking=frozenset({"presence_penalty", "frequency_penalty", "stop_sequences"}),
            ),
            ModelRule(r"grok-3-mini", changes={"efforts": ("low", "high")}),
            ModelRule(r"grok-(2|3(?!-mini)|4(?!\.[3-9])|code)", unsupported=frozenset({"effort", "thinking"})),
        ),
    ),
    # https://docs.together.ai/docs/inference/chat/reasoning
    Profile(
        "together",
        thinking="reasoning",
        efforts=("low", "medium", "high"),
        think_tags=True,
        embedding_base64=False,
        embedding_dimensions=False,
        strict=False,
    ),
    # https://docs.fireworks.ai/guides/reasoning
    Profile(
        "fireworks",
        thinking="type",
        thinking_budget_field="thinking.budget_tokens",
        efforts=("none", "low", "medium", "high", "xhigh", "max"),
        prompt_caching="automatic",
        reasoning_back="field",
        think_tags=True,
        embedding_base64=False,
    ),
    # https://docs.perplexity.ai/api-reference: searches by itself, no function calling
    Profile(
        "perplexity",
        unsupported=frozenset(
            {"stop_sequences", "logprobs", "seed", "parallel_tool_calls", "user", "min_p", "thinking"}
        ),
        tools=False,
        efforts=("minimal", "low", "medium", "high"),
        one_system=True,
        alternate_roles=True,
        json_object=False,
        strict=False,
        think_tags=True,  # sonar-reasoning writes them into the text
    ),
)
