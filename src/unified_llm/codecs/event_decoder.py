"""What the stream decoders have in common: nothing that arrived before an error is lost."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

from unified_llm.codecs.errors import SHAPE_ERRORS, unexpected_shape
from unified_llm.errors import UnifiedLLMError
from unified_llm.stream import StreamEvent

__all__ = ["EventDecoder", "then_raise"]


class EventDecoder(ABC):
    """See `codecs.base.StreamDecoder`. A subclass reads bytes and adds the events they complete to a list."""

    __slots__ = ()

    def feed(self, chunk: bytes) -> Iterable[StreamEvent]:
        """Events completed by `chunk`.

        Raises:
            UnifiedLLMError: while iterating, after the events before it: the server sent an error or nonsense.
            ResponseError: the same way: a field of another kind than the dialect says.
        """
        events: list[StreamEvent] = []
        try:
            self._read(chunk, events)
        except UnifiedLLMError as exc:
            return then_raise(events, exc)
        except SHAPE_ERRORS as exc:
            return then_raise(events, unexpected_shape(exc))
        return events

    def close(self) -> Iterable[StreamEvent]:
        """The last events, `Finish` included.

        Raises:
            StreamInterruptedError: while iterating: the stream stopped before its end.
            ResponseError: it was no stream at all.
        """
        events: list[StreamEvent] = []
        try:
            self._end(events)
        except UnifiedLLMError as exc:
            return then_raise(events, exc)
        except SHAPE_ERRORS as exc:
            return then_raise(events, unexpected_shape(exc))
        return events

    @abstractmethod
    def _read(self, chunk: bytes, events: list[StreamEvent]) -> None:
        """Add what `chunk` completes."""

    @abstractmethod
    def _end(self, events: list[StreamEvent]) -> None:
        """Add what is left at the end of the body."""


def then_raise(events: list[StreamEvent], error: UnifiedLLMError) -> Iterator[StreamEvent]:
    """The events before an error, then the error."""
    yield from events
    raise error
