"""What the offline engine says when no script tells it: that it is no model, how to get one, and what it was asked."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from unified_llm import _json
from unified_llm.local_models import FIRST_MODEL
from unified_llm.messages import ToolCall
from unified_llm.offline.requests import RecordedRequest, content_text
from unified_llm.offline.schema_examples import example_for_schema
from unified_llm.offline.script import Reply
from unified_llm.offline.tokens import split_text
from unified_llm.offline.tool_choice import choose_calls, fill_with_quotes, quoted

__all__ = ["HOW_TO_GET_A_MODEL", "NOTICE", "answer"]

NOTICE = "This is the offline provider, not a language model: it can only repeat what it was asked."
HOW_TO_GET_A_MODEL = (
    "Claude: set ANTHROPIC_API_KEY",
    "LM Studio: start its server",
    f"On this machine: unified-llm models pull {FIRST_MODEL}",
)

_LONGEST_ECHO = 1000  # characters
_MEDIA = {"image_url": "image", "input_audio": "sound", "audio_url": "sound", "file": "file"}


def answer(request: RecordedRequest) -> Reply:
    """The answer to a chat request: tool calls, JSON for a requested schema, quoted tool results, or the echo.

    `seed` varies the made-up values; other sampling options change nothing. `stop` and `max_tokens` are obeyed.

    Raises:
        InvalidRequestError: no value can be made for a schema.
    """
    seed = request.body.get("seed")
    seed = seed if isinstance(seed, int) and seed > 0 else 0
    thinking = _thinking(request) if _wants_thinking(request.body) else None
    calls = choose_calls(request, ids=_digest(request), seed=seed)
    if calls:
        return _limited(Reply(thinking=thinking, tool_calls=tuple(calls)), request.body)
    structured = _structured(request, seed)
    text = structured if structured is not None else _text(request)
    return _limited(Reply(text, thinking=thinking), request.body)


def _digest(request: RecordedRequest) -> str:
    """Part of tool call ids: the same for the same history, different after every turn."""
    return hashlib.blake2b(_json.dumps(list(request.messages)), digest_size=6).hexdigest()


def _wants_thinking(body: Mapping[str, Any]) -> bool:
    thinking, effort = body.get("thinking") or {}, body.get("reasoning_effort")
    if thinking.get("type") == "disabled" or effort == "none":
        return False
    return bool(thinking or effort)


def _thinking(request: RecordedRequest) -> str:
    """Something to show as reasoning, within the budget when there is one."""
    budget = (request.body.get("thinking") or {}).get("budget_tokens")
    text = f"I do not think, I am not a model. I was asked: {_clipped(request.prompt)}"
    return "".join(split_text(text)[:budget])


def _structured(request: RecordedRequest, seed: int) -> str | None:
    """JSON for the requested schema. For "any JSON object", words in quotation marks are its keys."""
    wanted = request.body.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        schema = (wanted.get("json_schema") or {}).get("schema") or {}
        value = fill_with_quotes(schema, example_for_schema(schema, seed), quoted(request.prompt))
        return _json.dumps_str(value)
    if wanted.get("type") == "json_object":
        keys = [q for q in quoted(request.prompt) if " " not in q]
        return _json.dumps_str({k: f"example {k}" for k in keys} or {"prompt": _clipped(request.prompt)})
    return None


def _text(request: RecordedRequest) -> str:
    if request.tool_results:
        lines = [
            f"- {request.tool_name(result)}: {_clipped(content_text(result.get('content')))}"
            for result in request.tool_results
        ]
        return "\n".join([NOTICE, "The tools answered:", *lines])
    return "\n".join(
        [
            NOTICE,
            f"I was asked: {_clipped(request.prompt)}",
            *_surroundings(request),
            *([] if _told_before(request) else ["", "To get a model, do one of these:", *_ways()]),
        ]
    )


def _ways() -> list[str]:
    return [f"- {line}" for line in HOW_TO_GET_A_MODEL]


def _told_before(request: RecordedRequest) -> bool:
    """Whether an earlier answer of this conversation said how to get a model: nobody wants to read it every turn."""
    return any(
        m.get("role") == "assistant" and HOW_TO_GET_A_MODEL[0] in content_text(m.get("content"))
        for m in request.messages
    )


def _surroundings(request: RecordedRequest) -> list[str]:
    """One line about everything besides the last message, so that nothing of the request goes unnoticed."""
    seen = []
    if request.system:
        seen.append(f"system prompt: {_clipped(request.system, 200)}")
    turns = sum(m.get("role") in ("user", "assistant") for m in request.messages)
    if turns > 1:
        seen.append(f"{turns} messages")
    seen += [f"{count} {kind}{'s' if count > 1 else ''}" for kind, count in _media(request.messages).items()]
    if request.tools:
        seen.append(f"tools: {', '.join(request.tools)}")
    return [f"I also saw: {'; '.join(seen)}"] if seen else []


def _media(messages: Sequence[Mapping[str, Any]]) -> Counter[str]:
    blocks = [b for m in messages if isinstance(m.get("content"), list) for b in m["content"]]
    return Counter(_MEDIA.get(str(b.get("type")), "attachment") for b in blocks if b.get("type") != "text")


def _clipped(text: str, longest: int = _LONGEST_ECHO) -> str:
    if len(text) <= longest:
        return text
    return f"{text[:longest]}… ({len(text) - longest} more characters)"


def _limited(reply: Reply, body: Mapping[str, Any]) -> Reply:
    """`reply` cut at the first stop sequence and at the token limit, which thinking counts against."""
    text = _before_stop(reply.text, body.get("stop"))
    if text != reply.text:
        reply = replace(reply, text=text, finish_reason="stop_sequence")
    limit = body.get("max_completion_tokens", body.get("max_tokens"))
    if not isinstance(limit, int) or limit < 0:
        return reply
    rest = _Rest(limit)
    thinking = rest.take(reply.thinking) if reply.thinking else reply.thinking
    text = rest.take(text)
    calls = [ToolCall(c.name, rest.take(c.arguments_json), c.id) for c in reply.tool_calls if not rest.used_up]
    if not rest.used_up:
        return reply
    return replace(reply, thinking=thinking, text=text, tool_calls=tuple(calls), finish_reason="length")


def _before_stop(text: str, stop: str | Sequence[str] | None) -> str:
    stops = [stop] if isinstance(stop, str) else stop or ()
    return text[: min((at for s in stops if s and (at := text.find(s)) >= 0), default=len(text))]


class _Rest:
    """The tokens that may still be written."""

    def __init__(self, limit: int) -> None:
        self.left = limit
        self.used_up = False

    def take(self, text: str) -> str:
        tokens = split_text(text)
        kept = tokens[: self.left]
        self.left -= len(kept)
        self.used_up = self.used_up or len(kept) < len(tokens)
        return "".join(kept)
