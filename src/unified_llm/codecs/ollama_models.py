"""What Ollama knows of its models: ``/api/tags`` (on disk), ``/api/show`` (one of them), ``/api/ps`` (in memory).

Newer servers tell capabilities and context lengths in the first list; of older ones each model has to be shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from unified_llm.responses import Capability, ModelInfo

__all__ = ["needs_show", "read_running", "read_shown", "read_tags", "with_running", "with_shown"]

# Ollama's words for what a model can; its list is complete, so that absence means no.
_CAPABILITIES = {"tools": "tools", "vision": "vision", "audio": "audio", "thinking": "thinking"}
_KINDS = {"completion": "chat", "embedding": "embedding", "image": "image"}


def read_tags(value: Any, provider: str) -> list[ModelInfo] | None:
    """The models on disk, the one changed last first; None when the value is no such list."""
    items = value.get("models") if isinstance(value, Mapping) else None
    if items is None and isinstance(value, Mapping) and "models" in value:
        return []
    if not isinstance(items, list):
        return None
    return [info for item in items if isinstance(item, Mapping) and (info := _model(item, provider)) is not None]


def _model(item: Mapping[str, Any], provider: str) -> ModelInfo | None:
    model = item.get("model") or item.get("name")
    if not isinstance(model, str) or not model:
        return None
    details = _object(item.get("details"))
    return ModelInfo(
        id=model,
        provider=provider,
        kind=_kind(item.get("capabilities")),
        context_window=_size(details.get("context_length")),
        capabilities=_capabilities(item.get("capabilities")),
        quantization=_text(details.get("quantization_level")),
        size_bytes=_size(item.get("size")),
        raw=item,
    )


def needs_show(info: ModelInfo) -> bool:
    """Whether the list left open what a model can."""
    return not info.capabilities


def read_shown(value: Any, model: str, provider: str) -> ModelInfo | None:
    """What ``/api/show`` tells of `model`; None when the value is no such answer."""
    if not isinstance(value, Mapping) or not ("model_info" in value or "details" in value):
        return None
    return with_shown(ModelInfo(id=model, provider=provider, raw=value), value)


def with_shown(info: ModelInfo, value: Any) -> ModelInfo:
    """`info` completed by the answer of ``/api/show``; what is not in there stays as it is."""
    value = _object(value)
    details, figures = _object(value.get("details")), _object(value.get("model_info"))
    architecture = figures.get("general.architecture")
    return replace(
        info,
        kind=_kind(value.get("capabilities")) or info.kind,
        context_window=_size(figures.get(f"{architecture}.context_length")) or info.context_window,
        capabilities=_capabilities(value.get("capabilities")) or info.capabilities,
        quantization=_text(details.get("quantization_level")) or info.quantization,
    )


def read_running(value: Any) -> dict[str, Mapping[str, Any]] | None:
    """The loaded models by id; None when the value is no such list."""
    if not isinstance(value, Mapping) or "models" not in value:
        return None
    items = value["models"] if isinstance(value["models"], list) else []
    return {str(i.get("model") or i.get("name")): i for i in items if isinstance(i, Mapping)}


def with_running(info: ModelInfo, running: Mapping[str, Mapping[str, Any]]) -> ModelInfo:
    """`info` with its state. The window of a loaded model is the one it was loaded with, which is what counts."""
    found = running.get(info.id)
    if found is None:
        return replace(info, loaded=False)
    return replace(info, loaded=True, context_window=_size(found.get("context_length")) or info.context_window)


def _kind(words: Any) -> str | None:
    if not isinstance(words, list):
        return None
    return next((kind for word, kind in _KINDS.items() if word in words), None)


def _capabilities(words: Any) -> dict[str, Capability]:
    if not isinstance(words, list) or not words:
        return {}
    found: dict[str, Capability] = {name: "yes" if word in words else "no" for name, word in _CAPABILITIES.items()}
    # A format is a grammar of the engine: every model that writes text follows it.
    return found | {"structured_output": "yes" if "completion" in words else "no"}


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value not in ("", "unknown") else None


def _size(value: Any) -> int | None:
    return value if type(value) is int and value > 0 else None
