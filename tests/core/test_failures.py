"""Failures through real sockets: the class raised, the exact number of requests, the fallback taken."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from testkit.wire_server import (
    CLOSE,
    HANG,
    RESET,
    Answer,
    Pause,
    Request,
    WireServer,
    free_port,
    json_reply,
    reply,
    sse,
)
from unified_llm import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    AuthenticationError,
    BreakerSettings,
    CallInfo,
    ContextLengthError,
    InvalidRequestError,
    Limits,
    ModelNotFoundError,
    OverloadedError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
    RequestTooLargeError,
    ResponseError,
    RetryPolicy,
    ServerError,
    StreamInterruptedError,
    TextDelta,
    UnifiedLLM,
    UnifiedLLMError,
)
from unified_llm.providers.offline import OfflineProvider
from unified_llm.testing import FakeLLM

AT_ONCE = RetryPolicy(max_retries=2, base=0)


def completion(text: str = "hi") -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    return {"id": "c1", "model": "m", "choices": [{"index": 0, "finish_reason": "stop", "message": message}]}


def delta(text: str, finish: str | None = None) -> dict[str, Any]:
    return {"id": "c1", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}


GOOD = json_reply(completion())


def client(server: WireServer, **options: Any) -> UnifiedLLM:
    return UnifiedLLM(base_url=server.url + "/v1", model="m", **{"retry": AT_ONCE, **options})


def error(status: int, message: str = "no", **headers: str) -> Answer:
    names = {k.replace("_", "-"): v for k, v in headers.items()}
    return json_reply({"error": {"message": message, "type": "x"}}, status, names)


HTML = reply(200, b"<html><body>Welcome</body></html>", {"content-type": "text/html"})
HALF = reply(200, b'{"id": "c1", "choices": [{"ind', {"content-type": "application/json"})

MATRIX: list[tuple[str, Answer, type[UnifiedLLMError], int]] = [
    ("reset", [RESET], APIConnectionError, 3),
    ("closed without an answer", [CLOSE], APIConnectionError, 3),
    ("401", error(401), AuthenticationError, 1),
    ("402", error(402), PaymentRequiredError, 1),
    ("403", error(403), PermissionDeniedError, 1),
    ("404", error(404), ModelNotFoundError, 1),
    ("400", error(400), InvalidRequestError, 1),
    ("400 context", error(400, "This model's maximum context length is 10 tokens"), ContextLengthError, 1),
    ("408", error(408), APITimeoutError, 3),
    ("409", error(409), InvalidRequestError, 3),
    ("413", error(413), RequestTooLargeError, 1),
    ("422", error(422), InvalidRequestError, 1),
    ("429", error(429), RateLimitError, 3),
    ("429 soon", error(429, retry_after="0"), RateLimitError, 3),
    ("429 in an hour", error(429, retry_after="3600"), RateLimitError, 1),
    ("429 nonsense", error(429, retry_after="soon"), RateLimitError, 3),
    ("500", error(500), ServerError, 3),
    ("502 html", reply(502, b"<html>bad gateway</html>"), ServerError, 3),
    ("503", error(503), OverloadedError, 3),
    ("504", error(504), ServerError, 3),
    ("529", error(529), OverloadedError, 3),
    ("HTML with 200", HTML, ResponseError, 1),
    ("half a JSON object", HALF, ResponseError, 1),
    ("200 with an error", json_reply({"error": {"message": "model overloaded", "code": 503}}), UnifiedLLMError, 0),
]


@pytest.mark.parametrize(("answer", "kind", "count"), [m[1:] for m in MATRIX], ids=[m[0] for m in MATRIX])
async def test_each_failure_has_its_class_and_its_number_of_requests(
    answer: Answer, kind: type[UnifiedLLMError], count: int
) -> None:
    with WireServer(lambda _: answer) as server:
        llm = client(server)
        with pytest.raises(kind) as sync_error:
            llm.chat("x")
        sync_count = len(server.requests)
        with pytest.raises(kind) as async_error:
            await llm.chat_async("x")
        assert len(server.requests) == 2 * sync_count
    if count:
        assert sync_count == count
    assert type(sync_error.value) is type(async_error.value)
    failure = sync_error.value
    assert (failure.provider, failure.model) == ("openai-compatible", "m")
    assert failure.hint
    assert len(failure.attempts) == sync_count


def test_a_refused_connection_names_the_address_and_is_tried_again() -> None:
    llm = UnifiedLLM(base_url=f"http://127.0.0.1:{free_port()}/v1", model="m", retry=AT_ONCE)
    with pytest.raises(APIConnectionError, match=r"127\.0\.0\.1") as caught:
        llm.chat("x")
    assert len(caught.value.attempts) == 3
    assert isinstance(caught.value, ConnectionError)


async def test_silence_before_the_headers_is_a_timeout() -> None:
    with WireServer(lambda _: [HANG]) as server:
        llm = client(server, timeout=0.1, max_retries=1)
        with pytest.raises(APITimeoutError):
            llm.chat("x")
        with pytest.raises(TimeoutError):
            await llm.chat_async("x")
        assert len(server.requests) == 4


async def test_silence_in_mid_stream_is_a_timeout_with_the_partial_text() -> None:
    with WireServer(lambda _: [*sse([delta("It rai")], end=False), HANG]) as server:
        llm = client(server, timeout=0.2)
        with pytest.raises(APITimeoutError) as caught:
            for _ in llm.stream("x"):
                pass
        assert caught.value.partial == "It rai"
        with pytest.raises(APITimeoutError):
            async for _ in llm.stream_async("x"):
                pass
        assert len(server.requests) == 2


@pytest.mark.parametrize("ending", [[CLOSE], [RESET], [b"5\r\ndata:", CLOSE]])
async def test_a_cut_stream_is_an_error_that_keeps_what_came(ending: Answer) -> None:
    with WireServer(lambda _: [*sse([delta("It rai")], end=False), *ending]) as server:
        llm = client(server)
        with pytest.raises(StreamInterruptedError) as caught:
            llm.stream("x").get_response()
        assert caught.value.partial == "It rai"
        with pytest.raises(StreamInterruptedError):
            await llm.stream_async("x").get_response()
        assert len(server.requests) == 2


def test_a_stream_that_fails_before_its_first_delta_is_asked_for_again() -> None:
    good = sse([delta("hi"), delta("", "stop")])
    with WireServer(error(503), good) as server:
        stream = client(server).stream("x")
        assert stream.get_response() == "hi"
        assert [a.error for a in stream.response.attempts] == ["OverloadedError"]  # type: ignore[union-attr]  # set
        assert len(server.requests) == 2


async def test_fallbacks_are_asked_in_order_and_recorded() -> None:
    with WireServer(lambda _: error(401)) as server:
        llm = client(server, fallbacks=["offline:spare"])
        answer = llm.chat("x")
        assert (answer.provider, answer.model) == ("offline", "spare")
        assert [(a.provider, a.error, a.status) for a in answer.attempts] == [
            ("openai-compatible", "AuthenticationError", 401)
        ]
        assert (await llm.chat_async("x")).provider == "offline"
        assert llm.stream("x").get_response().provider == "offline"
        assert (await llm.stream_async("x").get_response()).provider == "offline"
        assert len(server.requests) == 4


@pytest.mark.parametrize("name", ["offline", "offline:", " Offline "])
async def test_the_bare_name_of_a_provider_is_a_fallback_with_its_default_model(name: str) -> None:
    with WireServer(json_reply({"error": {"message": "down"}}, 503)) as server:
        default = UnifiedLLM("offline").chat("x").model
        for llm in (client(server, fallbacks=[name], max_retries=0), client(server, max_retries=0)):
            given: dict[str, Any] = {} if llm._fallbacks else {"fallbacks": [name]}
            for _ in range(2):  # found, then kept
                answers = [llm.chat("x", **given), await llm.chat_async("x", **given)]
                assert [(a.provider, a.model, len(a.attempts)) for a in answers] == [("offline", default, 1)] * 2
            await llm.aclose()
        assert {request.json()["model"] for request in server.requests} == {"m"}


def test_what_is_no_providers_name_is_a_model_of_the_clients_own() -> None:
    def answer(request: Request) -> Answer:
        return json_reply({"error": {"message": "down"}}, 503) if request.json()["model"] == "m" else GOOD

    with WireServer(answer) as server:
        assert client(server, fallbacks=["other"], max_retries=0).chat("x") == "hi"
        named = client(server, fallbacks=["openai-compatible:offline"], max_retries=0).chat("x")
        assert (named.provider, server.requests[-1].json()["model"]) == ("openai-compatible", "offline")


async def test_a_blank_fallback_is_refused_before_anything_is_sent() -> None:
    llm = FakeLLM("never")
    for blank in ("", "  "):
        with pytest.raises(InvalidRequestError, match="blank"):
            UnifiedLLM("offline", fallbacks=[blank])
        with pytest.raises(InvalidRequestError, match="blank"):
            llm.chat("x", fallbacks=[blank])
        with pytest.raises(InvalidRequestError, match="blank"):
            await llm.chat_async("x", fallbacks=[blank])
    assert not llm.requests


def test_a_fallback_that_may_be_a_model_of_ones_own_server_does_not_go_to_the_provider_of_that_name() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        UnifiedLLM("ollama", model="m", fallbacks=["mistral"])
    assert caught.value.hint == "write 'mistral:' for the provider, or 'ollama:mistral' for the model"
    targets = UnifiedLLM("ollama", fallbacks=["ollama:mistral", "mistral:"])._router.targets("m", ["ollama:mistral"])
    assert [(t.provider, t.model) for t in targets] == [("ollama", "m"), ("ollama", "mistral")]
    assert UnifiedLLM("openai", api_key="k", fallbacks=["mistral"])._router.fallback_ref("mistral") == "mistral:"


def test_a_fallback_means_what_it_means_for_the_provider_chosen_last() -> None:
    router = UnifiedLLM("openai", api_key="k")._router
    for _ in range(2):
        assert [t.provider for t in router.targets("openai:m", ["mistral", "claude"])] == [
            "openai",
            "mistral",
            "claude",
        ]
    router.set_provider("ollama", None, {})
    with pytest.raises(InvalidRequestError, match="may be a model of ollama"):
        router.targets("ollama:m", ["mistral"])
    assert [t.provider for t in router.targets("ollama:m", ["claude"])] == ["ollama", "claude"]


async def test_a_fallback_is_read_for_the_provider_that_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNIFIED_LLM_PROVIDER", "ollama")
    llm = UnifiedLLM(fallbacks=["mistral"])
    for _ in range(2):
        with pytest.raises(InvalidRequestError, match="may be a model of ollama"):
            await llm._router.targets_async("ollama:m", ["mistral"])


def test_a_provider_given_as_an_object_falls_back_by_its_own_name() -> None:
    class Mine(OfflineProvider):
        name = "mine"

    llm = UnifiedLLM(Mine(), fallbacks=["mine"])
    assert [t.provider for t in llm._router.targets("m", ["mine"])] == ["mine", "mine"]


def test_a_call_may_name_its_own_fallbacks() -> None:
    with WireServer(lambda _: error(500)) as server:
        answer = client(server).chat("x", fallbacks=["offline:"], max_retries=0)
        assert answer.provider == "offline"
        assert len(server.requests) == 1


def test_after_the_first_delta_there_is_no_fallback_unless_asked_for() -> None:
    cut = [*sse([delta("It rai")], end=False), CLOSE]
    with WireServer(lambda _: cut) as server:
        with pytest.raises(StreamInterruptedError):
            client(server, fallbacks=["offline:"]).stream("x").get_response()
        stream = client(server, fallbacks=["offline:"], fallback_after_delivery=True).stream("x")
        assert stream.get_response().provider == "offline"
        assert len(server.requests) == 2


async def test_an_opening_is_no_delivery_and_the_next_target_is_asked() -> None:
    """Claude tells the tokens of the prompt before it answers: that is no part of an answer."""
    message = {"id": "m", "role": "assistant", "model": "m", "content": [], "usage": {"input_tokens": 3}}
    opening = f"event: message_start\ndata: {json.dumps({'type': 'message_start', 'message': message})}\n\n".encode()
    cut = [*sse([opening], end=False), CLOSE]
    with WireServer(lambda _: cut) as server:
        options: dict[str, Any] = {"api_key": "sk-x", "model": "claude-haiku-5-5", "transport": "http"}
        async with UnifiedLLM("claude", base_url=server.url, fallbacks=["offline:"], retry=AT_ONCE, **options) as llm:
            assert llm.stream("x").get_response().provider == "offline"
            assert (await llm.stream_async("x").get_response()).provider == "offline"


def test_an_unknown_provider_in_a_chain_is_refused_at_once() -> None:
    with pytest.raises(InvalidRequestError):
        UnifiedLLM("offline", limits={"offline": Limits(concurrency=0)})
    with pytest.raises(UnifiedLLMError, match="nobody"):
        UnifiedLLM("offline", fallbacks=["nobody:"])
    with pytest.raises(InvalidRequestError, match="max_retries"):
        UnifiedLLM("offline", max_retries=-1)


async def test_the_deadline_bounds_the_whole_call() -> None:
    with WireServer(lambda _: [HANG]) as server:
        llm = client(server, deadline=0.3)
        started = time.perf_counter()
        with pytest.raises(APITimeoutError):
            await llm.chat_async("x")
        with pytest.raises(APITimeoutError):
            llm.chat("x")
        with pytest.raises(APITimeoutError):
            await llm.stream_async("x").get_response()
        assert time.perf_counter() - started < 10  # not the driver's 600 s


def test_a_breaker_stops_asking_a_server_that_is_down() -> None:
    with WireServer(lambda _: error(500)) as server:
        llm = client(server, max_retries=0, breaker=BreakerSettings(failures=2, seconds=60))
        for _ in range(4):
            with pytest.raises(ServerError):
                llm.chat("x")
        assert len(server.requests) == 2


# -- limits -----------------------------------------------------------------------------------------------------------


class Watch:
    """A provider-side view of calls in flight."""

    def __init__(self) -> None:
        self.inside = self.most = 0
        self.lock = threading.Lock()

    def enter(self) -> None:
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)

    def leave(self) -> None:
        with self.lock:
            self.inside -= 1


async def test_two_hundred_calls_never_exceed_a_limit_of_eight() -> None:
    watch = Watch()
    llm = UnifiedLLM("offline", delay=0.01, limits={"offline": Limits(concurrency=8)})
    provider: Any = llm._router.provider()
    original = provider.chat_async

    async def watched(request: Any) -> Any:
        watch.enter()
        try:
            return await original(request)
        finally:
            watch.leave()

    provider.chat_async = watched
    answers = await asyncio.gather(*(llm.chat_async("x") for _ in range(200)))
    assert len(answers) == 200
    assert watch.most == 8


def test_the_limit_holds_over_threads_and_loops_together() -> None:
    watch = Watch()
    llm = UnifiedLLM("offline", delay=0.01, limits={"offline": Limits(concurrency=3)})
    provider: Any = llm._router.provider()
    original, original_async = provider.chat, provider.chat_async

    def watched(request: Any) -> Any:
        watch.enter()
        try:
            return original(request)
        finally:
            watch.leave()

    async def watched_async(request: Any) -> Any:
        watch.enter()
        try:
            return await original_async(request)
        finally:
            watch.leave()

    provider.chat, provider.chat_async = watched, watched_async

    async def many() -> None:
        await asyncio.gather(*(llm.chat_async("x") for _ in range(10)))

    workers = [threading.Thread(target=llm.chat, args=("x",)) for _ in range(10)]
    workers += [threading.Thread(target=asyncio.run, args=(many(),)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert watch.most == 3
    assert watch.inside == 0


async def test_a_cancelled_waiter_gives_its_place_back() -> None:
    llm = UnifiedLLM("offline", delay=0.05, limits={"offline": Limits(concurrency=1)})
    tasks = [asyncio.create_task(llm.chat_async("x")) for _ in range(5)]
    await asyncio.sleep(0)
    for task in tasks[1:4]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(r, asyncio.CancelledError) for r in results] == [False, True, True, True, False]
    assert await llm.chat_async("still open")


def test_a_rate_limit_that_ends_after_the_deadline_says_so_at_once() -> None:
    llm = UnifiedLLM("offline", deadline=1, limits={"offline": Limits(requests_per_minute=6)})
    llm.chat("x")
    with pytest.raises(RateLimitError, match=r"own limit") as caught:
        llm.chat("x")
    assert caught.value.retry_after == pytest.approx(10, abs=0.5)


# -- hooks ------------------------------------------------------------------------------------------------------------


class Recorder:
    """Writes down what it sees."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_request(self, info: CallInfo) -> None:
        self.seen.append(f"request {info.provider} {info.attempt}")

    async def on_response(self, info: CallInfo, response: Any) -> None:
        self.seen.append(f"response {info.provider} {info.label}")

    def on_error(self, info: CallInfo, failure: BaseException) -> None:
        self.seen.append(f"error {type(failure).__name__}")

    async def on_retry(self, info: CallInfo, failure: UnifiedLLMError, seconds: float) -> None:
        self.seen.append(f"retry {seconds:g}")

    def on_fallback(self, info: CallInfo, failure: UnifiedLLMError | None) -> None:
        self.seen.append(f"fallback {info.provider}")


