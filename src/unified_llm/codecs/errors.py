"""Error bodies of every server, read into the one error tree.

Shapes met: ``{"error": {"message", "type", "code"}}`` (OpenAI, Groq, llama.cpp), ``{"error": "text"}`` (LM Studio,
Ollama), ``{"type": "error", "error": {...}}`` (Anthropic), ``{"object": "error", "message"}`` (vLLM, Scaleway, Mistral,
whose message may be a dict), ``{"detail": text | list}`` (FastAPI servers), ``{"message": text | list}``, a list of any
of these (Google), HTML pages of proxies, and nothing at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unified_llm import _json
from unified_llm.codecs.error_rules import HINTS, classify
from unified_llm.codecs.retry_after import retry_after, retry_delay_in_body
from unified_llm.errors import APIError, RateLimitError, ResponseError, UnifiedLLMError, holds_key, redact
from unified_llm.wire import request_id_of

__all__ = [
    "SHAPE_ERRORS",
    "error_from_body",
    "error_from_reply",
    "has_error",
    "mask",
    "request_id_of",
    "unexpected_shape",
    "unusable_body",
]

# What reading a field of another kind than the dialect says may raise. `UnifiedLLMError`s can be ValueErrors, too.
SHAPE_ERRORS = (AttributeError, LookupError, TypeError, ValueError, OverflowError)


_LONGEST_TEXT = 2000
_LONGEST_TITLE = 200
_MESSAGE_KEYS = ("message", "error_description", "msg", "detail", "error", "Message", "title", "reason")


@dataclass(frozen=True, slots=True)
class _Complaint:
    """What an error body says: a sentence, the server's words for the kind of error, a status written inside."""

    message: str
    codes: tuple[str, ...] = ()
    status: int | None = None
    detail: Any = None


def has_error(value: Any) -> bool:
    """Whether a decoded body with a success status is really an error (OpenRouter, LM Studio, llama.cpp streams)."""
    return isinstance(value, dict) and (
        bool(value.get("error")) or value.get("object") == "error" or value.get("type") == "error"
    )


def error_from_reply(
    status: int, headers: Mapping[str, str], body: bytes, *, provider: str, secrets: Sequence[str] = ()
) -> UnifiedLLMError:
    """The exception (not raised) that an error status stands for. Header names in lower case.

    `secrets` are masked wherever the server quotes them. The decoded body is in `.body`, the server's own code in
    `.code`, seconds to wait in `.retry_after`.
    """
    value = _decoded(body)
    if isinstance(value, str):
        return _error(_plain_text(status, headers, value, provider), status, headers, value, provider, secrets)
    return error_from_body(value, provider=provider, status=status, headers=headers, secrets=secrets)


def error_from_body(
    value: Any,
    *,
    provider: str,
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
    secrets: Sequence[str] = (),
) -> UnifiedLLMError:
    """The exception that a decoded error object stands for: a body, one inside a 200, or one in mid-stream.

    `status` is the HTTP status; a 4xx or 5xx written inside the object wins over a 2xx.
    """
    complaint = _read(value)
    if (status is None or status < 400) and complaint.status is not None:
        status = complaint.status
    return _error(complaint, status, headers or {}, value, provider, secrets)


def unusable_body(
    status: int, headers: Mapping[str, str], body: bytes, *, provider: str, why: str, secrets: Sequence[str] = ()
) -> ResponseError:
    """The `ResponseError` (not raised) for a success status whose body is HTML, cut, or not what the dialect says."""
    text = body[: 4 * _LONGEST_TEXT].decode("utf-8", "replace")
    html = _is_html(headers, text)
    hint = (
        "base_url points to a web page, not to the API: it usually ends with /v1"
        if html
        else "the server does not speak this dialect, or a proxy changed its answer: see .body"
    )
    what = f"an HTML page{_title(text)}" if html else why
    return ResponseError(
        redact(f"{provider} answered with {what}", *secrets),
        hint=hint,
        provider=provider,
        status=status,
        request_id=request_id_of(headers),
        body=redact(text[:_LONGEST_TEXT], *secrets),
    )


