"""Costs: unknown is None, local is 0, prices agree with the list they come from, budgets stop before the next call."""

from __future__ import annotations

import asyncio
import copy
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import genai_prices
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testkit import responses_wire
from testkit.openai_wire import collect
from testkit.responses_double import message
from testkit.wire_server import CLOSE, HANG, WireServer, free_port, json_reply, sse
from unified_llm import (
    APITimeoutError,
    Budget,
    BudgetExceeded,
    ConfigurationError,
    Deployment,
    InvalidRequestError,
    ModelConfig,
    Price,
    PriceTable,
    StreamInterruptedError,
    Totals,
    UnifiedLLM,
    UnifiedLLMError,
    Usage,
    UsageHooks,
    UsageRecord,
)
from unified_llm.testing import Cut, Failure, FakeLLM, Reply

TABLE = PriceTable()
USAGE = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}


def test_an_unknown_price_or_unknown_tokens_cost_none_never_zero() -> None:
    assert TABLE.cost("nobody", "nothing", Usage(10, 10)) is None
    assert PriceTable({"m": Price(1, 1)}).cost("p", "m", Usage(10)) is None


MODELS = [
    ("claude", "anthropic", "claude-opus-5-5"),
    ("claude", "anthropic", "claude-haiku-5-5"),
    ("claude", "anthropic", "claude-sonnet-4-5"),
    ("openai", "openai", "gpt-4o-mini"),
    ("openai", "openai", "gpt-5-mini"),
    ("gemini", "google", "gemini-2.5-pro"),
    ("mistral", "mistral", "mistral-small-latest"),
    ("groq", "groq", "llama-3.1-8b-instant"),
]


@pytest.mark.parametrize(("ours", "theirs", "model"), MODELS)
@pytest.mark.parametrize(
    ("fresh", "read", "write", "output"), [(1000, 0, 0, 500), (300_000, 5000, 0, 7), (10, 90, 50, 3)]
)
def test_costs_agree_with_the_list_tiers_and_caches_included(
    ours: str, theirs: str, model: str, fresh: int, read: int, write: int, output: int
) -> None:
    total = fresh + read + write
    expected = genai_prices.calc_price(
        genai_prices.Usage(
            input_tokens=total, output_tokens=output, cache_read_tokens=read or None, cache_write_tokens=write or None
        ),
        model_ref=model,
        provider_id=theirs,
    ).total_price
    usage = Usage(total, output, read or None, write or None)
    assert TABLE.cost(ours, model, usage) == pytest.approx(float(expected), rel=1e-9)


@pytest.mark.parametrize("tier", ["flex", "priority"])
def test_a_service_tier_costs_what_the_list_says_of_it(tier: str) -> None:
    expected = genai_prices.calc_price(
        genai_prices.Usage(input_tokens=1000, output_tokens=1000),
        model_ref="gpt-5-mini",
        provider_id="openai",
        price_context={"service_tier": tier},
    ).total_price
    usage = Usage(1000, 1000)
    assert TABLE.cost("openai", "gpt-5-mini", usage, tier=tier) == pytest.approx(float(expected))
    assert TABLE.cost("openai", "gpt-5-mini", usage, tier=tier) != TABLE.cost("openai", "gpt-5-mini", usage)


@pytest.mark.parametrize(
    ("provider", "model"),
    [("claude", "claude-opus-5-5"), ("claude", "claude-2"), ("openai", "gpt-5-mini"), ("openai", "gpt-4")],
)
def test_a_batch_costs_half_also_where_the_list_does_not_say_so(provider: str, model: str) -> None:
    whole = TABLE.cost(provider, model, Usage(1000, 1000))
    assert whole is not None
    assert TABLE.cost(provider, model, Usage(1000, 1000), tier="batch") == pytest.approx(whole / 2)


def test_half_of_a_price_is_half_of_each_of_its_rates() -> None:
    price = Price(2, 4, cache_read=1, cache_write=6, above=((10, Price(8, 8)),))
    assert price.times(0.5) == Price(1, 2, cache_read=0.5, cache_write=3, above=((10, Price(4, 4)),))


