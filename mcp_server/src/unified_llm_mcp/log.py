"""Logs go to standard error, where hosts keep them in files: nothing that looks like a credential may be in them."""

from __future__ import annotations

import logging
import sys

from unified_llm.errors import redact

__all__ = ["RedactingFormatter", "configure_logging"]


class RedactingFormatter(logging.Formatter):
    """Masks keys, bearer values and passwords in the whole record, traceback included."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def configure_logging(level: str) -> None:
    """Send the log of the whole process to standard error.

    Called before the SDK's server is made, which would otherwise set up a handler of its own, without masking.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(RedactingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
