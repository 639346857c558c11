"""Profiles of servers that people run themselves."""

from __future__ import annotations

from unified_llm.profiles.base import ModelRule, Profile

__all__ = ["LOCAL"]

_PNG_JPEG = frozenset({"image/png", "image/jpeg"})
_OLLAMA_IMAGES = _PNG_JPEG | {"image/webp"}  # "image: unknown format" for others

LOCAL: tuple[Profile, ...] = (
    # A server nobody told us about: ask only for what nearly all of them take.
    Profile(
        "openai-compatible",
        one_system=True,
        empty_content="empty",  # chat templates that concatenate content fail on null
        embedding_base64=True,  # the openai SDK asks for it by default, so servers cope; a refusal is learnt from
        embedding_dimensions=False,
        embedding_batch=256,
        think_tags=True,
        strict=False,
    ),
    # https://github.com/ggml-org/llama.cpp/tree/master/tools/server
    Profile(
        "llamacpp",
        embeddings="yes",
        base_path="v1",
        free=True,
        tool_choice="filter",  # an object is read as "auto", silently
        thinking="template",
        thinking_budget_field="thinking_budget_tokens",
        prompt_caching="cache_prompt",
        one_system=True,  # most templates raise on a second one
        empty_content="empty",
        reasoning_back="field",
        image_urls=True,
        # https://github.com/nothings/stb/blob/master/stb_image.h, which reads them: no WebP, AVIF, HEIC
        image_types=_PNG_JPEG | {"image/gif", "image/bmp"},
        audio=True,
        embedding_dimensions=False,  # ignored by the server: vectors keep their size
        embedding_batch=512,
        think_tags=True,  # --reasoning-format none leaves the tags in the text
        strict=False,
        format_with_tools=False,
        responses_format=False,  # "text.format" is not read
        responses_status=False,  # an answer cut by max_output_tokens is called completed, too
    ),
    # https://lmstudio.ai/docs/developer/openai-compat; issue numbers are of lmstudio-ai/lmstudio-bug-tracker
    Profile(
        "lmstudio",
        embeddings="yes",
        base_path="v1",
        free=True,
        tool_choice="filter",  # "Invalid tool_choice type: 'object'" (#670)
        json_object=False,  # "'response_format.type' must be 'json_schema' or 'text'" (#189)
        thinking="none",  # chat completions ignore it for many models (#988); effort is sent all the same
        efforts=("low", "medium", "high"),
        prompt_caching="automatic",
        one_system=True,
        empty_content="empty",
        image_urls=False,  # "'url' field must be a base64 encoded image" (#1027)
        image_types=_PNG_JPEG,  # webp is refused (#1752)
        embedding_base64=False,
        embedding_dimensions=False,
        embedding_batch=512,
        think_tags=True,  # when the reasoning setting is off
        strict=False,
        format_with_tools=False,
        responses_format=False,  # a schema has no effect there (#2403, #1396)
    ),
    # https://docs.ollama.com/api/chat: Ollama's own dialect, which the provider speaks unless asked otherwise
    Profile(
        "ollama-native",
        embeddings="yes",
        free=True,
        tool_choice="none",  # there is no such field
        unsupported=frozenset({"user", "parallel_tool_calls"}),
        thinking="effort",
        effort_field="think",
        efforts=("none", "low", "medium", "high", "max"),
        one_system=True,
        empty_content="empty",
        message_name=False,
        tool_id_limit=None,
        reasoning_back="field",
        reasoning_field="thinking",
        image_urls=False,
        image_types=_OLLAMA_IMAGES,
        strict=False,
        format_with_tools=False,
        think_tags=True,  # of models that Ollama does not know to think
        embedding_base64=False,
        embedding_batch=512,
        # Levels only: true and false are ignored, so that it cannot be kept from thinking.
        models=(ModelRule(r"gpt-oss", changes={"efforts": ("low", "medium", "high"), "thinking_on": "medium"}),),
    ),
    # https://docs.ollama.com/api/openai-compatibility: dialect="openai"
    Profile(
        "ollama",
        embeddings="yes",
        base_path="v1",
        free=True,
        tool_choice="none",  # documented as unsupported: the field is not read
        unsupported=frozenset({"top_k", "min_p", "logprobs", "user", "parallel_tool_calls"}),
        thinking="effort",
        thinking_on="medium",
        efforts=("none", "low", "medium", "high", "max"),
        one_system=True,
        empty_content="empty",
        reasoning_back="field",
        reasoning_field="reasoning",
        image_urls=False,
        image_types=_OLLAMA_IMAGES,
        strict=False,
        format_with_tools=False,
        think_tags=True,
        embedding_batch=512,
    ),
    # https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html
    Profile(
        "vllm",
        embeddings="yes",
        base_path="v1",
        free=True,
        thinking="template",
        one_system=True,  # "System message must be at the beginning" in several templates
        empty_content="empty",
        reasoning_back="field",
        reasoning_field="reasoning",  # reasoning_content left the output in January 2026 (#27752); both are read
        audio=True,
        think_tags=True,  # without --reasoning-parser the tags stay in the text
        models=(
            # Mistral templates take ids of nine characters only (#47734).
            ModelRule(r"mistral|ministral|magistral|devstral", changes={"tool_id_length": 9}),
            # "required" has no effect on harmony models (#44216).
            ModelRule(r"gpt-oss", changes={"tool_choice": "none"}),
        ),
    ),
    # https://docs.sglang.io
    Profile(
        "sglang",
        embeddings="yes",
        base_path="v1",
        free=True,
        thinking="template",
        one_system=True,
        empty_content="empty",
        reasoning_back="field",
        think_tags=True,
        embedding_base64=False,
        embedding_dimensions=False,
    ),
    # https://docs.openwebui.com: passes on to Ollama or any OpenAI server, so it is as careful as both
    Profile(
        "open-webui",
        base_path="api/v1",
        one_system=True,
        empty_content="empty",
        embedding_base64=False,
        embedding_dimensions=False,
        embedding_batch=256,
        think_tags=True,
        strict=False,
    ),
    # https://github.com/Mintplex-Labs/anything-llm server/endpoints/api/openai: reads model, messages, stream and
    # temperature only, and computes with a missing temperature.
    Profile(
        "anythingllm",
        embeddings="yes",
        base_path="api/v1/openai",
        unsupported=frozenset(
            {
                "max_tokens", "top_p", "top_k", "min_p", "seed", "presence_penalty", "frequency_penalty",
                "stop_sequences", "logprobs", "user", "effort", "thinking", "parallel_tool_calls",
            }
        ),
        defaults={"temperature": 0.7},
        stream_usage=False,
        tools=False,
        structured="prompt",
        json_object=False,
        one_system=True,
        files=False,
        embedding_base64=False,
        embedding_dimensions=False,
        think_tags=True,
    ),
    # https://github.com/ParisNeo/lollms: reads model, messages, personality, temperature, max_tokens, stream, tools,
    # tool_choice and reasoning_effort; everything else is ignored.
    Profile(
        "lollms",
        base_path="v1",
        unsupported=frozenset(
            {
                "top_p", "top_k", "min_p", "seed", "presence_penalty", "frequency_penalty", "stop_sequences",
                "logprobs", "user", "parallel_tool_calls",
            }
        ),
        thinking="effort",
        stream_usage=False,
        structured="prompt",
        json_object=False,
        one_system=True,
        empty_content="empty",
        embedding_base64=False,
        embedding_dimensions=False,
        think_tags=True,
    ),
    # The predecessor of lollms: streams JSON lines without "data:" and without an end mark, and has no tools.
    Profile(
        "lollms-webui",
        embeddings="yes",
        base_path="v1",
        unsupported=frozenset(
            {
                "top_p", "top_k", "min_p", "seed", "presence_penalty", "frequency_penalty", "stop_sequences",
                "logprobs", "user", "effort", "thinking", "parallel_tool_calls",
            }
        ),
        stream_usage=False,
        tools=False,
        images=False,  # the content of a message is a str there, and anything else is a 422
        structured="prompt",
        json_object=False,
        one_system=True,
        empty_content="empty",
        embedding_base64=False,
        embedding_dimensions=False,
        think_tags=True,
        eof_ends_stream=True,
    ),
    # Its native dialect (/lollms_generate), on demand: a prompt, and bare text.
    Profile(
        "lollms-generate",
        unsupported=frozenset(
            {
                "min_p", "presence_penalty", "frequency_penalty", "stop_sequences", "logprobs", "user", "effort",
                "thinking", "parallel_tool_calls",
            }
        ),
        stream_usage=False,
        tools=False,
        structured="prompt",
        json_object=False,
        image_urls=False,
        think_tags=True,
        eof_ends_stream=True,
    ),
)  # fmt: skip