TIERED = {"id": "c", "model": "gpt-5-mini", "service_tier": "flex"}
WHOLE = TIERED | {"choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "x"}}]}
CHUNKS = [
    TIERED | {"choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"}]},
    {"id": "c", "choices": [], "usage": USAGE},  # some name the tier in the first chunk only
]


async def test_the_tier_that_served_a_call_decides_its_cost() -> None:
    replies = [json_reply(WHOLE | {"usage": USAGE}), sse(CHUNKS), json_reply(WHOLE | {"usage": USAGE}), sse(CHUNKS)]
    with WireServer(*replies) as server:
        async with UnifiedLLM("openai", "k", base_url=server.url + "/v1", model="gpt-5-mini", max_retries=0) as llm:
            answers = [
                llm.chat("x"),
                llm.stream("x").get_response(),
                await llm.chat_async("x"),
                await llm.stream_async("x").get_response(),
            ]
            expected = TABLE.cost("openai", "gpt-5-mini", Usage(1000, 500), tier="flex")
            assert [a.cost for a in answers] == [pytest.approx(expected)] * 4
            assert llm.usage.total().cost == pytest.approx(4 * (expected or 0))


def test_the_tier_of_the_responses_api_decides_its_cost() -> None:
    body = responses_wire.answer(message("x"), service_tier="priority")
    assert [
        responses_wire.decode(body).usage.native,
        collect(responses_wire.stream(responses_wire.sse(body))).usage.native,
    ] == [body["usage"] | {"service_tier": "priority"}] * 2


def test_one_price_that_fails_does_not_lose_the_counts_of_other_calls(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(PriceTable):
        def cost(self, provider: str, model: str, usage: Usage, *, tier: str | None = None) -> float | None:
            if usage.input_tokens == 7:
                raise RuntimeError("the price service is down")
            return super().cost(provider, model, usage, tier=tier)

    odd = {"prompt_tokens": 7, "completion_tokens": 1}
    llm = FakeLLM(
        Reply("a", usage=USAGE),
        Reply("b", usage=odd),
        Reply("c", usage=USAGE),
        prices=Broken({"m": Price(1, 2)}),
        model="m",
    )
    for _ in range(3):
        llm.chat("x")
    total = llm.usage.total()
    assert (total.calls, total.unpriced_calls) == (3, 1)
    assert total.cost == pytest.approx(0.004)
    assert "could not be looked up" in caplog.text


def test_own_prices_win_from_the_most_precise_to_the_least() -> None:
    table = PriceTable({"p:m": Price(1, 1), "m": Price(2, 2), "p:*": Price(3, 3)})
    million = Usage(1_000_000, 0)
    assert [table.cost("p", "m", million), table.cost("q", "m", million), table.cost("p", "x", million)] == [1, 2, 3]


def test_your_own_price_also_holds_for_what_is_free_otherwise() -> None:
    prices = PriceTable({"offline:*": Price(1_000_000, 0)})
    llm = FakeLLM(Reply("x", usage=USAGE), prices=prices)
    assert llm.chat("x").cost == pytest.approx(1000)
    assert (llm.embed(["x"]).cost or 0) > 0
    assert FakeLLM("x").chat("x").cost == 0


def test_other_currencies_are_converted_or_unknown() -> None:
    euro = {"scaleway:*": Price(1, 1, currency="EUR")}
    assert PriceTable(euro).cost("scaleway", "m", Usage(1_000_000, 0)) is None
    assert PriceTable(euro, rates={"EUR": 1.2}).cost("scaleway", "m", Usage(1_000_000, 0)) == pytest.approx(1.2)


def test_cache_writes_for_an_hour_have_their_own_price() -> None:
    native = {"cache_creation": {"ephemeral_1h_input_tokens": 100, "ephemeral_5m_input_tokens": 0}}
    price = Price(1, 0, cache_write=2, cache_write_1h=4)
    assert price.cost(Usage(100, 0, None, 100, native=native)) == pytest.approx(400 / 1e6)
    assert price.cost(Usage(100, 0, None, 100)) == pytest.approx(200 / 1e6)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_cost_is_never_negative_and_more_tokens_never_cost_less(a: int, b: int, c: int, d: int) -> None:
    price = Price(1.0, 5.0, cache_read=0.1, cache_write=1.25)
    one = price.cost(Usage(a, b, min(a, c), None))
    more = price.cost(Usage(a + d, b + d, min(a, c), None))
    assert one is not None
    assert more is not None
    assert 0 <= one <= more


@pytest.mark.parametrize("wrong", [-1, "1", float("nan"), float("inf"), True])
def test_a_price_that_is_no_amount_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidRequestError, match="0 or more"):
        Price(wrong, 1)
    with pytest.raises(InvalidRequestError, match="cache_read"):
        Price(1, 1, cache_read=wrong)


