"""Models lists of many servers, read into `ModelInfo`: what is not said stays unknown."""

from __future__ import annotations

import json
from typing import Any

import pytest

from testkit.openai_wire import context
from unified_llm.codecs.openai_models import OpenAIModelsCodec, read_models
from unified_llm.errors import AuthenticationError, ResponseError
from unified_llm.responses import ModelInfo
from unified_llm.wire import WireReply


def one(item: Any) -> ModelInfo:
    models = read_models({"object": "list", "data": [item]}, "p")
    assert models is not None
    return models[0]


def test_openai_tells_ids_only_and_everything_else_is_unknown() -> None:
    found = one({"id": "gpt-5", "object": "model", "created": 1, "owned_by": "openai"})
    assert found == ModelInfo("gpt-5", "p")
    assert found.ref == "p:gpt-5"


def test_llamacpp_meta_and_the_capabilities_of_its_second_list() -> None:
    body = {
        "models": [{"name": "q.gguf", "model": "q.gguf", "capabilities": ["completion", "multimodal"]}],
        "object": "list",
        "data": [{"id": "q.gguf", "owned_by": "llamacpp", "meta": {"n_ctx_train": 32768, "n_params": 9, "size": 123}}],
    }
    (found,) = read_models(body, "llamacpp") or []
    assert (found.id, found.context_window, found.size_bytes) == ("q.gguf", 32768, 123)
    assert found.capabilities == {"vision": "yes"}
    assert found.loaded is None


def test_lm_studio_v0() -> None:
    found = one(
        {
            "id": "qwen/qwen3-8b",
            "type": "vlm",
            "publisher": "qwen",
            "quantization": "4bit",
            "state": "loaded",
            "max_context_length": 131072,
            "loaded_context_length": 8192,
            "capabilities": ["tool_use"],
        }
    )
    assert (found.kind, found.loaded, found.quantization, found.context_window) == ("chat", True, "4bit", 8192)
    assert found.capabilities == {"tools": "yes", "vision": "yes"}


def test_lm_studio_v1() -> None:
    body = {
        "models": [
            {
                "type": "llm",
                "key": "qwen/qwen3-8b",
                "display_name": "Qwen3 8B",
                "quantization": {"name": "Q4_K_M", "bits_per_weight": 4},
                "size_bytes": 5_000,
                "max_context_length": 131072,
                "loaded_instances": [{"id": "x", "config": {"context_length": 4096}}],
                "capabilities": {
                    "vision": False,
                    "trained_for_tool_use": True,
                    "reasoning": {"allowed_options": ["off", "on"]},
                },
            },
            {"type": "embedding", "key": "nomic", "loaded_instances": []},
        ]
    }
    chat, embedding = read_models(body, "lmstudio") or []
    assert (chat.id, chat.name, chat.kind, chat.loaded) == ("qwen/qwen3-8b", "Qwen3 8B", "chat", True)
    assert (chat.quantization, chat.size_bytes, chat.context_window) == ("Q4_K_M", 5_000, 4096)
    assert chat.capabilities == {"vision": "no", "tools": "yes", "thinking": "yes"}
    assert (embedding.kind, embedding.loaded, embedding.context_window) == ("embedding", False, None)


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"id": "m", "max_model_len": 4096}, {"context_window": 4096}),  # vLLM, SGLang
        ({"id": "m", "context_window": 9, "max_completion_tokens": 5}, {"context_window": 9, "max_output_tokens": 5}),
        (
            {"id": "m", "context_length": 7, "top_provider": {"max_completion_tokens": 3}},  # OpenRouter
            {"context_window": 7, "max_output_tokens": 3},
        ),
        ({"id": "m", "status": {"value": "loaded"}}, {"loaded": True}),  # llama.cpp router
        ({"id": "m", "status": {"value": "unloaded"}}, {"loaded": False}),
        ({"id": "m", "context_length": 0, "quantization": ""}, {"context_window": None, "quantization": None}),
        ({"id": "m", "context_length": "many"}, {"context_window": None}),
    ],
)
def test_sizes_and_states_are_found_under_every_name(item: Any, expected: dict[str, Any]) -> None:
    found = one(item)
    assert {name: getattr(found, name) for name in expected} == expected


def test_openrouter_lists_are_complete_so_what_is_missing_is_a_no() -> None:
    found = one(
        {
            "id": "m",
            "architecture": {"input_modalities": ["text", "image"]},
            "supported_parameters": ["tools", "structured_outputs"],
        }
    )
    assert found.capabilities == {
        "tools": "yes",
        "vision": "yes",
        "audio": "no",
        "thinking": "no",
        "structured_output": "yes",
    }


def test_mistral_capabilities_are_flags() -> None:
    flags = {"completion_chat": True, "function_calling": True, "vision": False}
    found = one({"id": "m", "max_context_length": 5, "capabilities": flags})
    assert (found.kind, found.capabilities) == ("chat", {"tools": "yes", "vision": "no"})


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("text-embedding-3-small", "embedding"),
        ("BAAI/bge-m3", "embedding"),
        ("jina-reranker-v2", "rerank"),
        ("whisper-large-v3", "audio"),
        ("gpt-4o-mini-tts", "audio"),
        ("dall-e-3", "image"),
        ("omni-moderation-latest", "moderation"),
        ("gpt-5", None),
        ("qwen3-8b", None),
    ],
)
def test_a_name_may_tell_what_a_model_is_for(model: str, kind: str | None) -> None:
    assert one({"id": model}).kind == kind


def test_together_sends_a_bare_list_and_odd_entries_are_passed_over() -> None:
    models = read_models([{"id": "a", "type": "chat"}, None, {"no": "id"}, "b"], "together")
    assert [(m.id, m.kind) for m in models or []] == [("a", "chat"), ("b", None)]


@pytest.mark.parametrize("value", [{}, {"data": "x"}, 7, None, {"error": "x"}])
def test_what_is_no_list_is_none(value: Any) -> None:
    assert read_models(value, "p") is None


def decode(body: Any) -> list[ModelInfo]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return OpenAIModelsCodec().decode(WireReply(200, {}, raw), context())


def test_an_error_inside_a_success_is_that_error() -> None:
    with pytest.raises(AuthenticationError):
        decode({"error": {"message": "x", "code": "invalid_api_key"}})


@pytest.mark.parametrize("body", [b"<html></html>", {"object": "list"}, 7])
def test_another_body_is_a_response_error(body: Any) -> None:
    with pytest.raises(ResponseError) as caught:
        decode(body)
    assert caught.value.hint


def test_an_empty_list_is_an_empty_list() -> None:
    assert decode({"object": "list", "data": []}) == []