async def test_hooks_see_requests_errors_retries_fallbacks_and_responses() -> None:
    expected = [
        "request openai-compatible 0",
        "error OverloadedError",
        "retry 0",
        "request openai-compatible 1",
        "error OverloadedError",
        "fallback offline",
        "request offline 0",
        "response offline summary",
    ]
    with WireServer(lambda _: error(503)) as server:
        recorder = Recorder()
        llm = client(server, max_retries=1, fallbacks=["offline:"], hooks=[recorder])
        llm.chat("x", label="summary")
        assert recorder.seen == expected
        recorder.seen.clear()
        llm.stream("x", label="summary").get_response()
        assert recorder.seen == expected
        recorder.seen.clear()
        await llm.chat_async("x", label="summary")
        assert recorder.seen == expected
        recorder.seen.clear()
        await llm.stream_async("x", label="summary").get_response()
        assert recorder.seen == expected


class Clumsy:
    """Raises in every hook."""

    def on_request(self, info: CallInfo) -> None:
        raise RuntimeError("sk-secret-0123456789")

    async def on_response(self, info: CallInfo, response: Any) -> None:
        raise RuntimeError("boom")


async def test_a_hook_that_raises_is_logged_and_breaks_nothing(caplog: pytest.LogCaptureFixture) -> None:
    llm = UnifiedLLM("offline", hooks=[Clumsy()])
    with caplog.at_level(logging.ERROR, "unified_llm"):
        assert llm.chat("x")
        assert await llm.chat_async("x")
    assert "on_request" in caplog.text
    assert "sk-secret" not in caplog.text