@pytest.mark.parametrize("wrong", [-1, "1", float("nan"), float("inf"), None])
def test_a_rate_that_is_no_amount_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidRequestError, match="EUR"):
        PriceTable(rates={"EUR": wrong})


def test_a_price_that_is_none_is_refused() -> None:
    number: Any = 3
    with pytest.raises(InvalidRequestError, match="'m' is int"):
        PriceTable({"m": number})
    with pytest.raises(InvalidRequestError, match="'m' is int"):
        PriceTable().override("m", number)


def test_a_new_price_holds_from_the_next_call_on() -> None:
    table = PriceTable({"p:*": Price(1, 1)})
    million = Usage(1_000_000, 0)
    assert table.cost("p", "m", million) == 1
    table.override("p:m", Price(2, 2))
    assert (table.cost("p", "m", million), table.price("p", "m")) == (2, Price(2, 2))


def priced(*steps: Any, **options: Any) -> FakeLLM:
    """A scripted client whose calls cost 0.002 USD each."""
    llm = FakeLLM(*steps, prices=PriceTable({"m": Price(1, 2)}), model="m", **options)
    llm.provider.cost_per_call = None  # type: ignore[assignment]  # as if it were paid for
    return llm


async def test_every_way_to_call_knows_its_cost_and_counts_once() -> None:
    llm = priced(*[Reply("hi", usage=USAGE)] * 4)
    answers = [
        llm.chat("x"),
        await llm.chat_async("x", label="b"),
        llm.stream("x").get_response(),
        await llm.stream_async("x").get_response(),
    ]
    assert [a.cost for a in answers] == [pytest.approx(0.002)] * 4
    total = llm.usage.total()
    assert (total.calls, total.unpriced_calls) == (4, 0)
    assert total.cost == pytest.approx(0.008)
    assert total.usage.total_tokens == 6000
    assert llm.usage.total(label="b").calls == 1
    assert llm.usage.by_label()["b"].cost == pytest.approx(0.002)
    assert llm.usage.by_model()["offline:m"].calls == 4
    llm.usage.reset()
    assert llm.usage.total() == Totals()


def test_what_runs_here_costs_nothing_and_a_cost_survives_pickling() -> None:
    llm = UnifiedLLM("offline")
    assert llm.chat("x").cost == 0
    assert llm.embed(["a"]).cost == 0
    assert pickle.loads(pickle.dumps(priced(Reply("hi", usage=USAGE)).chat("x"))).cost == pytest.approx(0.002)


async def test_embeddings_have_the_options_of_chats_and_a_whole_record() -> None:
    records: list[UsageRecord] = []
    llm = priced(embed_script=None, on_usage=records.append)
    llm.embed(["one two"], "m", label="a")
    await llm.embed_async("one two", "m", label="b")
    assert [(r.operation, r.label) for r in records] == [("embed", "a"), ("embed", "b")]
    for record in records:
        assert record.latency is not None
        assert record.usage.total_tokens == record.usage.input_tokens
        assert record.cost is not None
        assert record.cost > 0


