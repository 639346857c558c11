"""The text of a running chat, sent as progress notifications while a request waits for it."""

from __future__ import annotations

import asyncio
import math
import re
from typing import Any

from unified_llm_mcp._sdk import Call
from unified_llm_mcp.runs import Run
from unified_llm_mcp.sendable import HIGH_SURROGATES, well_formed

__all__ = ["follow"]

INTERVAL = 1 / 12
"""Seconds between two notifications with text. Hosts redraw at each: more than 12 a second only costs."""

LONGEST = 100_000
"""Most characters of one notification: the Python client refuses events of more than 1 MiB on HTTP."""

# A progress message is shown as it comes, often in a terminal: escape sequences of a model's text must not act there.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


async def follow(run: Run[Any], call: Call, *, wait: float | None, heartbeat: float) -> bool:
    """Wait for `run`, at most `wait` seconds (None: as long as it takes), and report its text.

    The messages of the notifications join to the text of the run, control characters apart; `progress` counts
    notifications from 1. After `heartbeat` seconds of silence one without message says that work goes on. Nothing is
    sent after this returns.

    Returns: whether the run is done.
    """
    if not call.wants_progress:
        await run.wait_done(wait)
        return run.done
    relay = _Relay(run, call, heartbeat)
    deadline = math.inf if wait is None else relay.now() + wait
    while not run.done and (now := relay.now()) < deadline:
        due = relay.due()
        if now >= due:
            await relay.send()
            continue
        pause = min(due, deadline) - now
        await (run.wait_done(pause) if relay.pending() else run.wait_text(relay.position, pause))
    if relay.pending():
        await relay.send()
    return run.done


class _Relay:
    """What has been reported of a run, and when the next notification is due."""

    def __init__(self, run: Run[Any], call: Call, heartbeat: float) -> None:
        self._run = run
        self._call = call
        self._heartbeat = heartbeat
        self._count = 0
        self._sent_at = self.now()
        self._half = ""  # of a character, whose other half has not arrived
        self.position = 0

    @staticmethod
    def now() -> float:
        return asyncio.get_running_loop().time()

    def pending(self) -> bool:
        """Whether there is text that has not been reported."""
        return len(self._run.pieces) > self.position or (self._half != "" and self._run.done)

    def due(self) -> float:
        """When to send next: the first text at once, later text after the interval, a heartbeat after silence."""
        if not self.pending():
            return self._sent_at + self._heartbeat
        return self._sent_at + (INTERVAL if self._count else 0)

    async def send(self) -> None:
        """Report the text that has arrived since, or a heartbeat when there is none."""
        text = _CONTROL.sub("", self._next_text())
        for start in range(0, max(len(text), 1), LONGEST):
            self._count += 1
            self._sent_at = self.now()
            await self._call.report_progress(self._count, text[start : start + LONGEST] or None)

    def _next_text(self) -> str:
        """What has arrived since, as valid Unicode: a character may be split between two pieces."""
        text = self._half + "".join(self._run.pieces[self.position :])
        self.position = len(self._run.pieces)
        split = HIGH_SURROGATES[0] <= text[-1:] <= HIGH_SURROGATES[1] and not self._run.done
        self._half = text[-1] if split else ""
        return well_formed(text[:-1] if split else text)
