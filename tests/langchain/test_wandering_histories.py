"""Histories wander at random through four servers, five ways of calling and three ways of storing.

Every request is judged by the strict double that receives it; what a server signed or numbered itself comes back to it
byte for byte and in order; every text arrives; and nobody changes the messages that were passed.
"""

from __future__ import annotations

import base64
import json
import pickle
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    message_chunk_to_message,
    messages_from_dict,
    messages_to_dict,
)

from langchain_unified_llm import ChatUnifiedLLM
from testkit import responses_double as responses
from testkit.claude_double import ClaudeDouble, answer, redacted, text, thinking, tool_use
from testkit.claude_replies import message_of
from testkit.ollama_double import OllamaDouble
from testkit.openai_double import Call, OpenAIDouble, Say
from testkit.openai_wire import PNG
from testkit.responses_double import ResponsesDouble

TOOLS = [
    {
        "name": "add",
        "description": "Add.",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}},
    }
]
STEPS = ["text", "thinking", "hidden thinking", "call", "calls", "thinking and call", "own tool"]
WAYS = ["invoke", "invoke v1", "stream", "stream v1", "events"]


class Server:
    """One double, the model that talks to it, and what it gave out that has to come back."""

    def __init__(self, double: Any, fields: dict[str, Any]) -> None:
        self.double = double
        self.v0 = ChatUnifiedLLM(**fields, base_url=double.url)
        self.v1 = ChatUnifiedLLM(**fields, base_url=double.url, output_version="v1")
        self.served: list[Any] = []

    def script(self, step: str, n: int) -> None:
        raise NotImplementedError

    def note(self) -> None:
        """Remember what the last answer gave out."""

    def own(self, body: Any) -> list[Any]:
        """Of a request: what this kind of server must get back as it gave it out."""
        raise NotImplementedError


class Claude(Server):
    def script(self, step: str, n: int) -> None:
        said, thought = text(f"said-{n}"), thinking(f"thought-{n}")
        calls = [tool_use("add", {"a": n * 10 + i}, id=f"toolu_{n}_{i}") for i in range(2)]
        found = {"type": "web_search_result", "title": "T", "url": f"https://own-{n}", "encrypted_content": "e"}
        search = [
            {"type": "server_tool_use", "id": f"srvtoolu_{n}", "name": "web_search", "input": {"query": "q"}},
            {"type": "web_search_tool_result", "tool_use_id": f"srvtoolu_{n}", "content": [found | {"page_age": None}]},
        ]
        blocks: dict[str, list[Any]] = {
            "thinking": [thought, said],
            "hidden thinking": [redacted(f"hidden-{n}"), said],
            "call": [said, calls[0]],
            "calls": calls,
            "thinking and call": [thought, calls[0]],
            "own tool": [*search, said],
        }
        self.reply = answer(*blocks.get(step, [said]))
        self.double.script([self.reply])

    def note(self) -> None:
        self.served += [b for b in message_of(self.reply, self.double.last, 0, False)["content"] if b["type"] != "text"]

    def own(self, body: Any) -> list[Any]:
        turns = [m["content"] for m in body["messages"] if m["role"] == "assistant"]
        return [b for turn in turns if isinstance(turn, list) for b in turn]


class Responses(Server):
    def script(self, step: str, n: int) -> None:
        said = responses.message(f"said-{n}", phase="final_answer")
        calls = [responses.call("add", {"a": n * 10 + i}, f"call_{n}_{i}") for i in range(2)]
        items: dict[str, list[Any]] = {
            "thinking": [responses.thought(f"thought-{n}"), said],
            "hidden thinking": [responses.thought(), said],
            "call": [said, calls[0]],
            "calls": calls,
            "thinking and call": [responses.thought(f"thought-{n}"), calls[0]],
            "own tool": [responses.web_search(f"own-{n}"), said],
        }
        self.items = items.get(step, [said])
        self.double.script(self.items)

    def note(self) -> None:
        self.served += self.items

    def own(self, body: Any) -> list[Any]:
        return [item for item in body["input"] if item.get("id")]


class OpenAI(Server):
    def script(self, step: str, n: int) -> None:
        # Ids with signs that Claude refuses, as some servers write them.
        calls = [Call("add", {"a": n * 10 + i}, id=f"functions.add:{n}{i}") for i in range(2)]
        says = {
            "thinking": Say(f"said-{n}", reasoning=f"thought-{n}"),
            "call": Say(f"said-{n}", calls=calls[:1]),
            "calls": Say(calls=calls),
            "thinking and call": Say(reasoning=f"thought-{n}", calls=calls[:1]),
        }
        self.say = says.get(step, Say(f"said-{n}"))
        self.double.script(self.say)

    def note(self) -> None:
        for call in self.say.calls:
            assert isinstance(call.arguments, dict)
            self.served.append([call.id, call.name, call.arguments])

    def own(self, body: Any) -> list[Any]:
        calls = [call for m in body["messages"] for call in m.get("tool_calls", ())]
        return [[c["id"], c["function"]["name"], json.loads(c["function"]["arguments"])] for c in calls]


class Ollama(OpenAI):
    def note(self) -> None:
        self.served += [[c.name, c.arguments] for c in self.say.calls]  # ids are optional in its dialect

    def own(self, body: Any) -> list[Any]:
        calls = [call["function"] for m in body["messages"] for call in m.get("tool_calls", ())]
        return [[function["name"], function["arguments"]] for function in calls]


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Server]]:
    with ExitStack() as stack:
        claude = stack.enter_context(ClaudeDouble())
        lmstudio = stack.enter_context(OpenAIDouble("lmstudio"))
        openai = stack.enter_context(ResponsesDouble(api_key="k"))
        ollama = stack.enter_context(OllamaDouble())
        dialect = {"dialect": "responses"}
        made: dict[str, Server] = {
            "claude": Claude(claude, {"model": "claude:claude-haiku-5-5", "api_key": claude.key}),
            "lmstudio": OpenAI(lmstudio, {"model": "lmstudio:double-1"}),
            "openai": Responses(openai, {"model": "openai:gpt-5-mini", "api_key": "k", "client_options": dialect}),
            "ollama": Ollama(ollama, {"model": "ollama:tiny:latest"}),
        }
        yield made
        for server in made.values():
            server.v0.close()
            server.v1.close()


