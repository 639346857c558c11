"""Complete answers of the OpenAI dialect. Recorded bodies are in fixtures/openai/answers."""

from __future__ import annotations

import pytest

from testkit.openai_wire import FIXTURES, ask, collect, context, decode, stream
from unified_llm.codecs.openai_chat import OpenAIChatCodec
from unified_llm.errors import (
    ContextLengthError,
    ModelNotFoundError,
    OverloadedError,
    ResponseError,
    UnifiedLLMError,
)
from unified_llm.messages import Audio, Image, Message, Opaque, Origin, Text, Thinking, ToolCall
from unified_llm.responses import FinishReason, Usage
from unified_llm.wire import WireReply


def test_a_text_answer_carries_everything_the_server_said() -> None:
    response = decode("text")
    assert response == "The sky is blue \u2013 bleu ciel é."
    assert response.finish_reason is FinishReason.STOP
    assert response.native_finish_reason == "stop"
    assert response.usage == Usage(10, 5, 4, None, 2)
    assert response.usage.native is not None
    assert response.model == "m-served"
    assert response.provider == "openai"
    assert response.request_id == "req_1"
    assert response.response_id == "chatcmpl-1"
    assert response.message.origin == Origin("openai", "openai-chat", "m")
    assert response.raw["system_fingerprint"] == "fp_1"
    assert response.headers is not None


def test_parallel_calls_keep_their_ids_and_the_content_is_none() -> None:
    response = decode("parallel_tools")
    assert [(c.id, c.arguments) for c in response.tool_calls] == [("call_a", {"a": 1}), ("call_b", {"a": 2})]
    assert response.message.content is None
    assert response.finish_reason is FinishReason.TOOL_CALLS


def test_repeated_ids_become_unique() -> None:
    first, second = decode("calls_same_id").tool_calls
    assert first.id == "0"
    assert second.id not in ("0", "")


def test_ids_of_the_history_are_not_used_again() -> None:
    history = [Message("user", "Hi"), Message("assistant", tool_call=ToolCall("add", {}, "call_a"))]
    first, second = decode("parallel_tools", request=ask(history)).tool_calls
    assert first.id != "call_a"
    assert second.id == "call_b"


def test_missing_ids_are_made_up_and_arguments_may_be_objects_or_nothing() -> None:
    response = decode("calls_without_id")
    assert [(c.name, c.arguments) for c in response.tool_calls] == [("add", {"a": 1}), ("now", {})]
    assert len({c.id for c in response.tool_calls}) == 2
    assert response.finish_reason is FinishReason.TOOL_CALLS


def test_broken_arguments_are_kept_and_reported() -> None:
    (call,) = decode("arguments_broken").tool_calls
    assert (call.arguments_json, call.arguments) == ('{"a": 1,, oops', None)
    assert call.parse_error is not None


def test_the_last_call_of_a_truncated_answer_is_not_executable_even_without_arguments() -> None:
    first, second = decode("call_truncated").tool_calls
    assert first.arguments == {"a": 1}
    assert second.arguments is None


def test_a_legacy_function_call_is_a_tool_call() -> None:
    (call,) = decode("legacy_function_call").tool_calls
    assert (call.name, call.arguments) == ("add", {"a": 1})


@pytest.mark.parametrize(
    ("name", "profile"),
    [("reasoning_field", "vllm"), ("reasoning_content", "deepseek"), ("mistral_thinking", "mistral")],
)
def test_reasoning_is_a_thinking_part_whichever_field_it_is_in(name: str, profile: str) -> None:
    response = decode(name, profile)
    assert response.message.parts == (Thinking("First I think."), Text("42"))
    assert response.reasoning == "First I think."


def test_think_tags_are_split_by_profile() -> None:
    assert decode("think_tags", "lmstudio").message.parts == (
        Thinking("The user asks."),
        Text("The answer is 42."),
    )
    assert decode("think_tags", "openai").reasoning is None


def test_openrouter_reasoning_details_are_kept_whole() -> None:
    thinking, text, details = decode("reasoning_details", "openrouter").message.parts
    assert (thinking, text) == (Thinking("First I think."), Text("42"))
    assert isinstance(details, Opaque)
    assert [d["type"] for d in details.native.raw["reasoning_details"]] == ["reasoning.text", "reasoning.encrypted"]


