"""Tool results as the protocol writes them: text for people and models, the same as structured content for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from unified_llm_mcp.failures import ERROR_META, ToolCallError

__all__ = ["CHAT_OUTPUT", "EMBED_OUTPUT", "MODELS_OUTPUT", "compact", "failure_result", "fitting", "tool_result"]

MAX_TEXT_BYTES = 400_000
"""Most bytes of an answer as JSON. It is in a result twice, and a result must stay under 900 kB: the Python client of
the SDK's 2.x line refuses an event of more than 1 MiB on HTTP."""

MAX_DATA_BYTES = 280_000
"""The same of an answer with ``data``, which is in its result three times."""

MAX_RESOURCE_BYTES = 800_000
"""The same of a text, or of vectors as base64, that are read as a resource, where they are once."""

FINISH_REASONS = (
    "stop", "length", "tool_calls", "stop_sequence", "content_filter", "refusal", "pause", "context_overflow",
    "cancelled", "error", "other",
)  # fmt: skip
"""The values of `unified_llm.FinishReason`, which is not imported for the sake of a quick start."""

_TEXT: dict[str, Any] = {"type": "string"}
_COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}


def _object(required: Sequence[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


_USAGE = _object(
    [],
    input_tokens=_COUNT,
    output_tokens=_COUNT,
    cached_tokens=_COUNT,
    cost_usd={"type": "number", "minimum": 0},
    cost_known={"type": "boolean"},
)

CHAT_OUTPUT = _object(
    ["status", "text", "model", "provider"],
    status={"type": "string", "enum": ["complete", "running", "cancelled"]},
    text=_TEXT,
    data={"type": "object", "additionalProperties": True},
    model=_TEXT,
    provider=_TEXT,
    finish_reason={"type": "string", "enum": list(FINISH_REASONS)},
    usage=_USAGE,
    latency_ms=_COUNT,
    conversation_id=_TEXT,
    response_id=_TEXT,
    truncated={"type": "boolean"},
    fallback_from={"type": "array", "items": _TEXT},
    adjustments={"type": "array", "items": _TEXT},
)

EMBED_OUTPUT = _object(
    ["model", "provider", "dimensions", "count", "encoding"],
    model=_TEXT,
    provider=_TEXT,
    dimensions=_COUNT,
    count=_COUNT,
    encoding={"type": "string", "enum": ["float", "base64", "resource"]},
    embeddings={"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
    embeddings_base64={"type": "array", "items": _TEXT},
    resource_uri=_TEXT,
    usage=_USAGE,
    adjustments={"type": "array", "items": _TEXT},
)

MODELS_OUTPUT = _object(
    ["models", "total"],
    models={
        "type": "array",
        "items": _object(
            ["id", "provider"],
            id=_TEXT,
            provider=_TEXT,
            kind=_TEXT,
            context_window=_COUNT,
            max_output_tokens=_COUNT,
            capabilities={"type": "array", "items": _TEXT},
            loaded={"type": "boolean"},
        ),
    },
    total=_COUNT,
    next_cursor=_TEXT,
    errors={"type": "object", "additionalProperties": _TEXT},
)


def compact(**values: Any) -> dict[str, Any]:
    """The values that are known: clients refuse a null where the schema does not allow one."""
    return {key: value for key, value in values.items() if value is not None}


def tool_result(text: str, structured: Mapping[str, Any], *links: Mapping[str, Any]) -> dict[str, Any]:
    """A success. `links` are resource links to what did not fit."""
    return {"content": [{"type": "text", "text": text}, *links], "structuredContent": dict(structured)}


def failure_result(failure: ToolCallError) -> dict[str, Any]:
    """A tool error: text for the model, and the same for programs under ``_meta``."""
    return {
        "content": [{"type": "text", "text": fitting(failure.text(), MAX_TEXT_BYTES)}],
        "isError": True,
        "_meta": {ERROR_META: failure.meta()},
    }


def fitting(text: str, characters: int, size: int = MAX_TEXT_BYTES) -> str:
    """The beginning of `text` that is at most `characters` long and at most `size` bytes as JSON."""
    text = text[:characters]
    while len(text) > size // 6 and (found := _json_bytes(text)) > size:
        text = text[: max(size // 6, len(text) * size // found)]
    return text


def _json_bytes(text: str) -> int:
    """Size in bytes as JSON. A character takes six at most, as in ``\\u001b``."""
    return len(json.dumps(text, ensure_ascii=False).encode(errors="surrogatepass"))
