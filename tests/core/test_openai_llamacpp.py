"""The OpenAI dialect against a real llama.cpp server: no script, no double."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any, cast

import pytest

from testkit.llama import LlamaServer
from testkit.openai_wire import SCHEMA, ask
from testkit.wire_server import free_port
from unified_llm.errors import APIConnectionError, ContextLengthError, UnsupportedOptionError
from unified_llm.messages import Image, Message, Text, ToolResult
from unified_llm.providers.openai import OpenAICompatibleProvider
from unified_llm.providers.registry import create_provider
from unified_llm.requests import EmbedRequest, ResponseFormat
from unified_llm.responses import FinishReason
from unified_llm.stream import Finish, StreamEnd, StreamStart, TextDelta
from unified_llm.tools import Tool, ToolChoice

WEATHER = Tool(
    "get_weather",
    "Weather of a city",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20


@pytest.fixture
def llama(llama_server: LlamaServer) -> Iterator[OpenAICompatibleProvider]:
    provider = cast(OpenAICompatibleProvider, create_provider("llamacpp", base_url=llama_server.url))
    yield provider
    provider.close()


def test_a_chat_has_text_usage_and_costs_nothing(llama: OpenAICompatibleProvider, llama_server: LlamaServer) -> None:
    response = llama.chat(ask([Message("system", "Be brief."), Message("user", "Hello")], temperature=0, max_tokens=20))
    assert response.strip()
    assert response.finish_reason is FinishReason.LENGTH
    assert response.usage.output_tokens == 20
    assert (response.usage.input_tokens or 0) > 10
    assert response.cost == 0.0
    assert response.raw["timings"]["predicted_n"] == 20
    assert llama_server.model in (response.model or "")


def test_a_stream_says_the_same_as_the_whole_answer(llama: OpenAICompatibleProvider) -> None:
    options: dict[str, Any] = {"temperature": 0, "max_tokens": 30, "seed": 1}
    whole = llama.chat(ask("Once upon a time", **options))
    events = list(llama.stream(ask("Once upon a time", stream=True, **options)))
    assert isinstance(events[0], StreamStart)
    assert isinstance(events[-2], Finish)
    assert isinstance(events[-1], StreamEnd)
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == str(whole)
    streamed = events[-1].response.usage
    assert (streamed.input_tokens, streamed.output_tokens) == (whole.usage.input_tokens, 30)
    assert (streamed.cache_read_tokens or 0) > 0  # the second time the prompt is in the slot's cache
    assert events[-1].response.time_to_first_token is not None


async def test_async_chats_run_side_by_side(llama: OpenAICompatibleProvider) -> None:
    answers = await asyncio.gather(*(llama.chat_async(ask("Hi", temperature=0, max_tokens=10)) for _ in range(3)))
    assert len(set(map(str, answers))) == 1
    await llama.aclose()


def test_a_stop_sequence_ends_the_answer_before_it(llama: OpenAICompatibleProvider) -> None:
    whole = str(llama.chat(ask("Hi", temperature=0, max_tokens=60)))
    stop = whole[10:12]
    cut = llama.chat(ask("Hi", temperature=0, max_tokens=60, stop_sequences=[stop]))
    assert str(cut) == whole[: whole.index(stop)]
    assert cut.finish_reason is FinishReason.STOP


@pytest.mark.parametrize("stream", [False, True])
def test_structured_output_is_enforced_by_the_engine(llama: OpenAICompatibleProvider, stream: bool) -> None:
    request = ask("Give me x", response_format=ResponseFormat(SCHEMA), max_tokens=100, temperature=0, stream=stream)
    if stream:
        last = list(llama.stream(request))[-1]
        assert isinstance(last, StreamEnd)
        parsed = last.response.parsed
    else:
        parsed = llama.chat(request).parsed
    assert isinstance(parsed["x"], int)


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_loop_goes_round(llama: OpenAICompatibleProvider, stream: bool) -> None:
    history = [Message("user", "Weather in Nice?")]
    request = ask(
        history, tools=(WEATHER,), tool_choice=ToolChoice("tool", "get_weather"), max_tokens=300, stream=stream
    )
    if stream:
        last = list(llama.stream(request))[-1]
        assert isinstance(last, StreamEnd)
        first = last.response
    else:
        first = llama.chat(request)
    assert first.finish_reason is FinishReason.TOOL_CALLS
    (call,) = first.tool_calls
    assert isinstance((call.arguments or {})["city"], str)
    assert [(a.kind, a.what) for a in first.adjustments] == [("changed", "tool_choice")]
    history += [first.message, Message("tool", ToolResult(call.id, "sunny"))]
    second = llama.chat(ask(history, tools=(WEATHER,), temperature=0, max_tokens=20))
    assert second.strip()


def test_a_prompt_over_the_window_is_a_context_error_with_the_servers_figures(
    llama: OpenAICompatibleProvider,
) -> None:
    with pytest.raises(ContextLengthError) as caught:
        llama.chat(ask("word " * 3000))
    assert caught.value.status == 400
    assert caught.value.code == "exceed_context_size_error"
    assert cast(Any, caught.value.body)["error"]["n_ctx"] == 2048
    with pytest.raises(ContextLengthError):
        list(llama.stream(ask("word " * 3000, stream=True)))


def test_an_image_for_a_text_model_is_unsupported_in_spite_of_the_status_500(llama: OpenAICompatibleProvider) -> None:
    with pytest.raises(UnsupportedOptionError) as caught:
        llama.chat(ask([Message("user", [Text("What is this?"), Image(data=PNG, media_type="image/png")])]))
    assert caught.value.status == 500


def test_closing_a_stream_frees_the_slot(llama: OpenAICompatibleProvider, llama_server: LlamaServer) -> None:
    events = llama.stream(ask("Hi", temperature=0, max_tokens=1500, stream=True))
    assert any(isinstance(e, TextDelta) for e in (next(events), next(events)))
    assert not llama_server.is_idle()
    cast(Any, events).close()
    assert llama_server.wait_idle(0.5)


async def test_leaving_an_async_stream_frees_the_slot(
    llama: OpenAICompatibleProvider, llama_server: LlamaServer
) -> None:
    request = ask("Hi", temperature=0, max_tokens=1500, stream=True)
    async with aclosing(cast(Any, llama.stream_async(request))) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                break
    assert await asyncio.to_thread(llama_server.wait_idle, 0.5)
    await llama.aclose()


def test_the_servers_only_model_is_found_and_described(
    llama: OpenAICompatibleProvider, llama_server: LlamaServer
) -> None:
    (model,) = llama.list_models()
    assert model.id == llama_server.model == llama.default_model()
    assert model.context_window is not None
    assert model.size_bytes is not None


def test_options_of_the_engine_reach_it(llama: OpenAICompatibleProvider) -> None:
    response = llama.chat(ask("Hi", top_k=1, min_p=0.1, seed=3, logprobs=2, max_tokens=5, prompt_caching=False))
    assert response.adjustments == ()
    first = response.raw["choices"][0]["logprobs"]["content"][0]
    assert len(first["top_logprobs"]) == 2
    assert llama.chat(ask("Well?", extra_body={"grammar": 'root ::= "yes" | "no"'})) in ("yes", "no")


async def test_embeddings_come_in_order_and_are_the_same_in_one_batch_or_several(
    llama_embedding_server: LlamaServer,
) -> None:
    provider = create_provider("llamacpp", base_url=llama_embedding_server.url)
    texts = ("warm up", "blue sky", "red apple")
    found = provider.embed(EmbedRequest("any", texts))
    assert (len(found), found.dimensions) == (3, 64)
    assert (found.usage.input_tokens or 0) > 0
    # The first text of a batch is left out: the tiny model's vector of it depends on what shares its slot.
    alone = await provider.embed_async(EmbedRequest("any", texts[1:2], dimensions=8))
    assert alone[0] == pytest.approx(found[1], abs=1e-6)
    assert provider.embed(EmbedRequest("any", texts[2:]))[0] == pytest.approx(found[2], abs=1e-6)
    assert found[1] != pytest.approx(found[2], abs=1e-3)
    assert [(a.kind, a.what) for a in alone.adjustments] == [("dropped", "dimensions")]
    assert provider.default_embedding_model() == llama_embedding_server.model
    await provider.aclose()


def test_embeddings_of_a_chat_server_are_unsupported(llama: OpenAICompatibleProvider) -> None:
    with pytest.raises(UnsupportedOptionError) as caught:
        llama.embed(EmbedRequest("any", ("a",)))
    assert caught.value.status == 501


def test_a_port_where_nothing_listens_is_a_connection_error() -> None:
    provider = create_provider("llamacpp", base_url=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(APIConnectionError) as caught:
        provider.chat(ask())
    assert caught.value.hint
    assert caught.value.provider == "llamacpp"
