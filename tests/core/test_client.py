"""The façade: what a call may look like, which provider answers, what is refused before anything is sent."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from testkit.wire_server import HANG, WireServer, json_reply
from unified_llm import (
    ChatResponse,
    ConfigurationError,
    FinishReason,
    InvalidMessageError,
    InvalidRequestError,
    LLMProvider,
    Message,
    MissingCredentialError,
    ModelConfig,
    StreamEnd,
    StreamStart,
    Text,
    TextDelta,
    Tool,
    ToolCall,
    ToolResult,
    UnifiedLLM,
    UnifiedLLMError,
    UnknownProviderError,
    UnsupportedOptionError,
    register_provider,
)
from unified_llm.providers.registry import ALIASES, PROVIDER_CONFIGS
from unified_llm.requests import ChatRequest
from unified_llm.responses import Adjustment
from unified_llm.testing import FakeLLM, Reply


class City(BaseModel):
    name: str


def weather(city: str, days: int = 1) -> str:
    """The weather of a city."""
    return f"rain in {city} for {days} days"


# -- calls --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "messages",
    [
        "hello",
        [{"role": "user", "content": "hello"}],
        [Message("user", "hello")],
        Message("user", "hello"),
        [{"role": "user", "content": [{"type": "text", "text": "hello"}]}],
    ],
)
def test_messages_may_be_text_dictionaries_or_messages(messages: Any) -> None:
    llm = FakeLLM("hi")
    assert llm.chat(messages) == "hi"
    assert llm.last_request.prompt == "hello"


async def test_sync_and_async_stream_and_text_say_the_same() -> None:
    said = Reply("Rain is water.", thinking="hm")
    llm = FakeLLM(*[said] * 6)
    answer = llm.chat("rain?")
    assert answer == "Rain is water."
    assert answer.reasoning == "hm"
    assert await llm.chat_async("rain?") == answer
    events = list(llm.stream("rain?"))
    assert isinstance(events[0], StreamStart)
    assert isinstance(events[-1], StreamEnd)
    assert events[-1].response.message.parts == answer.message.parts
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == answer
    assert [type(e) async for e in llm.stream_async("rain?")] == [type(e) for e in events]
    assert "".join(llm.chat("rain?", stream=True)) == answer
    assert "".join([piece async for piece in await llm.chat_async("rain?", stream=True)]) == answer


def test_text_streams_know_the_response_at_their_end() -> None:
    stream = FakeLLM("one two").chat("x", stream=True)
    assert stream.response is None
    pieces = list(stream)
    assert stream.response == "one two"
    assert pieces[0].event.index == 0


def test_get_response_reads_a_stream_to_its_end() -> None:
    with FakeLLM("one two").stream("x") as stream:
        next(stream)
        assert stream.get_response() == "one two"


def test_options_of_the_call_win_over_the_config_and_the_config_over_the_client() -> None:
    llm = FakeLLM("a", "b", config=ModelConfig(temperature=0.1, max_tokens=10, seed=1))
    llm.chat("x", ModelConfig(temperature=0.2, top_p=0.5), temperature=0.3)
    options = llm.last_request.options
    assert (options["temperature"], options["top_p"], options["max_tokens"], options["seed"]) == (0.3, 0.5, 10, 1)
    llm.chat("x")
    assert llm.last_request.options["temperature"] == 0.1


def test_only_what_is_set_is_sent() -> None:
    llm = FakeLLM("a")
    llm.chat("x")
    assert not set(llm.last_request.options) & {"temperature", "max_tokens", "top_p"}


@pytest.mark.parametrize("limit", [-1, 0])
def test_no_limit_of_tokens_is_sent_as_none(limit: int) -> None:
    llm = FakeLLM("a")
    llm.chat("x", max_tokens=limit)
    assert "max_tokens" not in llm.last_request.options


def test_system_is_put_first() -> None:
    llm = FakeLLM("a")
    llm.chat([{"role": "user", "content": "x"}], system="Be brief.")
    assert llm.last_request.system == "Be brief."


def test_a_tool_loop_ends_with_an_answer() -> None:
    llm = FakeLLM(ToolCall("weather", {"city": "Oslo"}, "c1"), "Rain.")
    answer = llm.chat("weather in Oslo?", tools=[weather])
    (call,) = answer.tool_calls
    assert answer.finish_reason is FinishReason.TOOL_CALLS
    result = Message("tool", ToolResult(call.id, weather(**call.arguments or {})))
    assert llm.chat(["weather in Oslo?", answer, result], tools=[weather]) == "Rain."
    assert llm.last_request.tool_results[0]["content"] == "rain in Oslo for 1 days"


def test_structured_output_is_parsed() -> None:
    answer = FakeLLM({"name": "Oslo"}).chat("x", response_format=City)
    assert answer.parsed == City(name="Oslo")
    assert FakeLLM({"a": 1}).chat("x", response_format={"type": "object"}).parsed == {"a": 1}


async def test_embeddings_of_one_text_and_of_several() -> None:
    llm = UnifiedLLM("offline")
    one, several = llm.embed("rain"), llm.embed(["rain", "snow"])
    assert isinstance(one, list)
    assert several[0] == one
    assert several[0] != several[1]
    assert await llm.embed_async("rain") == one
    assert await llm.embed_async(["rain", "snow"]) == several
    assert llm.embed([]) == []


async def test_models_and_tokens() -> None:
    llm = UnifiedLLM("offline")
    assert [m.id for m in llm.list_models()] == llm.supported_models() == await llm.supported_models_async()
    assert llm.count_tokens("hello there") == await llm.count_tokens_async("hello there") > 0


# -- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "kind", "says"),
    [
        (lambda llm: llm.chat(""), InvalidMessageError, "prompt is empty"),
        (lambda llm: llm.chat([]), InvalidMessageError, "no messages"),
        (lambda llm: llm.chat(7), InvalidMessageError, "messages is int"),
        (lambda llm: llm.chat([7]), InvalidMessageError, r"messages\[0\] is int"),
        (lambda llm: llm.chat([{"role": "system", "content": "x"}]), InvalidMessageError, "only a system message"),
        (lambda llm: llm.chat([{"role": "user"}]), InvalidMessageError, "empty user message"),
        (lambda llm: llm.chat(["x", Message("tool", ToolResult("c9", "y"))]), InvalidMessageError, "'c9'"),
        (
            lambda llm: llm.chat("x", temprature=1, on_unsupported="error"),
            UnsupportedOptionError,
            "did you mean 'temperature'",
        ),
        (lambda llm: llm.chat("x", temperature=9), InvalidRequestError, "from 0 to 2"),
        (lambda llm: llm.chat("x", temperature="hot"), InvalidRequestError, "temperature"),
        (lambda llm: llm.chat("x", max_tokens="abc"), InvalidRequestError, "whole number"),
        (lambda llm: llm.chat("x", timeout=-1), InvalidRequestError, "timeout"),
        (lambda llm: llm.chat("x", on_unsupported="shrug"), InvalidRequestError, "shrug"),
        (lambda llm: llm.chat("x", tools=["weather"]), InvalidRequestError, "str is not a tool"),
        (lambda llm: llm.chat("x", tools=[{"description": "y"}]), InvalidRequestError, "no name"),
        (lambda llm: llm.chat("x", tools=[weather, weather]), InvalidRequestError, "two tools share"),
        (lambda llm: llm.chat("x", tools=[weather], tool_choice="wether"), InvalidRequestError, "weather"),
        (lambda llm: llm.chat("x", tools=[weather], tool_choice=3), InvalidRequestError, "tool_choice 3"),
        (lambda llm: llm.chat("x", tools=[lambda *a: 1]), InvalidRequestError, "cannot be passed by name"),
        (lambda llm: llm.chat("x", response_format=3), InvalidRequestError, "response_format 3"),
        (lambda llm: llm.embed(3), InvalidRequestError, "not int"),
        (lambda llm: llm.embed(["a", ""]), InvalidRequestError, r"texts\[1\] is empty"),
        (lambda llm: llm.embed(["a", None]), InvalidRequestError, "NoneType"),
        (lambda llm: llm.set_provider("clude"), UnknownProviderError, "did you mean 'claude'"),
        (lambda llm: llm.create_message("robot", "x"), InvalidMessageError, "robot"),
        (lambda llm: llm.conversations.send_message("c9", "x"), ValueError, "'c9'"),
    ],
)
def test_bad_input_is_refused_before_anything_is_sent(call: Any, kind: type[Exception], says: str) -> None:
    llm = FakeLLM("never said", models=["one"])
    with pytest.raises(kind, match=says):
        call(llm)
    assert llm.requests == []


async def test_async_refuses_the_same() -> None:
    llm = FakeLLM("never said")
    for call in (llm.chat_async(""), llm.chat_async("x", temprature=1, on_unsupported="error"), llm.embed_async([""])):
        with pytest.raises(InvalidRequestError):
            await call
    with pytest.raises(InvalidRequestError):
        await anext(llm.stream_async(""))
    assert llm.requests == []


@pytest.mark.parametrize(
    "given", [{"config": ModelConfig(temprature=0.2)}, {"temprature": 0.2}], ids=["config", "keyword"]
)
async def test_an_unknown_option_is_warned_of_and_recorded_with_the_nearest_name(
    given: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    llm = FakeLLM("a", "b", "c", "d")
    with llm.stream("x", **given) as stream:
        list(stream)
    answers = [llm.chat("x", **given), await llm.chat_async("x", **given), stream.get_response()]
    expected = Adjustment("dropped", "temprature", "no option of that name; did you mean 'temperature'?")
    assert [a.adjustments for a in answers] == [(expected,)] * 3
    (record,) = caplog.records
    assert "temprature dropped: no option of that name; did you mean 'temperature'?" in record.getMessage()
    with pytest.raises(UnsupportedOptionError, match="temprature") as caught:
        llm.chat("x", on_unsupported="error", **given)
    assert "did you mean 'temperature'?" in (caught.value.hint or "")
    assert len(llm.requests) == 3


@pytest.mark.parametrize(
    "given", [{"config": ModelConfig(temprature=0.2)}, {"temprature": 0.2}], ids=["config", "keyword"]
)
def test_an_unknown_option_may_be_dropped_without_a_warning_and_is_recorded_all_the_same(
    given: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    answer = FakeLLM("a").chat("x", on_unsupported="drop", **given)
    assert [(a.kind, a.what) for a in answer.adjustments] == [("dropped", "temprature")]
    assert caplog.records == []


def test_the_policy_of_the_call_decides_whether_a_change_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    llm = FakeLLM("a", "b", config=ModelConfig(on_unsupported="drop"))
    llm.chat("x", temprature=0.2)
    assert caplog.records == []
    llm.chat("x", temprature=0.2, on_unsupported="warn")
    assert "temprature" in caplog.text


# -- which provider ---------------------------------------------------------------------------------------------------


def test_a_missing_key_names_the_variable_and_is_a_value_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("UNIFIED_LLM_CONFIG", str(tmp_path / "none.json"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for provider in ("claude", "anthropic", "openai", "groq"):
        with pytest.raises(ValueError, match="API_KEY") as caught:
            UnifiedLLM(provider)
        assert isinstance(caught.value, MissingCredentialError)


@pytest.mark.parametrize("address", ["127.0.0.1:1234", "http://", "ftp://x/v1", "http://x/v1/chat/completions"])
def test_a_wrong_address_is_refused_with_the_right_one(address: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        UnifiedLLM(base_url=address)
    assert caught.value.hint


def test_an_address_alone_means_an_openai_compatible_server() -> None:
    assert UnifiedLLM(base_url="http://127.0.0.1:9/v1").get_provider() == "openai-compatible"


def test_the_provider_of_a_model_reference_is_used_and_bare_colons_are_not_prefixes() -> None:
    assert UnifiedLLM(model="lmstudio:qwen/qwen3-8b").get_provider() == "lmstudio"
    llm = UnifiedLLM("offline", model="llama3:8b")
    assert llm.chat("x").model == "llama3:8b"
    assert llm.chat("x", model="offline:other:tag").model == "other:tag"
    with pytest.raises(ConfigurationError, match="claude"):
        UnifiedLLM("offline", model="claude:x")


def test_a_call_can_go_to_another_provider() -> None:
    llm = UnifiedLLM(base_url="http://127.0.0.1:9/v1", model="m")
    assert llm.chat("x", model="offline:").provider == "offline"
    assert llm.get_provider() == "openai-compatible"


def test_a_key_given_for_one_provider_is_never_used_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    body = {
        "id": "1",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "a"}}],
    }
    with WireServer(json_reply(body), json_reply(body)) as server:
        monkeypatch.setenv("LLAMACPP_BASE_URL", server.url + "/v1")
        llm = UnifiedLLM(base_url=server.url + "/v1", model="m", api_key="sk-mine-0123456789")
        llm.chat("x")
        llm.chat("x", model="llamacpp:m")
        first, second = server.wait_requests(2)
    assert first.headers["authorization"] == "Bearer sk-mine-0123456789"
    assert "authorization" not in second.headers


def test_set_provider_switches_and_a_failed_switch_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("UNIFIED_LLM_CONFIG", str(tmp_path / "none.json"))
    llm = UnifiedLLM("offline")
    with pytest.raises(MissingCredentialError):
        llm.set_provider("openai")
    assert llm.get_provider() == "offline"
    llm.set_provider("openai-compatible", base_url="http://127.0.0.1:9/v1", model="m")
    assert llm.get_provider() == "openai-compatible"


def test_available_providers_is_a_mapping_and_can_be_called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("UNIFIED_LLM_CONFIG", str(tmp_path / "none.json"))
    llm = UnifiedLLM("offline")
    assert "offline" in llm.available_providers
    assert "openai" not in llm.available_providers()
    monkeypatch.setenv("OPENAI_API_KEY", "sk-abc-0123456789")
    assert "openai" in llm.available_providers
    llm.set_api_key("groq", "gsk_0123456789abcdef")
    assert "groq" in llm.list_providers()


MODELS = {"object": "list", "data": [{"id": "tiny", "object": "model"}]}


class Nothing:
    """An environment in which auto-detection finds nothing but what the test adds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.set = monkeypatch.setenv
        self.set("HOME", str(folder))
        self.set("UNIFIED_LLM_CONFIG", str(folder / "none.json"))
        for name in ("OLLAMA_MODELS", "HF_HOME", "HF_HUB_CACHE", "LLAMA_CACHE", "UNIFIED_LLM_MODELS"):
            self.set(name, str(folder / "none"))
        self.set("LMSTUDIO_BASE_URL", "http://127.0.0.1:9/v1")