def call(server: Server, way: str, history: list[BaseMessage]) -> AIMessage:
    """One answer, asked for in one of the `WAYS`, as a whole message."""
    llm = server.v1 if way.endswith("v1") else server.v0
    if way == "events":
        made: Any = llm.stream_events(history, version="v3", tools=TOOLS).output
    elif way.startswith("stream"):
        made = added(llm.bind_tools(TOOLS).stream(history))
    else:
        made = llm.bind_tools(TOOLS).invoke(history)
    assert isinstance(made, AIMessage)
    return made


def added(chunks: Any) -> BaseMessage:
    first, *rest = chunks
    return message_chunk_to_message(first + rest)


def through_json(history: list[BaseMessage]) -> list[BaseMessage]:
    return messages_from_dict(json.loads(json.dumps(messages_to_dict(history))))


def through_pickle(history: list[BaseMessage]) -> list[BaseMessage]:
    copy: list[BaseMessage] = pickle.loads(pickle.dumps(history))
    return copy


STORES: dict[str, Callable[[list[BaseMessage]], list[BaseMessage]]] = {
    "memory": lambda history: history,
    "json": through_json,
    "pickle": through_pickle,
}


def asked(kind: str, n: int) -> list[BaseMessage]:
    """What the user says."""
    if kind == "image":
        image = {"type": "image", "base64": base64.b64encode(PNG).decode(), "mime_type": "image/png"}
        return [HumanMessage([{"type": "text", "text": f"asked-{n}"}, image])]
    if kind == "system":
        return [SystemMessage(f"system-{n}"), HumanMessage(f"asked-{n}")]
    if kind == "two":
        return [HumanMessage(f"asked-{n}"), HumanMessage(f"again-{n}")]
    return [HumanMessage(f"asked-{n}")]


def foreign(n: int) -> list[BaseMessage]:
    """A turn of another integration, with thinking that only its maker may see again."""
    thought = {"type": "reasoning", "reasoning": f"thought-{n}", "extras": {"signature": f"forged-{n}"}}
    metadata = {"model_provider": "google_genai", "output_version": "v1"}
    return [
        HumanMessage(f"asked-{n}"),
        AIMessage([thought, {"type": "text", "text": f"said-{n}"}], response_metadata=metadata),
    ]


class Walk:
    """One conversation, carried from server to server."""

    def __init__(self, servers: dict[str, Server]) -> None:
        self.servers = servers
        self.history: list[BaseMessage] = []
        self.said: set[str] = set()
        for server in servers.values():
            server.served = []
            server.double.violations.clear()

    def go(self, name: str, step: str, way: str, user: str, store: str) -> None:
        server, n = self.servers[name], len(self.history) + 1
        if user == "foreign":
            self.history += foreign(n)
            self.said |= {f"asked-{n}", f"said-{n}"}
            n = len(self.history) + 1
        self.history += asked(user, n)
        self.said.add(f"asked-{n}")
        server.script(step, n)
        made = self.ask(server, way)
        server.note()
        self.history.append(made)
        self.said |= {f"said-{n}"} if str(made.text) else set()
        for one in made.tool_calls:
            assert one["id"]
            self.history.append(ToolMessage(f"result-{one['args']['a']}", tool_call_id=one["id"]))
            self.said.add(f"result-{one['args']['a']}")
        self.history = STORES[store](self.history)

    def ask(self, server: Server, way: str) -> AIMessage:
        before = pickle.dumps(self.history)
        made = call(server, way, self.history)
        assert server.double.violations == []
        assert pickle.dumps(self.history) == before
        body = server.double.requests[-1].body
        sent = json.dumps(body)
        assert [text for text in self.said if text not in sent] == []
        there = iter(json.dumps(one) for one in server.own(body))
        for one in server.served:
            assert json.dumps(one) in there, f"{one} did not come back as it was"
        return made


TURN = st.tuples(
    st.sampled_from(["claude", "lmstudio", "openai", "ollama"]),
    st.sampled_from(STEPS),
    st.sampled_from(WAYS),
    st.sampled_from(["text", "text", "image", "system", "two", "foreign"]),
    st.sampled_from(list(STORES)),
)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(turns=st.lists(TURN, min_size=2, max_size=6))
def test_a_history_wanders_and_every_server_gets_its_own_back(
    servers: dict[str, Server], turns: list[tuple[str, str, str, str, str]]
) -> None:
    walk = Walk(servers)
    for turn in turns:
        walk.go(*turn)
    walk.history.append(HumanMessage("And now?"))
    for name in {turn[0] for turn in turns} | {"claude", "lmstudio"}:
        walk.ask(servers[name], "invoke")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("first", ["claude", "openai"])
def test_what_a_server_signed_returns_to_it_after_a_detour(
    servers: dict[str, Server], first: str, step: str, way: str
) -> None:
    walk, store = Walk(servers), "json" if way == "events" else "pickle"
    walk.go(first, step, way, "text", store)
    walk.go("lmstudio", "thinking and call", "stream", "text", store)
    walk.go(first, step, way, "text", store)
    assert walk.servers[first].served or step == "text"