async def test_retries_and_the_deadline_hold_for_embeddings() -> None:
    good = json_reply({"data": [{"index": 0, "embedding": [1.0, 2.0]}], "usage": {"prompt_tokens": 3}})
    bad = json_reply({"error": {"message": "busy"}}, 503, {"retry-after": "0.01"})
    with WireServer(bad, good, bad, good, bad, bad, [HANG]) as server:
        url = server.url + "/v1"
        async with UnifiedLLM(base_url=url, embed_model="m", config=ModelConfig(max_retries=1)) as llm:
            assert llm.embed(["x"]).tolist() == [[1.0, 2.0]]
            assert (await llm.embed_async(["x"], max_retries=2)).tolist() == [[1.0, 2.0]]
            with pytest.raises(UnifiedLLMError):
                llm.embed(["x"], max_retries=0)
            assert len(server.requests) == 5
            with pytest.raises(UnifiedLLMError):
                await llm.embed_async(["x"], max_retries=0)
            with pytest.raises(APITimeoutError):
                await llm.embed_async(["x"], deadline=0.2)


def test_embeddings_survive_pickling_and_copying() -> None:
    vectors = priced().embed(["one two", "three"], "m")
    for copied in (pickle.loads(pickle.dumps(vectors)), copy.deepcopy(vectors), copy.copy(vectors)):
        assert copied == vectors
        assert (copied.usage, copied.model, copied.latency) == (vectors.usage, vectors.model, vectors.latency)
        assert copied.cost == vectors.cost
    assert vectors.cost is not None


def test_an_unknown_price_is_counted_as_unpriced() -> None:
    llm = FakeLLM(Reply("hi", usage=USAGE), model="m")
    llm.provider.cost_per_call = None  # type: ignore[assignment]  # as if it were paid for
    answer = llm.chat("x")
    assert answer.cost is None
    assert llm.usage.total().unpriced_calls == 1


async def test_on_usage_gets_everything_sync_or_async() -> None:
    seen: list[UsageRecord] = []

    async def later(record: UsageRecord) -> None:
        await asyncio.sleep(0)
        seen.append(record)

    llm = priced(Reply("hi", usage=USAGE), Reply("hi", usage=USAGE), on_usage=later)
    llm.chat("x", label="summary")
    await llm.chat_async("x")
    record = seen[0]
    assert (record.operation, record.provider, record.model, record.label) == ("chat", "offline", "m", "summary")
    assert record.cost == pytest.approx(0.002)
    assert record.usage.total_tokens == 1500
    assert record.latency is not None
    assert record.finish_reason == "stop"
    assert len(seen) == 2


async def test_a_budget_stops_before_the_call_that_would_exceed_it() -> None:
    budget = Budget(usd=0.005)
    llm = priced(*[Reply("hi", usage=USAGE)] * 9, hooks=[budget])
    for _ in range(2):
        llm.chat("x")
    with pytest.raises(BudgetExceeded, match=r"would exceed the budget: 0\.004 of 0\.005 USD"):
        llm.chat("x")
    with pytest.raises(BudgetExceeded):
        await llm.chat_async("x")
    with pytest.raises(BudgetExceeded):
        llm.stream("x").get_response()
    assert len(llm.requests) == 2
    assert budget.spent_usd == pytest.approx(0.004)


def test_what_a_call_may_answer_counts_before_it_is_sent() -> None:
    llm = priced(
        *[Reply("hi", usage=USAGE)] * 9, hooks=[Budget(tokens=2000, label="short"), Budget(usd=0.01, label="dear")]
    )
    with pytest.raises(BudgetExceeded, match="this one 5"):
        llm.chat("x", max_tokens=5000, label="short")
    with pytest.raises(BudgetExceeded, match="USD"):
        llm.chat("x", max_tokens=1990, label="dear", system="word " * 8000)
    assert not llm.requests
    llm.chat("x", max_tokens=500, label="short")


def test_a_long_prompt_counts_before_it_is_sent() -> None:
    llm = priced("hi", hooks=[Budget(tokens=1000)])
    with pytest.raises(BudgetExceeded):
        llm.chat("word " * 1000)
    assert not llm.requests


@pytest.mark.parametrize("limit", [{"usd": 0.01}, {"tokens": 7500}])
async def test_a_first_wave_of_calls_stays_within_the_budget(limit: dict[str, Any]) -> None:
    budget = Budget(**limit)
    llm = priced(*[Reply("hi", usage=USAGE, delay=0.02)] * 20, hooks=[budget])
    calls = (llm.chat_async("word " * 796, max_tokens=500) for _ in range(20))
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(r, BudgetExceeded) for r in results) == 15
    assert llm.usage.total().calls == 5
    assert budget.spent_usd <= 0.01 + 1e-9
    assert budget._coming_tokens == 0


