"""A response is its text; it survives pickling; unknown is None."""

from __future__ import annotations

import copy
import json
import pickle
from array import array

import pytest
from pydantic import BaseModel

from unified_llm import (
    Adjustment,
    ChatResponse,
    Embeddings,
    FinishReason,
    Message,
    ModelInfo,
    Part,
    StructuredOutputError,
    Text,
    Thinking,
    ToolCall,
    Usage,
)
from unified_llm.schemas import normalize_response_format
from unified_llm.stream import (
    Accumulator,
    Finish,
    PartEnd,
    StreamStart,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallStart,
    UsageUpdate,
    events_of,
)


class City(BaseModel):
    name: str
    people: int


def response(text: str = "It rains.", **details: object) -> ChatResponse:
    parts: list[Part | str] = [Thinking("hm", "sig"), Text(text), ToolCall("f", {"a": 1}, "c1")]
    return ChatResponse(Message("assistant", parts), **{"finish_reason": FinishReason.TOOL_CALLS, **details})


def test_a_response_works_as_its_text() -> None:
    answer = response()
    assert "rains" in answer
    assert f"{answer}!" == "It rains.!"
    assert json.loads(json.dumps({"response": answer})) == {"response": "It rains."}
    assert answer.reasoning == "hm"
    assert answer.tool_calls[0].arguments == {"a": 1}


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda r: pickle.loads(pickle.dumps(r))])
def test_a_response_survives_copies(again: object) -> None:
    answer = response(model="m", adjustments=(Adjustment("dropped", "seed", "no"),), usage=Usage(1, 2))
    other = again(answer)  # type: ignore[operator]  # one of three callables
    assert other == answer
    assert (other.message, other.model, other.adjustments, other.usage) == (
        answer.message,
        "m",
        answer.adjustments,
        Usage(1, 2),
    )


def test_unknown_fields_are_left_out_of_the_dictionary() -> None:
    assert set(ChatResponse("x").to_dict()) == {"text"}


def test_raw_bytes_are_decoded_when_asked_for() -> None:
    assert ChatResponse("x", raw=b'{"id": 7}').raw == {"id": 7}


def test_structured_output_is_an_instance_of_the_class_asked_for() -> None:
    wanted = normalize_response_format(City)
    assert ChatResponse('{"name": "Oslo", "people": 700000}', response_format=wanted).parsed == City(
        name="Oslo", people=700000
    )
    fenced = '```json\n{"name": "Oslo", "people": 1}\n```'
    assert ChatResponse(fenced, response_format=wanted).parsed.people == 1


@pytest.mark.parametrize("text", ["```\n{}\n```", " ```json \r\n\r\n{}\r\n ``` \n", "```json\n{}```", " {} "])
def test_a_code_block_around_the_answer_is_taken_away(text: str) -> None:
    assert ChatResponse(text, response_format=normalize_response_format("json")).parsed == {}


@pytest.mark.parametrize("text", ["```json\n" + " \n" * 100_000 + "x", "```json\n{" + "\n" * 200_000, "```" * 100_000])
def test_white_space_without_end_in_an_answer_is_refused_at_once(text: str) -> None:
    with pytest.raises(StructuredOutputError, match="not JSON"):
        _ = ChatResponse(text, response_format=normalize_response_format("json")).parsed


@pytest.mark.parametrize("text", ['{"name": "Os', '{"name": "Oslo"}', "I would rather not."])
def test_output_that_does_not_fit_raises_and_keeps_the_answer(text: str) -> None:
    answer = ChatResponse(text, response_format=normalize_response_format(City))
    with pytest.raises(StructuredOutputError) as caught:
        _ = answer.parsed
    assert caught.value.partial == text


def test_asking_for_parsed_without_a_format_is_an_error() -> None:
    with pytest.raises(StructuredOutputError, match="no structured output"):
        _ = ChatResponse("{}").parsed


def test_usage_adds_what_is_known_and_keeps_unknown_unknown() -> None:
    total = Usage(10, 5, cache_read_tokens=3) + Usage(1, 1)
    assert (total.input_tokens, total.output_tokens, total.cache_read_tokens, total.reasoning_tokens) == (
        11,
        6,
        3,
        None,
    )
    assert Usage(10).total_tokens is None
    assert Usage(10, 5).to_dict() == {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}


def test_embeddings_are_lists_of_float_when_looked_at() -> None:
    vectors = Embeddings([array("f", [1, 2]), array("f", [3, 4])], model="e", usage=Usage(4))
    assert vectors == [[1.0, 2.0], [3.0, 4.0]]
    assert vectors[1] == [3.0, 4.0]
    assert isinstance(vectors[0], list)
    assert vectors[0].model == "e"
    assert (len(vectors), vectors.dimensions) == (2, 2)
    assert vectors.to_numpy().tolist() == vectors.tolist()
    assert Embeddings([]).dimensions is None


def test_model_info_gives_a_reference_and_only_known_fields() -> None:
    info = ModelInfo("qwen/qwen3-8b", "lmstudio", context_window=4096, raw={"x": 1})
    assert info.ref == "lmstudio:qwen/qwen3-8b"
    assert info.to_dict() == {"id": "qwen/qwen3-8b", "provider": "lmstudio", "context_window": 4096}


def test_the_accumulator_rebuilds_the_response_that_made_the_events() -> None:
    answer = response(usage=Usage(3, 4), native_finish_reason="tool_use", model="m")
    accumulator = Accumulator()
    for event in events_of(answer):
        accumulator.add(event)
    again = accumulator.response()
    assert again.message == answer.message
    assert (again.usage, again.finish_reason, again.native_finish_reason) == (Usage(3, 4), "tool_calls", "tool_use")


def test_the_accumulator_keeps_unfinished_parts() -> None:
    accumulator = Accumulator()
    for event in (
        StreamStart("m"),
        ThinkingDelta("h", 0),
        ThinkingDelta("m", 0),
        PartEnd(Thinking("hm", "sig"), 0),
        TextDelta("It ", 1),
        TextDelta("rains", 1),
        ToolCallStart("c1", "f", 2),
        ToolCallDelta('{"a": ', 2),
        UsageUpdate(Usage(5)),
        Finish(FinishReason.LENGTH, "length"),
    ):
        accumulator.add(event)
    answer = accumulator.response()
    assert answer.message.parts[:2] == (Thinking("hm", "sig"), Text("It rains"))
    (call,) = answer.tool_calls
    assert (call.id, call.arguments, call.arguments_json) == ("c1", None, '{"a": ')
