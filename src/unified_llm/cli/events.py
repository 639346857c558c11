"""Stream events: as JSON lines for a script, as text for a person."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeAlias

from unified_llm.cli.output import Output
from unified_llm.message_formats import dump_message
from unified_llm.messages import Message
from unified_llm.stream import PartEnd, Progress, StreamEnd, StreamEvent, TextDelta, ThinkingDelta, UsageUpdate

__all__ = ["Sink", "event_to_dict", "json_lines", "progress_only", "text_sink"]

Sink: TypeAlias = Callable[[StreamEvent], None]


def event_to_dict(event: StreamEvent) -> dict[str, Any]:
    """An event as JSON-safe data: its `type` and its known fields."""
    if isinstance(event, StreamEnd):
        return {"type": event.type, "response": event.response.to_dict()}
    if isinstance(event, PartEnd):
        part = dump_message(Message("assistant", event.part))["parts"][0]
        return {"type": event.type, "index": event.index, "part": {k: v for k, v in part.items() if k != "native"}}
    if isinstance(event, UsageUpdate):
        return {"type": event.type, "usage": event.usage.to_dict()}
    values = {f.name: getattr(event, f.name) for f in fields(event)}
    return {"type": event.type} | {k: v for k, v in values.items() if v is not None}


def json_lines(out: Output) -> Sink:
    """Writes each event as one line of JSON."""
    return lambda event: out.data(event_to_dict(event), compact=True)


def progress_only(out: Output) -> Sink:
    """Shows only what is being waited for."""

    def show(event: StreamEvent) -> None:
        if isinstance(event, Progress):
            out.status(_progress(event))
        elif isinstance(event, (TextDelta, ThinkingDelta)):
            out.status("answering…" if isinstance(event, TextDelta) else "thinking…")

    return show


def text_sink(out: Output, *, thinking: bool) -> Sink:
    """Writes the text as it comes; the reasoning goes to stderr when `thinking`, else only the fact of it."""
    reasoning_open = False

    def show(event: StreamEvent) -> None:
        nonlocal reasoning_open
        if isinstance(event, ThinkingDelta):
            if thinking:
                out.thinking(event.text)
                reasoning_open = True
            else:
                out.status("thinking…")
            return
        if reasoning_open and event.type in ("text_delta", "part_end", "end", "tool_call_start"):
            reasoning_open = False
            out.thinking("\n\n")
        if isinstance(event, TextDelta):
            out.text(event.text)
        elif isinstance(event, Progress):
            out.status(_progress(event))

    return show


def _progress(event: Progress) -> str:
    words = {"load": "loading the model", "prefill": "reading the prompt", "download": "downloading the model"}
    share = f" {event.fraction:.0%}" if event.fraction is not None else ""
    return f"{words[event.stage]}{share}…"


def pretty(value: Any, *, ascii_only: bool) -> str:
    """Indented JSON of a structured answer; pydantic values included."""
    from pydantic_core import to_jsonable_python

    return json.dumps(to_jsonable_python(value), indent=2, ensure_ascii=ascii_only)
