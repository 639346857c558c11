"""Each hosted service by its own ways: address, key, refused fields, error bodies, usage, reasoning, finish reasons."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from testkit.openai_double import Call, Fail, OpenAIDouble, Say
from testkit.openai_rules import chat_faults
from testkit.openai_services import SERVICES
from testkit.openai_wire import ADD
from unified_llm import ChatResponse, Message, Text, ToolResult, UnifiedLLM
from unified_llm.errors import (
    AuthenticationError,
    ContextLengthError,
    InvalidRequestError,
    ModelNotFoundError,
    RateLimitError,
    UnifiedLLMError,
    UnsupportedOptionError,
)
from unified_llm.profiles.hosted import HOSTED
from unified_llm.providers.registry import PROVIDER_CONFIGS
from unified_llm.responses import FinishReason

KEY = "sk-0123456789abcdef"
every_service = pytest.mark.parametrize("name", sorted(SERVICES))
both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@contextmanager
def served(name: str, **options: Any) -> Iterator[tuple[OpenAIDouble, UnifiedLLM]]:
    given = {"dialect": "chat"} if name in ("openai", "azure") else {}
    with (
        OpenAIDouble(name, api_key=KEY) as double,
        UnifiedLLM(name, KEY, base_url=double.url, model="m", max_retries=0, **given | options) as llm,
    ):
        yield double, llm


def ask(llm: UnifiedLLM, messages: Any = "Hi", *, stream: bool = False, **options: Any) -> ChatResponse:
    if stream:
        return llm.stream(messages, **options).get_response()
    answer: ChatResponse = llm.chat(messages, **options)
    return answer


def test_every_hosted_service_has_a_double_of_its_own() -> None:
    assert {profile.name for profile in HOSTED} == SERVICES.keys()


# -- where and with what ----------------------------------------------------------------------------------------------


@every_service
def test_the_address_of_a_service_has_the_path_of_its_api(name: str) -> None:
    known = PROVIDER_CONFIGS[name].base_url
    if known is not None:
        assert urlsplit(known).path.strip("/") == SERVICES[name].base_path


def test_an_azure_resource_is_given_without_the_path() -> None:
    with OpenAIDouble("azure", api_key=KEY) as double:
        llm = UnifiedLLM("azure", KEY, base_url=double.root, model="m", dialect="chat")
        assert llm.chat("Hi") == "Echo: Hi"
        llm.close()


@every_service
def test_the_key_goes_in_the_header_that_the_service_reads_and_in_no_other(name: str) -> None:
    with served(name) as (double, llm):
        llm.chat("Hi")
        headers = double.requests[0].headers
    expected = {"api-key": KEY} if name == "azure" else {"authorization": f"Bearer {KEY}"}
    assert {n: v for n, v in headers.items() if n in ("api-key", "authorization", "x-api-key")} == expected


@every_service
def test_a_wrong_key_is_an_authentication_error(name: str) -> None:
    with OpenAIDouble(name, api_key="another") as double:
        llm = UnifiedLLM(name, KEY, base_url=double.url, model="m", max_retries=0)
        with pytest.raises(AuthenticationError) as caught:
            llm.chat("Hi")
        llm.close()
    assert KEY not in str(caught.value)
    assert caught.value.provider == name


@pytest.mark.parametrize(("name", "header"), [("azure", "authorization"), ("groq", "api-key")])
def test_the_double_does_not_read_the_other_header(name: str, header: str) -> None:
    double = OpenAIDouble(name, api_key=KEY).start()
    llm = UnifiedLLM(name, KEY, base_url=double.url, model="m", max_retries=0, headers={header: f"Bearer {KEY}"})
    llm.chat("Hi")
    llm.close()
    with pytest.raises(AssertionError, match=f"the key came in {header}"):
        double.stop()


# -- what a wrong field is --------------------------------------------------------------------------------------------

ASKED = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


@pytest.mark.parametrize(
    ("name", "more", "says"),
    [
        ("openai", {"max_tokens": 5}, "max_completion_tokens"),
        ("openai", {"model": "gpt-5", "temperature": 0.5}, "temperature"),
        ("azure", {"max_tokens": 5}, "max_completion_tokens"),
        ("azure", {"model": "mistral-large", "max_completion_tokens": 5}, "Use 'max_tokens'"),
        ("groq", {"logprobs": True}, "logprobs"),
        ("groq", {"top_k": 5}, "unknown field"),
        ("mistral", {"seed": 1}, "seed"),
        ("mistral", {"stream": True, "stream_options": {"include_usage": True}}, "stream_options"),
        ("mistral", {"tools": [TOOL], "tool_choice": "required"}, "'any'"),
        ("deepseek", {"max_completion_tokens": 5}, "max_tokens"),
        ("deepseek", {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}, "unavailable"),
        ("gemini", {"parallel_tool_calls": True, "tools": [TOOL]}, "parallel_tool_calls"),
        ("openrouter", {"thinking": {"type": "enabled"}}, "unknown field"),
        ("scaleway", {"frequency_penalty": 0.5}, "frequency_penalty"),
        ("xai", {"model": "grok-4", "stop": ["x"]}, "stop"),
        ("together", {"max_completion_tokens": 5}, "max_tokens"),
        ("fireworks", {"thinking": {"type": "enabled"}, "reasoning_effort": "low"}, "exclude each other"),
        ("perplexity", {"tools": [TOOL]}, "tools"),
        ("perplexity", {"stop": ["x"]}, "stop"),
        ("perplexity", {"response_format": {"type": "json_object"}}, "response_format"),
    ],
)
def test_a_field_that_the_service_does_not_take_is_a_fault(name: str, more: dict[str, Any], says: str) -> None:
    assert chat_faults(ASKED, SERVICES[name]) == []
    assert any(says in fault for fault in chat_faults({**ASKED, **more}, SERVICES[name]))


@pytest.mark.parametrize(
    ("name", "model", "options", "dropped"),
    [
        ("openai", "gpt-5-mini", {"temperature": 0.5, "logprobs": True}, {"temperature", "logprobs"}),
        ("azure", "mistral-large", {"max_tokens": 50}, set()),
        ("azure", "gpt-4o", {"max_tokens": 50}, set()),
        ("xai", "grok-4", {"stop_sequences": ["x"], "presence_penalty": 0.1, "effort": "low"}, {"stop_sequences"}),
        ("mistral", "mistral-small", {"seed": 3, "max_tokens": 50}, set()),
        ("fireworks", "m", {"thinking": True, "effort": "low"}, set()),
        ("fireworks", "m", {"thinking": 2048, "effort": "low"}, {"effort"}),
        ("perplexity", "sonar", {"stop_sequences": ["x"], "seed": 3}, {"stop_sequences", "seed"}),
    ],
)
@both
def test_options_that_a_model_of_the_service_refuses_are_not_sent(
    name: str, model: str, options: dict[str, Any], dropped: set[str], stream: bool
) -> None:
    with served(name) as (_, llm):
        answer = ask(llm, stream=stream, model=f"{name}:{model}", **options)
    told = {a.what for a in answer.adjustments if a.kind == "dropped"}
    assert told >= dropped
    assert dropped or not told


# -- what comes back --------------------------------------------------------------------------------------------------


@every_service
@both
def test_usage_is_counted_whole_wherever_the_service_puts_it(name: str, stream: bool) -> None:
    quirks = SERVICES[name]
    with served(name) as (double, llm):
        double.script(Say("Four words of text."), Say("Four words of text."))
        answer = ask(llm, "How many?", stream=stream)
        other = ask(llm, "How many?", stream=not stream)
    usage = answer.usage
    assert usage.output_tokens == len("Four words of text.[]") // 4 + quirks.beside  # tokens of reasoning are paid, too
    assert usage.reasoning_tokens == (quirks.beside or (1 if name == "deepseek" else None))
    assert (usage.input_tokens, usage.output_tokens) == (other.usage.input_tokens, other.usage.output_tokens)
    assert usage.cache_read_tokens == (1 if name == "deepseek" else None)
    assert usage.native is not None
    assert usage.native.keys() >= quirks.usage_more.keys()


@pytest.mark.parametrize(("name", "cost"), [("openrouter", 0.002), ("perplexity", 0.006)])
@both
def test_a_cost_that_the_service_tells_is_the_cost(name: str, cost: float, stream: bool) -> None:
    with served(name) as (_, llm):
        assert ask(llm, stream=stream).cost == pytest.approx(cost)


@every_service
@both
def test_an_answer_that_ended_is_called_so(name: str, stream: bool) -> None:
    with served(name) as (_, llm):
        answer = ask(llm, stream=stream)
    assert answer.finish_reason is FinishReason.STOP
    assert answer.native_finish_reason == SERVICES[name].stop_word


@pytest.mark.parametrize(
    ("name", "word", "reason"),
    [
        ("mistral", "model_length", FinishReason.CONTEXT_OVERFLOW),
        ("deepseek", "insufficient_system_resource", FinishReason.ERROR),
        ("azure", "content_filter", FinishReason.CONTENT_FILTER),
        ("openrouter", "error", FinishReason.ERROR),
        ("gemini", "SAFETY", FinishReason.CONTENT_FILTER),
        ("gemini", "PROHIBITED_CONTENT", FinishReason.CONTENT_FILTER),
        ("gemini", "IMAGE_SAFETY", FinishReason.CONTENT_FILTER),
    ],
)
@both
def test_finish_reasons_of_their_own_are_understood(name: str, word: str, reason: FinishReason, stream: bool) -> None:
    with served(name) as (double, llm):
        double.script(Say("Half an ans", finish=word))
        answer = ask(llm, stream=stream)
    assert (answer.finish_reason, answer.native_finish_reason) == (reason, word)


THINKERS = sorted(n for n, q in SERVICES.items() if q.reasoning != "none" and "tools" not in q.refused)


@pytest.mark.parametrize("name", THINKERS)
@both
def test_reasoning_is_read_and_the_next_turn_is_taken(name: str, stream: bool) -> None:
    with served(name) as (double, llm):
        double.script(Say("Let me add.", reasoning="Two and two.", calls=[Call("add", {"a": 2, "b": 2})]), "Four.")
        talk = [Message("user", "2+2?")]
        first = ask(llm, talk, stream=stream, tools=[ADD])
        assert (first.reasoning, first.text) == ("Two and two.", "Let me add.")
        talk += [first.message, Message("tool", ToolResult(first.tool_calls[0].id, "4"))]
        assert ask(llm, talk, stream=stream, tools=[ADD]) == "Four."


@both
def test_what_perplexity_and_xai_found_is_cited(stream: bool) -> None:
    with served("perplexity") as (_, llm):
        answer = ask(llm, stream=stream)
    (part,) = [p for p in answer.message.parts if isinstance(p, Text)]
    assert part.citations == ({"title": "A", "url": "https://example.org/a", "date": "2026-01-01"},)
    with served("xai") as (_, llm):
        answer = ask(llm, stream=stream)
        (part,) = [p for p in answer.message.parts if isinstance(p, Text)]
        assert part.citations == ({"url": "https://example.org/a"},)
        assert ask(llm, [Message("user", "a"), answer.message, Message("user", "b")], stream=stream) == "Echo: b"


def test_citations_are_events_of_a_stream() -> None:
    with served("perplexity") as (_, llm):
        kinds = [event.type for event in llm.stream("Hi")]
    assert kinds.index("citation_delta") < kinds.index("part_end")


def test_filters_that_azure_tells_of_before_and_after_are_no_answer() -> None:
    with served("azure") as (_, llm):
        events = list(llm.stream("Hi"))
        answer = events[-1].response  # type: ignore[union-attr]
    assert (events[0].type, answer.text, answer.response_id, answer.model) == ("start", "Echo: Hi", "chatcmpl-1", "m")
    assert [e.type for e in events].count("start") == 1


# -- errors -----------------------------------------------------------------------------------------------------------


@every_service
@both
@pytest.mark.parametrize(
    ("fail", "kind"),
    [
        (Fail(400, message="The field zzz is wrong"), InvalidRequestError),
        (Fail(404, message="The model `m` does not exist"), ModelNotFoundError),
        (Fail(429, message="Slow down"), RateLimitError),
        (Fail(400, message="This model's maximum context length is 10 tokens"), ContextLengthError),
    ],
    ids=["400", "404", "429", "context"],
)
def test_errors_in_the_form_of_the_service_keep_their_class_and_text(
    name: str, fail: Fail, kind: type[UnifiedLLMError], stream: bool
) -> None:
    with served(name) as (double, llm):
        double.script(fail)
        with pytest.raises(UnifiedLLMError) as caught:
            ask(llm, stream=stream)
    error = caught.value
    assert type(error) is kind
    assert fail.message in error.message
    assert (error.provider, error.status) == (name, fail.status)
    assert error.hint


def test_a_field_that_mistral_forbids_is_an_unsupported_option() -> None:
    double = OpenAIDouble("mistral", api_key=KEY).start()
    llm = UnifiedLLM("mistral", KEY, base_url=double.url, model="m", max_retries=0)
    with pytest.raises(UnsupportedOptionError, match="logit_bias") as caught:
        llm.chat("Hi", extra_body={"logit_bias": {"5": 1}})
    assert caught.value.status == 422
    llm.close()
    with pytest.raises(AssertionError, match="logit_bias"):
        double.stop()