async def test_embeddings_and_answers_without_usage_count_towards_a_budget() -> None:
    budget = Budget(tokens=100)
    llm = FakeLLM(Reply("four words of text", usage={}), hooks=[budget])
    llm.embed(["word " * 40])
    assert budget.spent_tokens >= 40
    before = budget.spent_tokens
    llm.chat("x")
    assert budget.spent_tokens > before
    with pytest.raises(BudgetExceeded):
        await llm.embed_async(["word " * 100])


def test_a_budget_of_a_label_leaves_the_others_alone() -> None:
    llm = priced(*[Reply("hi", usage=USAGE)] * 9, hooks=[Budget(tokens=1000, label="small")])
    llm.chat("x", label="small")
    with pytest.raises(BudgetExceeded, match="'small'"):
        llm.chat("x", label="small")
    assert llm.chat("x")


async def test_calls_in_flight_count_towards_a_budget() -> None:
    llm = priced(*[Reply("hi", usage=USAGE, delay=0.02)] * 20, hooks=[Budget(usd=0.01)])
    llm.chat("x")  # now the budget knows what a call costs
    results = await asyncio.gather(*(llm.chat_async("x") for _ in range(19)), return_exceptions=True)
    assert sum(isinstance(r, BudgetExceeded) for r in results) == 15
    assert llm.usage.total().cost <= 0.01 + 1e-9


def test_failed_calls_give_their_place_in_the_budget_back() -> None:
    budget = Budget(usd=0.005)
    llm = priced(
        Reply("hi", usage=USAGE),
        *[Failure(status=500)] * 5,
        *[Reply("hi", usage=USAGE)] * 2,
        hooks=[budget],
        max_retries=0,
    )
    llm.chat("x")
    for _ in range(5):
        with pytest.raises(Exception, match="script says so"):
            llm.chat("x")
    assert llm.chat("x")


@pytest.mark.parametrize("how", ["left", "cut"])
@pytest.mark.parametrize("asynchronous", [False, True])
async def test_what_arrived_of_a_stream_that_does_not_end_is_counted(how: str, asynchronous: bool) -> None:
    records: list[UsageRecord] = []
    two: list[Any] = []
    budget = Budget(tokens=10_000)
    reply = Reply("some words " * 50, usage=USAGE, cut=Cut(after=20) if how == "cut" else None)
    llm = priced(
        reply, hooks=[budget, UsageHooks(lambda cost, model: two.append((cost, model)))], on_usage=records.append
    )
    try:
        if asynchronous:
            async with llm.stream_async("word " * 80, label="l") as stream:
                for _ in range(15 if how == "left" else 1000):
                    await anext(stream)
        else:
            with llm.stream("word " * 80, label="l") as stream:
                for _ in range(15 if how == "left" else 1000):
                    next(stream)
        assert how == "left"
    except StreamInterruptedError:
        assert how == "cut"
    (record,) = records
    assert (record.partial, record.model, record.label, record.finish_reason) == (
        True,
        "m",
        "l",
        "cancelled" if how == "left" else "error",
    )
    assert 90 <= (record.usage.input_tokens or 0) <= 110
    assert 5 <= (record.usage.output_tokens or 0) <= 100
    assert record.cost is not None
    assert record.cost > 0
    assert two == [(record.cost, "m")]
    total = llm.usage.total()
    assert (total.calls, total.partial_calls) == (1, 1)
    assert total.cost == pytest.approx(record.cost)
    assert budget.spent_tokens == record.usage.total_tokens
    assert budget._coming_tokens == 0


async def whole_stream(llm: UnifiedLLM, asynchronous: bool) -> None:
    if asynchronous:
        await llm.stream_async("word " * 80).get_response()
    else:
        llm.stream("word " * 80).get_response()


SILENT: dict[str, list[Any]] = {
    "nothing at all": [HANG],
    "an opening": [*sse([{"id": "c", "choices": [{"index": 0, "delta": {"role": "assistant"}}]}], end=False), CLOSE],
}


