"""The Anthropic dialect of a real llama.cpp server, through the real SDK and through plain HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import jsonschema
import pytest

from testkit.claude_calls import request
from unified_llm import ContextLengthError, Message, ServerError, Tool, ToolResult
from unified_llm.messages import Image
from unified_llm.providers.claude import ClaudeProvider
from unified_llm.stream import Finish, StreamEnd, TextDelta, ToolCallDelta, ToolCallStart

if TYPE_CHECKING:
    from testkit.llama import LlamaServer

MODEL = "tiny-chat"
SCHEMA = {
    "type": "object",
    "properties": {"age": {"type": "integer"}, "ok": {"type": "boolean"}},
    "required": ["age", "ok"],
    "additionalProperties": False,
}
PICK = Tool("pick", "Pick a number.", {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"]})


@pytest.fixture(params=["sdk", "http"])
def llama(llama_server: LlamaServer, request: pytest.FixtureRequest) -> Iterator[ClaudeProvider]:
    provider = ClaudeProvider(base_url=llama_server.url, transport=request.param)
    yield provider
    provider.close()


def test_a_chat_has_text_usage_and_a_finish_reason(llama: ClaudeProvider) -> None:
    response = llama.chat(request("Hi", MODEL, max_tokens=8, temperature=0))
    assert response
    assert response.finish_reason == "length"
    assert response.usage.output_tokens == 8
    assert response.usage.input_tokens
    assert response.usage.cache_write_tokens is None
    assert response.model == MODEL
    assert response.response_id


def test_a_stream_gives_pieces_and_the_same_figures(llama: ClaudeProvider) -> None:
    events = list(llama.stream(request("Hi", MODEL, max_tokens=8, temperature=0)))
    pieces = [e.text for e in events if isinstance(e, TextDelta)]
    end = events[-1]
    assert isinstance(end, StreamEnd)
    assert len(pieces) > 1
    assert "".join(pieces) == end.response
    assert end.response.usage.output_tokens == 8
    assert any(isinstance(e, Finish) and e.reason == "length" for e in events)
    assert end.response == llama.chat(request("Hi", MODEL, max_tokens=8, temperature=0))


async def test_an_async_stream_gives_the_same(llama: ClaudeProvider) -> None:
    events = [e async for e in llama.stream_async(request("Hi", MODEL, max_tokens=8, temperature=0))]
    whole = await llama.chat_async(request("Hi", MODEL, max_tokens=8, temperature=0))
    assert isinstance(events[-1], StreamEnd)
    assert events[-1].response == whole
    await llama.aclose()


def test_a_stop_sequence_ends_the_answer_and_is_recognised(llama: ClaudeProvider) -> None:
    response = llama.chat(request("Hi", MODEL, max_tokens=200, temperature=0, stop_sequences=["e"]))
    assert "e" not in response
    assert response.finish_reason == "stop_sequence"


def test_the_system_prompt_and_earlier_turns_count(llama: ClaudeProvider) -> None:
    short = llama.chat(request("Hi", MODEL, max_tokens=1)).usage.input_tokens
    talk = [
        Message("system", "Be kind."),
        Message("user", "Hi"),
        Message("assistant", "Yes?"),
        Message("user", "Go on"),
    ]
    long = llama.chat(request(talk, MODEL, max_tokens=1)).usage.input_tokens
    assert short is not None
    assert long is not None
    assert long > short


@pytest.mark.parametrize("streamed", [False, True])
def test_structured_output_fits_its_schema(llama: ClaudeProvider, streamed: bool) -> None:
    asked = request("Hi", MODEL, max_tokens=400, temperature=0, response_format=SCHEMA)
    if streamed:
        end = list(llama.stream(asked))[-1]
        assert isinstance(end, StreamEnd)
        response = end.response
    else:
        response = llama.chat(asked)
    jsonschema.validate(json.loads(response), SCHEMA)
    assert response.parsed.keys() == {"age", "ok"}
    assert response.finish_reason == "stop"
    assert [a.what for a in response.adjustments] == ["response_format"]


def test_a_forced_tool_is_called_and_its_result_goes_back(llama: ClaudeProvider) -> None:
    asked = request("Hi", MODEL, [PICK], max_tokens=200, temperature=0, tool_choice="pick")
    response = llama.chat(asked)
    assert [(c.name, c.arguments and set(c.arguments)) for c in response.tool_calls] == [("pick", {"n"})]
    assert response.finish_reason == "tool_calls"
    talk = [Message("user", "Hi"), response.message, Message("tool", ToolResult(response.tool_calls[0].id, "2"))]
    assert llama.chat(request(talk, MODEL, [PICK], max_tokens=4))


def test_a_forced_tool_streams_its_arguments(llama: ClaudeProvider) -> None:
    asked = request("Hi", MODEL, [PICK], max_tokens=200, temperature=0, tool_choice="required", stream=True)
    events = list(llama.stream(asked))
    assert [e.name for e in events if isinstance(e, ToolCallStart)] == ["pick"]
    assert json.loads("".join(e.arguments for e in events if isinstance(e, ToolCallDelta))).keys() == {"n"}


def test_a_prompt_beyond_the_window_is_a_context_length_error(llama: ClaudeProvider) -> None:
    with pytest.raises(ContextLengthError) as caught:
        llama.chat(request("word " * 3000, MODEL))
    assert caught.value.status == 400
    with pytest.raises(ContextLengthError):
        list(llama.stream(request("word " * 3000, MODEL)))


def test_an_unknown_model_is_answered_by_the_one_that_is_loaded(llama: ClaudeProvider) -> None:
    response = llama.chat(request("Hi", "no-such-model", max_tokens=1))
    assert response.model == MODEL


def test_an_image_for_a_model_without_eyes_is_a_typed_error(llama: ClaudeProvider) -> None:
    picture = Image(data=b"\x89PNG\r\n\x1a\n", media_type="image/png")
    with pytest.raises((ServerError, ValueError), match="image input is not supported"):
        llama.chat(request([Message("user", [picture])], MODEL))


def test_models_and_token_counts_are_read(llama: ClaudeProvider) -> None:
    assert [m.id for m in llama.list_models()] == [MODEL]
    assert llama.count_tokens(request("Hi", MODEL)) == llama.chat(request("Hi", MODEL, max_tokens=1)).usage.input_tokens


def test_abandoning_a_stream_frees_the_slot(llama: ClaudeProvider, llama_server: LlamaServer) -> None:
    events = llama.stream(request("Hi", MODEL, max_tokens=1500, extra_body={"ignore_eos": True}))
    next(e for e in events if isinstance(e, TextDelta))
    events.close()  # type: ignore[attr-defined]  # a generator
    assert llama_server.wait_idle(0.5)