def test_gemini_thought_signatures_stay_with_their_call() -> None:
    (call,) = decode("gemini_thought_signature", "gemini").tool_calls
    assert call.native is not None
    assert call.native.raw["extra_content"]["google"]["thought_signature"] == "CsYBSIG"


def test_a_refusal_is_text_with_its_own_finish_reason() -> None:
    response = decode("refusal")
    assert (str(response), response.finish_reason) == ("I cannot do that.", FinishReason.REFUSAL)


def test_citations_stay_with_the_text() -> None:
    (text,) = decode("citations").message.parts
    assert isinstance(text, Text)
    assert text.citations[0]["url_citation"]["url"] == "https://example.com"


def test_a_picture_in_the_answer_is_an_image_part() -> None:
    _, image = decode("image", "openrouter").message.parts
    assert isinstance(image, Image)
    assert image.media_type == "image/png"
    assert image.data is not None


def test_spoken_answers_give_their_transcript_and_their_sound() -> None:
    response = decode("audio")
    assert response == "Hello there."
    sound = response.message.parts[-1]
    assert isinstance(sound, Audio)
    assert sound.file_id == "audio_1"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("no_usage", Usage()),
        ("llamacpp_timings", Usage(42, 7, 30)),
        ("xai_usage", Usage(10, 7, None, None, 5)),
    ],
)
def test_usage_is_what_the_server_said_and_unknown_otherwise(name: str, expected: Usage) -> None:
    assert decode(name).usage == expected


def test_an_empty_answer_is_an_answer() -> None:
    response = decode("empty")
    assert (response, response.finish_reason, response.message.parts) == ("", FinishReason.STOP, ())


@pytest.mark.parametrize(
    ("name", "kind", "status"),
    [
        ("error_object", OverloadedError, 502),
        ("error_text", ContextLengthError, 200),
        ("unexpected_endpoint", ModelNotFoundError, 200),
        ("no_choices", ResponseError, 200),
        ("null_choices", ResponseError, 200),
        ("half", ResponseError, 200),
    ],
)
def test_a_success_status_with_an_error_inside_is_an_error(name: str, kind: type[UnifiedLLMError], status: int) -> None:
    with pytest.raises(UnifiedLLMError) as caught:
        decode(name)
    assert type(caught.value) is kind
    assert caught.value.status == status
    assert caught.value.hint
    assert caught.value.request_id == "req_1"


@pytest.mark.parametrize("body", [b"<html><title>Login</title></html>", b"", b"null", b"[]", b'"text"', b"{}", b"\xff"])
def test_a_body_of_another_kind_is_an_error_that_shows_it(body: bytes) -> None:
    reply = WireReply(200, {"content-type": "text/html"}, body)
    with pytest.raises(UnifiedLLMError) as caught:
        OpenAIChatCodec().decode(reply, ask(), context())
    assert caught.value.hint


def test_secrets_quoted_by_the_server_are_masked() -> None:
    codec = OpenAIChatCodec(lambda: ("hunter2-is-my-key",))
    body = b'{"error": {"message": "bad key hunter2-is-my-key", "code": "invalid_api_key"}}'
    with pytest.raises(UnifiedLLMError) as caught:
        codec.decode(WireReply(200, {}, body), ask(), context())
    for error in (codec.error(401, {}, body, context()), caught.value):
        assert "hunter2" not in f"{error} {error.body} {error!r} {vars(error)}"


SAME_IN_BOTH = [
    ("text", "text.sse", "openai"),
    ("parallel_tools", "parallel_tools.sse", "openai"),
    ("mistral_thinking", "mistral_thinking.sse", "mistral"),
    ("refusal", "refusal.sse", "openai"),
]


@pytest.mark.parametrize(("whole", "streamed", "profile"), SAME_IN_BOTH)
def test_a_streamed_answer_and_a_whole_one_give_the_same_message(whole: str, streamed: str, profile: str) -> None:
    events = stream((FIXTURES / "streams" / streamed).read_bytes(), profile)
    response = collect(events)
    assert response.message.parts == decode(whole, profile).message.parts
    assert response.finish_reason == decode(whole, profile).finish_reason
