"""What the library logs, it logs redacted: whoever switches DEBUG on must not find keys in the file."""

from __future__ import annotations

import logging
import traceback

from unified_llm.errors import redact, without_keys

__all__ = ["RedactingFilter", "redact_logs"]

_STANDARD = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime"})
_LOGGERS = ("unified_llm", "unified_llm.drivers")


class RedactingFilter(logging.Filter):
    """Masks what looks like a credential in a record's text, traceback and extra fields.

    Put it on a handler: a filter of a logger does not see the records of the loggers below that one.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        for mask in (_mask_text, _mask_fields, _mask_traceback):
            mask(record)
        return True


def _mask_text(record: logging.LogRecord) -> None:
    try:
        text = record.getMessage()
    except Exception:  # noqa: BLE001 - arguments that do not fit, or have no text: logging itself reports that
        return
    masked = redact(text)
    if masked != text:
        record.msg, record.args = masked, ()


def _mask_fields(record: logging.LogRecord) -> None:
    for name in record.__dict__.keys() - _STANDARD:
        try:
            shown = without_keys(record.__dict__[name], name)
        except Exception as exc:  # noqa: BLE001 - nested too deep, or unreadable: that fails no call to log
            shown = f"[not shown: {type(exc).__name__}]"
        record.__dict__[name] = shown


def _mask_traceback(record: logging.LogRecord) -> None:
    if record.exc_info and record.exc_info[0] is not None:
        record.exc_text = redact("".join(traceback.format_exception(*record.exc_info)).rstrip())


def redact_logs() -> None:
    """Put the filter on the library's loggers, once (the client does this)."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(f, RedactingFilter) for f in logger.filters):
            logger.addFilter(RedactingFilter())
