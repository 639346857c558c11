"""What the strict loopback doubles have in common: they listen, remember what came, and fail on what was wrong."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from testkit.wire_server import Answer, Request, WireServer

__all__ = ["Seen", "StrictDouble"]


@dataclass
class Seen:
    """A request as it came: its path under the base URL, headers (lower-case names) and decoded body."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    request: Request = field(repr=False)
    cut: bool = False  # by the script, not by the client


class StrictDouble(ABC):
    """A server on loopback. Leaving its block raises AssertionError when there were violations."""

    def __init__(self) -> None:
        self.violations: list[str] = []
        self.requests: list[Seen] = []
        self._server = WireServer(self._answer)

    @abstractmethod
    def _answer(self, request: Request) -> Answer:
        """What is answered to a request."""

    def start(self) -> Self:
        """Start listening."""
        self._server.__enter__()
        return self

    def stop(self) -> None:
        """Stop, and raise AssertionError when there were violations."""
        self._server.__exit__(None, None, None)
        assert not self.violations, "requests the server would refuse:\n" + "\n".join(self.violations)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if value is not None:
            self._server.__exit__(kind, value, traceback)
        else:
            self.stop()

    @property
    def root(self) -> str:
        """The address without a path."""
        return self._server.url

    @property
    def last(self) -> Any:
        """The body of the last request."""
        return self.requests[-1].body

    @property
    def disconnects(self) -> list[Seen]:
        """Requests whose client left before the answer was complete."""
        return [s for s in self.requests if s.request.gone.is_set() and not s.request.answered.is_set() and not s.cut]
