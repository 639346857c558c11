"""What a process that was forked must make anew: locks that a thread of its parent held, and calls in flight there."""

from __future__ import annotations

import os
import threading
from typing import Protocol
from weakref import WeakSet

__all__ = ["Forkable", "Pausable", "held_at_fork", "renew_in_child"]


class Forkable(Protocol):
    """What is told of a fork."""

    def after_fork(self) -> None:
        """In the child, before anything else runs there: only the thread that forked came along."""


class Pausable(Forkable, Protocol):
    """What must be at rest while a process is forked."""

    def pause(self) -> None:
        """Wait until no other thread is at work, and let none begin."""

    def resume(self) -> None:
        """In the parent: go on."""


_KNOWN: WeakSet[Forkable] = WeakSet()
_PAUSED: WeakSet[Pausable] = WeakSet()


class _Paused(threading.local):
    """Those that the fork of this thread waits for."""

    def __init__(self) -> None:
        self.now: list[Pausable] = []


_OF_THIS_THREAD = _Paused()


def renew_in_child(thing: Forkable) -> None:
    """Have `after_fork` of `thing` called in every child process, for as long as it lives."""
    _KNOWN.add(thing)


def held_at_fork(thing: Pausable) -> None:
    """`renew_in_child` for what is at rest while a process is forked."""
    _KNOWN.add(thing)
    _PAUSED.add(thing)


def _before() -> None:
    for thing in list(_PAUSED):  # in the same order for all threads that fork
        thing.pause()
        _OF_THIS_THREAD.now.append(thing)


def _in_parent() -> None:
    while _OF_THIS_THREAD.now:
        _OF_THIS_THREAD.now.pop().resume()


def _in_child() -> None:
    _OF_THIS_THREAD.now.clear()
    for thing in list(_KNOWN):
        thing.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
