"""What a process that was forked must make anew: locks that a thread of its parent held, and calls in flight there."""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack
from typing import Protocol, TypeVar
from weakref import ref

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


T = TypeVar("T", bound=Forkable)

# In order of arrival. A `WeakSet` cannot be walked while other threads make things: it fails, "changed size".
_KNOWN: dict[ref[Forkable], None] = {}
_PAUSED: dict[ref[Pausable], None] = {}


class _Paused(threading.local):
    """Those that the fork of this thread waits for."""

    def __init__(self) -> None:
        self.now: list[Pausable] = []


_OF_THIS_THREAD = _Paused()


def renew_in_child(thing: Forkable) -> None:
    """Have `after_fork` of `thing` called in every child process, for as long as it lives."""
    _KNOWN[ref(thing, _KNOWN.pop)] = None


def held_at_fork(thing: Pausable) -> None:
    """`renew_in_child` for what is at rest while a process is forked."""
    renew_in_child(thing)
    _PAUSED[ref(thing, _PAUSED.pop)] = None


def _alive(known: dict[ref[T], None]) -> list[T]:
    things = (thing() for thing in list(known))  # a copy in one step: no other thread comes in between
    return [thing for thing in things if thing is not None]


def _before() -> None:
    for thing in _alive(_PAUSED):  # in the same order for all threads that fork
        thing.pause()
        _OF_THIS_THREAD.now.append(thing)


def _in_parent() -> None:
    while _OF_THIS_THREAD.now:
        _OF_THIS_THREAD.now.pop().resume()


def _in_child() -> None:
    _OF_THIS_THREAD.now.clear()
    with ExitStack() as telling:  # one that fails keeps no other one as it was
        for thing in _alive(_KNOWN):
            telling.callback(thing.after_fork)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