class Gatekeeper:
    def before_call(self, info: CallInfo) -> None:
        raise PermissionError("not today")


async def test_the_gate_stops_a_call_before_anything_is_sent() -> None:
    with WireServer(GOOD) as server:
        llm = client(server, hooks=[Gatekeeper()])
        with pytest.raises(PermissionError, match="not today"):
            llm.chat("x")
        with pytest.raises(PermissionError):
            await llm.chat_async("x")
        with pytest.raises(PermissionError):
            llm.stream("x").get_response()
        with pytest.raises(PermissionError):
            llm.embed("x", "m")
        assert server.requests == []


def test_hooks_are_told_of_an_abandoned_stream() -> None:
    recorder = Recorder()
    with WireServer(lambda _: [*sse([delta("a"), delta("b")], end=False), HANG]) as server:
        stream = client(server, hooks=[recorder]).stream("x")
        assert any(isinstance(event, TextDelta) for event in stream)
        stream.close()
    assert recorder.seen[-1] == "error GeneratorExit"


def test_errors_are_also_the_builtin_kinds() -> None:
    assert issubclass(APIConnectionError, ConnectionError)
    assert issubclass(APITimeoutError, TimeoutError)
    assert issubclass(InvalidRequestError, ValueError)
    assert not issubclass(APIError, ValueError)


