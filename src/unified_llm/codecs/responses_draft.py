"""The scratch pad of one Responses request: provenance, adjustments, and call ids unique in the history."""

from __future__ import annotations

from itertools import count
from typing import ClassVar

from unified_llm.codecs.base import CodecContext
from unified_llm.codecs.openai_draft import Draft
from unified_llm.requests import ChatRequest

__all__ = ["DIALECT", "ResponsesDraft"]

DIALECT = "openai-responses"
_LONGEST_ID = 64  # string_above_max_length beyond it
_CHAT_ONLY = frozenset({"seed", "stop_sequences", "presence_penalty", "frequency_penalty", "top_k", "min_p"})


class ResponsesDraft(Draft):
    """A `Draft` of the Responses dialect.

    Attributes:
        stored: whether the server keeps this call's items (``store``), so that their ids alone mean something to it.
        custom: wire ids of calls of custom tools, whose results have a type of their own.
    """

    dialect: ClassVar[str] = DIALECT

    __slots__ = ("_latest", "_written", "custom", "stored")

    def __init__(self, request: ChatRequest, context: CodecContext) -> None:
        super().__init__(request, context)
        config = request.config
        asked = {**((config.provider_options or {}).get(context.provider) or {}), **(config.extra_body or {})}
        self.stored = asked.get("store") is True
        self.custom: set[str] = set()
        self._latest: dict[str, str] = {}  # our call id -> the id its latest call was written with
        self._written: set[str] = set()

    def takes(self, option: str) -> bool:
        """Whether this API has `option`, and the server takes it; when not, the drop is recorded."""
        if option in _CHAT_ONLY:
            self.drop(option, "the Responses API has no such option")
            return False
        return super().takes(option)

    def open_call(self, known: str) -> str:
        """The id to write a call with: its own, unless that is too long or an earlier call of the history has it."""
        short = known if len(known) <= _LONGEST_ID else self.call_id(known)
        wire = next(i for n in count(1) if (i := short if n == 1 else _numbered(short, n)) not in self._written)
        self._written.add(wire)
        self._latest[known] = wire
        return wire

    def answered_call(self, known: str) -> str | None:
        """The id that the result of `known` must have, or None when no call before it has that id."""
        return self._latest.get(known)


def _numbered(known: str, number: int) -> str:
    suffix = f"_{number}"
    return known[: _LONGEST_ID - len(suffix)] + suffix