@pytest.mark.parametrize("says", SILENT)
@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_stream_that_broke_before_its_first_event_counts_its_prompt(says: str, asynchronous: bool) -> None:
    records: list[UsageRecord] = []
    budget, dollars = Budget(tokens=10_000), Budget(usd=1.0)
    with WireServer(lambda _: SILENT[says]) as server:
        options: dict[str, Any] = {"timeout": 0.3, "max_retries": 0, "hooks": [budget, dollars]}
        prices = PriceTable({"m": Price(1, 2)})
        base_url = server.url + "/v1"
        async with UnifiedLLM(base_url=base_url, model="m", on_usage=records.append, prices=prices, **options) as llm:
            with pytest.raises(UnifiedLLMError):
                await whole_stream(llm, asynchronous)
    (record,) = records
    assert record.partial
    assert 90 <= (record.usage.input_tokens or 0) <= 110
    assert record.usage.output_tokens is None, "what was generated, nobody told"
    assert record.cost is None, "so the cost is not known either"
    total = llm.usage.total()
    assert (total.partial_calls, total.unpriced_calls) == (1, 1)
    assert budget.spent_tokens == record.usage.input_tokens
    assert dollars.spent_usd == pytest.approx((record.usage.input_tokens or 0) / 1e6), "the prompt's share is known"
    assert (budget._coming_tokens, dollars._coming_usd) == (0, 0)


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_what_was_refused_or_never_left_counts_nothing(asynchronous: bool) -> None:
    records: list[UsageRecord] = []
    refusals = [json_reply({"error": {"message": "no"}}, status) for status in (400, 401, 408, 429, 500)]
    with WireServer(*refusals) as server:
        addresses = [server.url] * len(refusals) + [f"http://127.0.0.1:{free_port()}"]
        for address in addresses:
            budget = Budget(tokens=10_000)
            async with UnifiedLLM(
                base_url=address + "/v1", model="m", max_retries=0, hooks=[budget], on_usage=records.append
            ) as llm:
                with pytest.raises(UnifiedLLMError):
                    await whole_stream(llm, asynchronous)
            assert (budget.spent_tokens, budget._coming_tokens) == (0, 0)
    assert records == []


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_whole_answer_that_did_not_come_counts_its_prompt(asynchronous: bool) -> None:
    records: list[UsageRecord] = []
    with WireServer(lambda _: [HANG]) as server:
        async with UnifiedLLM(
            base_url=server.url + "/v1", model="m", timeout=0.2, max_retries=0, on_usage=records.append
        ) as llm:
            with pytest.raises(APITimeoutError):
                await llm.chat_async("word " * 80) if asynchronous else llm.chat("word " * 80)
    assert [(r.partial, r.usage.output_tokens, r.cost) for r in records] == [(True, None, None)]


def test_a_stream_dropped_after_its_end_or_refused_at_once_has_no_part() -> None:
    records: list[UsageRecord] = []
    llm = priced(Reply("hi", usage=USAGE), Failure(status=400), on_usage=records.append)
    stream = llm.stream("x")
    for event in stream:
        if event.type == "end":
            break
    stream.close()
    assert [r.partial for r in records] == [False]
    with pytest.raises(UnifiedLLMError):
        list(llm.stream("x"))
    assert len(records) == 1


def test_hooks_hear_of_the_part_then_of_the_error_then_of_the_end() -> None:
    class Heard(list[str]):
        def on_partial(self, info: Any, response: Any) -> None:
            self.append(f"partial {response[:4]}")

        def on_error(self, info: Any, error: BaseException) -> None:
            self.append(type(error).__name__)

        def on_end(self, info: Any) -> None:
            self.append("end")

    heard = Heard()
    with FakeLLM("some words to say", hooks=[heard]).stream("x") as stream:
        while next(stream).type != "text_delta":
            pass
    assert heard == ["partial some", "GeneratorExit", "end"]


