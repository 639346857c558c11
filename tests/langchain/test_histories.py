"""Histories wander between providers and integrations: every receiver accepts them, and a maker gets its own back."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    message_chunk_to_message,
    messages_from_dict,
)
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from langchain_unified_llm import ChatUnifiedLLM
from testkit.claude_double import ClaudeDouble, answer, redacted, text, thinking, tool_use
from testkit.openai_double import Call, OpenAIDouble, Say
from testkit.openai_wire import PNG

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
TOOLS = [{"name": "add", "description": "Add.", "parameters": SCHEMA}]
STEPS = ["text", "thinking", "redacted", "call", "two calls", "thinking and call"]


@pytest.fixture(scope="module")
def claude() -> Iterator[ClaudeDouble]:
    with ClaudeDouble() as double:
        yield double


@pytest.fixture(scope="module")
def lmstudio() -> Iterator[OpenAIDouble]:
    with OpenAIDouble("lmstudio") as double:
        yield double


def ours(double: Any) -> ChatUnifiedLLM:
    if isinstance(double, ClaudeDouble):
        return ChatUnifiedLLM(model="claude:claude-haiku-5-5", api_key=double.key, base_url=double.url)
    return ChatUnifiedLLM(model="lmstudio:double-1", base_url=double.url)


def script(double: Any, step: str, number: int) -> None:
    """Make the next answer of `double` one of `STEPS`, with ids that differ from turn to turn."""
    calls = {"call": 1, "two calls": 2, "thinking and call": 1}.get(step, 0)
    ids = [f"call_{number}_{i}" for i in range(calls)]
    if isinstance(double, ClaudeDouble):
        blocks = [thinking("hmm")] if "thinking" in step else [redacted()] if step == "redacted" else []
        uses = [tool_use("add", {"a": i}, id=one) for i, one in enumerate(ids)]
        double.script([answer(*blocks, *(uses or [text(f"answer {number}")]))])
    else:
        asked = [Call("add", {"a": i}, id=one) for i, one in enumerate(ids)]
        reasoning = "hmm" if "thinking" in step else None
        double.script(Say(None if asked else f"answer {number}", reasoning=reasoning, calls=asked))


def added(chunks: Any) -> AIMessage:
    first, *rest = chunks
    message = message_chunk_to_message(first + rest)
    assert isinstance(message, AIMessage)
    return message


def ask(history: list[BaseMessage], double: Any, step: str, *, stream: bool) -> AIMessage:
    """One turn with `double`, its tool calls answered; appends to the history."""
    number = len(history)
    history.append(HumanMessage(f"question {number}"))
    script(double, step, number)
    llm = ours(double).bind_tools(TOOLS)
    message = added(llm.stream(history)) if stream else llm.invoke(history)
    history.append(message)
    history += [ToolMessage(str(i), tool_call_id=str(c["id"])) for i, c in enumerate(message.tool_calls)]
    return message


@pytest.mark.parametrize("stream", [False, True], ids=["invoke", "stream"])
@pytest.mark.parametrize("step", STEPS)
def test_what_claude_said_goes_back_to_it_byte_for_byte(claude: ClaudeDouble, step: str, stream: bool) -> None:
    history: list[BaseMessage] = []
    ask(history, claude, step, stream=stream)
    ours(claude).bind_tools(TOOLS).invoke([*history, HumanMessage("And now?")])
    sent = claude.last["messages"][1]["content"]
    kinds = {
        "text": ["text"],
        "thinking": ["thinking", "text"],
        "redacted": ["redacted_thinking", "text"],
        "call": ["tool_use"],
        "two calls": ["tool_use", "tool_use"],
        "thinking and call": ["thinking", "tool_use"],
    }[step]
    blocks = [{"type": "text", "text": sent}] if isinstance(sent, str) else sent
    assert [block["type"] for block in blocks] == kinds
    assert claude.violations == []


def test_foreign_thinking_is_never_sent_to_claude_in_any_form(claude: ClaudeDouble, lmstudio: OpenAIDouble) -> None:
    history: list[BaseMessage] = []
    ask(history, lmstudio, "thinking and call", stream=False)
    signed = {"type": "reasoning", "reasoning": "hmm", "extras": {"signature": "forged"}}
    foreign = AIMessage(
        [signed, {"type": "text", "text": "Yes."}],
        response_metadata={"model_provider": "google_genai", "output_version": "v1"},
    )
    message = ours(claude).bind_tools(TOOLS).invoke([*history, HumanMessage("?"), foreign, HumanMessage("And now?")])
    assert "hmm" not in json.dumps(claude.last)
    assert "forged" not in json.dumps(claude.last)
    lost = [a for a in message.response_metadata["adjustments"] if a["kind"] == "lost"]
    assert len(lost) == 2


# -- histories that other integrations made --------------------------------------------------------------------------


def chat_anthropic(double: ClaudeDouble, **options: Any) -> ChatAnthropic:
    return ChatAnthropic(  # type: ignore[call-arg]
        model="claude-haiku-5-5", api_key=SecretStr(double.key), base_url=double.url, max_tokens=1000, **options
    )


@pytest.mark.parametrize("version", ["v0", "v1"])
@pytest.mark.parametrize("stream", [False, True], ids=["invoke", "stream"])
@pytest.mark.parametrize("step", STEPS)
def test_a_history_of_chatanthropic_replays_to_claude_with_its_signatures(
    claude: ClaudeDouble, lmstudio: OpenAIDouble, step: str, stream: bool, version: str
) -> None:
    script(claude, step, 1)
    theirs = chat_anthropic(claude, output_version=version).bind_tools(TOOLS)
    question = HumanMessage("How many?")
    made = added(theirs.stream([question])) if stream else theirs.invoke([question])
    claude.violations.clear()  # what the other integration sent is not under test
    results = [ToolMessage("1", tool_call_id=str(c["id"])) for c in made.tool_calls]
    history = [question, made, *results, HumanMessage("And now?")]
    for double in (claude, lmstudio):
        assert ours(double).bind_tools(TOOLS).invoke(history)
    assert claude.violations == []
    sent = json.dumps(claude.last["messages"][1]["content"])
    assert ('"signature"' in sent) == ("thinking" in step)
    assert ("redacted_thinking" in sent) == (step == "redacted")


@pytest.mark.parametrize("step", ["text", "call", "two calls"])
def test_a_history_of_chatopenai_replays_to_both(claude: ClaudeDouble, step: str) -> None:
    with OpenAIDouble("openai", api_key="k") as double:
        script(double, step, 1)
        theirs = ChatOpenAI(model="double-1", api_key=SecretStr("k"), base_url=double.url).bind_tools(TOOLS)
        question = HumanMessage("How many?")
        made = theirs.invoke([question])
        results = [ToolMessage("1", tool_call_id=str(c["id"])) for c in made.tool_calls]
        history = [question, made, *results, HumanMessage("And now?")]
        assert ours(claude).bind_tools(TOOLS).invoke(history)
        assert ChatUnifiedLLM(model="openai:double-1", api_key="k", base_url=double.url).invoke(history)
    assert claude.violations == []


# Recorded with ChatLiteLLM 0.11.2, which needs an old openai SDK, in front of the same doubles and with the same STEPS.
RECORDED = json.loads((Path(__file__).parents[1] / "fixtures/langchain/chatlitellm_messages.json").read_bytes())


@pytest.mark.parametrize("made", RECORDED, ids=lambda r: f"{r['from']}-{r['step']}{'-stream' * r['stream']}")
def test_a_history_of_chatlitellm_replays_to_both(
    claude: ClaudeDouble, lmstudio: OpenAIDouble, made: dict[str, Any]
) -> None:
    (message,) = messages_from_dict([made["message"]])
    assert isinstance(message, AIMessage)
    results = [ToolMessage("1", tool_call_id=str(c["id"])) for c in message.tool_calls]
    history = [HumanMessage("How many?"), message, *results, HumanMessage("And now?")]
    for double in (claude, lmstudio):
        assert ours(double).bind_tools(TOOLS).invoke(history)
    assert claude.violations == []
    assert "hmm" not in json.dumps(claude.last)  # its thinking has lost what would prove it to be Claude's
    answered = claude.last["messages"][1]["content"]
    calls = [block["input"] for block in answered if block["type"] == "tool_use"] if message.tool_calls else []
    assert calls == [c["args"] for c in message.tool_calls]
    assert ("answer 1" in json.dumps(answered)) == (message.text == "answer 1")
    sent = lmstudio.requests[-1].body["messages"][1]
    assert len(sent.get("tool_calls") or ()) == len(message.tool_calls)


LONG = "functions.add:0|" + "x" * 60
CUT: Any = {"name": "add", "args": '{"a"', "id": "c1", "error": "cut", "type": "invalid_tool_call"}


def calling(*ids: str) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": "add", "args": {}, "id": i, "type": "tool_call"} for i in ids])


ODD: dict[str, list[BaseMessage]] = {
    "ai first": [AIMessage("I speak first."), HumanMessage("Hi")],
    "blank": [HumanMessage("Hi"), AIMessage("   "), HumanMessage("Still there?")],
    "empty": [HumanMessage("Hi"), AIMessage(""), HumanMessage("Still there?")],
    "system later": [HumanMessage("Hi"), AIMessage("Hello"), SystemMessage("Be brief."), HumanMessage("Go on")],
    "two humans": [HumanMessage("Hi"), HumanMessage("again")],
    "broken call": [
        HumanMessage("Hi"),
        AIMessage("", invalid_tool_calls=[CUT]),
        ToolMessage("the arguments were cut", tool_call_id="c1", status="error"),
        HumanMessage("Try again"),
    ],
    "long id": [HumanMessage("Hi"), calling(LONG), ToolMessage("1", tool_call_id=LONG)],
    "colliding ids": [
        HumanMessage("Hi"),
        calling("a:0", "a_0"),
        ToolMessage("1", tool_call_id="a:0"),
        ToolMessage("2", tool_call_id="a_0"),
    ],
}


@pytest.mark.parametrize("history", ODD.values(), ids=ODD.keys())
def test_odd_histories_are_accepted_by_either_provider(
    claude: ClaudeDouble, lmstudio: OpenAIDouble, history: list[BaseMessage]
) -> None:
    for double in (claude, lmstudio):
        assert ours(double).bind_tools(TOOLS).invoke(history)
    assert claude.violations == []


@pytest.mark.parametrize("streamed", [False, True])
def test_a_conversation_goes_on_after_a_call_was_cut_off(streamed: bool, claude: Any, lmstudio: Any) -> None:
    lmstudio.script(Say("", calls=[Call("add", '{"a": 12, "b": "/da', id="call_1")], finish="length"))
    llm = ours(lmstudio).bind_tools(TOOLS)
    cut = message_chunk_to_message(_merged(llm.stream("Hi"))) if streamed else llm.invoke("Hi")
    assert isinstance(cut, AIMessage)
    assert [call["name"] for call in cut.invalid_tool_calls] == ["add"]
    history = [HumanMessage("Hi"), cut, HumanMessage("Go on.")]
    for receiver in (llm, ours(claude).bind_tools(TOOLS)):
        said = receiver.invoke(history)
        assert "messages[1].tool_call" in str(said.response_metadata["adjustments"])
    said_call = lmstudio.requests[-1].body["messages"][1]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(said_call) == {"invalid_arguments": '{"a": 12, "b": "/da'}
    assert claude.last["messages"][1]["content"][0]["input"] == {"arguments": '{"a": 12, "b": "/da'}
    assert (claude.violations, lmstudio.violations) == ([], [])


def _merged(chunks: Any) -> Any:
    first, *others = chunks
    return first + others if others else first


IMAGE = {"type": "image", "base64": base64.b64encode(PNG).decode(), "mime_type": "image/png"}
PDF = {"type": "file", "base64": base64.b64encode(b"%PDF-1.4").decode(), "mime_type": "application/pdf"}
OLD = {"type": "file", "source_type": "base64", "data": PDF["base64"], "mime_type": "application/pdf"}
CACHED = {"cache_control": {"type": "ephemeral"}}
MARKS = {"citations": {"enabled": True}, "context": "From 2020."}


@pytest.mark.parametrize(
    ("block", "marks"),
    [
        ({**IMAGE, **CACHED}, CACHED),
        ({**IMAGE, "extras": CACHED}, CACHED),
        ({**PDF, "extras": {**MARKS, **CACHED}}, {**MARKS, **CACHED}),
        ({**PDF, **MARKS}, MARKS),
        ({**OLD, "metadata": MARKS}, MARKS),
        ({"type": "text-plain", "text": "A note.", "mime_type": "text/plain", "extras": MARKS}, MARKS),
    ],
    ids=["image", "image extras", "file extras", "file", "v0 metadata", "plain text"],
)
def test_what_claude_has_for_a_media_block_reaches_it_and_is_recorded_elsewhere(
    block: dict[str, Any], marks: dict[str, Any], claude: Any, lmstudio: Any
) -> None:
    history = [HumanMessage([{"type": "text", "text": "Look."}, block])]
    ours(claude).invoke(history)
    sent = claude.last["messages"][0]["content"][1]
    assert {name: sent.get(name) for name in marks} == marks
    adjustments = ours(lmstudio).invoke(history).response_metadata["adjustments"]
    assert {f"messages[0].parts[1].{name}" for name in marks} <= {a["what"] for a in adjustments}
    assert claude.violations == []
