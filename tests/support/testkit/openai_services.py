"""How hosted services differ from OpenAI: rows of the table in `openai_quirks`, each cell with its source.

Sources: the services' API references (learn.microsoft.com/azure/ai-foundry/openai, console.groq.com/docs,
docs.mistral.ai/api, api-docs.deepseek.com, openrouter.ai/docs, ai.google.dev/gemini-api/docs/openai,
www.scaleway.com/en/docs/generative-apis, docs.x.ai, docs.together.ai, docs.fireworks.ai, docs.perplexity.ai) and the
issues that are named. The table says what a service takes and answers; it shares no line with the code under test.
"""

from __future__ import annotations

from testkit.openai_quirks import LOCAL, Quirks

__all__ = ["QUIRKS", "SERVICES"]

_SAMPLERS = frozenset({"top_k", "min_p", "repetition_penalty"})
_SAFE = {"hate": {"filtered": False, "severity": "safe"}}

SERVICES: dict[str, Quirks] = {
    "openai": Quirks(
        token_fields=frozenset({"max_completion_tokens"}),
        models_refuse=(
            (r"gpt-5|o\d", frozenset({"temperature", "top_p", "presence_penalty", "frequency_penalty", "logprobs"})),
        ),
    ),
    # Filters speak first, in a chunk without choices (Azure/azure-sdk-for-go#21086), and last, in a choice without a
    # delta (langchain-ai/langchain#18977). Models of other makers know max_tokens alone.
    "azure": Quirks(
        base_path="openai/v1",
        auth="api-key",
        token_fields=frozenset({"max_completion_tokens"}),
        files=False,
        first_chunk={
            "id": "",
            "model": "",
            "choices": [],
            "prompt_filter_results": [{"content_filter_results": _SAFE}],
        },
        last_chunk={"id": "", "model": "", "choices": [{"index": 0, "content_filter_results": _SAFE}]},
        choice_more={"content_filter_results": _SAFE},
        models_refuse=((r"mistral", frozenset({"max_completion_tokens"})),),
        models_take=((r"mistral", frozenset({"max_tokens"})),),
    ),
    # Usage came under x_groq (vercel/ai#1651); unknown fields are refused, reasoning in the history included.
    "groq": Quirks(
        base_path="openai/v1",
        extras=frozenset({"reasoning_format", "include_reasoning", "search_settings"}),
        refused=frozenset({"logprobs", "top_logprobs", "logit_bias"}),
        reasoning="reasoning",
        files=False,
        usage_in="x_groq",
        usage_more={"queue_time": 0.1, "prompt_time": 0.01, "completion_time": 0.2, "total_time": 0.21},
    ),
    # Unknown fields are 422 extra_forbidden; an answer that was cut is called model_length, too.
    "mistral": Quirks(
        extras=frozenset({"random_seed", "safe_prompt", "prompt_mode"}),
        refused=frozenset(
            {"seed", "user", "logprobs", "top_logprobs", "logit_bias", "max_completion_tokens", "stream_options"}
        ),
        refusal_status=422,
        errors="mistral",
        token_fields=frozenset({"max_tokens"}),
        required_word="any",
        user_after_tool=False,
        tool_ids=r"[a-zA-Z0-9]{9}",
        reasoning="content_parts",
        dimensions=False,
        base64_embeddings=False,
        usage_in="finish",
    ),
    # Cache hits and misses add up to the prompt.
    "deepseek": Quirks(
        extras=frozenset({"thinking"}),
        message_extras=frozenset({"reasoning_content"}),
        refused=frozenset({"seed", "user", "parallel_tool_calls", "logit_bias"}),
        token_fields=frozenset({"max_tokens"}),
        json_schema=False,
        images=False,
        files=False,
        embeddings=False,
        reasoning="reasoning_content",
        needs_reasoning="reasoning_content",
        usage_more={"prompt_cache_hit_tokens": 1, "completion_tokens_details": {"reasoning_tokens": 1}},
    ),
    # Codes of errors are numbers; SSE comments keep the connection alive; the cost is in the usage.
    "openrouter": Quirks(
        base_path="api/v1",
        extras=_SAMPLERS | {"reasoning", "provider", "models", "transforms", "usage"},
        message_extras=frozenset({"reasoning", "reasoning_details"}),
        token_fields=frozenset({"max_tokens"}),
        errors="number",
        reasoning="reasoning_details",
        comments=True,
        usage_more={"cost": 0.002},
    ),
    # Errors are a list; signatures of thoughts travel on the calls.
    "gemini": Quirks(
        base_path="v1beta/openai",
        extras=frozenset({"extra_body"}),
        call_extras=frozenset({"extra_content"}),
        errors="list",
        image_urls=False,
        files=False,
        refused=frozenset({"seed", "logit_bias", "user", "parallel_tool_calls", "logprobs", "top_logprobs"}),
    ),
    "scaleway": Quirks(
        refused=frozenset({"frequency_penalty", "n", "top_logprobs", "logit_bias", "user"}),
        token_fields=frozenset({"max_tokens"}),
        errors="flat",
        one_system=True,
        alternate=True,
        files=False,
    ),
    # Tokens of reasoning are beside those of the completion; sources are bare URLs. Reasoning models refuse penalties.
    "xai": Quirks(
        extras=frozenset({"search_parameters", "deferred"}),
        errors="code",
        image_types=frozenset({"image/png", "image/jpeg"}),
        files=False,
        reasoning="reasoning_content",
        beside=7,
        models_refuse=((r"grok-4", frozenset({"presence_penalty", "frequency_penalty", "stop", "reasoning_effort"})),),
        answer_more={"citations": ["https://example.org/a"]},
    ),
    # The end of an answer is called "eos".
    "together": Quirks(
        extras=_SAMPLERS | {"reasoning", "safety_model", "context_length_exceeded_behavior"},
        token_fields=frozenset({"max_tokens"}),
        files=False,
        dimensions=False,
        base64_embeddings=False,
        reasoning="reasoning",
        stop_word="eos",
        usage_in="finish",
    ),
    # "thinking" has Anthropic's form; an effort and a budget exclude each other.
    "fireworks": Quirks(
        base_path="inference/v1",
        extras=_SAMPLERS | {"thinking", "reasoning_history", "context_length_exceeded_behavior", "prompt_truncate_len"},
        message_extras=frozenset({"reasoning_content"}),
        exclusive=(("thinking", "reasoning_effort"),),
        files=False,
        base64_embeddings=False,
        reasoning="reasoning_content",
        usage_in="finish",
    ),
    # No functions, no embeddings, no list of models; roles alternate; what was found stands beside the choices.
    "perplexity": Quirks(
        base_path="",
        extras=frozenset({"top_k", "search_mode", "search_domain_filter", "return_images", "web_search_options"}),
        refused=frozenset(
            {"tools", "tool_choice", "parallel_tool_calls", "stop", "seed", "user", "logit_bias", "logprobs"}
            | {"top_logprobs", "n"}
        ),
        token_fields=frozenset({"max_tokens"}),
        one_system=True,
        alternate=True,
        json_object=False,
        files=False,
        embeddings=False,
        lists_models=False,
        reasoning="think_tags",
        usage_in="every",
        usage_more={"search_context_size": "low", "cost": {"total_cost": 0.006}},
        answer_more={
            "citations": ["https://example.org/a"],
            "search_results": [{"title": "A", "url": "https://example.org/a", "date": "2026-01-01"}],
        },
    ),
}

QUIRKS: dict[str, Quirks] = {**LOCAL, **SERVICES}
"""Every server that the double can imitate."""
