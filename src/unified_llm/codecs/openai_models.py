"""Models lists in the shapes of OpenAI, llama.cpp, vLLM, SGLang, LM Studio (three of them), Groq, Mistral, OpenRouter,
Together and Fireworks: the same fields under many names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from unified_llm import _json
from unified_llm.codecs.base import CodecContext
from unified_llm.codecs.errors import error_from_body, has_error, unusable_body
from unified_llm.responses import Capability, ModelInfo
from unified_llm.wire import WireCall, WireReply

__all__ = ["OpenAIModelsCodec", "read_models"]

PATH = "models"

_KINDS = {
    "llm": "chat",
    "vlm": "chat",
    "chat": "chat",
    "language": "chat",
    "embedding": "embedding",
    "embeddings": "embedding",
    "rerank": "rerank",
    "image": "image",
    "audio": "audio",
    "transcribe": "audio",
}
# Names that tell what a model is where the server does not; anything else may be a chat model.
_NAMES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("rerank", re.compile(r"re-?rank", re.IGNORECASE)),
    ("embedding", re.compile(r"embed|\bbge-|\bgte-|\be5-|minilm", re.IGNORECASE)),
    ("audio", re.compile(r"whisper|\btts\b|-tts|transcribe|voxtral-mini-tts|realtime|orpheus", re.IGNORECASE)),
    ("image", re.compile(r"dall-e|gpt-image|imagen|stable-diffusion|flux|chatgpt-image", re.IGNORECASE)),
    ("video", re.compile(r"\bsora|\bveo-", re.IGNORECASE)),
    ("moderation", re.compile(r"moderation|llama-guard|prompt-guard|safeguard", re.IGNORECASE)),
    ("completion", re.compile(r"^(davinci|babbage)-|-instruct-0914$|gpt-3\.5-turbo-instruct", re.IGNORECASE)),
)
_WINDOW = (
    "loaded_context_length",
    "context_window",
    "max_context_length",
    "context_length",
    "max_model_len",
    "n_ctx",
    "n_ctx_train",
)
_OUTPUT = ("max_output_tokens", "max_completion_tokens")


class OpenAIModelsCodec:
    """See `ModelsCodec`. The dialect has no pages."""

    def __init__(self, secrets: Callable[[], Sequence[str]] = tuple) -> None:
        self._secrets = secrets

    def encode(self, context: CodecContext) -> WireCall:
        """The call that lists the models."""
        return WireCall(PATH, method="GET")

    def decode(self, reply: WireReply, context: CodecContext) -> list[ModelInfo]:
        """The models, in the server's order. Raises `ResponseError`, or the error inside the body."""
        try:
            value = _json.loads(reply.body)
        except ValueError as exc:
            raise unusable_body(
                reply.status,
                reply.headers,
                reply.body,
                provider=context.provider,
                why="something that is not JSON",
                secrets=self._secrets(),
            ) from exc
        models = read_models(value, context.provider)
        if models is not None:
            return models
        if has_error(value):
            raise error_from_body(
                value, provider=context.provider, status=reply.status, headers=reply.headers, secrets=self._secrets()
            )
        raise unusable_body(reply.status, reply.headers, reply.body, provider=context.provider, why="no list of models")

    def next_call(self, reply: WireReply, context: CodecContext) -> WireCall | None:
        """None: there is one page."""
        return None


def read_models(value: Any, provider: str) -> list[ModelInfo] | None:
    """The models in a decoded list of any of the shapes, or None when it is none."""
    items, twins = value, None
    if isinstance(value, dict):
        items, twins = value.get("data"), value.get("models")
        if not isinstance(items, list):
            items, twins = twins, None
    if not isinstance(items, list):
        return None
    known = _by_id(twins) if twins else {}
    return [info for item in items if (info := _model(_completed(item, known), provider)) is not None]


def _by_id(twins: Any) -> dict[str, Mapping[str, Any]]:
    """llama.cpp lists every model twice, in OpenAI's shape and in Ollama's: the second one tells the capabilities."""
    items = [t for t in twins if isinstance(t, Mapping)] if isinstance(twins, list) else []
    return {str(t.get("model") or t.get("name")): t for t in items}


def _completed(item: Any, twins: Mapping[str, Mapping[str, Any]]) -> Any:
    twin = twins.get(str(item.get("id"))) if twins and isinstance(item, Mapping) else None
    return item if twin is None else {"capabilities": twin.get("capabilities"), **item}


