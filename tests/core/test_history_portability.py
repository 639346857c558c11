"""A history that goes from any dialect to any other and back is accepted everywhere, unchanged where it came from, and
what a receiver cannot hold is recorded.

For every ordered pair of dialects, random conversations are carried from A to B to A: each request is judged by the
strict rules of its receiver; the parts that the receiver made itself must be in it byte for byte and in order; every
text, argument and result must be in it; and whatever else is missing must have an adjustment that names its message.
"""

from __future__ import annotations

import base64
import itertools
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from testkit.dialects import DIALECTS, STEPS, Maker, Sent, maker
from testkit.openai_wire import PNG
from unified_llm.messages import (
    File,
    Image,
    Message,
    Native,
    Opaque,
    Origin,
    Part,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from unified_llm.responses import FinishReason

PAIRS = list(itertools.permutations(DIALECTS, 2))
ODD_IDS = ["c1", "c1", "functions.add:0", "x" * 90, "with space", "ünï", "call_1", "a:0", "a_0", "0"]
MEDIA = ("url", "plain url", "gif", "bitmap", "claude file", "openai file")
USERS = st.sampled_from(["text", "image", "system", "two", "parts", *MEDIA])
RESULTS = st.sampled_from(["text", "error", "image", "empty"])
MADE = st.tuples(st.just("made"), st.sampled_from(STEPS), USERS, RESULTS)
WRITTEN = st.tuples(
    st.just("written"),
    st.sampled_from(["text", "thinking", "signed", "cited", "opaque", "image", "calls", "broken", "empty"]),
    USERS,
    st.lists(st.sampled_from(ODD_IDS), min_size=1, max_size=3),
)
PHASES = st.lists(st.one_of(MADE, MADE, WRITTEN), min_size=1, max_size=3)


def user_turns(kind: str, n: int) -> list[Message]:
    """What the user says before an answer."""
    match kind:
        case "image":
            return [Message("user", [f"asked-{n}", Image(data=PNG + b"%d" % n, media_type="image/png")])]
        case "system":
            return [Message("system", f"system-{n}"), Message("user", f"asked-{n}")]
        case "two":
            return [Message("user", f"asked-{n}"), Message("user", f"again-{n}")]
        case "parts":
            return [Message("user", [f"asked-{n}", f"more-{n}"])]
        case _ if kind in MEDIA:
            return [*seen(media(kind, n), n), Message("user", f"asked-{n}")]
    return [Message("user", f"asked-{n}")]


def media(kind: str, n: int) -> Part:
    """Media that some services take and others do not."""
    match kind:
        case "url":
            return Image(url=f"https://example.org/{n}.png")
        case "plain url":
            return Image(url=f"http://example.org/{n}.png")
        case "claude file":
            return File(file_id=f"file_01{n}")
        case "openai file":
            return File(file_id=f"file-{n}")
        case "gif":
            return Image(data=b"GIF89a%d" % n, media_type="image/gif")
    return Image(data=b"BM%d" % n, media_type="image/bmp")


def seen(part: Part, n: int) -> list[Message]:
    """An earlier turn with `part`, answered: it is history for whoever is asked next."""
    return [Message("user", [f"look-{n}", part]), Message("assistant", f"seen-{n}")]


def result_of(call: ToolCall, kind: str, n: int) -> ToolResult:
    """What a tool answers."""
    if kind == "image":
        return ToolResult(call.id, [f"result-{n}", Image(data=PNG + b"r%d" % n, media_type="image/png")])
    return ToolResult(call.id, "" if kind == "empty" else f"result-{n}", is_error=kind == "error")


def written(kind: str, ids: list[str], n: int) -> list[Message]:
    """A turn that an application wrote itself, with the results of its calls."""
    foreign = Native("some-dialect", {"type": "new_block", "data": f"opaque-{n}"}, "somebody")
    parts: dict[str, list[Part]] = {
        "thinking": [Thinking(f"thought-{n}"), Text(f"said-{n}")],
        "signed": [Thinking(f"thought-{n}", signature=f"forged-{n}"), Text(f"said-{n}")],
        "cited": [Text(f"said-{n}", ({"type": "custom", "url": f"cited-{n}"},))],
        "opaque": [Opaque(foreign), Text(f"said-{n}")],
        "image": [Text(f"said-{n}"), Image(data=PNG + b"a%d" % n, media_type="image/png")],
        "calls": [ToolCall("add", {"a": n * 1000 + i}, known) for i, known in enumerate(ids)],
        "broken": [ToolCall("add", f'{{"a": {n}', ids[0])],
        "empty": [],
    }
    content = parts.get(kind, [Text(f"said-{n}")])
    origin = Origin("somebody", "some-dialect", "m") if kind == "signed" else None
    calls = [p for p in content if isinstance(p, ToolCall)]
    return [
        Message("assistant", content, origin=origin),
        *(Message("tool", result_of(c, "text", n * 100 + i)) for i, c in enumerate(calls)),
    ]


class Walk:
    """One conversation, carried from server to server."""

    def __init__(self) -> None:
        self.history: list[Message] = []
        self.number = 0

    def go(self, server: Maker, phases: list[Any]) -> None:
        """Some turns with `server`, each request judged."""
        for who, kind, user, more in phases:
            self.number += 1
            self.history += user_turns(user, self.number)
            if who == "written":
                self.history += written(kind, list(dict.fromkeys(more)), self.number)
                continue
            response = server.reply(kind, self.number, self.history, self.ask(server))
            self.history.append(response.message)
            if response.finish_reason is FinishReason.TOOL_CALLS:
                self.history += [Message("tool", result_of(c, more, self.number)) for c in response.tool_calls]

    def ask(self, server: Maker) -> Sent:
        """Encode the history for `server`, and look at the result."""
        if self.history[-1].role == "assistant":
            self.history.append(Message("user", f"asked-{self.number}-more"))
        sent = server.send(self.history)
        assert not sent.faults, f"{server.name} refuses: {sent.faults}"
        check_own(server, sent)
        check_losses(self.history, server, sent)
        assert server.send(self.history).text == sent.text  # the same every time: caches and signatures rely on it
        return sent


def check_own(server: Maker, sent: Sent) -> None:
    """What the server made is there byte for byte, in order; turns of others may stand between."""
    there = iter([json.dumps(block) for block in server.blocks(sent.body)])
    for block in server.served:
        assert json.dumps(block) in there, f"{block} did not come back to {server.name} as it was"


def check_losses(history: list[Message], server: Maker, sent: Sent) -> None:
    """Everything is there, or an adjustment names its message."""
    named = {a.what.partition("]")[0] for a in sent.adjustments}
    for i, message in enumerate(history):
        own = message.origin is not None and message.origin.provider == server.context.provider
        for part in message.parts:
            token = distinct(part)
            if token is None or token in sent.text:
                continue
            if isinstance(part, (Thinking, Opaque)) and own:
                continue  # in a form of its own (`check_own`), or nothing that this server takes back
            assert isinstance(part, (Thinking, Opaque, Image, File)), f"{part} was not sent to {server.name}"
            assert f"messages[{i}" in named, f"{part} was lost on the way to {server.name}, and nobody said so"
        for citation in (c for p in message.parts if isinstance(p, Text) for c in p.citations):
            if not own and json.dumps(citation, ensure_ascii=False) not in sent.text:
                assert f"messages[{i}" in named, f"a citation was lost on the way to {server.name}, and nobody said so"


def distinct(part: Part) -> str | None:
    """A text by which a part is recognised in a request, whatever its form there."""
    match part:
        case Text() | ToolResult():
            return part.text or None
        case Thinking():
            return part.text or (json.dumps(dict(part.native.raw))[1:-1] if part.native else None)
        case ToolCall():
            return str((part.arguments or {"a": part.arguments_json.partition(" ")[2]})["a"])
        case Opaque():
            return json.dumps(dict(part.native.raw), ensure_ascii=False)
        case Image() | File():
            return part.file_id or part.url or base64.b64encode(part.data or b"").decode()
    return None


@pytest.mark.parametrize(("first", "second"), PAIRS, ids=[f"{a}-{b}" for a, b in PAIRS])
@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=[Phase.generate])
@given(begin=PHASES, between=PHASES, end=PHASES)
def test_a_history_goes_there_and_back(
    first: str, second: str, begin: list[Any], between: list[Any], end: list[Any]
) -> None:
    one, two, walk = maker(first), maker(second), Walk()
    walk.go(one, begin)
    walk.go(two, between)
    walk.go(one, end)
    walk.ask(two)
    walk.ask(one)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=[Phase.generate])
@given(st.lists(st.tuples(st.sampled_from(DIALECTS), PHASES), min_size=2, max_size=6))
def test_a_history_wanders_through_all_dialects(turns: list[tuple[str, list[Any]]]) -> None:
    servers = {name: maker(name) for name in DIALECTS}
    walk = Walk()
    for name, phases in turns:
        walk.go(servers[name], phases)
    for server in servers.values():
        walk.ask(server)