def test_a_price_table_that_raises_loses_no_tokens_and_refuses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(PriceTable):
        def cost(self, provider: str, model: str, usage: Usage, *, tier: str | None = None) -> float | None:
            raise RuntimeError("the price service is down")

    budget = Budget(usd=1.0)
    replies = [Reply("hi", usage=USAGE), Reply("hi", usage={})]
    llm = FakeLLM(*replies, prices=Broken(), hooks=[budget], model="m")
    llm.provider.cost_per_call = None  # type: ignore[assignment]  # as if it were paid for
    llm.chat("x")
    assert (budget.spent_tokens, budget.unpriced_calls, budget._coming_tokens) == (1500, 1, 0)
    llm.chat("x")
    assert budget.unpriced_calls == 2
    assert "counts as not" in caplog.text


async def test_a_hook_that_is_added_later_leaves_calls_in_flight_to_their_budgets() -> None:
    first, second, later = Budget(tokens=1000), Budget(usd=1.0), Budget(tokens=1000)
    llm = priced(Reply("hi", usage=USAGE, delay=0.05), Reply("hi", usage=USAGE), hooks=[first, second])
    call = asyncio.create_task(llm.chat_async("x", max_tokens=10))
    await asyncio.sleep(0)
    assert first._coming_tokens > 0
    llm.add_hook(later)
    await call
    assert (first._coming_tokens, second._coming_usd) == (0, 0.0)
    assert (first.spent_tokens, later.spent_tokens) == (1500, 0)
    with pytest.raises(BudgetExceeded):
        await llm.chat_async("x", max_tokens=10)


def test_a_budget_can_refuse_calls_whose_cost_is_unknown() -> None:
    llm = FakeLLM("a", "b", model="m", hooks=[Budget(usd=1, refuse_unpriced=True)])
    llm.provider.cost_per_call = None  # type: ignore[assignment]  # as if it were paid for
    llm.chat("x")
    with pytest.raises(BudgetExceeded, match="not known"):
        llm.chat("x")


@pytest.mark.parametrize(
    "wrong",
    [{}, {"usd": -1}, {"tokens": -5}, {"usd": "5"}, {"usd": float("nan")}, {"tokens": True}, {"usd": 1, "label": 3}],
)
def test_a_budget_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        Budget(**wrong)


