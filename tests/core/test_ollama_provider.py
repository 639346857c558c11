"""The Ollama provider against a strict double: chats, embeddings, models, downloads, addresses, failures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from testkit.ollama_double import Call, Cut, Fail, Hang, MidStreamError, OllamaDouble, Say
from testkit.openai_double import OpenAIDouble
from testkit.openai_wire import PNG
from testkit.wire_server import WireServer, json_reply
from unified_llm import Image, Message, ModelConfig, Text, TextDelta, UnifiedLLM
from unified_llm.errors import (
    AuthenticationError,
    ConfigurationError,
    ContextLengthError,
    ModelNotFoundError,
    OverloadedError,
    ServerError,
    StreamInterruptedError,
    UnifiedLLMError,
    UnsupportedOptionError,
)
from unified_llm.providers.ollama import OllamaProvider
from unified_llm.responses import FinishReason


@pytest.fixture
def double() -> Iterator[OllamaDouble]:
    with OllamaDouble() as server:
        yield server


@pytest.fixture
def llm(double: OllamaDouble) -> Iterator[UnifiedLLM]:
    with UnifiedLLM(model="ollama:tiny", base_url=double.url, max_retries=0) as client:
        yield client


LOOK = {"name": "look", "description": "Looks.", "parameters": {"type": "object", "properties": {}}}

# -- chats ------------------------------------------------------------------------------------------------------------


async def test_chats_and_streams_say_the_same_sync_and_async(double: OllamaDouble, llm: UnifiedLLM) -> None:
    say = Say("It rains a lot.", reasoning="Hm.", calls=[Call("look", {"where": "out"})])
    double.script(say, say, say, say)
    answers = [llm.chat("x"), await llm.chat_async("x")]
    with llm.stream("x") as stream:
        answers.append(stream.get_response())
    async with llm.stream_async("x") as streamed:
        answers.append(await streamed.get_response())
    for answer in answers:
        assert (str(answer), answer.reasoning) == ("It rains a lot.", "Hm.")
        assert [(c.name, c.arguments) for c in answer.tool_calls] == [("look", {"where": "out"})]
        assert answer.finish_reason is FinishReason.TOOL_CALLS
        assert answer.usage == answers[0].usage
        assert answer.usage.total_tokens
        assert (answer.cost, answer.provider, answer.model) == (0.0, "ollama", "tiny")
        assert answer.latency is not None


def test_everything_at_once_is_a_request_the_server_takes(double: OllamaDouble, llm: UnifiedLLM) -> None:
    def weather(city: str, days: int | None = None) -> str:
        """Weather of a city."""
        return f"sunny in {city} for {days}"

    double.script(Call("weather", {"city": "Nice"}))
    history = [
        Message("system", "Be brief."),
        Message("user", [Text("Where is this?"), Image(data=PNG, media_type="image/png")]),
    ]
    options: dict[str, Any] = {"temperature": 0, "seed": 1, "stop": ["END"], "thinking": True, "logprobs": 2}
    first = llm.chat(history, tools=[weather], **options)
    (call,) = first.tool_calls
    history += [first.message, Message("tool", tool_result=[_result(call.id)])]
    second = llm.chat(history, tools=[weather], **options)
    assert second == "Echo: sunny"
    assert not second.adjustments
    sent = double.chats[-1]["messages"]
    assert sent[2]["tool_calls"][0]["id"] == sent[3]["tool_call_id"] == call.id


def _result(call_id: str) -> Any:
    from unified_llm import ToolResult

    return ToolResult(call_id, "sunny")


class Person(BaseModel):
    name: str
    age: int


@pytest.mark.parametrize("stream", [False, True])
def test_structured_output_is_the_object_asked_for(llm: UnifiedLLM, stream: bool) -> None:
    if stream:
        with llm.stream("Who?", response_format=Person) as pieces:
            person = pieces.get_response().parsed
    else:
        person = llm.chat("Who?", response_format=Person).parsed
    assert isinstance(person, Person)


def test_the_constructor_sets_the_window_and_the_time_in_memory(double: OllamaDouble) -> None:
    with UnifiedLLM(model="ollama:tiny", base_url=double.url, num_ctx=8192, keep_alive="10m") as llm:
        llm.chat("x")
        llm.chat("x", provider_options={"ollama": {"num_ctx": 16384}})
        llm.embed("x", model_name="embed")
    windows = [(r.body["options"]["num_ctx"], r.body["keep_alive"]) for r in double.requests]
    assert windows == [(8192, "10m"), (16384, "10m"), (8192, "10m")]


def test_an_old_server_without_call_ids_is_understood(double: OllamaDouble, llm: UnifiedLLM) -> None:
    double.old = True
    double.script(Say(calls=[Call("a", {}), Call("a", {})]))
    calls = llm.chat("x").tool_calls
    assert len({c.id for c in calls}) == 2


@pytest.mark.parametrize("options", [{"thinking": True}, {"effort": "low"}, {"thinking": 2000, "effort": "high"}])
async def test_a_model_that_cannot_think_is_asked_without_and_the_drop_recorded(
    double: OllamaDouble, llm: UnifiedLLM, options: dict[str, Any]
) -> None:
    llm.chat("x", model="ollama:plain:1b")  # a stream that was taken before proves nothing about this one
    list(llm.stream("x", model="ollama:plain:1b"))
    with llm.stream("x", model="ollama:plain:1b", **options) as stream:
        first = stream.get_response()
    refused = len(double.chats)
    later = [
        llm.chat("x", model="ollama:plain:1b", **options),
        await llm.chat_async("x", model="ollama:plain:1b", **options),
    ]
    for answer in (first, *later):
        assert str(answer) == "Echo: x"
        assert {(a.kind, a.what) for a in answer.adjustments} == {("dropped", name) for name in options}
    assert len(double.chats) == refused + 2  # learned once
    assert llm.chat("x", thinking=True).reasoning  # only that model
    off = llm.chat("x", model="ollama:plain:1b", thinking=False)
    assert (double.chats[-1]["think"], off.adjustments) == (False, ())
    await llm.aclose()


# -- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("options", "fault", "error", "hint"),
    [
        ({"model": "ollama:nothing"}, None, ModelNotFoundError, "models pull ollama:"),
        (
            {"model": "ollama:plain:1b", "thinking": True, "on_unsupported": "error"},
            None,
            UnsupportedOptionError,
            "leave that option",
        ),
        ({"model": "ollama:plain:1b", "tools": [LOOK]}, None, UnsupportedOptionError, "leave that option"),
        ({}, Fail(401, b""), AuthenticationError, "ollama signin"),
        ({"provider_options": {"ollama": {"num_ctx": 5}}}, None, ContextLengthError, "num_ctx"),
        ({}, Fail(503, {"error": "server busy, please try again."}), OverloadedError, ""),
        ({}, Fail(500, {"error": "model requires more system memory (9 GiB) than"}), ServerError, "smaller"),
        ({}, Fail(401, {"error": "unauthorized", "signin_url": "https://x"}), AuthenticationError, "ollama signin"),
        ({}, Fail(502, b"<html><h1>Bad Gateway</h1></html>"), ServerError, ""),
    ],
)  # fmt: skip
def test_a_refusal_has_its_class_and_what_to_do_next(
    double: OllamaDouble,
    llm: UnifiedLLM,
    options: Any,
    fault: Fail | None,
    error: type[UnifiedLLMError],
    hint: str,
    stream: bool,
) -> None:
    if fault is not None:
        double.script(fault)
    ask = (lambda: list(llm.stream("one two", **options))) if stream else (lambda: llm.chat("one two", **options))
    with pytest.raises(error) as caught:
        ask()
    assert caught.value.provider == "ollama"
    assert caught.value.status is not None
    assert hint in (caught.value.hint or "no hint")


def test_too_little_memory_is_not_tried_again(double: OllamaDouble) -> None:
    double.script(Fail(500, {"error": "model requires more system memory (9 GiB) than is available (1 GiB)"}))
    with UnifiedLLM(model="ollama:tiny", base_url=double.url) as llm, pytest.raises(ServerError):
        llm.chat("x")
    assert len(double.chats) == 1


@pytest.mark.parametrize(
    ("item", "error"),
    [
        (MidStreamError("a b c", after=2, error={"error": "llama runner process has terminated"}), ServerError),
        (Cut("a b c", after=2), StreamInterruptedError),
        (Cut("a b c", after=2, how="inside_event"), StreamInterruptedError),
        (Cut("a b c", after=2, how="reset"), StreamInterruptedError),
    ],
)
async def test_a_broken_stream_keeps_what_arrived(
    double: OllamaDouble, llm: UnifiedLLM, item: Any, error: type[UnifiedLLMError]
) -> None:
    double.script(item, item)
    with pytest.raises(error) as caught:
        list(llm.stream("x"))
    with pytest.raises(error) as again:
        async for _ in llm.stream_async("x"):
            pass
    for failure in (caught.value, again.value):
        assert str(failure.partial) == "a b "
        assert failure.partial is not None
        assert failure.partial.finish_reason is FinishReason.ERROR


def test_leaving_a_stream_stops_the_generation(double: OllamaDouble, llm: UnifiedLLM) -> None:
    double.script(Hang("slow words", after=1))
    for event in llm.stream("x"):
        if isinstance(event, TextDelta):
            break
    assert double.requests[-1].request.wait_gone(0.5)


def test_a_key_is_sent_and_never_shown() -> None:
    with OllamaDouble(api_key="ollama-key-123456") as double:
        with UnifiedLLM(model="ollama:tiny", base_url=double.url, api_key="ollama-key-123456") as llm:
            assert llm.chat("Hi") == "Echo: Hi"
            assert llm.list_models()
        with UnifiedLLM(model="ollama:tiny", base_url=double.url, api_key="wrong-key-654321") as llm:
            with pytest.raises(AuthenticationError) as caught:
                llm.list_models()
            assert "wrong-key-654321" not in f"{caught.value!r}{caught.value}{llm!r}"


# -- embeddings -------------------------------------------------------------------------------------------------------


async def test_many_texts_are_one_request(double: OllamaDouble, llm: UnifiedLLM) -> None:
    texts = [f"text {i}" for i in range(100)]
    vectors = llm.embed(texts, model_name="embed")
    again = await llm.embed_async(texts, model_name="embed")
    assert len(double.requests) == 2
    assert len(vectors) == 100
    assert vectors == again
    assert vectors.usage.input_tokens == 200
    assert vectors.cost == 0.0


def test_shorter_vectors_can_be_asked_for_and_longer_ones_are_told(llm: UnifiedLLM) -> None:
    assert llm.embed(["x"], model_name="embed", dimensions=8).dimensions == 8
    longer = llm.embed(["x"], model_name="embed", dimensions=999)
    assert [(a.kind, a.what) for a in longer.adjustments] == [("changed", "dimensions")]


def test_a_text_over_the_window_is_an_error_rather_than_the_vector_of_its_beginning(
    double: OllamaDouble, llm: UnifiedLLM
) -> None:
    with pytest.raises(ContextLengthError) as caught:
        llm.embed("word " * 600, model_name="embed")
    assert "'truncate': True" in (caught.value.hint or "")
    own = ModelConfig(provider_options={"ollama": {"truncate": True, "think": False, "num_ctx": 256}})
    with UnifiedLLM("ollama", base_url=double.url, config=own) as cutting:
        assert len(cutting.embed("word " * 600, model_name="embed")) == 32


@pytest.mark.parametrize(
    "body",
    [
        {"embeddings": [[1.0]]},
        {"embedding": [1.0]},
        {"embeddings": [[], []]},
        {"embeddings": ["a", "b"]},
        [1],
        {"error": "x"},
    ],
)
def test_an_answer_without_the_vectors_is_an_error(double: OllamaDouble, llm: UnifiedLLM, body: Any) -> None:
    double.script(body)
    with pytest.raises(UnifiedLLMError) as caught:
        llm.embed(["a", "b"], model_name="embed")
    assert caught.value.hint


def test_the_first_embedding_model_is_the_default(llm: UnifiedLLM) -> None:
    assert llm.embed(["x"]).model == "embed:latest"


# -- addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/"])
def test_the_address_may_have_the_path_of_the_other_dialect(double: OllamaDouble, path: str) -> None:
    found = OllamaProvider(base_url=double.url + path)
    assert found.base_url == double.url
    assert found.list_models()


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("10.0.0.5", "http://10.0.0.5:11434"),
        ("10.0.0.5:8000", "http://10.0.0.5:8000"),
        (":8000", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:9", "http://127.0.0.1:9"),
        ("[::1]", "http://[::1]:11434"),
        ("https://ollama.example.com/api-path", "https://ollama.example.com/api-path"),
    ],
)
def test_the_variable_of_the_ollama_command_is_read_as_it_reads_it(
    monkeypatch: pytest.MonkeyPatch, host: str, address: str
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", host)
    assert OllamaProvider().base_url == address
    monkeypatch.setenv("OLLAMA_BASE_URL", "http://10.1.1.1:1/v1")
    assert OllamaProvider().base_url == "http://10.1.1.1:1"
    assert OllamaProvider(base_url="http://10.2.2.2:2").base_url == "http://10.2.2.2:2"


def test_the_openai_dialect_is_one_option_away(openai_double: Callable[..., OpenAIDouble]) -> None:
    double = openai_double("ollama")
    double.serve("/api/tags", {"models": [{"name": "m:1b", "model": "m:1b"}]})
    with UnifiedLLM(model="ollama:double-1", base_url=double.root, dialect="openai") as llm:
        assert llm.chat("Hi") == "Echo: Hi"
        assert [m.id for m in llm.list_models()] == ["m:1b"]
    assert double.requests[0].path == "/chat/completions"


async def test_a_model_that_is_not_there_is_answered_with_those_that_are(llm: UnifiedLLM) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        llm.chat("Hi", model="ollama:plian:1b")
    assert (caught.value.hint or "").startswith("installed: plain:1b, ")
    assert "models pull ollama:" in (caught.value.hint or "")
    with pytest.raises(ModelNotFoundError) as again:
        await llm.chat_async("Hi", model="ollama:plian:1b")
    assert again.value.hint == caught.value.hint
    await llm.aclose()


def test_the_responses_api_is_another() -> None:
    with WireServer(json_reply({"error": "model 'm' not found"}, 404)) as server:
        llm = UnifiedLLM(model="ollama:m", base_url=server.url, dialect="responses")
        with llm, pytest.raises(ModelNotFoundError):
            llm.chat("Hi")
        assert server.requests[0].target == "/v1/responses"


def test_options_that_cannot_be_sent_are_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match="num_ctx"):
        OllamaProvider(dialect="openai", num_ctx=4096)
    with pytest.raises(ConfigurationError, match="positive number"):
        OllamaProvider(num_ctx="8k")  # type: ignore[arg-type]  # that is the point
    with pytest.raises(ConfigurationError, match="unknown dialect"):
        OllamaProvider(dialect="anthropic")  # type: ignore[arg-type]  # that is the point
