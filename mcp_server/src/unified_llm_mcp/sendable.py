"""Everything that leaves the server is valid Unicode: what models and providers send need not be.

JSON can hold half of a character (``"\\ud83d"``, a lone UTF-16 surrogate), and Python takes it. UTF-8 cannot say it, so
neither transport could send the message: the answer would be lost, and the connection with it.
"""

from __future__ import annotations

import logging
from typing import Any

import orjson

__all__ = ["HIGH_SURROGATES", "sendable_result", "well_formed", "well_formed_inside"]

logger = logging.getLogger("unified_llm_mcp")

HIGH_SURROGATES = ("\ud800", "\udbff")
"""First and last code point that needs a second one to be a character."""
NOTE = "text changed: halves of characters (UTF-16 surrogates) were joined, or replaced by U+FFFD"


def well_formed(text: str) -> str:
    """`text` with pairs of surrogates joined to their character, and U+FFFD in place of single ones."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def sendable_result(result: dict[str, Any]) -> dict[str, Any]:
    """A tool result of valid Unicode. A chat says in ``adjustments`` that something was changed; so does the log."""
    if _is_well_formed(result):
        return result
    sendable: dict[str, Any] = well_formed_inside(result)
    if sendable == result:
        return result
    logger.warning("a result held halves of characters (UTF-16 surrogates); they were joined, or replaced by U+FFFD")
    structured = sendable.get("structuredContent", {})
    if "text" in structured:
        structured["adjustments"] = [*structured.get("adjustments", ()), NOTE]
    return sendable


def _is_well_formed(result: dict[str, Any]) -> bool:
    """Whether all texts surely are; found out at the speed of C, as nearly always they are."""
    try:
        orjson.dumps(result)
    except TypeError:  # it takes neither lone surrogates nor integers beyond 64 bits
        return False
    return True


def well_formed_inside(value: Any) -> Any:
    """A copy of a JSON value in which every text is `well_formed`."""
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, dict):
        return {well_formed(key): well_formed_inside(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [well_formed_inside(inner) for inner in value]
    return value