def test_a_call_does_not_wait_for_the_price_list() -> None:
    """The list takes a second to load: it is looked at when somebody asks, not by every first call."""
    code = (
        "import sys\n"
        "from unified_llm.testing import FakeLLM, Reply\n"
        "llm = FakeLLM(Reply('hi'), model='gpt-4o-mini')\n"
        "llm.provider.cost_per_call = None\n"
        "answer = llm.chat('x')\n"
        "assert 'genai_prices' not in sys.modules\n"
        "llm.usage.total()\n"
        "assert 'genai_prices' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=50)


def test_a_call_that_is_cancelled_does_not_wait_for_the_price_list_either() -> None:
    code = (
        "import asyncio, sys\n"
        "from unified_llm import Budget\n"
        "from unified_llm.testing import FakeLLM, Reply\n"
        "budget, sent = Budget(tokens=10**6), asyncio.Event()\n"
        "class Watch:\n"
        "    def on_request(self, info): sent.set()\n"
        "llm = FakeLLM(Reply('hi', delay=20), 'hi', model='gpt-4o-mini', hooks=[budget, Watch()])\n"
        "llm.provider.cost_per_call = None\n"
        "async def main():\n"
        "    task = asyncio.ensure_future(llm.chat_async('x'))\n"
        "    await sent.wait()\n"
        "    task.cancel()\n"
        "    await asyncio.wait([task])\n"
        "    await llm.chat_async('x')\n"
        "asyncio.run(main())\n"
        "assert budget.spent_tokens > 0\n"
        "assert 'genai_prices' not in sys.modules\n"
        "total = llm.usage.total()\n"
        "assert total.partial_calls == 1\n"
        "assert 'genai_prices' in sys.modules\n"
        "assert budget.unpriced_calls == total.unpriced_calls\n"
        "assert budget.spent_usd >= total.cost\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=50)


def test_calls_that_wait_to_be_counted_are_counted_without_being_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unified_llm.costs.ledger.MOST_WAITING", 3)
    llm = priced(*[Reply("hi", usage=USAGE)] * 5)
    for _ in range(5):
        llm.chat("x")
    for thread in threading.enumerate():
        if thread.name == "unified_llm usage":
            thread.join()
    assert len(llm.usage._waiting) <= 2
    assert llm.usage.total().calls == 5


# -- the two functions of other clients -------------------------------------------------------------------------------


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_increment_usage_takes_one_two_or_eleven_arguments(asynchronous: bool) -> None:
    seen: list[tuple[Any, ...]] = []

    def one(record: Any) -> None:
        seen.append((record.model, record.usage.input_tokens))

    async def two(cost: float | None, model: str | None) -> None:
        seen.append((cost, model))

    def eleven(*arguments: Any) -> None:
        seen.append(arguments)

    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "prompt_tokens_details": {"cached_tokens": 400}}
    prices = PriceTable({"fake:*": Price(1.0, 10.0)})
    hooks = [UsageHooks(one), UsageHooks(two), UsageHooks(eleven)]
    llm = FakeLLM(Reply("hi", usage=usage), hooks=hooks, prices=prices)
    response = await llm.chat_async("x", label="greet") if asynchronous else llm.chat("x", label="greet")
    assert response.cost is not None
    model = seen[0][0]
    assert seen[0] == (model, 1000)
    assert seen[1] == (response.cost, model)
    cost, _, operation, seconds, first, given, taken, provider, project, region, cached = seen[2]
    assert (cost, operation, given, taken, provider) == (response.cost, "greet", 1000, 100, response.provider)
    assert seconds is not None
    assert (first, project, region, cached) == (None, None, None, 400)


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_get_usage_decides_before_each_call(asynchronous: bool) -> None:
    allowed = iter([True, False])

    async def later() -> bool:
        return next(allowed)

    llm = FakeLLM("hi", "never sent", hooks=[UsageHooks(get_usage=later if asynchronous else lambda: next(allowed))])
    assert await llm.chat_async("x") == "hi"
    with pytest.raises(BudgetExceeded, match="does not allow"):
        await llm.chat_async("x") if asynchronous else llm.chat("x")
    assert len(llm.requests) == 1


def test_another_number_of_arguments_is_refused_when_the_hook_is_made() -> None:
    with pytest.raises(InvalidRequestError, match="takes 3 arguments") as caught:
        UsageHooks(lambda a, b, c: None)
    assert "11" in str(caught.value.hint)


@pytest.mark.parametrize(
    "fields",
    [
        {"output": None},
        {"input": None},
        {"input": "1"},
        {"cache_read": -1},
        {"currency": 5},
        {"above": 5},
        {"above": (5,)},
        {"above": ((1000, 2.0),)},
        {"above": (("1000", Price(1, 1)),)},
    ],
)
def test_a_price_that_is_none_is_refused_before_anything_is_paid(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError, match="|".join(fields)):
        Price(**{"input": 1, "output": 1} | fields)


@pytest.mark.parametrize("increment", [5, dict[str, str]().update, lambda a, *, named: None])
def test_functions_that_cannot_count_are_refused_at_once(increment: Any) -> None:
    with pytest.raises(InvalidRequestError, match="increment_usage"):
        UsageHooks(increment)


def test_a_gate_that_is_no_function_is_refused_and_one_that_forgets_to_answer_is_told() -> None:
    with pytest.raises(InvalidRequestError, match="get_usage is int"):
        UsageHooks(get_usage=5)  # type: ignore[arg-type]
    answers: list[tuple[Callable[[], object], str]] = [
        (lambda: None, "NoneType"),
        (lambda: 0.0, "answered 0"),
        (lambda: "", "str"),
    ]
    for answer, told in answers:
        with pytest.raises(BudgetExceeded, match=told):
            FakeLLM("never", hooks=[UsageHooks(get_usage=answer)]).chat("x")


def test_a_class_is_no_hook_and_a_number_no_options() -> None:
    with pytest.raises(ConfigurationError, match="Budget is a class"):
        FakeLLM("x", hooks=[Budget])
    with pytest.raises(ConfigurationError, match="Budget is a class"):
        FakeLLM("x").add_hook(Budget)
    with pytest.raises(ConfigurationError, match="options of offline:"):
        Deployment("offline:", 1, 5)  # type: ignore[arg-type]
