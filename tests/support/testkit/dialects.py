"""Every chat dialect as one thing: encode with its codec, judge with its strict rules, answer in its own shape.

A `Maker` gives answers with everything its server can say (thinking, calls, citations, blocks of its own), so that
tests can hand a history from one dialect to the next and look at what each receiver is sent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from testkit import (
    claude_replies,
    claude_rules,
    lmstudio_rules,
    ollama_rules,
    openai_rules,
    responses_double,
    responses_rules,
)
from testkit.openai_answers import Call, Say, completion
from testkit.openai_services import QUIRKS
from unified_llm.codecs.anthropic_messages import AnthropicMessages
from unified_llm.codecs.base import ChatCodec, CodecContext
from unified_llm.codecs.lmstudio_chat import LMStudioChatCodec
from unified_llm.codecs.ollama_chat import OllamaChatCodec
from unified_llm.codecs.openai_chat import OpenAIChatCodec
from unified_llm.codecs.responses_api import ResponsesCodec
from unified_llm.messages import Message
from unified_llm.profiles import PROFILES
from unified_llm.requests import ChatRequest, ModelConfig
from unified_llm.responses import Adjustment, ChatResponse
from unified_llm.tools import Tool
from unified_llm.wire import WireCall, WireReply

__all__ = ["DIALECTS", "STEPS", "TOOLS", "Maker", "Sent", "maker"]

Body = dict[str, Any]

STEPS = ("text", "thinking", "hidden thinking", "call", "calls", "thinking and call", "cited", "own tool")
TOOLS = (Tool("add", "Adds", {"type": "object", "properties": {"a": {"type": "integer"}}}),)
DIALECTS = (
    "claude",
    "openai",
    "openrouter",
    "deepseek",
    "mistral",
    "gemini",
    "lmstudio",
    "lmstudio-sdk",
    "responses",
    "ollama",
)
_MODELS = {"claude": "claude-sonnet-5-5", "responses": "gpt-5-mini"}


@dataclass(frozen=True)
class Sent:
    """A request as it went out: decoded body, its text, its adjustments and what is wrong with it."""

    body: Body
    text: str
    adjustments: tuple[Adjustment, ...]
    faults: list[str]


@dataclass
class Maker:
    """One server. `served` are the wire messages it gave out so far, in order."""

    name: str
    codec: ChatCodec
    context: CodecContext
    judge: Callable[[WireCall, Body], list[str]]
    answer: Callable[[str, int, Body], Body]  # (step, number, request body) -> answer body
    blocks: Callable[[Body], list[Any]]  # what a request replays of this server's own, in order
    served: list[Any] = field(default_factory=list)  # the same of each answer

    def send(self, history: list[Message]) -> Sent:
        """Encode `history` for this server."""
        call = self.codec.encode(self._request(history), self.context)
        assert call.body is not None
        body: Body = json.loads(call.body)
        return Sent(body, json.dumps(body, ensure_ascii=False), call.adjustments, self.judge(call, body))

    def reply(self, step: str, number: int, history: list[Message], sent: Sent) -> ChatResponse:
        """The decoded answer of this server to what it was sent."""
        value = self.answer(step, number, sent.body)
        self.served += self.blocks(value)
        reply = WireReply(200, {}, json.dumps(value).encode())
        return self.codec.decode(reply, self._request(history), self.context)

    def _request(self, history: list[Message]) -> ChatRequest:
        return ChatRequest(_MODELS.get(self.name, "m"), tuple(history), ModelConfig(), TOOLS)


def maker(name: str) -> Maker:
    """A fresh server of that dialect."""
    match name:
        case "claude":
            context = CodecContext("claude", PROFILES["claude"])
            return Maker(name, AnthropicMessages(), context, _judge_claude, _say_claude, _claude_blocks)
        case "responses":
            made: dict[str, Body] = {}
            context = CodecContext("openai", PROFILES["openai"])
            return Maker(
                name,
                ResponsesCodec(),
                context,
                lambda _, body: responses_rules.response_faults(body, made),
                lambda step, number, body: _say_responses(step, number, made),
                _responses_items,
            )
        case "ollama":
            context = CodecContext("ollama", PROFILES["ollama-native"])
            return Maker(
                name,
                OllamaChatCodec(),
                context,
                lambda _, b: ollama_rules.chat_faults(b),
                _say_ollama,
                _ollama_messages,
            )
        case "lmstudio-sdk":
            context = CodecContext("lmstudio", PROFILES["lmstudio"])
            return Maker(name, _Websocket(), context, _judge_lmstudio, _say_lmstudio, lambda _: [])
    quirks = QUIRKS[name]
    return Maker(
        name,
        OpenAIChatCodec(),
        CodecContext(name, PROFILES[name]),
        lambda _, body: openai_rules.chat_faults(body, quirks),
        lambda step, number, body: _say_chat(name, step, number, body),
        _chat_messages,
    )


# -- Claude -----------------------------------------------------------------------------------------------------------


def _judge_claude(call: WireCall, body: Body) -> list[str]:
    headers = dict(call.headers)
    betas = tuple(filter(None, headers.get("anthropic-beta", "").split(",")))
    return claude_rules.faults_of(body, version=headers["anthropic-version"], betas=betas)


def _say_claude(step: str, n: int, body: Body) -> Body:
    from testkit.claude_replies import answer, redacted, text, thinking, tool_use

    said, thought = text(f"said-{n}"), thinking(f"thought-{n}")
    calls = [tool_use("add", {"a": n * 10 + i}, id=f"toolu_{n}_{i}") for i in range(2)]
    place = {"type": "char_location", "document_index": 0, "document_title": None, "start_char_index": 0}
    citation = {**place, "end_char_index": 1, "cited_text": f"cited-{n}"}
    found = {"type": "web_search_result", "title": "T", "url": f"https://own-{n}", "encrypted_content": "e"}
    search: list[Body] = [
        {"type": "server_tool_use", "id": f"srvtoolu_{n}", "name": "web_search", "input": {"query": "q"}},
        {"type": "web_search_tool_result", "tool_use_id": f"srvtoolu_{n}", "content": [found | {"page_age": None}]},
    ]
    content: dict[str, list[Body]] = {
        "text": [said],
        "thinking": [thought, said],
        "hidden thinking": [redacted(f"hidden-{n}"), said],
        "call": [said, calls[0]],
        "calls": calls,
        "thinking and call": [thought, calls[0]],
        "cited": [text(f"said-{n}", citations=[citation])],
        "own tool": [*search, said],
    }
    return claude_replies.message_of(answer(*content[step]), body, n, False)


def _claude_blocks(value: Body) -> list[Any]:
    """Blocks of assistant turns, of a request or an answer."""
    turns = value.get("messages", [value])
    said = [m["content"] for m in turns if m["role"] == "assistant"]
    return [b for c in said for b in ([{"type": "text", "text": c}] if isinstance(c, str) else c)]


# -- the Responses API ------------------------------------------------------------------------------------------------


def _say_responses(step: str, n: int, made: dict[str, Body]) -> Body:
    from testkit.responses_double import call, message, thought, web_search

    said = message(f"said-{n}", phase="commentary")
    calls = [call("add", {"a": n * 10 + i}, f"call_{n}_{i}") for i in range(2)]
    citation = {"type": "url_citation", "start_index": 0, "end_index": 1, "title": "T", "url": f"https://cited-{n}"}
    content: dict[str, list[Body]] = {
        "text": [said],
        "thinking": [thought(f"thought-{n}"), said],
        "hidden thinking": [thought(), said],
        "call": [said, calls[0]],
        "calls": calls,
        "thinking and call": [thought(f"thought-{n}"), calls[0]],
        "cited": [message(f"said-{n}", annotations=[citation])],
        "own tool": [web_search(f"own-{n}"), said],
    }
    items: list[responses_double.Item] = content[step]
    made.update({i["id"]: i for i in items})
    return {"id": f"resp_{n}", "object": "response", "status": "completed", "model": "gpt-5-mini", "output": items}


def _responses_items(value: Body) -> list[Any]:
    return value["output"] if "output" in value else [i for i in value["input"] if i.get("id")]


# -- chat completions -------------------------------------------------------------------------------------------------


def _say(step: str, n: int, prefix: str = "call") -> Say:
    """What a server of this dialect can say; a step it has no form for is an answer with text."""
    calls = [Call("add", {"a": n * 10 + i}, id=f"{prefix}{n:04d}{i}") for i in range(2)]
    match step:
        case "call":
            return Say(f"said-{n}", calls=calls[:1])
        case "calls":
            return Say(calls=calls)
        case "thinking and call":
            return Say(reasoning=f"thought-{n}", calls=calls[:1])
        case "thinking":
            return Say(f"said-{n}", reasoning=f"thought-{n}")
    return Say(f"said-{n}")


def _say_chat(name: str, step: str, n: int, body: Body) -> Body:
    # Ids as servers write them: nine letters (Mistral), or with signs that Claude refuses (Kimi's "functions.add:0").
    say = _say(
        step, n, "" if name in ("openai", "responses") else "callx"[:4] if name == "mistral" else "functions.add:"
    )
    if step == "cited":
        place = {"start_index": 0, "end_index": 1, "title": "T", "url": f"https://cited-{n}"}
        say = replace(say, extra={"annotations": [{"type": "url_citation", "url_citation": place}]})
    value = completion(say, body, QUIRKS[name], n)
    if name == "gemini":  # a signature that has to come back with its call
        for call in value["choices"][0]["message"].get("tool_calls", ()):
            call["extra_content"] = {"google": {"thought_signature": f"signature-{n}"}}
    return value


def _chat_messages(value: Body) -> list[Any]:
    if "choices" in value:
        return [_replayable(value["choices"][0]["message"])]
    return [_replayable(m) for m in value["messages"] if m["role"] == "assistant"]


def _replayable(message: Mapping[str, Any]) -> Body:
    """What servers of this dialect want back of an answer; no content and an empty one are the same to them."""
    names = ("tool_calls", "reasoning_details")
    kept = {k: message[k] for k in names if message.get(k)}
    return {"content": message.get("content") or "", **kept}


# -- LM Studio's websockets -------------------------------------------------------------------------------------------


class _Websocket(OpenAIChatCodec):
    """Both transports of LM Studio share a history: what one is sent, the other may have answered."""

    def encode(self, request: ChatRequest, context: CodecContext) -> WireCall:
        return LMStudioChatCodec().encode(request, context)


def _judge_lmstudio(_: WireCall, body: Body) -> list[str]:
    parameter = json.loads(json.dumps(body["parameter"])) | {"modelSpecifier": {"type": "query", "query": {}}}
    for message in parameter["history"]["messages"]:
        for part in message["content"]:
            if "upload" in part:  # what the driver puts there
                del part["upload"]
                part |= {"name": "image-0.png", "identifier": "file-1", "sizeBytes": 70, "fileType": "image"}
    frame = {"type": "channelCreate", "endpoint": "predict", "channelId": 1, "creationParameter": parameter}
    return lmstudio_rules.inbound_faults("llm", frame)


def _say_lmstudio(step: str, n: int, body: Body) -> Body:
    return completion(_say(step, n, "call_"), {"model": "m"}, QUIRKS["lmstudio"], n)


# -- Ollama -----------------------------------------------------------------------------------------------------------


def _say_ollama(step: str, n: int, body: Body) -> Body:
    say = _say(step, n, "call_")
    message: Body = {"role": "assistant", "content": say.text or ""}
    if say.reasoning:
        message["thinking"] = say.reasoning
    if say.calls:
        functions = [{"index": i, "name": c.name, "arguments": c.arguments} for i, c in enumerate(say.calls)]
        message["tool_calls"] = [{"id": c.id, "function": f} for c, f in zip(say.calls, functions, strict=True)]
    return {"model": "m", "created_at": "2026-08-21T18:48:22Z", "message": message, "done": True, "done_reason": "stop"}


def _ollama_messages(value: Body) -> list[Any]:
    if "message" in value:
        return [value["message"]]
    return [m for m in value["messages"] if m["role"] == "assistant"]
