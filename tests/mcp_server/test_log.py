"""What is logged: on standard error, and without credentials, tracebacks included."""

from __future__ import annotations

import logging

from unified_llm_mcp.log import RedactingFormatter
from unified_llm_mcp.server import build_server


def formatted(record: logging.LogRecord) -> str:
    return RedactingFormatter("%(levelname)s %(message)s").format(record)


def test_keys_bearers_and_passwords_are_masked_in_messages_and_tracebacks() -> None:
    try:
        raise ValueError("refused key sk-ant-REDACTED0123")
    except ValueError as error:
        record = logging.LogRecord(
            "x", logging.ERROR, "f", 1, "to %s with %s", ("http://me:pa55w0rd@host/", "Bearer abcdef0123456789"), None
        )
        record.exc_info = (type(error), error, error.__traceback__)
    text = formatted(record)
    assert "ValueError" in text
    assert "http://[redacted]@host/" in text
    for secret in ("sk-ant-REDACTED0123", "pa55w0rd", "abcdef0123456789"):
        assert secret not in text


def test_building_a_server_leaves_the_root_logger_alone() -> None:
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    build_server()
    assert (list(root.handlers), root.level) == before
