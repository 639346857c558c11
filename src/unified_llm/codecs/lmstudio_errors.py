"""Error objects of LM Studio's websocket API: ``{title, cause, suggestion, displayData: {code, ...}}``, or a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unified_llm.codecs.errors import error_from_body
from unified_llm.errors import ResponseError, UnifiedLLMError, redact

__all__ = ["GONE_MODEL", "UnknownShapeError", "error_code", "sentence", "websocket_error"]

GONE_MODEL = frozenset({"generic.noModelMatchingQuery", "generic.specificModelUnloaded", "generic.identifierNotFound"})
"""Codes for a model that is not loaded (any more)."""

_NOT_FOUND = GONE_MODEL | {"generic.pathNotFound"}
# Where an error names models that are there: https://github.com/lmstudio-ai/lmstudio-js, lms-shared-types
_SAMPLES = ("availablePathsSample", "loadedModelsSample", "availableModelsSample")


class UnknownShapeError(ResponseError):
    """A message of the websocket API in a form this library does not know: LM Studio is newer than it."""


def error_code(error: Any) -> str | None:
    """The server's code, such as ``generic.noModelMatchingQuery``, or None."""
    shown = error.get("displayData") if isinstance(error, Mapping) else None
    code = shown.get("code") if isinstance(shown, Mapping) else None
    return code if isinstance(code, str) else None


def websocket_error(error: Any, *, provider: str, secrets: Sequence[str] = ()) -> UnifiedLLMError:
    """The exception (not raised) that an error object stands for."""
    code = error_code(error)
    body: dict[str, Any] = {"message": sentence(error)}
    if code is not None:
        body["code"] = code
    status = 404 if code in _NOT_FOUND else None
    found = error_from_body({"error": body}, provider=provider, status=status, secrets=secrets)
    found.status = None  # no HTTP status was sent
    hint = _hint(error)
    if hint is not None:
        found.hint = redact(hint, *secrets)
    return found


def sentence(error: Any) -> str:
    """What an error object says, in one line."""
    if not isinstance(error, Mapping):
        return str(error) or "LM Studio reported an error without a text"
    texts = [_text(error.get(name)) for name in ("rootTitle", "title", "cause")]
    kept = list(dict.fromkeys(t for t in texts if t))
    return ": ".join(kept) or "LM Studio reported an error without a text"


def _hint(error: Any) -> str | None:
    """The models the error names, else what the server suggests."""
    if not isinstance(error, Mapping):
        return None
    shown = error.get("displayData")
    for name in _SAMPLES:
        sample = shown.get(name) if isinstance(shown, Mapping) else None
        if isinstance(sample, list) and sample:
            return f"LM Studio has {', '.join(map(str, sample))}; list_models() shows them all"
    return _text(error.get("suggestion")) or None


def _text(value: Any) -> str:
    return " ".join(value.split()) if isinstance(value, str) else ""