def unexpected_shape(cause: Exception, **details: Any) -> ResponseError:
    """The `ResponseError` (not raised) for an answer with a field of another kind than the dialect says.

    It has `cause`, so that a mistake of our own can be told from one of the server. `details` are fields of the error.
    """
    error = ResponseError(
        f"the answer has an unexpected shape ({type(cause).__name__} while it was read)",
        hint="the server, or a proxy before it, does not keep to this dialect: see .body; another provider may answer",
        **details,
    )
    error.__cause__ = cause
    return error


def _error(
    complaint: _Complaint,
    status: int | None,
    headers: Mapping[str, str],
    body: Any,
    provider: str,
    secrets: Sequence[str],
) -> UnifiedLLMError:
    kind, hint = classify(status, frozenset(c.lower() for c in complaint.codes), complaint.message)
    wait = retry_after(headers, limited=issubclass(kind, RateLimitError))
    return kind(
        redact(complaint.message, *secrets),
        hint=hint or _hint(kind),
        provider=provider,
        status=status,
        code=complaint.codes[0] if complaint.codes else None,
        retryable=True if status == 409 else None,  # two requests met; the vendors' own SDKs try again, too
        request_id=request_id_of(headers) or _request_id_in(body),
        retry_after=retry_delay_in_body(complaint.detail) if wait is None else wait,
        body=_masked(body, secrets),
        headers={k: redact(v, *secrets) for k, v in headers.items() if k != "set-cookie"} or None,
    )


def _hint(kind: type[UnifiedLLMError]) -> str:
    return next((HINTS[base] for base in kind.__mro__ if base in HINTS), HINTS[APIError])


# -- reading bodies ---------------------------------------------------------------------------------------------


def _decoded(body: bytes) -> Any:
    """The JSON inside `body`, or its text when it is not a JSON object or list."""
    text = body.decode("utf-8", "replace").strip()
    try:
        value = _json.loads(text) if text else ""
    except ValueError:
        return _first_event(text)
    return value if isinstance(value, (dict, list)) else text


def _first_event(text: str) -> Any:
    """An error status whose body is a server-sent event (``data: {...}``): the object inside, else the text."""
    for line in text.splitlines():
        if line.startswith("data:"):
            try:
                value = _json.loads(line[5:])
            except ValueError:
                return text
            return value if isinstance(value, dict) else text
    return text


def _read(value: Any) -> _Complaint:
    if isinstance(value, list):
        return _read_list(value)
    if not isinstance(value, dict):
        return _Complaint(str(value) or "an error without a text")
    inner = value.get("error") or value.get("errors")
    if isinstance(inner, (dict, list)) and inner:
        found = _read(inner)
        return _Complaint(found.message, (*found.codes, *_codes(value)), found.status or _status(value), inner)
    return _Complaint(_message(value), _all_codes(value), _status(value), value)


def _read_list(items: list[Any]) -> _Complaint:
    if not items:
        return _Complaint("an error without a text")
    if len(items) > 1 and all(isinstance(i, Mapping) and "msg" in i for i in items):
        return _Complaint(_message({"detail": items}), _all_codes({"detail": items}))
    return _read(items[0])


def _message(value: Mapping[str, Any]) -> str:
    for key in _MESSAGE_KEYS:
        text = _flat(value.get(key))
        if text:
            return text + _upstream(value)
    return _json.dumps_str(dict(value))[:_LONGEST_TEXT]


def _upstream(value: Mapping[str, Any]) -> str:
    """What the provider behind a router said: OpenRouter's ``metadata.raw`` under "Provider returned error"."""
    metadata = value.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, Mapping) else None
    return f": {raw}" if isinstance(raw, str) and raw else ""


