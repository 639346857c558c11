"""Histories that other providers made, and whole requests, in the OpenAI dialect."""

from __future__ import annotations

import json

import pytest

from testkit.openai_rules import chat_faults
from testkit.openai_services import QUIRKS
from testkit.openai_wire import ADD, MUL, PNG, SCHEMA, ask, body_of, encode, said, turn, wires
from unified_llm.errors import InvalidMessageError
from unified_llm.messages import (
    Image,
    Message,
    Native,
    Opaque,
    Origin,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from unified_llm.profiles import PROFILES
from unified_llm.requests import ResponseFormat
from unified_llm.tools import ToolChoice

# -- thinking and foreign parts --------------------------------------------------------------------------------------

CLAUDE = Origin("claude", "anthropic-messages", "claude-sonnet-5-5")


def with_thinking(*thoughts: Thinking, origin: Origin | None = None) -> list[Message]:
    return [
        Message("user", "Hi"),
        Message("assistant", [*thoughts, Text("Hm."), ToolCall("add", {}, "c1")], origin=origin),
        Message("tool", ToolResult("c1", "1")),
    ]


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        ("openai", {}),
        ("groq", {}),  # "property 'reasoning_content' is unsupported"
        ("lmstudio", {}),
        ("llamacpp", {"reasoning_content": "Idea"}),
        ("vllm", {"reasoning": "Idea"}),
        ("ollama", {"reasoning": "Idea"}),
        ("deepseek", {"reasoning_content": "Idea"}),
    ],
)
def test_reasoning_goes_back_only_where_the_server_wants_it(profile: str, expected: dict[str, str]) -> None:
    history = with_thinking(Thinking("Idea"), origin=Origin(profile, "openai-chat", "m"))
    wire = wires(history, profile)[1]
    assert {k: v for k, v in wire.items() if "reason" in k} == expected
    assert said(ask(history), profile) == []


def test_mistral_reasoning_goes_back_as_content() -> None:
    history = with_thinking(Thinking("Idea"), origin=Origin("mistral", "openai-chat", "m"))
    assert wires(history, "mistral")[1]["content"] == [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Idea"}]},
        {"type": "text", "text": "Hm."},
    ]


def test_deepseek_turns_with_calls_carry_reasoning_even_when_there_is_none() -> None:
    assert wires(with_thinking(origin=CLAUDE), "deepseek")[1]["reasoning_content"] == ""


def test_openrouter_reasoning_details_go_back_verbatim_and_to_openrouter_only() -> None:
    details = [{"type": "reasoning.encrypted", "data": "b3BhcXVl", "index": 0}]
    native = Native("openai-chat", {"type": "reasoning_details", "reasoning_details": details}, "openrouter", "m")
    origin = Origin("openrouter", "openai-chat", "m")
    history = [Message("user", "Hi"), Message("assistant", [Text("Hm."), Opaque(native)], origin=origin)]
    assert wires(history, "openrouter")[1]["reasoning_details"] == details
    assert "reasoning_details" not in wires(history, "openai")[1]
    assert said(ask(history), "openai") == [("lost", "messages[1].reasoning_details")]


def test_gemini_signatures_go_back_to_gemini_only_and_foreign_calls_get_the_documented_stand_in() -> None:
    extra = {"google": {"thought_signature": "CsYB"}}
    function = {"name": "add", "arguments": "{}"}
    raw = {"id": "c1", "type": "function", "function": function, "extra_content": extra}
    own = ToolCall("add", {}, "c1", native=Native("openai-chat", raw, "gemini", "m"))
    history = [
        Message("user", "Hi"),
        turn(own, ToolCall("add", {}, "c2")),
        Message("tool", [ToolResult("c1", "1"), ToolResult("c2", "2")]),
    ]
    first, second = wires(history, "gemini")[1]["tool_calls"]
    assert first["extra_content"] == extra
    assert second["extra_content"]["google"]["thought_signature"] == "skip_thought_signature_validator"
    assert "extra_content" not in wires(history, "openai")[1]["tool_calls"][0]