USED = {"prompt_tokens": 4000, "completion_tokens": 1000, "total_tokens": 5000}
STREAM_THAT_TOLD = sse([delta("hi", "stop"), {"choices": [], "usage": USED}])
VECTORS = {"data": [{"index": 0, "embedding": [1.0]}], "usage": {"prompt_tokens": 5000, "total_tokens": 5000}}
A_HUNDRED_A_SECOND = {"openai-compatible": Limits(tokens_per_minute=6000)}


@pytest.mark.parametrize(
    ("answer", "call"),
    [
        (json_reply(completion() | {"usage": USED}), lambda llm: llm.chat("Hi")),
        (STREAM_THAT_TOLD, lambda llm: list(llm.stream("Hi"))),
        (json_reply(VECTORS), lambda llm: llm.embed("Hi")),
    ],
    ids=["chat", "stream", "embed"],
)
def test_tokens_really_used_count_against_the_limit(answer: Answer, call: Callable[[UnifiedLLM], object]) -> None:
    with WireServer(answer) as server:
        llm = client(server, limits=A_HUNDRED_A_SECOND, deadline=5, embed_model="openai-compatible:e")
        call(llm)
        with pytest.raises(RateLimitError, match=r"own limit .* too late"):
            llm.chat("Hi")  # its turn comes in some 40 s


