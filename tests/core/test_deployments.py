"""Deployments of one model behind one name: which is asked first, who follows, whose key goes where."""

from __future__ import annotations

import pickle
import random
import threading
from collections import Counter
from typing import Any

import pytest

from testkit.wire_server import Answer, Request, Wait, WireServer, json_reply, sse
from unified_llm import (
    AuthenticationError,
    BreakerSettings,
    CallInfo,
    ConfigurationError,
    Deployment,
    InvalidRequestError,
    Price,
    PriceTable,
    RateLimitError,
    RetryPolicy,
    UnifiedLLM,
    UnknownProviderError,
    UnsupportedOptionError,
)
from unified_llm.policy import Balancer, Member, Strategy, Target
from unified_llm.policy.balance import FORGET, ordered
from unified_llm.testing import FakeLLM, forbid_real_providers

A, B, C = (Target(f"fast/{i}", "openai", f"m{i}") for i in range(3))


class World:
    """A balancer with a virtual clock and a seeded random."""

    def __init__(self, strategy: Strategy, *weights: float, cost: dict[str, float | None] | None = None) -> None:
        self.now = 0.0
        prices = cost or {}
        members = [Member(t, w) for t, w in zip((A, B, C), weights, strict=False)]
        self.balancer = Balancer(
            {"fast": members},
            strategy,
            cost=lambda t: prices.get(t.key),
            clock=lambda: self.now,
            random=random.Random(7).random,
        )

    def first(self) -> Target:
        return self.balancer.targets("fast")[0]

    def call(self, target: Target, seconds: float, error: BaseException | None = None) -> None:
        info = self.begin(target)
        self.now += seconds
        if error is not None:
            self.balancer.on_error(info, error)
        else:
            self.balancer.on_response(info, None)
        self.balancer.on_end(info)

    def begin(self, target: Target) -> CallInfo:
        info = CallInfo("chat", target=target.key)
        self.balancer.on_request(info)
        return info


def test_weights_are_shares_of_the_calls_and_everybody_else_follows() -> None:
    world = World("weighted", 2, 1, 1)
    orders = [world.balancer.targets("fast") for _ in range(4000)]
    assert all(set(order) == {A, B, C} for order in orders)
    first = Counter(order[0] for order in orders)
    assert first[A] == pytest.approx(2000, rel=0.08)
    assert first[B] == pytest.approx(1000, rel=0.12)


@pytest.mark.parametrize("strategy", ["weighted", "least_busy", "latency", "cost"])
def test_weight_zero_is_only_for_when_the_others_fail(strategy: Strategy) -> None:
    world = World(strategy, 1, 0, 1, cost={"fast/1": 0.0})
    assert {world.balancer.targets("fast")[-1] for _ in range(50)} == {B}


def test_the_order_can_be_kept() -> None:
    assert {World("order", 1, 5, 0).balancer.targets("fast") for _ in range(20)} == {(A, B, C)}


def test_the_least_busy_is_asked_first_in_proportion_to_its_weight() -> None:
    world = World("least_busy", 2, 1)
    for _ in range(30):
        world.begin(world.first())
    in_flight = {k: load.in_flight for k, load in world.balancer._loads.items()}
    assert in_flight == {"fast/0": 20, "fast/1": 10}


def test_calls_that_end_in_any_way_are_no_longer_in_flight() -> None:
    world = World("least_busy", 1, 1)
    for error in (None, RateLimitError("x"), InvalidRequestError("x"), GeneratorExit()):
        world.call(A, 1, error)
    info = world.begin(A)
    world.balancer.on_end(info)  # a stream that nobody finished
    assert world.balancer._loads["fast/0"].in_flight == 0


def test_the_fastest_of_the_last_minute_is_asked_first() -> None:
    world = World("latency", 1, 1)
    world.call(A, 2.0)
    assert world.first() == B, "nobody knows B yet"
    world.call(B, 1.0)
    assert world.first() == B
    for _ in range(5):
        world.call(B, 4.0)
    assert world.first() == A
    world.now += FORGET + 1
    world.call(A, 2.0)
    assert world.first() == B, "what was slow long ago is tried again"


def test_failing_quickly_is_not_being_fast() -> None:
    world = World("latency", 1, 1)
    world.call(A, 0.01, RateLimitError("x"))
    world.call(B, 3.0)
    assert world.first() == B
    world.call(B, 0.01, InvalidRequestError("the request's own fault"))
    assert world.first() == B


