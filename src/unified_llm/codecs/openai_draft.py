"""The scratch pad of one encoding: who is asked, what had to be adjusted, and how tool call ids are rewritten."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import count
from typing import ClassVar

from unified_llm.codecs.base import CodecContext
from unified_llm.errors import UnsupportedOptionError
from unified_llm.messages import Message, Native
from unified_llm.profiles import Profile
from unified_llm.requests import ChatRequest
from unified_llm.responses import Adjustment

__all__ = ["DIALECT", "Draft"]

DIALECT = "openai-chat"
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class Draft:
    """Collects the adjustments of one request, under its `on_unsupported` policy.

    `dialect` is the one whose parts are replayed as they came; a codec of another one has a subclass.
    """

    dialect: ClassVar[str] = DIALECT

    __slots__ = (
        "_ids",
        "_latest",
        "_policy",
        "_used",
        "_written",
        "adjustments",
        "past",
        "profile",
        "provider",
        "refused",
        "thinks",
    )

    def __init__(self, request: ChatRequest, context: CodecContext) -> None:
        config = request.config
        profile = context.profile.for_model(request.model)
        self.profile: Profile = profile
        self.provider = context.provider
        self.thinks = (config.thinking is None or bool(config.thinking)) and config.effort != "none"
        self.refused = profile.unsupported
        if self.thinks and profile.unsupported_while_thinking:
            self.refused = self.refused | profile.unsupported_while_thinking
        self.adjustments: list[Adjustment] = []
        self.past = False  # whether the message being written is history: before the last user turn
        self._policy = config.on_unsupported
        self._ids: dict[str, str] = {}
        self._used: set[str] = set()
        self._latest: dict[str, str] = {}  # our call id -> the id its latest call was written with
        self._written: set[str] = set()

    # -- adjustments ------------------------------------------------------------------------------------------------

    def drop(self, what: str, reason: str) -> None:
        """Record that `what` is not sent, or raise `UnsupportedOptionError` when the policy is "error"."""
        self._refuse(what, reason)
        self.adjustments.append(Adjustment("dropped", what, reason))

    def _refuse(self, what: str, reason: str) -> None:
        if self._policy == "error":
            raise UnsupportedOptionError(
                f"{what} cannot be sent as it is: {reason}",
                provider=self.provider,
                hint=f"leave {what} out, or set on_unsupported='warn' to go on without it",
            )

    def change(self, what: str, reason: str) -> None:
        """Record that an option means something else as it is sent, or raise as `drop` does."""
        self._refuse(what, reason)
        self.adjustments.append(Adjustment("changed", what, reason))

    def rearrange(self, what: str, reason: str) -> None:
        """Record that something says the same in another form: never an error."""
        self.adjustments.append(Adjustment("changed", what, reason))

    def lose(self, what: str, reason: str) -> None:
        """Record that a part of the history is not sent."""
        self.adjustments.append(Adjustment("lost", what, reason))

    def takes(self, option: str) -> bool:
        """Whether the server takes `option`; when it does not, the drop is recorded."""
        if option not in self.refused:
            return True
        thinking = option in self.profile.unsupported_while_thinking and option not in self.profile.unsupported
        self.drop(option, "not supported while the model thinks" if thinking else f"not supported by {self.provider}")
        return False

    # -- provenance -------------------------------------------------------------------------------------------------

    def owns(self, message: Message, native: Native | None = None) -> bool:
        """Whether this provider made the part: by its native block, else by the message's origin, if it has one."""
        if native is not None:
            return native.dialect == self.dialect and native.provider in (None, self.provider)
        origin = message.origin
        return origin is None or (origin.provider == self.provider and origin.dialect == self.dialect)

    # -- tool call ids ----------------------------------------------------------------------------------------------

    def call_id(self, known: str) -> str:
        """The id to send for `known`: itself, or a short one where the profile demands; never the same for two."""
        length, limit = self.profile.tool_id_length, self.profile.tool_id_limit
        if length is None and (limit is None or len(known) <= limit):
            return known
        mapped = self._ids.get(known)
        if mapped is None:
            mapped = next(c for c in _candidates(known, length or limit or 9) if c not in self._used)
            self._ids[known] = mapped
            self._used.add(mapped)
        return mapped

    def open_call(self, known: str) -> str:
        """`call_id` for dialects that want it unique in the whole history: one that was written before is numbered."""
        short = self.call_id(known)
        wire = next(i for n in count(1) if (i := short if n == 1 else _numbered(short, n)) not in self._written)
        self._written.add(wire)
        self._latest[known] = wire
        return wire

    def answered_call(self, known: str) -> str | None:
        """The id that the result of `known` must have, or None when `open_call` was not asked for it."""
        return self._latest.get(known)


def _numbered(known: str, number: int) -> str:
    suffix = f"_{number}"
    return known[: 64 - len(suffix)] + suffix


def _candidates(known: str, length: int) -> Iterator[str]:
    """Ids that may stand for `known`, best first: itself when it fits, then digests that depend on it alone."""
    if len(known) == length and known.isascii() and known.isalnum():
        yield known
    for attempt in count():
        number = int.from_bytes(hashlib.sha256(f"{attempt}:{known}".encode()).digest(), "big")
        digits = []
        for _ in range(length):
            number, digit = divmod(number, 62)
            digits.append(_ALPHABET[digit])
        yield "".join(digits)