def _flat(value: Any) -> str:
    """One sentence from a text, a dict, or a list of validation errors (``loc``, ``msg``)."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, Mapping):
        place = ".".join(str(p) for p in value["loc"]) if isinstance(value.get("loc"), (list, tuple)) else ""
        text = next((t for key in _MESSAGE_KEYS if (t := _flat(value.get(key)))), "")
        return f"{place}: {text}" if place and text else text
    if isinstance(value, Iterable):
        return "; ".join(filter(None, map(_flat, value)))
    return ""


def _all_codes(value: Mapping[str, Any]) -> tuple[str, ...]:
    """The codes of an object and of the validation errors nested in it (Mistral's ``message.detail[].type``)."""
    codes = list(_codes(value))
    for key in ("detail", "message", "details"):
        nested = value.get(key)
        for item in nested if isinstance(nested, list) else [nested]:
            if isinstance(item, Mapping):
                codes += _all_codes(item)
    return tuple(codes)


def _codes(value: Mapping[str, Any]) -> tuple[str, ...]:
    """The server's words for the kind of error, the most specific first; numbers are statuses, not codes."""
    inner = value.get("innererror")  # Azure puts "ResponsibleAIPolicyViolation" there
    details = value.get("details")
    found = [
        details.get("error_code") if isinstance(details, Mapping) else None,  # Anthropic
        inner.get("code") if isinstance(inner, Mapping) else None,
        value.get("code"),
        value.get("reason"),
        value.get("type"),
        value.get("status"),  # Google: "INVALID_ARGUMENT"
        value.get("error"),  # OAuth: "invalid_client"
    ]
    return tuple(
        c for c in found if isinstance(c, str) and c not in ("", "error") and not c.isdigit() and " " not in c.strip()
    )


def _status(value: Mapping[str, Any]) -> int | None:
    for key in ("code", "status", "status_code", "statusCode"):
        number = value.get(key)
        if isinstance(number, str) and number.isdigit():
            number = int(number)
        if isinstance(number, int) and 400 <= number < 600:
            return number
    return None


def _request_id_in(body: Any) -> str | None:
    found = body.get("request_id") if isinstance(body, Mapping) else None
    return found if isinstance(found, str) else None


# -- bodies that are not JSON -------------------------------------------------------------------------------------


def _plain_text(status: int, headers: Mapping[str, str], text: str, provider: str) -> _Complaint:
    if not text:
        moved = headers.get("location")
        to = f" to {moved}" if moved and 300 <= status < 400 else ""
        what = "a redirect" + to if 300 <= status < 400 else "an empty body"
        return _Complaint(f"{provider} answered HTTP {status} with {what}")
    if _is_html(headers, text):
        return _Complaint(f"{provider} answered HTTP {status} with an HTML page{_title(text)}")
    return _Complaint(text[:_LONGEST_TEXT])


def _is_html(headers: Mapping[str, str], text: str) -> bool:
    head = text.lstrip()[:100].lower()
    return "text/html" in headers.get("content-type", "") or head.startswith(("<!doctype html", "<html", "<head"))


def _title(text: str) -> str:
    for match in re.finditer(r"<(?:title|h1)[^<>]*+>([^<]*+)(?=<)", text, re.IGNORECASE):
        title = match[1].strip()
        if 0 < len(title) <= _LONGEST_TITLE:
            return f": {title!r}"
    return ""


_REDACTED = "[redacted]"


def mask(error: UnifiedLLMError, secrets: Sequence[str]) -> None:
    """Mask `secrets` in all that a server said of its failure."""
    error.message = redact(error.message, *secrets)
    error.args = (error.message,)
    error.hint = error.hint and redact(error.hint, *secrets)
    error.body = _masked(error.body, secrets)
    if error.headers:
        error.headers = {k: redact(v, *secrets) for k, v in error.headers.items()}


def _is_key(name: object, value: object) -> bool:
    """Whether a field of a body is a credential by its name: some servers answer with the request they refuse."""
    return isinstance(value, str) and value != "" and isinstance(name, str) and holds_key(name, None)


def _masked(value: Any, secrets: Sequence[str]) -> Any:
    """`value` with credentials masked in every text of it."""
    if isinstance(value, str):
        return redact(value[:_LONGEST_TEXT], *secrets) or None
    if isinstance(value, dict):
        return {k: _REDACTED if _is_key(k, v) else _masked(v, secrets) for k, v in value.items()}
    if isinstance(value, list):
        return [_masked(v, secrets) for v in value]
    return value