async def test_tokens_really_used_count_for_async_calls_too() -> None:
    with WireServer(STREAM_THAT_TOLD) as server:
        async with client(server, limits=A_HUNDRED_A_SECOND, deadline=5) as llm:
            async for _ in llm.stream_async("Hi"):
                pass
            with pytest.raises(RateLimitError, match=r"own limit .* too late"):
                await llm.chat_async("Hi")


def test_ctrl_c_while_a_call_waits_loses_no_place() -> None:
    with WireServer(lambda _: [Pause(1.0), *GOOD]) as server:
        llm = client(server, limits={"openai-compatible": Limits(concurrency=1)})
        first = threading.Thread(target=lambda: llm.chat("x"))
        first.start()
        server.wait_requests(1)
        interrupt = threading.Timer(0.2, lambda: signal.raise_signal(signal.SIGINT))
        interrupt.start()
        with pytest.raises(KeyboardInterrupt):
            llm.chat("y")
        first.join(10)
        assert llm.chat("z", deadline=10) == "hi"
        assert [request.json()["messages"][0]["content"] for request in server.requests] == ["x", "z"]


async def test_calls_that_were_not_sent_give_their_turn_back() -> None:
    with WireServer(lambda _: GOOD) as server:
        async with client(server, limits={"openai-compatible": Limits(requests_per_minute=12)}) as llm:
            await llm.chat_async("x")
            await llm.chat_async("x")  # the burst is used up: the next turn comes in five seconds
            waiting = [asyncio.create_task(llm.chat_async("x")) for _ in range(5)]
            await asyncio.sleep(0.05)
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            with pytest.raises(RateLimitError) as caught:
                await llm.chat_async("x", deadline=0.01)
            assert caught.value.retry_after is not None
            assert caught.value.retry_after < 6
        assert len(server.requests) == 2


def test_a_refused_call_takes_no_tokens() -> None:
    with WireServer(error(400), GOOD) as server:
        llm = client(server, limits={"openai-compatible": Limits(tokens_per_minute=600)}, deadline=3)
        with pytest.raises(InvalidRequestError):
            llm.chat("word " * 70)  # some 90 tokens of the 100 there are
        assert llm.chat("word " * 70) == "hi"


def test_a_breaker_leaves_one_model_alone_and_not_its_neighbours() -> None:
    def by_model(request: Request) -> Answer:
        return error(500) if request.json()["model"] == "bad" else GOOD

    with WireServer(by_model) as server:
        llm = client(server, breaker=BreakerSettings(failures=2), max_retries=0)
        for _ in range(2):
            with pytest.raises(ServerError):
                llm.chat("x", model="bad")
        with pytest.raises(OverloadedError, match="left alone"):
            llm.chat("x", model="bad")
        assert llm.chat("x", model="good") == "hi"
        assert llm.chat("x", model="bad", fallbacks=["openai-compatible:good"]) == "hi"


def test_a_conflict_asks_the_next_target() -> None:
    with WireServer(error(409), GOOD) as server:
        assert client(server, max_retries=0, fallbacks=["openai-compatible:other"]).chat("x") == "hi"
