"""Standard input and output as the MCP transport: nothing else may read the one or write to the other."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from unified_llm.errors import ConfigurationError

__all__ = ["Wire", "claim_wire"]


@dataclass(frozen=True, slots=True)
class Wire:
    """File descriptors of the transport."""

    read_fd: int
    write_fd: int


def claim_wire() -> Wire:
    """Take standard input and output for the transport.

    From now on what prints, in this process or in a child, goes to standard error, and what reads standard input
    finds its end. Call it before anything is imported that might print.

    Raises:
        ConfigurationError: one of them is closed.
    """
    try:
        os.fstat(1)  # before 0 is duplicated: the copy would take the free number
        wire = Wire(os.dup(0), os.dup(1))
    except OSError as error:
        raise ConfigurationError(
            "standard input or output is closed, and they are how a client speaks to this server",
            hint="let an MCP client start it, or pass --http",
        ) from error
    if sys.stdout is not None:
        sys.stdout.flush()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return wire
