"""Chats with LM Studio over its SDK's websockets: every frame is checked against the SDK's own schemas."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from testkit.lmstudio_ws_double import Call, LMStudioDouble, Refuse, Say
from testkit.openai_wire import PNG, ask
from unified_llm import (
    ContextLengthError,
    FinishReason,
    Image,
    LMStudioProvider,
    Message,
    ModelConfig,
    ModelNotFoundError,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    UnifiedLLM,
    UnsupportedOptionError,
)
from unified_llm.codecs.base import CodecContext
from unified_llm.codecs.lmstudio_chat import LMStudioChatCodec, instance_infos, model_infos
from unified_llm.codecs.lmstudio_stats import PredictionStats, prediction_stats
from unified_llm.messages import Thinking
from unified_llm.profiles import Profile
from unified_llm.stream import PartEnd, Progress, TextDelta, ThinkingDelta, ToolCallDelta, ToolCallStart
from unified_llm.wire import WireReply


@pytest.fixture
def studio() -> Iterator[LMStudioDouble]:
    with LMStudioDouble() as double:
        yield double


@pytest.fixture
def llm(studio: LMStudioDouble) -> Iterator[UnifiedLLM]:
    with UnifiedLLM(provider="lmstudio", base_url=studio.url, model="tiny", max_retries=0, timeout=10) as client:
        yield client


def add(a: int, b: int) -> int:
    """Add two numbers.

    Args:
        a: one.
        b: another.
    """
    return a + b


WEATHER = Tool(
    "weather",
    "The weather of a place.",
    {
        "type": "object",
        "properties": {"city_name": {"$ref": "#/$defs/City"}},
        "required": ["city_name"],
        "$defs": {"City": {"type": "string"}},
    },
)


# -- text and what comes with it --------------------------------------------------------------------------------------


async def test_text_usage_finish_reason_and_model_come_back_alike_in_all_four_ways(
    llm: UnifiedLLM, studio: LMStudioDouble
) -> None:
    with llm.stream("Hi") as stream:
        streamed = stream.get_response()
    async with llm.stream_async("Hi") as async_stream:
        async_streamed = await async_stream.get_response()
    for answer in (llm.chat("Hi"), await llm.chat_async("Hi"), streamed, async_streamed):
        assert answer == "Echo: Hi"
        assert answer.finish_reason is FinishReason.STOP
        assert answer.native_finish_reason == "eosFound"
        assert answer.model == "tiny"
        assert answer.provider == "lmstudio"
        assert answer.cost == 0.0
        assert (answer.usage.input_tokens, answer.usage.output_tokens) == (24, 3)
        assert answer.usage.cache_read_tokens == 16
        assert answer.message.origin is not None
    assert not studio.http.requests
    await llm.aclose()


def test_the_whole_history_is_sent_as_the_sdk_writes_it(llm: UnifiedLLM, studio: LMStudioDouble) -> None:
    call = ToolCall("add", {"a": 1}, "call_1")
    twin = ToolCall("add", {"a": 2}, "call_2")
    llm.chat(
        [
            Message("system", "Be brief."),
            Message("user", "1 + 1?"),
            Message("assistant", [Text("Let me see."), call, twin]),
            Message("tool", [ToolResult("call_1", "2")]),
            Message("tool", [ToolResult("call_2", "4", is_error=True)]),
            Message("assistant", "Two."),
            Message("assistant", "Really."),
            Message("user", "Sure?"),
        ],
        tools=[add],
    )
    system, user, assistant, tool, *rest = studio.predictions[0].messages
    assert system == {"role": "system", "content": [{"type": "text", "text": "Be brief."}]}
    assert user == {"role": "user", "content": [{"type": "text", "text": "1 + 1?"}]}
    request = {"type": "function", "id": "call_1", "name": "add", "arguments": {"a": 1}}
    assert assistant["content"][:2] == [
        {"type": "text", "text": "Let me see."},
        {"type": "toolCallRequest", "toolCallRequest": request},
    ]
    assert tool == {
        "role": "tool",
        "content": [
            {"type": "toolCallResult", "content": "2", "toolCallId": "call_1"},
            {"type": "toolCallResult", "content": "Error: 4", "toolCallId": "call_2"},
        ],
    }
    assert [m["content"][0]["text"] for m in rest] == ["Two.", "Really.", "Sure?"]


def test_every_sampling_option_goes_under_the_servers_own_key(llm: UnifiedLLM, studio: LMStudioDouble) -> None:
    answer = llm.chat(
        "x",
        ModelConfig(
            temperature=0.5,
            top_p=0.9,
            top_k=30,
            min_p=0.1,
            seed=7,
            max_tokens=64,
            stop_sequences=["END"],
            presence_penalty=0.2,
            frequency_penalty=0.3,
            provider_options={"lmstudio": {"preset": "mine", "llm.prediction.contextOverflowPolicy": "stopAtLimit"}},
        ),
    )
    assert studio.predictions[0].parameter["fuzzyPresetIdentifier"] == "mine"
    assert studio.predictions[0].config == {
        "llm.prediction.temperature": 0.5,
        "llm.prediction.topPSampling": {"checked": True, "value": 0.9},
        "llm.prediction.topKSampling": 30,
        "llm.prediction.minPSampling": {"checked": True, "value": 0.1},
        "llm.prediction.seed": {"checked": True, "value": 7},
        "llm.prediction.maxPredictedTokens": {"checked": True, "value": 64},
        "llm.prediction.stopStrings": ["END"],
        "llm.prediction.llama.presencePenalty": {"checked": True, "value": 0.2},
        "llm.prediction.llama.frequencyPenalty": {"checked": True, "value": 0.3},
        "llm.prediction.contextOverflowPolicy": "stopAtLimit",
    }
    assert answer.adjustments == ()


@pytest.mark.parametrize(
    ("native", "reason"),
    [
        ("stopStringFound", FinishReason.STOP_SEQUENCE),
        ("maxPredictedTokensReached", FinishReason.LENGTH),
        ("contextLengthReached", FinishReason.CONTEXT_OVERFLOW),
        ("modelUnloaded", FinishReason.ERROR),
    ],
)
def test_stop_reasons_are_told_in_our_words(
    llm: UnifiedLLM, studio: LMStudioDouble, native: str, reason: FinishReason
) -> None:
    studio.script(Say("half", stop=native))
    answer = llm.chat("x")
    assert (answer.finish_reason, answer.native_finish_reason) == (reason, native)


def test_the_statistics_of_a_prediction_can_be_read(llm: UnifiedLLM, studio: LMStudioDouble) -> None:
    stats = LMStudioProvider.prediction_stats(llm.chat("Hi"))
    assert stats == PredictionStats(
        stop_reason="eosFound",
        tokens_per_second=50.0,
        time_to_first_token=0.125,
        prompt_tokens=24,
        predicted_tokens=3,
        total_tokens=27,
        cached_tokens=16,
        context_length=4096,
        context_fill=27 / 4096,
        gpu_layers=-1,
    )
    with llm.stream("Hi") as stream:
        assert LMStudioProvider.prediction_stats(stream.get_response()) == stats


def test_thinking_is_kept_apart_from_the_text(llm: UnifiedLLM, studio: LMStudioDouble) -> None:
    studio.script(Say("It is 42.", reasoning="Six times seven."), Say("It is 42.", reasoning="Six times seven."))
    answer = llm.chat("6*7?")
    assert answer == "It is 42."
    assert answer.reasoning == "Six times seven."
    assert answer.usage.reasoning_tokens == 5
    events = list(llm.stream("6*7?"))
    assert "".join(e.text for e in events if isinstance(e, ThinkingDelta)) == "Six times seven."
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == "It is 42."
    assert [e.part for e in events if isinstance(e, PartEnd)] == [Thinking("Six times seven."), Text("It is 42.")]


def test_think_tags_in_the_text_are_split_off_when_the_server_does_not(llm: UnifiedLLM, studio: LMStudioDouble) -> None:
    studio.script(Say("<think>hmm</think>42", size=3))
    answer = llm.chat("x")
    assert (answer.text, answer.reasoning) == ("42", "hmm")


def test_messages_of_newer_servers_are_skipped_and_unknown_values_cost_nothing() -> None:
    lines = [
        {"type": "novelty", "x": 1},
        {"type": "fragment", "fragment": {"content": "Hi", "reasoningType": "none", "isStructural": False, "x": 1}},
        {"type": "success", "stats": {"stopReason": "tired"}, "modelInfo": {"format": "pte"}, "loadModelConfig": 7},
    ]
    body = b"\n".join(json.dumps(line).encode() for line in lines)
    answer = LMStudioChatCodec().decode(WireReply(200, {}, body), ask(), CodecContext("lmstudio", Profile()))
    assert answer == "Hi"
    assert (answer.finish_reason, answer.native_finish_reason) == (FinishReason.OTHER, "tired")
    assert answer.usage.input_tokens is None


@pytest.mark.parametrize("odd", [None, 0.5, [1], {}])
def test_statistics_and_models_with_odd_fields_are_told_as_far_as_they_can_be_read(odd: Any) -> None:
    success = {"type": "success", "stats": {"stopReason": "eosFound", "totalTokensCount": odd}}
    body = json.dumps({**success, "modelInfo": {"contextLength": 100}}).encode()
    answer = LMStudioChatCodec().decode(WireReply(200, {}, body), ask(), CodecContext("lmstudio", Profile()))
    stats = prediction_stats(answer)
    assert stats is not None
    assert (stats.stop_reason, stats.context_length, stats.context_fill) == ("eosFound", 100, None)
    good = {"modelKey": "good", "displayName": "Good"}
    assert [m.id for m in model_infos([{"modelKey": odd}, good], [{"modelKey": odd}], "lmstudio")] == ["good"]
    assert [m.id for m in instance_infos([{"modelKey": odd}, {**good, "identifier": odd}], "lmstudio")] == ["good"]


def test_it_makes_no_difference_how_the_network_cuts_the_messages() -> None:
    fragments = [("<think>", "reasoningStartTag"), ("h\u00fcm", "reasoning"), ("It ", "none"), ("rains\n", "none")]
    lines: list[Any] = [{"type": "fragment", "fragment": {"content": t, "reasoningType": k}} for t, k in fragments]
    call = {"type": "function", "id": "c", "name": "add", "arguments": {"a": "\n"}}
    lines += [{"type": "toolCallGenerationEnd", "toolCallRequest": call}, {"type": "success", "stats": {}}]
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)

    def events(size: int) -> list[Any]:
        decoder = LMStudioChatCodec().decoder({}, ask(), CodecContext("lmstudio", Profile()))
        pieces = [body[i : i + size] for i in range(0, len(body), size)]
        return [e for piece in pieces for e in decoder.feed(piece)] + list(decoder.close())

    whole = events(len(body))
    assert len(whole) == 11
    assert all(events(size) == whole for size in (1, 2, 7, 60, 100))
    lined = LMStudioChatCodec().decoder({}, ask(), CodecContext("lmstudio", Profile()))
    assert [e for line in body.splitlines(keepends=True) for e in lined.feed(line)] == whole


# -- tools ------------------------------------------------------------------------------------------------------------


def test_json_schema_tools_are_sent_and_parallel_calls_come_back(llm: UnifiedLLM, studio: LMStudioDouble) -> None:
    studio.script(
        Say(
            "Looking.",
            calls=[Call("weather", {"city_name": "Lyon"}, "c1"), Call("weather", {"city_name": "Nice"}, "c2")],
            stop="toolCalls",
        )
    )
    answer = llm.chat("Weather?", tools=[WEATHER, add])
    assert [(c.id, c.name, c.arguments) for c in answer.tool_calls] == [
        ("c1", "weather", {"city_name": "Lyon"}),
        ("c2", "weather", {"city_name": "Nice"}),
    ]
    assert answer.finish_reason is FinishReason.TOOL_CALLS
    assert answer == "Looking."
    sent = studio.predictions[0].config["llm.prediction.tools"]
    assert sent["type"] == "toolArray"
    assert sent["tools"][0]["function"]["parameters"] == WEATHER.parameters
    assert "force" not in sent


def test_streamed_calls_are_complete_json_whatever_notation_the_model_uses(
    llm: UnifiedLLM, studio: LMStudioDouble
) -> None:
    studio.script(Say(calls=[Call("add", {"a": 1, "b": 2}, "c1")], stop="toolCalls"))
    events = list(llm.stream("x", tools=[add]))
    assert [e for e in events if isinstance(e, (ToolCallStart, ToolCallDelta))] == [
        ToolCallStart("c1", "add", 0),
        ToolCallDelta('{"a":1,"b":2}', 0),
    ]


def test_calls_without_an_id_or_with_a_repeated_one_get_their_own(llm: UnifiedLLM, studio: LMStudioDouble) -> None:
    studio.script(Say(calls=[Call("add", {}), Call("add", {}, "same"), Call("add", {}, "same")]))
    ids = [c.id for c in llm.chat("x", tools=[add]).tool_calls]
    assert len(set(ids)) == 3
    assert all(ids)


def test_a_call_the_server_could_not_read_is_kept_with_its_text(llm: UnifiedLLM, studio: LMStudioDouble) -> None:
    failed = {"type": "toolCallGenerationFailed", "error": {"title": "no JSON"}, "rawContent": '{"a": 1'}
    named = {"type": "toolCallGenerationNameReceived", "name": "add"}
    studio.script(Say(raw=[{"type": "toolCallGenerationStart"}, named, failed]), Say(raw=[failed]))
    answer = llm.chat("x", tools=[add])
    call = answer.tool_calls[0]
    assert (call.name, call.arguments_json, call.arguments) == ("add", '{"a": 1', None)
    assert call.parse_error is not None
    assert [(a.kind, a.what) for a in answer.adjustments] == [("changed", "tool_calls[add]")]
    assert "no JSON" in answer.adjustments[0].reason


@pytest.mark.parametrize("raw", [{}, {"rawContent": '{"a": 1'}])
def test_a_call_without_a_name_that_the_server_could_not_read_is_told_and_is_no_answer(
    llm: UnifiedLLM, studio: LMStudioDouble, raw: dict[str, str]
) -> None:
    failed = {"type": "toolCallGenerationFailed", "error": {"title": "no JSON"}, **raw}
    studio.script(Say(raw=[{"type": "toolCallGenerationStart"}, failed]), Say(raw=[failed]))
    with llm.stream("x", tools=[add]) as stream:
        streamed = stream.get_response()
    for answer in (streamed, llm.chat("x", tools=[add])):
        assert (answer.text, answer.tool_calls) == ("", ())
        (told,) = answer.adjustments
        assert (told.kind, told.what) == ("lost", "tool_calls")
        assert "no JSON" in told.reason
        assert all(text in told.reason for text in raw.values())


def test_tool_choice_required_forces_and_a_named_tool_goes_alone(llm: UnifiedLLM, studio: LMStudioDouble) -> None:
    llm.chat("x", ModelConfig(tool_choice="required"), tools=[add, WEATHER])
    named = llm.chat("x", ModelConfig(tool_choice="weather"), tools=[add, WEATHER])
    llm.chat("x", ModelConfig(tool_choice="none"), tools=[add])
    required, alone, none = (p.config for p in studio.predictions)
    assert required["llm.prediction.tools"]["force"] is True
    assert required["llm.prediction.toolChoice"] == {"type": "generic", "mode": "required"}
    assert [t["function"]["name"] for t in alone["llm.prediction.tools"]["tools"]] == ["weather"]
    assert [a.what for a in named.adjustments] == ["tool_choice"]
    assert none["llm.prediction.toolChoice"] == {"type": "generic", "mode": "none"}


def test_schemas_the_sdks_own_types_refuse_are_sent_all_the_same(llm: UnifiedLLM, studio: LMStudioDouble) -> None:
    free = Tool("free", "Anything.", {"type": "object", "properties": {}, "additionalProperties": {"type": "string"}})
    llm.chat("x", tools=[free])
    sent = studio.predictions[0].config["llm.prediction.tools"]["tools"][0]["function"]
    assert sent["parameters"]["additionalProperties"] == {"type": "string"}


# -- structured output and images -------------------------------------------------------------------------------------


class City(BaseModel):
    name: str
    people: int


def test_structured_output_is_enforced_by_schema(llm: UnifiedLLM, studio: LMStudioDouble) -> None:
    studio.script(Say('{"name": "Lyon", "people": 520000}'), Say("{}"))
    assert llm.chat("x", ModelConfig(response_format=City)).parsed == City(name="Lyon", people=520000)
    sent = studio.predictions[0].config["llm.prediction.structured"]
    assert sent["type"] == "json"
    assert sent["jsonSchema"]["properties"].keys() == {"name", "people"}
    llm.chat("x", ModelConfig(response_format="json"))
    assert studio.predictions[1].config["llm.prediction.structured"]["jsonSchema"] == {"type": "object"}


def test_images_are_uploaded_once_and_named_in_the_message(llm: UnifiedLLM, studio: LMStudioDouble) -> None:
    question = Message("user", [Text("What is it?"), Image(data=PNG, media_type="image/png")])
    llm.chat([question])
    llm.chat([question])
    assert studio.paths().count("files/uploadFileBase64") == 1
    for prediction in studio.predictions:
        text, file = prediction.messages[0]["content"]
        assert text == {"type": "text", "text": "What is it?"}
        assert file["type"] == "file"
        assert (file["fileType"], file["sizeBytes"]) == ("image", len(PNG))
        assert file["identifier"].startswith("file-")


# -- errors -----------------------------------------------------------------------------------------------------------


def test_an_unknown_model_is_an_error_that_names_those_there_are(llm: UnifiedLLM) -> None:
    with pytest.raises(ModelNotFoundError, match="no 'gone'") as caught:
        llm.chat("x", model="gone")
    assert caught.value.hint is not None
    assert "tiny, other" in caught.value.hint
    assert caught.value.code == "generic.noModelMatchingQuery"
    assert caught.value.provider == "lmstudio"
    with pytest.raises(ModelNotFoundError, match="no 'gone'") as streamed:
        list(llm.stream("x", model="gone"))
    assert streamed.value.hint == caught.value.hint
    assert streamed.value.status is caught.value.status is None  # it was no HTTP


@pytest.mark.parametrize("when", ["channel", "message"])
def test_a_prompt_that_does_not_fit_is_a_context_error(llm: UnifiedLLM, studio: LMStudioDouble, when: Any) -> None:
    studio.script(Refuse(title="Trying to keep the first 9000 tokens when context overflows", when=when))
    with pytest.raises(ContextLengthError):
        llm.chat("x")


@pytest.mark.parametrize(
    ("thinking", "sent"),
    [
        (True, {"enableThinking": True}),
        (False, {"enableThinking": False}),
        (0, {"enableThinking": False}),
        (512, {"enableThinking": True, "budgetTokens": {"checked": True, "value": 512}}),
        (None, {}),
    ],
)
async def test_thinking_is_switched_and_limited_over_the_websockets(
    studio: LMStudioDouble, thinking: bool | int | None, sent: dict[str, Any]
) -> None:
    async with UnifiedLLM(provider="lmstudio", base_url=studio.url, model="tiny") as llm:
        answers = [llm.chat("x", thinking=thinking), await llm.chat_async("x", thinking=thinking)]
        llm.count_tokens("x", thinking=thinking)
    begin = "llm.prediction.reasoning."
    told = [{k.removeprefix(begin): v for k, v in p.config.items() if k.startswith(begin)} for p in studio.predictions]
    assert told == [sent] * 2
    assert [a.adjustments for a in answers] == [(), ()]
    assert studio.http.requests == []


def test_what_the_websockets_do_not_have_is_recorded_when_nothing_else_may_be_used(studio: LMStudioDouble) -> None:
    with UnifiedLLM(provider="lmstudio", base_url=studio.url, model="tiny", transport="sdk") as llm:
        answer = llm.chat("x", ModelConfig(effort="low", user="me", extra_body={"novel": 1}, extra_headers={"a": "b"}))
        assert {a.what for a in answer.adjustments} == {"effort", "user", "novel", "extra_headers"}
        with pytest.raises(UnsupportedOptionError, match="effort"):
            llm.chat("x", ModelConfig(effort="low", on_unsupported="error"))


# -- loading ----------------------------------------------------------------------------------------------------------


def test_a_model_on_disk_is_loaded_with_progress_and_kept(llm: UnifiedLLM, studio: LMStudioDouble) -> None:
    events = list(llm.stream("x", ModelConfig(provider_options={"lmstudio": {"ttl": 5}}), model="other"))
    assert [e.fraction for e in events if isinstance(e, Progress) and e.stage == "load"] == [0.0, 0.5, 1.0]
    llm.chat("y", model="other")
    path, parameter = studio.calls[0]
    assert (path, parameter["identifier"], parameter["loadTtlMs"]) == ("llm/getOrLoad", "other", 5000)
    assert studio.paths().count("llm/getOrLoad") == 1


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_model_that_was_unloaded_meanwhile_is_loaded_again(
    llm: UnifiedLLM, studio: LMStudioDouble, stream: bool
) -> None:
    llm.chat("x")
    studio.loaded.clear()
    if stream:
        with llm.stream("y") as answer:
            assert answer.get_response() == "Echo: y"
    else:
        assert llm.chat("y") == "Echo: y"
    assert studio.paths()[-3:] == ["llm/predict", "llm/getOrLoad", "llm/predict"]
