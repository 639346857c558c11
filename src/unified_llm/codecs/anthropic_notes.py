"""Collects what a request could not carry, under the caller's `on_unsupported` policy."""

from __future__ import annotations

from unified_llm.errors import UnsupportedOptionError
from unified_llm.responses import Adjustment

__all__ = ["Notes"]


class Notes:
    """The adjustments of one request. With the policy "error", an option that is dropped or changed raises instead."""

    __slots__ = ("_provider", "_strict", "found")

    def __init__(self, policy: str | None, provider: str) -> None:
        self._strict = policy == "error"
        self._provider = provider
        self.found: list[Adjustment] = []

    def dropped(self, what: str, reason: str) -> None:
        """An option is not sent."""
        self._refuse(what, reason)
        self.found.append(Adjustment("dropped", what, reason))

    def changed(self, what: str, reason: str) -> None:
        """An option is sent differently."""
        self._refuse(what, reason)
        self.found.append(Adjustment("changed", what, reason))

    def rearranged(self, what: str, reason: str) -> None:
        """The history says the same in another form: recorded, never an error."""
        self.found.append(Adjustment("changed", what, reason))

    def lost(self, what: str, reason: str, *, refusable: bool = False) -> None:
        """A part of the history is not sent. An error only where `refusable`: what the caller attached himself."""
        if refusable:
            self._refuse(what, reason)
        self.found.append(Adjustment("lost", what, reason))

    def _refuse(self, what: str, reason: str) -> None:
        if self._strict:
            raise UnsupportedOptionError(
                f"{what}: {reason}",
                provider=self._provider,
                hint="leave it out, or pass on_unsupported='warn' to go on without it",
            )
