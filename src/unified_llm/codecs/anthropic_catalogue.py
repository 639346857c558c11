"""``GET /v1/models``: ids, limits and capabilities, page by page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from unified_llm import _json
from unified_llm.codecs.base import CodecContext
from unified_llm.codecs.errors import unusable_body
from unified_llm.responses import Capability, ModelInfo
from unified_llm.wire import WireCall, WireReply

__all__ = ["AnthropicModels"]

_PATH = "v1/models?limit=1000"
_HEADERS = (("anthropic-version", "2026-10-21"),)
_CAPABILITIES = {"vision": "image_input", "thinking": "thinking", "structured_output": "structured_outputs"}


class AnthropicModels:
    """The models list. Also reads the OpenAI form, which llama.cpp and LM Studio serve at the same path."""

    def encode(self, context: CodecContext) -> WireCall:
        """The first page."""
        return WireCall(_PATH, method="GET", headers=_HEADERS)

    def decode(self, reply: WireReply, context: CodecContext) -> list[ModelInfo]:
        """The models of one page. Raises `ResponseError` for a body without a list."""
        rows = _page(reply, context).get("data")
        return [_info(row, context.provider) for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []

    def next_call(self, reply: WireReply, context: CodecContext) -> WireCall | None:
        """The next page, or None after the last."""
        page = _page(reply, context)
        last = page.get("last_id")
        if not page.get("has_more") or not isinstance(last, str):
            return None
        return WireCall(f"{_PATH}&after_id={quote(last)}", method="GET", headers=_HEADERS)


def _page(reply: WireReply, context: CodecContext) -> Mapping[str, Any]:
    try:
        value = _json.loads(reply.body)
    except ValueError:
        value = None
    if not isinstance(value, dict) or "data" not in value:
        raise unusable_body(
            reply.status, reply.headers, reply.body, provider=context.provider, why="a body that is no models list"
        )
    return value


def _info(row: dict[str, Any], provider: str) -> ModelInfo:
    capabilities = row.get("capabilities")
    return ModelInfo(
        id=str(row.get("id", "")),
        provider=provider,
        kind="chat" if row.get("type") == "model" else None,
        name=row.get("display_name"),
        context_window=row.get("max_input_tokens"),
        max_output_tokens=row.get("max_tokens"),
        capabilities=_capabilities(capabilities) if isinstance(capabilities, Mapping) else {},
        raw=row,
    )


def _capabilities(given: Mapping[str, Any]) -> dict[str, Capability]:
    """Ours from theirs. Every Claude model takes tools, and none takes sound: the list has no entry for either."""
    found: dict[str, Capability] = {"tools": "yes", "audio": "no"}
    for ours, theirs in _CAPABILITIES.items():
        entry = given.get(theirs)
        supported = entry.get("supported") if isinstance(entry, Mapping) else None
        found[ours] = "unknown" if supported is None else "yes" if supported else "no"
    return found
