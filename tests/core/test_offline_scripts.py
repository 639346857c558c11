"""Scripts: every kind of step, failures, delays, cut streams, and what is recorded."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from unified_llm import (
    APIConnectionError,
    APITimeoutError,
    AuthenticationError,
    ConfigurationError,
    ContextLengthError,
    FinishReason,
    OfflineProvider,
    OverloadedError,
    RateLimitError,
    ResponseError,
    ServerError,
    StreamInterruptedError,
    TextDelta,
    ToolCall,
    UnifiedLLM,
    UnifiedLLMError,
)
from unified_llm.offline.requests import RecordedRequest
from unified_llm.offline.script import Cut, Failure, Reply, Script


def offline(*steps: Any, **options: Any) -> UnifiedLLM:
    return UnifiedLLM(provider="offline", script=steps, max_retries=0, **options)


def requests_of(llm: UnifiedLLM) -> list[RecordedRequest]:
    provider = llm._router.provider()
    assert isinstance(provider, OfflineProvider)
    return provider.requests


# -- steps ------------------------------------------------------------------------------------------------------------


class City(BaseModel):
    name: str


@pytest.mark.parametrize(
    ("step", "text"),
    [
        ("Hello", "Hello"),
        (Reply("Hello"), "Hello"),
        ({"name": "Oslo"}, '{"name":"Oslo"}'),
        (City(name="Oslo"), '{"name":"Oslo"}'),
        (lambda request: f"You said {request.prompt}", "You said Hi"),
        (lambda request: lambda again: {"model": again.model}, '{"model":"echo"}'),
    ],
)
async def test_a_step_can_be_short_for_a_text(step: Any, text: str) -> None:
    llm = offline(step, step, step)
    assert llm.chat("Hi") == text
    assert await llm.chat_async("Hi") == text
    assert "".join(llm.chat("Hi", stream=True)) == text


def test_a_step_can_be_tool_calls() -> None:
    one, two = ToolCall("a", {"x": 1}, "id-1"), ToolCall("b")
    llm = offline(one, [one, two], Reply("Let me see.", tool_calls=[two]))
    assert llm.chat("Hi").tool_calls == (one,)
    streamed = llm.stream("Hi").get_response()
    assert streamed.tool_calls == (one, two)
    assert streamed.finish_reason is FinishReason.TOOL_CALLS
    third = llm.chat("Hi")
    assert (third.text, third.tool_calls) == ("Let me see.", (two,))


async def test_a_reply_says_everything_there_is_to_say() -> None:
    reply = Reply(
        "Hello",
        thinking="Hm.",
        finish_reason="length",
        usage={"prompt_tokens": 7, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 5}},
        headers={"X-Request-Id": "r-1"},
        model="served-1",
    )
    for answer in [(llm := offline(reply, reply)).chat("Hi"), (await anyio.to_thread.run_sync(lambda: llm.chat("Hi")))]:
        assert (answer.text, answer.reasoning, answer.model) == ("Hello", "Hm.", "served-1")
        assert answer.finish_reason is FinishReason.LENGTH
        assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.cache_read_tokens) == (7, 9, 5)
        assert answer.request_id == "r-1"


def test_no_usage_means_unknown_not_zero() -> None:
    llm = offline(Reply("Hi", usage={}), Reply("Hi", usage={}))
    assert llm.chat("x").usage.input_tokens is None
    streamed = llm.stream("x").get_response()
    assert streamed.usage.output_tokens is None


@pytest.mark.parametrize("step", [3, object(), ["text", "list"], [ToolCall("a"), "b"]])
def test_what_is_no_step_is_refused(step: Any) -> None:
    with pytest.raises(ConfigurationError, match="no step of a script") as caught:
        offline(step).chat("Hi")
    assert "ToolCall" in (caught.value.hint or "")


def test_a_script_that_is_used_up_raises_and_says_for_which_prompt() -> None:
    llm = offline("one")
    llm.chat("first")
    with pytest.raises(ConfigurationError, match=r"has 1 step, and chat request 2 needs one more.*'second'"):
        llm.chat("second")


def test_a_script_can_repeat_or_end_in_the_usual_answers() -> None:
    again = UnifiedLLM(provider="offline", script=Script(["a", "b"], then="repeat"))
    assert [str(again.chat("x")) for _ in range(5)] == ["a", "b", "a", "b", "a"]
    usual = UnifiedLLM(provider="offline", script=Script(["a"], then="echo"))
    assert [str(usual.chat("ping"))[:4] for _ in range(2)] == ["a", "This"]
    function = UnifiedLLM(provider="offline", script=lambda request: request.prompt.upper())
    assert [str(function.chat(p)) for p in ("x", "y")] == ["X", "Y"]


@pytest.mark.parametrize("bad", [{"then": "loop"}, {}])
def test_a_script_checks_its_options(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Script([], **bad) if bad else Reply("x", chunk_size=0)


def test_threads_share_a_script_without_using_a_step_twice() -> None:
    llm = offline(*map(str, range(50)))
    answers: list[str] = []
    threads = [threading.Thread(target=lambda: answers.append(str(llm.chat("x")))) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(answers, key=int) == [str(i) for i in range(50)]


# -- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (Failure(status=401), AuthenticationError),
        (Failure(status=400, code="context_length_exceeded", message="too long"), ContextLengthError),
        (Failure(status=429, headers={"Retry-After": "2"}), RateLimitError),
        (Failure(status=500), ServerError),
        (Failure(status=529), OverloadedError),
        (Failure(status=502, body="<html><title>Bad gateway</title></html>"), ServerError),
        (Failure(status=200, body="<html>Hello</html>", headers={"content-type": "text/html"}), ResponseError),
        (Failure(status=200, body={"error": {"message": "inside", "code": 429}}), UnifiedLLMError),
        (APIConnectionError("nothing listens"), APIConnectionError),
    ],
)
async def test_failures_raise_the_class_a_real_server_would_cause(failure: Any, kind: type[UnifiedLLMError]) -> None:
    llm = offline(failure, failure, failure, failure)
    with pytest.raises(kind) as caught:
        llm.chat("Hi")
    assert caught.value.provider == "offline"
    assert caught.value.model == "echo"
    with pytest.raises(kind):
        await llm.chat_async("Hi")
    with pytest.raises(kind):
        list(llm.stream("Hi"))
    with pytest.raises(kind):
        [event async for event in llm.stream_async("Hi")]


def test_a_failure_carries_its_headers() -> None:
    with pytest.raises(RateLimitError) as caught:
        offline(Failure(status=429, message="slow down", headers={"Retry-After": "2.5"})).chat("Hi")
    assert caught.value.retry_after == 2.5
    assert caught.value.request_id == "offline-1"
    assert "slow down" in caught.value.message


def test_an_error_of_the_test_itself_comes_out_as_it_is() -> None:
    def check(request: RecordedRequest) -> str:
        assert request.prompt == "expected"
        return "fine"

    llm = UnifiedLLM(provider="offline", script=check)
    assert llm.chat("expected") == "fine"
    with pytest.raises(AssertionError):
        llm.chat("something else")


def test_embeddings_can_fail_too() -> None:
    llm = UnifiedLLM(provider="offline", embed_script=Script([Failure(status=503), None], then="echo"), max_retries=0)
    with pytest.raises(OverloadedError):
        llm.embed("x")
    assert len(llm.embed("x")) == len(llm.embed("x")) == 256


# -- cut streams ------------------------------------------------------------------------------------------------------

TEXT = "Ein schöner Tag, 世界! Und noch viel mehr Text."


@pytest.mark.parametrize("where", ["event", "inside_event", "inside_character"])
@pytest.mark.parametrize("clean", [False, True])
@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_cut_stream_raises_and_keeps_what_came(where: Any, clean: bool, after: int) -> None:
    llm = offline(Reply(TEXT, chunk_size=4, cut=Cut(after=after, where=where, clean=clean)))
    pieces: list[str] = []
    with pytest.raises(StreamInterruptedError) as caught:
        pieces += [event.text for event in llm.stream("Hi") if isinstance(event, TextDelta)]
    if where != "inside_character":
        partial = caught.value.partial
        assert (partial.text if partial is not None else "") == TEXT[: 4 * after]
        assert partial is None or partial.finish_reason is FinishReason.ERROR
    assert caught.value.hint


async def test_a_cut_stream_raises_in_async_too() -> None:
    llm = offline(Reply(TEXT, cut=Cut(after=2)))
    with pytest.raises(StreamInterruptedError) as caught:
        [event async for event in llm.stream_async("Hi")]
    assert caught.value.partial is not None
    assert caught.value.partial.text == "Ein sch\u00f6"[: len(caught.value.partial.text)]


@pytest.mark.parametrize("clean", [False, True])
def test_a_cut_answer_that_is_not_streamed_is_unusable(clean: bool) -> None:
    with pytest.raises(ResponseError):
        offline(Reply(TEXT, cut=Cut(clean=clean))).chat("Hi")


def test_a_stream_can_fail_in_the_middle_with_an_error_event() -> None:
    llm = offline(Reply(TEXT, chunk_size=4, cut=Cut(after=2, error=Failure(status=529, message="overloaded now"))))
    with pytest.raises(OverloadedError, match="overloaded now") as caught:
        list(llm.stream("Hi"))
    assert caught.value.partial is not None
    assert caught.value.partial.text == TEXT[:8]


def test_a_cut_inside_a_character_needs_one() -> None:
    with pytest.raises(ConfigurationError, match="several bytes"):
        list(offline(Reply("plain", cut=Cut(where="inside_character"))).stream("Hi"))


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=30), read=st.integers(1, 40), piece=st.none() | st.integers(1, 7), calls=st.booleans())
def test_reads_of_any_size_give_the_same_answer(text: str, read: int, piece: int | None, calls: bool) -> None:
    text = text.encode("utf-8", "replace").decode()
    tool_calls = [ToolCall("a", {"x": "é"}, "id-1")] if calls else []
    llm = offline(Reply(text, thinking="hm", tool_calls=tool_calls, read_size=read, chunk_size=piece))
    streamed = llm.stream("Hi").get_response()
    assert streamed.text == text
    assert streamed.reasoning == "hm"
    assert list(streamed.tool_calls) == tool_calls


# -- time -------------------------------------------------------------------------------------------------------------


async def test_a_delay_longer_than_the_timeout_is_a_timeout() -> None:
    llm = offline(*[Reply("late", delay=30)] * 2, Reply("a b c", chunk_delay=30), timeout=0.02)
    started = time.monotonic()
    with pytest.raises(APITimeoutError, match=r"0\.02"):
        llm.chat("Hi")
    with pytest.raises(APITimeoutError):
        await llm.chat_async("Hi", timeout=0.01)
    with pytest.raises(APITimeoutError):
        list(llm.stream("Hi"))
    assert time.monotonic() - started < 5
    assert [r.outcome for r in requests_of(llm)] == ["failed"] * 3


async def test_cancelling_ends_a_delayed_answer_at_once() -> None:
    llm = offline(Reply("late", delay=60), Reply("a b c", chunk_delay=60))
    with anyio.fail_after(5):
        with anyio.move_on_after(0.02):
            await llm.chat_async("Hi")
        with anyio.move_on_after(0.02):
            async for _ in llm.stream_async("Hi"):
                pass
    assert [r.outcome for r in requests_of(llm)] == ["abandoned", "abandoned"]


@pytest.fixture
def interrupted() -> Iterator[None]:
    """Ctrl-C comes a moment after the test has begun."""

    def interrupt(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(
    "ask", [lambda llm: llm.chat("Hi"), lambda llm: list(llm.stream("Hi"))], ids=["chat", "stream"]
)
def test_ctrl_c_ends_a_delayed_answer_within_half_a_second(ask: Callable[[UnifiedLLM], Any], interrupted: None) -> None:
    llm = offline(Reply("late", delay=30))
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        ask(llm)
    assert time.monotonic() - started < 0.6
    assert [r.outcome for r in requests_of(llm)] == ["abandoned"]


async def test_delays_do_not_block_the_event_loop() -> None:
    llm = UnifiedLLM(provider="offline", script=Script([Reply("x", delay=0.1)], then="repeat"))
    with anyio.fail_after(5):
        started = time.monotonic()
        await asyncio.gather(*(llm.chat_async("Hi") for _ in range(50)))
    assert time.monotonic() - started < 2.5  # one after the other it would be five seconds


# -- the record -------------------------------------------------------------------------------------------------------


async def test_leaving_a_stream_early_is_recorded() -> None:
    llm = UnifiedLLM(provider="offline")
    with llm.stream("Hi") as stream:
        next(iter(stream))
        assert requests_of(llm)[0].outcome == "open"
    async with llm.stream_async("Hi") as events:
        async for _ in events:
            break
    list(llm.stream("Hi"))
    assert [r.outcome for r in requests_of(llm)] == ["abandoned", "abandoned", "complete"]


def test_requests_are_recorded_as_they_were_sent() -> None:
    llm = UnifiedLLM(provider="offline")
    llm.chat("Hello", system="Be brief.", temperature=0.3, tools=[lookup], extra_headers={"X-Trace": "7"})
    llm.embed(["a", "b"])
    llm.list_models()
    chat, embedding, models = requests_of(llm)
    assert (chat.kind, embedding.kind, models.kind) == ("chat", "embeddings", "models")
    assert (chat.system, chat.prompt, chat.tools) == ("Be brief.", "Hello", ("lookup",))
    assert chat.options == {"temperature": 0.3}
    assert chat.headers["x-trace"] == "7"
    assert chat.stream is False
    assert embedding.texts == ["a", "b"]
    assert [r.number for r in requests_of(llm)] == [1, 2, 3]


def lookup(word: str) -> str:
    """Looks a word up."""
    return word


def test_only_the_last_requests_are_kept() -> None:
    llm = UnifiedLLM(provider="offline", keep=2)
    for prompt in "abc":
        llm.chat(prompt)
    assert [r.prompt for r in requests_of(llm)] == ["b", "c"]