@pytest.fixture
def nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Nothing:
    return Nothing(monkeypatch, tmp_path)


def test_detection_goes_from_the_environment_to_offline(nothing: Nothing) -> None:
    assert UnifiedLLM().get_provider() == "offline"
    nothing.set("OPENAI_API_KEY", "sk-abc-0123456789")
    assert UnifiedLLM().get_provider() == "openai"
    nothing.set("ANTHROPIC_API_KEY", "sk-ant-0123456789")
    assert UnifiedLLM().get_provider() == "claude"
    with WireServer(json_reply(MODELS)) as server:
        nothing.set("LMSTUDIO_BASE_URL", server.url + "/v1")
        assert UnifiedLLM().get_provider() == "lmstudio"
        nothing.set("UNIFIED_LLM_PROVIDER", "offline")
        assert UnifiedLLM().get_provider() == "offline"
        assert UnifiedLLM("claude").get_provider() == "claude"
    nothing.set("UNIFIED_LLM_PROVIDER", "nobody")
    with pytest.raises(UnknownProviderError, match="nobody"):
        UnifiedLLM().get_provider()


def test_a_model_of_the_machine_is_found_before_offline(nothing: Nothing, tiny_chat_gguf: Path) -> None:
    nothing.set("UNIFIED_LLM_MODELS", str(tiny_chat_gguf.parent))
    assert UnifiedLLM().get_provider() == "local"