def _model(item: Any, provider: str) -> ModelInfo | None:
    if isinstance(item, str):
        item = {"id": item}
    if not isinstance(item, Mapping):
        return None
    model = item.get("id") or item.get("key") or item.get("model") or item.get("name")
    if not isinstance(model, str) or not model:
        return None
    meta = item.get("meta") if isinstance(item.get("meta"), Mapping) else {}
    running = _running(item)
    return ModelInfo(
        id=model,
        provider=provider,
        kind=_kind(item, model),
        name=_text(item.get("display_name")) or _text(item.get("name")) or None,
        context_window=_number(running, _WINDOW) or _number(item, _WINDOW) or _number(meta, _WINDOW),
        max_output_tokens=_number(item, _OUTPUT) or _number(item.get("top_provider"), _OUTPUT),
        capabilities=_capabilities(item),
        loaded=_loaded(item),
        quantization=_quantization(item.get("quantization")),
        size_bytes=_number(item, ("size_bytes",)) or _number(meta, ("size",)),
        raw=item,
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _number(value: Any, names: Iterable[str]) -> int | None:
    """The first of the fields that is a positive whole number."""
    if not isinstance(value, Mapping):
        return None
    found = (value.get(n) for n in names)
    return next((v for v in found if isinstance(v, int) and not isinstance(v, bool) and v > 0), None)


def _running(item: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The configuration of the first loaded instance (LM Studio /api/v1)."""
    instances = item.get("loaded_instances")
    first = instances[0] if isinstance(instances, list) and instances else None
    config = first.get("config") if isinstance(first, Mapping) else None
    return config if isinstance(config, Mapping) else None


def _loaded(item: Mapping[str, Any]) -> bool | None:
    if isinstance(item.get("loaded_instances"), list):
        return bool(item["loaded_instances"])
    state = item.get("state")  # LM Studio /api/v0
    if isinstance(state, str):
        return state == "loaded"
    status = item.get("status")  # llama.cpp router: {"value": "loaded"}
    value = status.get("value") if isinstance(status, Mapping) else None
    return value == "loaded" if isinstance(value, str) else None


def _kind(item: Mapping[str, Any], model: str) -> str | None:
    told = _KINDS.get(str(item.get("type", "")).lower())
    if told is not None:
        return told
    capabilities = item.get("capabilities")
    if isinstance(capabilities, Mapping) and capabilities.get("completion_chat"):  # Mistral
        return "chat"
    if item.get("supports_chat") is True:  # Fireworks
        return "chat"
    return next((kind for kind, pattern in _NAMES if pattern.search(model)), None)


def _quantization(value: Any) -> str | None:
    if isinstance(value, Mapping):
        value = value.get("name")
    return value if isinstance(value, str) and value else None


# -- capabilities ----------------------------------------------------------------------------------------------------

# Feature -> the words for it in lists, and the flags for it in objects.
_WORDS: dict[str, frozenset[str]] = {
    "tools": frozenset({"tool_use", "tools", "function_calling", "tool_calling"}),
    "vision": frozenset({"vision", "image", "multimodal", "image_input"}),
    "audio": frozenset({"audio", "audio_input"}),
    "thinking": frozenset({"reasoning", "thinking", "include_reasoning"}),
    "structured_output": frozenset({"structured_outputs", "json_schema"}),
}
_FLAGS: dict[str, tuple[str, ...]] = {
    "tools": ("trained_for_tool_use", "function_calling", "tool_use", "tools", "supports_tools"),
    "vision": ("vision", "image_input", "supports_image_input"),
    "audio": ("audio", "audio_input"),
    "thinking": ("reasoning", "thinking"),
    "structured_output": ("structured_outputs", "json_schema"),
}


def _capabilities(item: Mapping[str, Any]) -> dict[str, Capability]:
    """What the entry says for sure; what it does not mention stays unknown and is left out."""
    found: dict[str, Capability] = {}
    said = item.get("capabilities")
    for source in (said, item):
        if isinstance(source, Mapping):
            found |= _from_flags(source)
    architecture = item.get("architecture")
    lists = [
        said,
        item.get("supported_parameters"),  # OpenRouter: complete lists, so absence means no
        architecture.get("input_modalities") if isinstance(architecture, Mapping) else None,
    ]
    words = {w for listed in lists if isinstance(listed, list) for w in listed if isinstance(w, str)}
    if words:
        complete = isinstance(lists[1], list)
        for feature, names in _WORDS.items():
            if names & words:
                found[feature] = "yes"
            elif complete:
                found.setdefault(feature, "no")
    if item.get("type") == "vlm":
        found["vision"] = "yes"
    return found


def _from_flags(source: Mapping[str, Any]) -> dict[str, Capability]:
    found: dict[str, Capability] = {}
    for feature, names in _FLAGS.items():
        value = next((source[n] for n in names if n in source), None)
        if isinstance(value, bool):
            found[feature] = "yes" if value else "no"
        elif isinstance(value, Mapping) and value.get("allowed_options"):  # LM Studio: reasoning levels
            found[feature] = "yes"
    return found
