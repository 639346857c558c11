"""Joins the pieces of streamed tool calls, whatever the server does with ``index``, ``id`` and ``name``.

OpenAI numbers calls by ``index`` and sends id and name once. Real servers also send every call with index 0, leave the
index out, repeat id and name on every piece, give one id to two calls, send arguments as an object, or whole calls at
once. A piece begins a call when it has a new id with a name, another index with a name, another name, or arguments
after a complete object of them. Else it goes on with the call of its id, or with the last one of its index.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unified_llm import _json
from unified_llm.codecs.openai_reading import arguments_text, call_extras, known_call_ids, tool_call, word
from unified_llm.messages import ToolCall, new_id
from unified_llm.requests import ChatRequest
from unified_llm.stream import StreamEvent, ToolCallDelta, ToolCallStart

__all__ = ["CallAssembler"]


class _Slot:
    """One call being built. `part` is its place in the message; `started` whether its start was told."""

    __slots__ = ("extras", "id", "index", "name", "part", "pieces", "started", "wire_id")

    def __init__(self, part: int, index: Any, wire_id: str | None, name: str) -> None:
        self.part = part
        self.index = index
        self.wire_id = wire_id
        self.id = wire_id or new_id()
        self.name = name
        self.pieces: list[str] = []
        self.extras: dict[str, Any] = {}
        self.started = False

    @property
    def arguments(self) -> str:
        return "".join(self.pieces)

    def is_whole(self) -> bool:
        """Whether the arguments so far are a complete object."""
        text = self.arguments
        if not text.rstrip().endswith("}"):
            return False
        try:
            return isinstance(_json.loads(text), dict)
        except ValueError:
            return False


class CallAssembler:
    """Collects the calls of one answer. Ids that the history of `request` has are not used again."""

    __slots__ = ("_request", "_slots", "_taken")

    def __init__(self, request: ChatRequest) -> None:
        self._request = request
        self._slots: list[_Slot] = []
        self._taken: set[str] | None = None  # read from the history when the first call comes: most answers have none

    def __len__(self) -> int:
        return len(self._slots)

    def add(self, raw: Mapping[str, Any], next_part: int, events: list[StreamEvent]) -> bool:
        """Take one piece; the events it causes are appended. True when it began a call, as part `next_part`."""
        function = raw.get("function") or raw.get("custom") or {}
        name = word(function.get("name")) or ""
        wire_id = word(raw.get("id"))
        arguments = arguments_text(function.get("arguments", function.get("input")))
        slot = self._find(raw.get("index"), wire_id, name, arguments)
        began = slot is None
        if slot is None:
            slot = self._new_slot(next_part, raw.get("index"), wire_id, name)
        slot.name = slot.name or name
        slot.extras.update(call_extras(raw))
        self._tell(slot, arguments, events)
        return began

    def _new_slot(self, part: int, index: Any, wire_id: str | None, name: str) -> _Slot:
        if self._taken is None:
            self._taken = known_call_ids(self._request)
        slot = _Slot(part, index, wire_id, name)
        if slot.id in self._taken:
            slot.id = new_id()
        self._taken.add(slot.id)
        self._slots.append(slot)
        return slot

    def _find(self, index: Any, wire_id: str | None, name: str, arguments: str) -> _Slot | None:
        """The call that a piece continues, or None when it begins one."""
        slots = self._slots
        if not slots:
            return None
        same_id = [s for s in slots if s.wire_id == wire_id] if wire_id is not None else []
        if wire_id is not None and name and not same_id:
            return None
        known = same_id or slots
        candidates = known if index is None else [s for s in known if s.index == index]
        if not candidates:
            return same_id[-1] if same_id and not name else None
        last = candidates[-1]
        if name and last.name and (name != last.name or (arguments.strip() and last.is_whole())):
            return None  # even with an id seen before: some servers number the calls of each piece from nought
        return last

    def _tell(self, slot: _Slot, arguments: str, events: list[StreamEvent]) -> None:
        if arguments:
            slot.pieces.append(arguments)
        if slot.started:
            if arguments:
                events.append(ToolCallDelta(arguments, slot.part))
        elif slot.name:  # before the name is known, the pieces wait
            slot.started = True
            events.append(ToolCallStart(slot.id, slot.name, slot.part))
            if slot.pieces:
                events.append(ToolCallDelta(slot.arguments, slot.part))

    def finished(self, provider: str, model: str | None, *, cut: bool) -> list[tuple[int, ToolCall]]:
        """The calls with their part numbers. `cut` says that generation stopped inside the last one."""
        return [
            (
                slot.part,
                tool_call(
                    slot.name,
                    slot.arguments,
                    slot.id,
                    taken=set(),
                    extras=slot.extras,
                    provider=provider,
                    model=model,
                    cut=cut and slot is self._slots[-1],
                ),
            )
            for slot in self._slots
        ]