def test_a_port_that_answers_nothing_costs_detection_at_most_300_ms(nothing: Nothing) -> None:
    with WireServer([HANG]) as server:
        nothing.set("LMSTUDIO_BASE_URL", server.url + "/v1")
        assert UnifiedLLM().get_provider() == "offline"
        (request,) = server.wait_requests(1)
        assert request.wait_gone(0.5)


def test_something_else_on_the_port_is_not_lm_studio(nothing: Nothing) -> None:
    with WireServer(json_reply({"hello": "world"})) as server:
        nothing.set("LMSTUDIO_BASE_URL", server.url + "/v1")
        assert UnifiedLLM().get_provider() == "offline"


# -- providers of third parties ---------------------------------------------------------------------------------------


class Echo(LLMProvider):
    """The smallest provider: one method."""

    name = "echo"

    def __init__(self, shout: bool = False) -> None:
        self.shout = shout

    def chat(self, request: ChatRequest) -> ChatResponse:
        text = request.messages[-1].text
        parts = [Text(text.upper() if self.shout else text)]
        return ChatResponse(Message("assistant", parts), model=request.model, provider=self.name)

    def default_model(self) -> str:
        return "echo-1"


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unified_llm.providers.registry.PROVIDER_CONFIGS", dict(PROVIDER_CONFIGS))
    register_provider("echo", Echo, "parrot")