def test_an_unmeasured_target_gets_one_trial_at_a_time() -> None:
    world = World("latency", 1, 1)
    world.call(A, 2.0)
    world.begin(B)
    assert world.first() == A


def test_a_clock_that_goes_backwards_does_no_harm() -> None:
    world = World("latency", 1, 1)
    world.call(A, 2.0)
    world.now = -1000.0
    world.call(B, 1.0)
    assert set(world.balancer.targets("fast")) == {A, B}


def test_the_cheapest_is_first_and_the_unknown_last() -> None:
    world = World("cost", 1, 1, 1, cost={"fast/0": 0.2, "fast/1": None, "fast/2": 0.1})
    assert world.balancer.targets("fast") == (C, A, B)


def test_ordering_is_pure() -> None:
    members = [Member(A), Member(B)]
    orders = {ordered("weighted", members, random.Random(3).random) for _ in range(20)}
    assert len(orders) == 1


# -- the client, through real sockets -------------------------------------------------------------------------------


def completion(text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    return {"id": "c1", "model": "m", "choices": [{"index": 0, "finish_reason": "stop", "message": message}]}


def good(text: str) -> Answer:
    return json_reply(completion(text))


BUSY = json_reply({"error": {"message": "slow down"}}, 429)


def endpoint(server: WireServer, key: str, weight: float = 1.0) -> Deployment:
    return Deployment("openai:m", weight, {"api_key": key, "base_url": server.url + "/v1"})


def client(*deployments: Deployment | str, **options: Any) -> UnifiedLLM:
    defaults: dict[str, Any] = {"model": "fast", "strategy": "order", "retry": RetryPolicy(max_retries=0)}
    return UnifiedLLM(deployments={"fast": deployments}, **{**defaults, **options})


async def test_each_deployment_has_its_own_key_and_the_rest_are_fallbacks() -> None:
    with WireServer(BUSY) as first, WireServer(good("second")) as second:
        llm = client(endpoint(first, "key-one"), endpoint(second, "key-two"))
        assert llm.chat("x") == "second"
        answer = await llm.chat_async("x")
        assert answer == "second"
        assert [a.error for a in answer.attempts] == ["RateLimitError"]
        assert {r.headers["authorization"] for r in first.requests} == {"Bearer key-one"}
        assert {r.headers["authorization"] for r in second.requests} == {"Bearer key-two"}
        assert (len(first.requests), len(second.requests)) == (2, 2)
        await llm.aclose()


async def test_streams_are_balanced_too() -> None:
    chunk = {"id": "c1", "choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}]}
    with WireServer(BUSY) as first, WireServer(sse([chunk])) as second:
        llm = client(endpoint(first, "k"), endpoint(second, "k"))
        assert "".join(llm.chat("x", stream=True)) == "hi"
        assert [e.type async for e in llm.stream_async("x")][-1] == "end"
        assert (len(first.requests), len(second.requests)) == (2, 2)
        await llm.aclose()


def test_hooks_see_which_deployment_is_asked_even_when_the_model_is_the_same() -> None:
    class Seen:
        def __init__(self) -> None:
            self.events: list[tuple[str, str]] = []

        def on_request(self, info: CallInfo) -> None:
            self.events.append(("request", info.target))

        def on_fallback(self, info: CallInfo, error: object) -> None:
            self.events.append(("fallback", info.target))

    seen = Seen()
    with WireServer(BUSY) as first, WireServer(good("second")) as second:
        client(endpoint(first, "k"), endpoint(second, "k"), hooks=[seen]).chat("x")
    assert seen.events == [("request", "fast/0"), ("fallback", "fast/1"), ("request", "fast/1")]


def test_a_refused_key_goes_on_to_the_next_deployment_and_each_has_its_own_breaker() -> None:
    refused = json_reply({"error": {"message": "no"}}, 401)
    with WireServer(refused) as first, WireServer(good("second")) as second:
        llm = client(endpoint(first, "k"), endpoint(second, "k"), breaker=BreakerSettings(failures=2, seconds=60))
        for _ in range(5):
            assert llm.chat("x") == "second"
        assert (len(first.requests), len(second.requests)) == (2, 5)
        with pytest.raises(AuthenticationError):
            client(endpoint(first, "k")).chat("x")


def test_the_least_busy_takes_the_call_while_the_other_is_held() -> None:
    hold, arrived = threading.Event(), threading.Event()
    seen: list[str] = []

    def answer(request: Request) -> Answer:
        seen.append(request.headers["authorization"])
        if len(seen) > 1:
            return good("free")
        arrived.set()
        return [Wait(hold), *good("held")]

    with WireServer(answer) as server:
        llm = client(endpoint(server, "one"), endpoint(server, "two"), strategy="least_busy")
        waiting = threading.Thread(target=llm.chat, args=("x",))
        waiting.start()
        assert arrived.wait(10)
        assert [str(llm.chat("x")) for _ in range(3)] == ["free"] * 3
        hold.set()
        waiting.join(10)
    assert len(set(seen[1:])) == 1
    assert seen[0] not in seen[1:]


def test_the_cheapest_by_the_clients_own_prices() -> None:
    prices = PriceTable({"openai:dear": Price(10, 10), "groq:cheap": Price(1, 1)})
    llm = client("openai:dear", "groq:cheap", "lmstudio:x", strategy="cost", prices=prices)
    assert [t.provider for t in llm._router.targets("fast")] == ["lmstudio", "groq", "openai"]


def test_the_clients_key_stays_with_its_address() -> None:
    with WireServer(good("a")) as own, WireServer(good("b")) as other:
        llm = UnifiedLLM(
            "openai",
            api_key="clients-key",
            base_url=own.url + "/v1",
            deployments={
                "here": ["openai:m"],
                "there": [Deployment("openai:m", options={"base_url": other.url + "/v1", "api_key": "other-key"})],
                "keyless": [Deployment("openai:m", options={"base_url": other.url + "/v1"})],
            },
        )
        assert llm.chat("x", model="here") == "a"
        assert llm.chat("x", model="there") == "b"
        assert own.requests[0].headers["authorization"] == "Bearer clients-key"
        assert other.requests[0].headers["authorization"] == "Bearer other-key"
        assert llm.chat("x", model="keyless") == "b"
        assert "authorization" not in other.requests[1].headers


def test_a_name_of_deployments_can_be_a_fallback() -> None:
    with WireServer(BUSY) as first, WireServer(good("rescued")) as second:
        llm = client(endpoint(second, "k"), model=None, provider="openai", api_key="k", base_url=first.url + "/v1")
        assert llm.chat("x", model="openai:m", fallbacks=["fast"]) == "rescued"


def test_nothing_shows_a_deployments_key() -> None:
    deployment = Deployment("openai:m", options={"api_key": "sk-planted-0123456789"})
    assert "planted" not in repr(deployment) + repr(deployment.options)
    with pytest.raises(TypeError):
        pickle.dumps(deployment)


@pytest.mark.parametrize(
    ("deployments", "error"),
    [
        ({"claude": ["openai:m"]}, ConfigurationError),
        ({"a:b": ["openai:m"]}, ConfigurationError),
        ({"fast": []}, ConfigurationError),
        ({"fast": ["nobody:m"]}, UnknownProviderError),
        ({"fast": ["just-a-model"]}, UnknownProviderError),
    ],
)
def test_what_cannot_be_deployed_is_refused_at_once(deployments: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        UnifiedLLM("offline", deployments=deployments)


@pytest.mark.parametrize("weight", [-1, float("nan"), float("inf"), "much"])
def test_weights_that_are_none_are_refused(weight: Any) -> None:
    with pytest.raises(ConfigurationError, match="weight"):
        Deployment("openai:m", weight)


def test_an_unknown_strategy_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="least_busy"):
        client("openai:m", strategy="fastest")


def test_embeddings_name_one_model() -> None:
    with pytest.raises(UnsupportedOptionError, match="chats only"):
        FakeLLM(deployments={"fast": ["openai:m"]}).embed("x", "fast")


def test_a_fake_client_answers_for_deployments_and_the_guard_holds_for_real_ones() -> None:
    llm = FakeLLM("hello", deployments={"fast": ["openai:m"]})
    assert llm.chat("x", model="fast") == "hello"
    assert llm.last_request.model == "m"
    real = client(Deployment("openai:m", options={"api_key": "k"}))
    with forbid_real_providers(), pytest.raises(ConfigurationError, match="may not be used"):
        real.chat("x")
