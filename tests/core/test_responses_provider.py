"""The Responses API through the client: when it is chosen, on real sockets, and at a real llama.cpp server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, cast

import pytest

from testkit.llama import LlamaServer
from testkit.openai_double import OpenAIDouble
from testkit.openai_wire import ADD, SCHEMA, ask
from testkit.responses_double import (
    Cut,
    Fail,
    Hang,
    MidStreamError,
    Respond,
    ResponsesDouble,
    call,
    message,
    thought,
    web_search,
)
from unified_llm import UnifiedLLM
from unified_llm.errors import (
    AuthenticationError,
    ConfigurationError,
    InvalidRequestError,
    ModelNotFoundError,
    ServerError,
    StreamInterruptedError,
)
from unified_llm.messages import Audio, Message, ToolResult
from unified_llm.providers.openai import OpenAICompatibleProvider
from unified_llm.providers.registry import PROVIDER_CONFIGS, create_provider
from unified_llm.requests import ChatRequest
from unified_llm.responses import FinishReason
from unified_llm.stream import StreamEnd, TextDelta
from unified_llm.tools import Tool, ToolChoice

WEB = Tool("web_search", native={"type": "web_search"})


@pytest.fixture
def double() -> Iterator[ResponsesDouble]:
    with ResponsesDouble(api_key="k") as found:
        yield found


def client(double: ResponsesDouble, **options: Any) -> UnifiedLLM:
    given = {"dialect": "responses", "model": "gpt-5-mini", "api_key": "k", "max_retries": 0, **options}
    return UnifiedLLM(provider="openai", base_url=double.url, **given)


# -- the choice -------------------------------------------------------------------------------------------------------


def dialect_of(request: ChatRequest, name: str = "openai", **options: Any) -> str:
    provider = cast(OpenAICompatibleProvider, create_provider(name, api_key="k", **options))
    return provider.codec_for(request).dialect.removeprefix("openai-")


@pytest.mark.parametrize("model", ["gpt-5-mini", "gpt-5.2", "gpt-6", "o3", "o4-mini-2025-04-16", "codex-mini-latest"])
def test_models_of_openai_that_reason_take_the_responses_api(model: str) -> None:
    assert dialect_of(ask(model=model)) == "responses"
    assert dialect_of(ask(model=model), base_url="https://eu.api.openai.com/v1") == "responses"


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4.1-mini", "gpt-5-chat-latest", "gpt-5-search-api", "gpt-3.5-turbo"])
def test_other_models_take_chat_completions(model: str) -> None:
    assert dialect_of(ask(model=model)) == "chat"


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("openai", "http://127.0.0.1:4000/v1"),
        ("openai", "https://api.openai.com.example.org/v1"),
        ("openai-compatible", "https://api.openai.com/v1"),
        ("openrouter", None),
        ("azure", "https://x.openai.azure.com"),
        ("llamacpp", None),
    ],
)
def test_other_addresses_and_services_take_chat_completions(name: str, url: str | None) -> None:
    assert dialect_of(ask(model="gpt-5-mini"), name, **({"base_url": url} if url else {})) == "chat"


@pytest.mark.parametrize(
    "options",
    [
        {"seed": 1},
        {"stop_sequences": "END"},
        {"extra_body": {"n": 2}},
        {"provider_options": {"openai": {"web_search_options": {}}}},
        {"messages": [Message("user", Audio(data=b"RIFF", media_type="audio/wav"))]},
    ],
    ids=str,
)
def test_what_only_chat_completions_has_goes_there(options: dict[str, Any]) -> None:
    assert dialect_of(ask(**{"model": "gpt-5-mini", **options})) == "chat"


@pytest.mark.parametrize(
    "options",
    [
        {"tools": (ADD, WEB)},
        {"provider_options": {"openai": {"tools": [{"type": "code_interpreter"}]}}},
        {"provider_options": {"openai": {"previous_response_id": "resp_1"}}},
        {"extra_body": {"background": True}},
    ],
    ids=str,
)
def test_what_only_the_responses_api_has_goes_there_whatever_the_model(options: dict[str, Any]) -> None:
    assert dialect_of(ask(model="gpt-4o", **options)) == "responses"
    assert dialect_of(ask(model="gpt-4o", **options), dialect="chat") == "chat"


@pytest.mark.parametrize("body", [{"reasoning": {"effort": "low"}}, {"prompt": "x"}, {"include": ["x"]}, {"text": {}}])
def test_words_that_proxies_have_in_chats_change_nothing_there(body: dict[str, Any]) -> None:
    request = ask(model="gpt-4o", extra_body=body)
    assert dialect_of(request, base_url="http://127.0.0.1:4000/v1") == "chat"
    assert dialect_of(request, "mistral") == "chat"
    assert dialect_of(request) == "responses"


def test_built_in_tools_and_ids_of_responses_are_told_everywhere() -> None:
    url = "http://127.0.0.1:4000/v1"
    for name in ("openai", "azure"):
        assert dialect_of(ask(model="m", tools=(WEB,)), name, base_url=url) == "responses"
        assert dialect_of(ask(model="m", extra_body={"previous_response_id": "r"}), name, base_url=url) == "responses"
    assert dialect_of(ask(model="m", tools=(WEB,)), "groq") == "chat"  # which has tools of that form in chats


def test_function_and_custom_tools_exist_in_both() -> None:
    custom = Tool("sql", native={"type": "custom", "name": "sql"})
    assert dialect_of(ask(model="gpt-4o", tools=(ADD, custom))) == "chat"


@pytest.mark.parametrize("name", ["openai", "azure", "llamacpp", "vllm", "scaleway", "openai-compatible"])
def test_either_can_be_asked_for(name: str) -> None:
    for dialect in ("chat", "responses"):
        assert dialect_of(ask(model="gpt-5-mini"), name, dialect=dialect, base_url="http://127.0.0.1:1/v1") == dialect
    assert dialect_of(ask(model="gpt-4o"), name, dialect="auto", base_url="http://127.0.0.1:1/v1") == "chat"


def test_an_unknown_dialect_is_a_mistake_that_names_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="unknown dialect 'completions'") as info:
        create_provider("openai", api_key="k", dialect="completions")
    assert "responses" in (info.value.hint or "")


# -- on the wire ------------------------------------------------------------------------------------------------------


def test_a_chat_and_a_stream_say_the_same(double: ResponsesDouble) -> None:
    output = [thought("hmm"), web_search(), message("It rains.")]
    with client(double) as llm:
        double.script(output, output)
        whole = llm.chat("Weather?", tools=[WEB])
        streamed = llm.stream("Weather?", tools=[WEB])
        events = list(streamed)
    assert isinstance(events[-1], StreamEnd)
    response = events[-1].response
    assert response.message.parts == whole.message.parts
    assert response.message.origin == whole.message.origin
    assert (response.finish_reason, response.request_id) == (FinishReason.STOP, "req_responses")
    assert (response.usage, response.response_id is not None) == (whole.usage, True)
    assert [r.path for r in double.requests] == ["/responses", "/responses"]


async def test_async_is_the_same(double: ResponsesDouble) -> None:
    async with client(double) as llm:
        double.script("Hello.", "Hello.")
        assert await llm.chat_async("Hi") == "Hello."
        texts = [e.text async for e in llm.stream_async("Hi") if isinstance(e, TextDelta)]
    assert "".join(texts) == "Hello."


def test_a_tool_loop_keeps_its_reasoning_byte_for_byte(double: ResponsesDouble) -> None:
    first, second = [thought("add them"), call("add", {"a": 1}), call("add", {"a": 2})], [thought(), message("3")]
    double.script(first, second, "Bye.")
    with client(double) as llm:
        history: list[Message] = [Message("user", "1+2?")]
        asked = llm.chat(history, tools=[ADD])
        history += [asked.message, *(Message("tool", ToolResult(c.id, "1")) for c in asked.tool_calls)]
        history += [llm.chat(history, tools=[ADD]).message, Message("user", "Thanks")]
        response = llm.chat(history, tools=[ADD])
    sent = double.last["input"]
    assert [i for i in sent if i.get("id")] == [*first, *second]
    assert response.adjustments == ()


def test_reasoning_that_the_server_withheld_is_recorded_streamed_or_not(double: ResponsesDouble) -> None:
    gone = [{"id": "rs_1", "type": "reasoning", "action": "removed", "reason": "model_mismatch"}]
    answer = Respond("Hi", more={"input_transformations": gone})
    double.script(answer, answer)
    with client(double) as llm:
        whole, streamed = llm.chat("Hi"), llm.stream("Hi")
        list(streamed)
    assert streamed.response is not None
    for response in (whole, streamed.response):
        assert [(a.kind, a.what) for a in response.adjustments] == [("lost", "reasoning item rs_1")]


def test_forced_tools_and_structured_output(double: ResponsesDouble) -> None:
    with client(double) as llm:
        assert llm.chat("Add", tools=[ADD], tool_choice="add").tool_calls[0].name == "add"
        assert llm.chat("Add", tools=[ADD], tool_choice=ToolChoice("required")).tool_calls
        assert llm.chat("x?", response_format=SCHEMA).parsed["x"] == 1
        assert json.loads(llm.chat("x?", response_format="json")) == {"answer": "text"}


def test_errors_are_those_of_the_tree(double: ResponsesDouble) -> None:
    with client(double) as llm:
        double.script(Fail(500), Fail(400, message="Invalid 'input'"))
        with pytest.raises(ServerError) as broken:
            llm.chat("Hi")
        with pytest.raises(InvalidRequestError, match="Invalid 'input'"):
            llm.chat("Hi")
    assert broken.value.request_id == "req_responses"
    with client(double, api_key="sk-wrong-key-123456") as llm, pytest.raises(AuthenticationError) as refused:
        llm.chat("Hi")
    assert "sk-wrong" not in str(refused.value)


@pytest.mark.parametrize("how", ["close", "inside_event", "reset"])
def test_a_stream_that_is_cut_keeps_what_arrived(double: ResponsesDouble, how: Any) -> None:
    output: Any = [thought("hmm"), message("It rains cats and dogs.")]
    double.script(Cut(output, after=12, how=how))
    with client(double) as llm, pytest.raises(StreamInterruptedError) as info:
        list(llm.stream("Weather?"))
    partial = info.value.partial
    assert partial is not None
    assert partial.text
    assert "It rains cats and dogs.".startswith(partial.text)
    assert partial.reasoning == "hmm"


def test_an_error_in_mid_stream_keeps_what_arrived(double: ResponsesDouble) -> None:
    error = {"type": "error", "code": "server_error", "message": "The model broke", "param": None}
    double.script(MidStreamError("It rains.", after=6, error=error))
    with client(double) as llm, pytest.raises(ServerError, match="The model broke") as info:
        list(llm.stream("Weather?"))
    assert info.value.partial is not None
    assert "It rains.".startswith(info.value.partial.text)


def test_leaving_a_stream_closes_the_request(double: ResponsesDouble) -> None:
    double.script(Hang("It rains.", after=6))
    with client(double) as llm:
        for event in llm.stream("Weather?"):
            if isinstance(event, TextDelta):
                break
        assert double.requests[0].request.wait_gone(0.5)
    assert len(double.disconnects) == 1


async def test_leaving_an_async_stream_closes_the_request(double: ResponsesDouble) -> None:
    double.script(Hang("It rains.", after=6))
    async with client(double) as llm:
        async with llm.stream_async("Weather?") as stream:
            async for event in stream:
                if isinstance(event, TextDelta):
                    break
        assert await double.requests[0].request.wait_gone_async(0.5)


def test_an_organisation_that_may_see_no_summaries_is_asked_once_more_without(double: ResponsesDouble) -> None:
    refusal = "Your organization must be verified to generate reasoning summaries. Please go to settings."
    double.script(Fail(400, message=refusal))
    with client(double) as llm:
        for _ in range(2):
            response = llm.chat("Hi", thinking=True)
            assert [(a.kind, a.what) for a in response.adjustments] == [("changed", "thinking")]
    assert [r.body["reasoning"] for r in double.requests] == [
        {"effort": "medium", "summary": "auto"},
        {"effort": "medium"},
        {"effort": "medium"},
    ]


def test_a_conversation_goes_from_one_dialect_to_the_other_and_back(
    double: ResponsesDouble, openai_double: Callable[..., OpenAIDouble]
) -> None:
    first = [thought("add them"), call("add", {"a": 1})]
    double.script(first)
    chat = openai_double("openai")
    with client(double) as one, UnifiedLLM(provider="openai", api_key="k", base_url=chat.url, model="gpt-4o") as two:
        history: list[Message] = [Message("user", "1+2?")]
        asked = one.chat(history, tools=[ADD])
        history += [asked.message, Message("tool", ToolResult(asked.tool_calls[0].id, "3"))]
        other = two.chat(history, tools=[ADD])
        assert [(a.kind, a.what) for a in other.adjustments] == [("lost", "messages[1].thinking")]
        history += [other.message, Message("user", "Thanks")]
        assert one.chat(history, tools=[ADD]).adjustments == ()
    assert [i for i in double.last["input"] if i.get("id")] == first


def test_lmstudio_and_ollama_speak_it_when_asked(double: ResponsesDouble) -> None:
    for name in ("lmstudio", "ollama"):
        with UnifiedLLM(provider=name, base_url=double.url, api_key="k", model="gpt-4o", dialect="responses") as llm:
            response = llm.chat("Hi")
            assert response == "Echo: Hi"
            assert "".join(e.text for e in llm.stream("Hi") if isinstance(e, TextDelta)) == "Echo: Hi"
        assert response.cost == 0
        assert {r.path for r in double.requests} == {"/responses"}


@pytest.fixture
def at_home(double: ResponsesDouble, monkeypatch: pytest.MonkeyPatch) -> ResponsesDouble:
    """The double at the address that the registry gives to OpenAI."""
    monkeypatch.setitem(PROVIDER_CONFIGS, "openai", replace(PROVIDER_CONFIGS["openai"], base_url=double.url))
    return double


def test_at_its_own_address_a_model_that_reasons_is_asked_by_the_responses_api(at_home: ResponsesDouble) -> None:
    at_home.script([thought("hmm"), message("Hello.")])
    with UnifiedLLM(model="openai:gpt-5-mini", api_key="k") as llm:
        assert llm.chat("Hi").reasoning == "hmm"
    assert [r.path for r in at_home.requests] == ["/responses"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_has_only_the_responses_api_is_learned(at_home: ResponsesDouble, stream: bool) -> None:
    with UnifiedLLM(model="openai:omni-7", api_key="k") as llm:
        for _ in range(2):
            said = "".join(e.text for e in llm.stream("Hi") if isinstance(e, TextDelta)) if stream else llm.chat("Hi")
            assert said == "Echo: Hi"
    assert [r.path for r in at_home.requests] == ["/chat/completions", "/responses", "/responses"]


def test_a_dialect_that_was_asked_for_is_kept_whatever_the_server_says(at_home: ResponsesDouble) -> None:
    with UnifiedLLM(model="openai:omni-7", api_key="k", dialect="chat") as llm, pytest.raises(ModelNotFoundError):
        llm.chat("Hi")
    assert [r.path for r in at_home.requests if r.method == "POST"] == ["/chat/completions"]


# -- a real server ----------------------------------------------------------------------------------------------------


def test_llamacpp_serves_the_responses_api(llama_server: LlamaServer) -> None:
    with UnifiedLLM(provider="llamacpp", base_url=llama_server.url, dialect="responses", model="tiny") as llm:
        history = [
            Message("system", "Be brief."),
            Message("user", "Hello"),
            Message("assistant", "Hi"),
            Message("user", "?"),
        ]
        whole = llm.chat(history, temperature=0, max_tokens=12)
        events = list(llm.stream(history, temperature=0, max_tokens=12))
        again = llm.chat([*history, whole.message, Message("user", "Go on")], temperature=0, max_tokens=4)
    assert whole.strip()
    assert whole.finish_reason is FinishReason.LENGTH
    assert whole.usage.output_tokens == 12
    assert whole.message.origin is not None
    assert whole.message.origin.dialect == "openai-responses"
    assert isinstance(events[-1], StreamEnd)
    assert events[-1].response == whole
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == whole
    assert again.finish_reason is FinishReason.LENGTH
