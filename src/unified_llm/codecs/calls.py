"""Bodies and headers of calls, the same in every dialect."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from unified_llm import _json
from unified_llm.errors import InvalidRequestError
from unified_llm.requests import ChatRequest, ModelConfig
from unified_llm.responses import Adjustment
from unified_llm.wire import WireCall

__all__ = ["chat_call", "json_body", "more_headers"]


def chat_call(path: str, body: Any, request: ChatRequest, adjustments: Iterable[Adjustment]) -> WireCall:
    """The call that asks `path` for what `request` wants, with everything recorded that is not sent as asked.

    Raises:
        InvalidRequestError: `body` holds what JSON cannot.
    """
    config = request.config
    return WireCall(
        path,
        json_body(body),
        headers=more_headers(config),
        stream=request.stream,
        timeout=config.timeout,
        adjustments=tuple(adjustments),
    )


def json_body(body: Any) -> bytes:
    """`body` as JSON. Raises `InvalidRequestError` for what JSON has not, which only a caller can have put there."""
    try:
        return _json.dumps(body)
    except TypeError as exc:
        raise InvalidRequestError(
            f"the request holds a value that JSON cannot carry: {exc}",
            hint="look at tool schemas, extra_body and provider_options",
        ) from exc


def more_headers(config: ModelConfig) -> tuple[tuple[str, str], ...]:
    """`extra_headers` in the form of a `WireCall`."""
    if not config.extra_headers:
        return ()
    return tuple((name.lower(), str(value)) for name, value in config.extra_headers.items())
