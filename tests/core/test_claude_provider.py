"""What `ClaudeProvider` adds to codec and driver: long answers, edited histories, models, counting, no embeddings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from testkit.claude_calls import request
from testkit.claude_double import ClaudeDouble, answer, failure, redacted, text, thinking, tool_use
from unified_llm import (
    InvalidRequestError,
    Message,
    ModelNotFoundError,
    Tool,
    ToolResult,
    UnifiedLLM,
    UnsupportedOptionError,
)
from unified_llm.messages import Text, Thinking
from unified_llm.providers.claude import ClaudeProvider
from unified_llm.requests import EmbedRequest
from unified_llm.responses import ChatResponse
from unified_llm.stream import StreamEnd

WEATHER = Tool(
    "get_weather",
    "Weather of a city.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
TIME = Tool("get_time", "Time of day.")


@pytest.fixture
def claude(claude_double: ClaudeDouble) -> Iterator[ClaudeProvider]:
    provider = ClaudeProvider(api_key=claude_double.key, base_url=claude_double.url, transport="http")
    yield provider
    provider.close()


def whole(claude: ClaudeProvider, asked: Any) -> ChatResponse:
    end = list(claude.stream(asked))[-1]
    assert isinstance(end, StreamEnd)
    return end.response


# -- conversations ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("streamed", [False, True])
def test_a_tool_conversation_with_thinking_continues_without_a_400(
    claude: ClaudeProvider, claude_double: ClaudeDouble, streamed: bool
) -> None:
    """The double binds each signature to the exact conversation before it, as current models do."""
    claude_double.script(
        [
            answer(
                thinking("Two lookups."),
                redacted(),
                text("Looking."),
                thinking("In parallel."),
                tool_use("get_weather", {"city": "Paris"}),
                tool_use("get_time", {}),
            ),
            answer(thinking("Both came."), "It is sunny at noon."),
        ]
    )
    ask = whole if streamed else ClaudeProvider.chat
    talk = [Message("system", "Be brief."), Message("user", "Weather and time?")]
    first = ask(claude, request(talk, tools=[WEATHER, TIME], thinking=True))
    assert [type(p).__name__ for p in first.message.parts] == [
        "Thinking",
        "Thinking",
        "Text",
        "Thinking",
        "ToolCall",
        "ToolCall",
    ]
    talk += [first.message, *(Message("tool", ToolResult(c.id, "r")) for c in first.tool_calls)]
    second = ask(claude, request(talk, tools=[WEATHER, TIME], thinking=True))
    assert second == "It is sunny at noon."
    talk += [second.message, Message("user", "Thanks")]
    third = ask(claude, request(talk, tools=[WEATHER, TIME], thinking=True))
    assert third.adjustments == ()
    sent = claude_double.last["messages"]
    assert [b["type"] for b in sent[1]["content"]] == [
        "thinking",
        "redacted_thinking",
        "text",
        "thinking",
        "tool_use",
        "tool_use",
    ]
    assert claude_double.violations == []


def test_a_conversation_survives_being_dumped_and_loaded(claude: ClaudeProvider, claude_double: ClaudeDouble) -> None:
    claude_double.script([answer(thinking("Hm."), redacted(), "Hello.")])
    talk = [Message("user", "Hi")]
    first = claude.chat(request(talk))
    stored = json.loads(json.dumps([m.dump() for m in [*talk, first.message]]))
    again = [Message.from_dict(m) for m in stored]
    assert claude.chat(request([*again, Message("user", "Go on")])).adjustments == ()
    assert [b["type"] for b in claude_double.last["messages"][1]["content"]] == [
        "thinking",
        "redacted_thinking",
        "text",
    ]


@pytest.mark.parametrize("streamed", [False, True])
def test_an_edited_history_is_sent_once_more_without_its_thinking(
    claude: ClaudeProvider, claude_double: ClaudeDouble, streamed: bool
) -> None:
    claude_double.script([answer(thinking("Hm."), "Hello.")])
    first = claude.chat(request([Message("user", "Hi")]))
    edited = [Message("user", "Hi (edited)"), first.message, Message("user", "Go on")]
    response = whole(claude, request(edited)) if streamed else claude.chat(request(edited))
    assert response == "You said: Go on"
    assert [(a.kind, a.what) for a in response.adjustments] == [("lost", "messages[1].parts[0]")]
    assert len(claude_double.requests) == 3
    assert claude_double.violations == ["Invalid `thinking` block. The block is bound to a different conversation."]
    claude_double.violations.clear()


async def test_an_edited_history_is_repaired_in_async_calls_too(
    claude: ClaudeProvider, claude_double: ClaudeDouble
) -> None:
    claude_double.script([answer(thinking("Hm."), "Hello.")])
    first = await claude.chat_async(request([Message("user", "Hi")]))
    edited = [Message("user", "Hi (edited)"), first.message, Message("user", "Go on")]
    response = await claude.chat_async(request(edited))
    events = [e async for e in claude.stream_async(request(edited))]
    assert response == "You said: Go on"
    assert isinstance(events[-1], StreamEnd)
    assert events[-1].response.adjustments == response.adjustments != ()
    claude_double.violations.clear()
    await claude.aclose()


def test_other_refusals_are_not_sent_again(claude: ClaudeProvider, claude_double: ClaudeDouble) -> None:
    claude_double.script([failure(400, "max_tokens: too large")])
    talk = [Message("user", "x"), Message("assistant", [Thinking("hm"), Text("a")]), Message("user", "y")]
    with pytest.raises(InvalidRequestError):
        claude.chat(request(talk))
    assert len(claude_double.requests) == 1


def test_a_stale_signature_without_thinking_in_the_history_is_not_repaired(
    claude: ClaudeProvider, claude_double: ClaudeDouble
) -> None:
    claude_double.script([failure(400, "The block is bound to a different conversation.")])
    with pytest.raises(InvalidRequestError, match="different conversation"):
        claude.chat(request("x"))
    assert len(claude_double.requests) == 1


def test_a_system_message_in_mid_conversation_keeps_the_prefix_and_the_thinking(
    claude: ClaudeProvider, claude_double: ClaudeDouble
) -> None:
    claude_double.script([answer(thinking("Hm."), "Hello.")])
    talk = [Message("system", "Be kind."), Message("user", "Hi")]
    first = claude.chat(request(talk))
    talk += [first.message, Message("user", "Go on"), Message("system", "From now on, in French.")]
    assert claude.chat(request(talk)).adjustments == ()
    assert claude_double.last["messages"][-1] == {"role": "system", "content": "From now on, in French."}


def test_prompt_caching_reads_what_the_first_call_wrote(claude: ClaudeProvider) -> None:
    first = claude.chat(request([Message("system", "Long. " * 50), Message("user", "a")], prompt_caching="1h"))
    again = claude.chat(request([Message("system", "Long. " * 50), Message("user", "a")], prompt_caching="1h"))
    assert first.usage.cache_write_tokens
    assert first.usage.cache_read_tokens == 0
    assert again.usage.cache_read_tokens
    assert first.usage.input_tokens == again.usage.input_tokens


# -- long answers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "streams"), [(21_333, False), (21_334, True), (64_000, True), (None, False)])
def test_long_answers_are_streamed_inside_a_chat(
    claude: ClaudeProvider, claude_double: ClaudeDouble, limit: int | None, streams: bool
) -> None:
    assert claude.chat(request("Hi", max_tokens=limit)) == "You said: Hi"
    assert claude_double.last.get("stream", False) is streams


@pytest.mark.parametrize(
    ("model", "options", "limit"),
    [
        ("claude-haiku-4-5", {"thinking": True}, 24_576),
        ("claude-haiku-4-5", {"thinking": 4000}, 20_384),
        ("claude-haiku-4-5", {"thinking": True, "max_tokens": 9000}, 9000),
        ("claude-sonnet-5-5", {"thinking": 30_000}, 16_384),
        ("claude-sonnet-5-5", {"provider_options": {"claude": {"max_tokens": 30_000}}}, 30_000),
        ("claude-sonnet-5-5", {"extra_body": {"max_tokens": 50}, "max_tokens": 30_000}, 50),
    ],
)
def test_what_is_sent_decides_whether_an_answer_is_long(
    claude: ClaudeProvider, claude_double: ClaudeDouble, model: str, options: dict[str, Any], limit: int
) -> None:
    claude.chat(request("Hi", model, **options))
    assert claude_double.last["max_tokens"] == limit
    assert claude_double.last.get("stream", False) is (limit > 21_333)


async def test_long_answers_are_streamed_inside_an_async_chat(
    claude: ClaudeProvider, claude_double: ClaudeDouble
) -> None:
    response = await claude.chat_async(request("Hi", max_tokens=64_000))
    assert response == "You said: Hi"
    assert response.usage.total_tokens
    assert claude_double.last["stream"] is True
    await claude.aclose()


def test_a_timeout_of_ones_own_keeps_a_long_answer_whole(claude: ClaudeProvider, claude_double: ClaudeDouble) -> None:
    claude.chat(request("Hi", max_tokens=64_000, timeout=30))
    assert "stream" not in claude_double.last


# -- the rest of the API ----------------------------------------------------------------------------------------------


def test_models_are_listed_over_all_pages_with_their_capabilities() -> None:
    with ClaudeDouble(page=7) as double:
        provider = ClaudeProvider(api_key=double.key, base_url=double.url, transport="http")
        models = provider.list_models()
        assert [m.id for m in models] == double.models
        assert len(double.requests) == 3
        haiku = next(m for m in models if m.id == "claude-haiku-4-5")
        assert (haiku.context_window, haiku.max_output_tokens) == (200_000, 64_000)
        assert haiku.capabilities["vision"] == haiku.capabilities["tools"] == "yes"
        provider.close()
        assert double.violations == []


async def test_models_are_listed_in_async_calls_too(claude: ClaudeProvider, claude_double: ClaudeDouble) -> None:
    assert [m.id for m in await claude.list_models_async()] == claude_double.models
    await claude.aclose()


def test_tokens_are_counted_by_the_server(claude: ClaudeProvider, claude_double: ClaudeDouble) -> None:
    count = claude.count_tokens(request([Message("system", "Be kind."), Message("user", "one two three")]))
    assert count > 4
    assert claude_double.requests[-1].path == "/v1/messages/count_tokens"


async def test_tokens_are_counted_in_async_calls_too(claude: ClaudeProvider) -> None:
    assert await claude.count_tokens_async(request("one two three")) > 2
    await claude.aclose()


async def test_an_edited_history_is_counted_without_its_thinking(
    claude: ClaudeProvider, claude_double: ClaudeDouble
) -> None:
    claude_double.script([answer(thinking("Hm."), "Hello.")])
    first = claude.chat(request([Message("user", "Hi")]))
    edited = request([Message("user", "Hi (edited)"), first.message, Message("user", "Go on")])
    assert claude.count_tokens(edited) == await claude.count_tokens_async(edited) > 0
    assert len(claude_double.violations) == 2
    claude_double.violations.clear()
    await claude.aclose()


def test_a_failed_count_is_typed(claude: ClaudeProvider) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        claude.count_tokens(request("x", model="claude-2.1"))
    assert caught.value.hint is not None
    assert "claude-sonnet-5-5" in caught.value.hint
    assert (caught.value.provider, caught.value.model) == ("claude", "claude-2.1")


async def test_embeddings_are_refused_with_where_to_get_them(claude: ClaudeProvider) -> None:
    with pytest.raises(UnsupportedOptionError, match="no embedding models") as caught:
        claude.embed(EmbedRequest("m", ("x",)))
    assert caught.value.hint is not None
    assert "embed_model" in caught.value.hint
    with pytest.raises(UnsupportedOptionError):
        await claude.embed_async(EmbedRequest("m", ("x",)))


async def test_the_default_model_comes_from_the_registry(claude: ClaudeProvider) -> None:
    assert claude.default_model() == await claude.default_model_async() == "claude-sonnet-5-5"


def test_the_facade_reaches_claude_under_both_names(claude_double: ClaudeDouble) -> None:
    for name in ("claude", "anthropic"):
        with UnifiedLLM(provider=name, api_key=claude_double.key, base_url=claude_double.url, transport="http") as llm:
            assert llm.chat("Hi") == "You said: Hi"
            assert llm.chat("Hi", model=f"{name}:claude-opus-5-5").model == "claude-opus-5-5"


def test_a_refusal_of_the_model_is_a_finish_reason_with_details(
    claude: ClaudeProvider, claude_double: ClaudeDouble
) -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "no"}
    claude_double.script([answer(stop_reason="refusal", stop_details=details)])
    response = claude.chat(request("x"))
    assert response.finish_reason == "refusal"
    assert response.raw["stop_details"] == details
    assert response.finish_details == {"stop_details": details}
    assert response.to_dict()["finish_details"] == {"stop_details": details}


def test_a_long_answer_that_is_streamed_inside_keeps_why_it_was_refused(
    claude: ClaudeProvider, claude_double: ClaudeDouble
) -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "no"}
    claude_double.script([answer(stop_reason="refusal", stop_details=details)])
    response = claude.chat(request("x", max_tokens=50_000))
    assert (response.raw, response.finish_details) == (None, {"stop_details": details})


def test_structured_output_is_parsed(claude: ClaudeProvider) -> None:
    response = claude.chat(request("x", response_format=WEATHER.parameters))
    assert response.parsed == {"city": "text"}


def test_a_missing_sdk_names_the_extra_and_plain_http_needs_none(
    monkeypatch: pytest.MonkeyPatch, claude_double: ClaudeDouble
) -> None:
    import sys

    from unified_llm import MissingDependencyError

    monkeypatch.setitem(sys.modules, "anthropic", None)
    with pytest.raises(MissingDependencyError, match="anthropic") as caught:
        UnifiedLLM("claude", api_key=claude_double.key, base_url=claude_double.url)
    assert str(caught.value.hint).startswith('pip install "unified-llm[claude]"')
    assert "transport='http'" in str(caught.value.hint)
    assert caught.value.provider == "claude"
    with pytest.raises(MissingDependencyError):
        ClaudeProvider(api_key=claude_double.key, transport="sdk-aiohttp")
    over_http = ClaudeProvider(api_key=claude_double.key, base_url=claude_double.url, transport="http")
    assert over_http.chat(request("Hi")) == "You said: Hi"
    over_http.close()