@pytest.mark.usefixtures("echo")
async def test_a_third_party_provider_needs_one_method() -> None:
    llm = UnifiedLLM("echo")
    assert llm.chat("hi") == await llm.chat_async("hi") == "hi"
    assert "".join(llm.chat("hi", stream=True)) == "hi"
    kinds = [e.type async for e in llm.stream_async("hi")]
    assert kinds == ["start", "text_delta", "part_end", "usage", "finish", "end"]
    with pytest.raises(UnsupportedOptionError, match="embeddings"):
        llm.embed("x")
    with pytest.raises(UnsupportedOptionError):
        llm.count_tokens("x")
    assert llm.count_tokens("x" * 40, exact=False) > 10
    assert UnifiedLLM("echo", shout=True).chat("hi") == "HI"
    assert UnifiedLLM(Echo(), model="m").chat("hi").model == "m"
    with pytest.raises(ConfigurationError, match="shoot"):
        UnifiedLLM("echo", shoot=True)


@pytest.mark.usefixtures("echo")
def test_a_registered_alias_names_the_provider() -> None:
    try:
        assert UnifiedLLM(model="parrot:x").get_provider() == "echo"
    finally:
        ALIASES.pop("parrot", None)
        PROVIDER_CONFIGS.pop("echo", None)


