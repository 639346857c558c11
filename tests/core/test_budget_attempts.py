"""A budget is asked before each request of a call, not only before its first."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from unified_llm import (
    APITimeoutError,
    Budget,
    BudgetExceeded,
    ChatRequest,
    ChatResponse,
    LLMProvider,
    OverloadedError,
    Price,
    PriceTable,
    RetryPolicy,
    UnifiedLLM,
    UnifiedLLMError,
    Usage,
)
from unified_llm.stream import StreamEvent

WORDS = "word " * 800
AT_ONCE = RetryPolicy(max_retries=5, base=0)


class Failing(LLMProvider):
    """Fails as it is told, and counts how often it was asked for which model."""

    name = "failing"

    def __init__(self, error: type[UnifiedLLMError]) -> None:
        self.error = error
        self.asked: list[str] = []

    def chat(self, request: ChatRequest) -> ChatResponse:
        self.asked.append(request.model)
        raise self.error("no answer", retryable=True)

    async def chat_async(self, request: ChatRequest) -> ChatResponse:
        return self.chat(request)

    def stream(self, request: ChatRequest) -> Iterator[StreamEvent]:
        self.chat(request)
        yield from ()


async def asked(llm: UnifiedLLM, how: str) -> None:
    if how == "chat_async":
        await llm.chat_async(WORDS, max_tokens=50)
    elif how == "chat":
        llm.chat(WORDS, max_tokens=50)
    else:
        list(llm.stream(WORDS, max_tokens=50))


@pytest.mark.parametrize("how", ["chat", "chat_async", "stream"])
async def test_a_retry_that_would_exceed_the_budget_is_not_sent(how: str) -> None:
    failing, budget = Failing(APITimeoutError), Budget(tokens=1300)
    llm = UnifiedLLM(failing, model="m", hooks=[budget], retry=AT_ONCE)
    with pytest.raises(BudgetExceeded) as refused:
        await asked(llm, how)
    assert failing.asked == ["m"]
    assert 900 < budget.spent_tokens <= 1300
    assert (budget._in_flight, budget._coming_tokens) == (0, 0)
    assert [attempt.error for attempt in refused.value.attempts] == ["APITimeoutError"]


def test_retries_of_requests_that_are_not_billed_need_no_more_than_the_first() -> None:
    failing, budget = Failing(OverloadedError), Budget(tokens=1300)
    llm = UnifiedLLM(failing, model="m", hooks=[budget], retry=AT_ONCE)
    with pytest.raises(OverloadedError):
        llm.chat(WORDS, max_tokens=50)
    assert len(failing.asked) == 6
    assert (budget.spent_tokens, budget._in_flight, budget._coming_tokens) == (0, 0, 0)


def test_a_fallback_is_held_to_its_own_price() -> None:
    failing = Failing(OverloadedError)
    prices = PriceTable({"cheap": Price(1, 1), "dear": Price(100, 100)})
    budget = Budget(usd=0.01)
    llm = UnifiedLLM(failing, model="cheap", fallbacks=["failing:dear"], hooks=[budget], prices=prices, max_retries=0)
    with pytest.raises(BudgetExceeded) as refused:
        llm.chat(WORDS, max_tokens=50)
    assert failing.asked == ["cheap"]
    assert isinstance(refused.value.__cause__, OverloadedError)
    assert (budget._in_flight, budget._coming_usd) == (0, 0.0)


def test_what_is_held_is_given_back_when_the_look_up_for_the_next_request_is_interrupted() -> None:
    class Interrupted(PriceTable):
        asked = 0

        def cost(self, provider: str, model: str, usage: Usage, *, tier: str | None = None) -> float | None:
            self.asked += 1
            if self.asked > 1:
                raise KeyboardInterrupt
            return super().cost(provider, model, usage, tier=tier)

    budget = Budget(usd=1)
    llm = UnifiedLLM(
        Failing(OverloadedError), model="m", hooks=[budget], prices=Interrupted({"m": Price(1, 1)}), retry=AT_ONCE
    )
    with pytest.raises(KeyboardInterrupt):
        llm.chat(WORDS, max_tokens=50)
    assert (budget._in_flight, budget._coming_tokens, budget._coming_usd) == (0, 0, 0.0)
