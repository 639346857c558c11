"""Whether the garbage collector is at work: what it ends, it ends in the middle of whatever its thread does.

That thread may hold any lock, also those of other libraries; whoever waits for one then waits for ever.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from threading import get_ident

__all__ = ["is_collecting", "watch_collector"]

_thread: int | None = None
"""The thread in which it is at work; there is one at a time."""


def watch_collector() -> None:
    """Make `is_collecting` know, from now on."""
    if _note not in gc.callbacks:
        gc.callbacks.append(_note)


def is_collecting() -> bool:
    """Whether this code is run by the garbage collector (a finalizer, a generator that is closed)."""
    return _thread == get_ident()


def _note(phase: str, _: object, ident: Callable[[], int] = get_ident) -> None:
    global _thread  # the names of a module are gone while Python ends; `ident` is still there
    _thread = ident() if phase == "start" else None