# -- conversations --------------------------------------------------------------------------------------------


async def test_a_conversation_keeps_its_context_across_providers() -> None:
    llm = FakeLLM("one", "two", "three")
    conversation = llm.create_conversation(system_message="Be brief.")
    llm.conversations.send_message(conversation.id, "first")
    await llm.conversations.send_message_async(conversation.id, "second")
    stream: Any = llm.conversations.send_message(conversation.id, "third", stream=True)
    assert "".join(stream) == "three"
    texts = [m.text for m in conversation.messages]
    assert texts == ["Be brief.", "first", "one", "second", "two", "third", "three"]
    llm.conversations.clear_conversation(conversation.id)
    assert [m.text for m in conversation.messages] == ["Be brief."]
    assert llm.conversations.delete_conversation(conversation.id)
    assert not llm.conversations.delete_conversation(conversation.id)


async def test_tools_of_a_conversation_are_answered() -> None:
    call = ToolCall("weather", {"city": "Oslo"}, "c1")
    llm = FakeLLM(call, "Rain.", call, "Snow.")
    one, two = llm.create_conversation(), llm.create_conversation()
    llm.conversations.send_message(one.id, "weather?", tools=[weather])
    assert llm.conversations.execute_tool(one.id, "weather", {}, weather, tools=[weather]) == "Rain."
    await llm.conversations.send_message_async(two.id, "weather?", tools=[weather])

    async def later(city: str) -> str:
        return f"snow in {city}"

    assert await llm.conversations.execute_tool_async(two.id, "weather", {}, later, tools=[weather]) == "Snow."
    assert llm.last_request.tool_results[0]["content"] == "snow in Oslo"


def test_a_failed_turn_leaves_the_conversation_as_it_was() -> None:
    llm = FakeLLM("one", ValueError("boom"))
    conversation = llm.create_conversation()
    llm.conversations.send_message(conversation.id, "first")
    before = conversation.messages
    with pytest.raises(Exception, match="boom"):
        llm.conversations.send_message(conversation.id, "second")
    assert conversation.messages == before


def test_an_abandoned_streamed_turn_is_not_kept() -> None:
    llm = FakeLLM("one two three")
    conversation = llm.create_conversation()
    stream: Any = llm.conversations.send_message(conversation.id, "first", stream=True)
    next(stream)
    stream.close()
    assert conversation.messages == []


# -- sharing ----------------------------------------------------------------------------------------------------------


def test_one_client_serves_many_threads_and_loops() -> None:
    llm = UnifiedLLM("offline")
    said: list[str] = []

    def work() -> None:
        said.append(llm.chat("hello"))
        said.append(asyncio.run(llm.chat_async("hello")))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(said) == 16
    assert len(set(said)) == 1


async def test_sync_calls_work_inside_a_running_loop() -> None:
    assert UnifiedLLM("offline").chat("hello")


async def test_a_client_is_a_context_manager_and_can_be_used_after_closing() -> None:
    with UnifiedLLM("offline") as llm:
        llm.chat("x")
    assert llm.chat("x")
    async with UnifiedLLM("offline") as llm:
        await llm.chat_async("x")
    assert await llm.chat_async("x")


def test_a_client_is_shared_by_copies_and_refuses_to_be_pickled() -> None:
    llm = UnifiedLLM("offline", api_key="sk-abc-0123456789")
    assert copy.deepcopy(llm) is llm
    with pytest.raises(UnifiedLLMError, match="not pickled"):
        pickle.dumps(llm)
    assert "sk-abc" not in repr(llm)


def test_created_values_are_the_types_of_the_package(tmp_path: Path) -> None:
    llm = UnifiedLLM("offline")
    assert llm.create_message("user", "hi") == Message("user", "hi")
    assert llm.create_tool("t", "does", {"type": "object"}).to_dict() == Tool("t", "does", {"type": "object"}).to_dict()
    assert llm.create_tool(weather).parameters["required"] == ["city"]
