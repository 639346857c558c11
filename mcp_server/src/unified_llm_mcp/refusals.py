"""What a client is told of a line that is no message: without an answer it would wait for one, for ever."""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["PARSE_ERROR", "refusal", "too_long"]

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
_ID = re.compile(r'"id"\s*:\s*("(?:[^"\\]|\\.){0,200}"|-?\d{1,18}(?=\s*[,}]))')


def refusal(line: str) -> dict[str, Any] | None:
    """The JSON-RPC error for a line that the SDK did not understand; None for an answer, which gets none."""
    try:
        message = json.loads(line)
    except RecursionError:
        return _error(PARSE_ERROR, "Parse error: nested too deeply", _id_in(line))
    except ValueError as error:  # also of numbers with thousands of digits
        return _error(PARSE_ERROR, f"Parse error: {str(error)[:200]}", _id_in(line))
    if not isinstance(message, dict):
        return _error(INVALID_REQUEST, "Invalid Request: a message is one JSON object", None)
    if "method" not in message and ("result" in message or "error" in message):
        return None
    if _has_half_characters(line):
        words = "Parse error: a text holds half of a character (a lone UTF-16 surrogate), which is no Unicode"
        return _error(PARSE_ERROR, words, message.get("id"))
    words = "Invalid Request: a request has jsonrpc 2.0, an id (text or integer), a method and, as an object, params"
    return _error(INVALID_REQUEST, words, message.get("id"))


def too_long(limit: int) -> dict[str, Any]:
    """The JSON-RPC error for a line of more than `limit` bytes, of which nothing was kept."""
    return _error(INVALID_REQUEST, f"Invalid Request: a message is at most {limit >> 20} MiB", None)


def _id_in(line: str) -> Any:
    """The id of a request that cannot be parsed: before its parameters, else after them; None when there is none."""
    before, _, after = line.partition('"params"')
    found = _ID.search(before[:1000])
    if found is None:
        later = list(_ID.finditer(after[-1000:]))
        found = later[-1] if later and after[-1000:].count("{", later[-1].end()) == 0 else None
    try:
        return None if found is None else json.loads(found[1])
    except ValueError:
        return None


def _has_half_characters(line: str) -> bool:
    """Whether the texts of a line that can be parsed cannot be written as UTF-8."""
    try:
        json.dumps(json.loads(line), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _error(code: int, message: str, given: Any) -> dict[str, Any]:
    """An error; an id that is none becomes null, as JSON-RPC asks."""
    usable = isinstance(given, int) or (isinstance(given, str) and given.isprintable() and given.isascii())
    known = given if usable and not isinstance(given, bool) else None
    return {"jsonrpc": "2.0", "id": known, "error": {"code": code, "message": message}}