@pytest.mark.parametrize("profile", ["openai", "deepseek", "openrouter", "lmstudio", "mistral"])
def test_thinking_of_claude_is_dropped_and_recorded_and_nothing_of_it_leaks(profile: str) -> None:
    blocks = (
        Thinking("Secret idea", "sig"),
        Thinking("", redacted="b3BhcXVl"),
    )
    history = with_thinking(*blocks, origin=CLAUDE)
    assert ("lost", "messages[1].thinking") in said(ask(history), profile)
    assert b"Secret idea" not in (encode(ask(history), profile).body or b"")
    assert b"b3BhcXVl" not in (encode(ask(history), profile).body or b"")


def test_opaque_blocks_and_citations_of_claude_are_dropped_and_recorded() -> None:
    opaque = Opaque(Native("anthropic-messages", {"type": "server_tool_use", "id": "x"}, "claude"))
    cited = Text("See.", ({"type": "char_location"},))
    history = [Message("user", "Hi"), Message("assistant", [opaque, cited], origin=CLAUDE)]
    assert wires(history)[1] == {"role": "assistant", "content": "See."}
    assert said(ask(history)) == [("lost", "messages[1].server_tool_use"), ("lost", "messages[1].citations")]


# -- whole requests --------------------------------------------------------------------------------------------------

FULL_HISTORY = [
    Message("system", "Be brief."),
    Message("user", [Text("Look"), Image(data=PNG, media_type="image/png")]),
    Message(
        "assistant",
        [
            Thinking("Idea", "sig"),
            Text("Hm.", ({"type": "char_location"},)),
            ToolCall("add", {"a": 1}, "toolu_01"),
            ToolCall("add", "", "toolu_02"),
        ],
        origin=CLAUDE,
    ),
    Message(
        "tool", [ToolResult("toolu_01", ["1", Image(data=PNG, media_type="image/png")]), ToolResult("toolu_02", "2")]
    ),
    Message("user", "And?"),
    Message("system", "Be kind."),
    Message("assistant", [Thinking("More"), Text("3")]),
    Message("user", "Thanks"),
]


@pytest.mark.parametrize("profile", sorted(QUIRKS))
@pytest.mark.parametrize("stream", [False, True])
def test_a_foreign_history_with_everything_is_a_valid_request_for_every_server(profile: str, stream: bool) -> None:
    request = ask(
        FULL_HISTORY,
        tools=(ADD, MUL),
        tool_choice=ToolChoice("tool", "add"),
        response_format=ResponseFormat(SCHEMA),
        stream=stream,
        temperature=0.5,
        top_p=0.9,
        top_k=5,
        seed=1,
        max_tokens=50,
        stop_sequences=["x"],
        user="u",
        presence_penalty=0.1,
        frequency_penalty=0.1,
        parallel_tool_calls=True,
        logprobs=2,
        effort="low",
        prompt_caching=True,
    )
    call = encode(request, profile)
    assert chat_faults(body_of(call), QUIRKS[profile]) == []
    assert ("lost", "messages[2].thinking") in [(a.kind, a.what) for a in call.adjustments]


def test_the_same_request_always_encodes_to_the_same_bytes() -> None:
    """Servers cache prompts by their prefix."""
    for profile in PROFILES:
        if PROFILES[profile].images:
            assert encode(ask(FULL_HISTORY), profile).body == encode(ask(FULL_HISTORY), profile).body


@pytest.mark.parametrize("profile", ["perplexity", "anythingllm", "lollms-webui"])
def test_calls_and_results_are_told_in_words_to_a_server_without_tools(profile: str) -> None:
    history = [
        Message("user", "Add"),
        Message("assistant", ["I add.", ToolCall("add", {"a": 1}, "call_a"), ToolCall("mul", {"a": 2}, "call_b")]),
        Message("tool", [ToolResult("call_a", "3"), ToolResult("call_b", "overflow", is_error=True)]),
        Message("user", "And now?"),
    ]
    found = wires(history, profile)
    assert not any("tool_calls" in m or m["role"] == "tool" for m in found)
    text = json.dumps(found)
    for words in ("I add.", "Called the tool add with", "The tool add answered: 3", "The tool mul failed: overflow"):
        assert words in text
    named = {what for _, what in said(ask(history), profile)}
    assert {"messages[1]", "messages[2]"} <= named


def test_a_result_without_its_call_is_refused_by_a_server_without_tools_too() -> None:
    with pytest.raises(InvalidMessageError, match="call_x"):
        wires([Message("tool", ToolResult("call_x", "3"))], "perplexity")
