"""Kept values: lifetime, capacity, owner, and ids nobody guesses."""

from __future__ import annotations

from unified_llm_mcp.expiring import ExpiringStore


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def store(clock: Clock, dropped: list[str], capacity: int = 10) -> ExpiringStore[str]:
    return ExpiringStore("x", ttl=60, capacity=capacity, dropped=dropped.append, clock=clock)


def test_a_value_expires_after_its_last_use() -> None:
    clock, dropped = Clock(), list[str]()
    kept = store(clock, dropped)
    key = kept.put("me", "value")
    clock.now = 59
    assert kept.get("me", key) == "value"
    clock.now = 118
    assert kept.get("me", key) == "value"
    clock.now = 178
    assert kept.get("me", key) is None
    assert dropped == ["value"]


def test_a_used_value_outlives_a_newer_one_that_is_not_used() -> None:
    clock, dropped = Clock(), list[str]()
    kept = store(clock, dropped, capacity=2)
    first, second = kept.put("me", "a"), kept.put("me", "b")
    assert kept.get("me", first) == "a"
    kept.put("me", "c")
    assert dropped == ["b"]
    assert kept.get("me", second) is None
    assert len(kept) == 2


def test_another_caller_gets_the_same_answer_as_for_an_unknown_id() -> None:
    clock, dropped = Clock(), list[str]()
    kept = store(clock, dropped)
    key = kept.put("me", "value")
    assert kept.get("you", key) is kept.get("you", "x_guess") is None
    assert kept.remove("you", key) is False
    assert list(kept.items("you")) == []
    assert list(kept.items("me")) == [(key, "value")]
    clock.now = 59
    assert kept.get("you", key) is None  # and a stranger does not renew the lifetime
    clock.now = 61
    assert kept.get("me", key) is None


def test_ids_have_more_than_128_random_bits_and_differ() -> None:
    kept = store(Clock(), [], capacity=2000)
    keys = {kept.put("me", "v") for _ in range(1000)}
    assert len(keys) == 1000
    assert all(len(key.removeprefix("x_")) * 6 >= 128 for key in keys)


def test_removing_and_clearing_drop_values() -> None:
    dropped: list[str] = []
    kept = store(Clock(), dropped)
    key = kept.put("me", "a")
    kept.put("me", "b")
    assert kept.remove("me", key) is True
    kept.clear()
    assert dropped == ["a", "b"]


def test_what_one_caller_keeps_does_not_push_out_what_others_keep() -> None:
    dropped = list[str]()
    kept = store(Clock(), dropped, capacity=2)
    mine = kept.put("me", "mine")
    for number in range(50):
        kept.put("you", str(number))
    assert kept.get("me", mine) == "mine"
    assert dropped == [str(number) for number in range(48)]


def test_many_callers_together_keep_no_more_than_eight_times_what_one_may() -> None:
    kept = store(Clock(), [], capacity=2)
    for number in range(100):
        kept.put(f"caller {number}", "v")
    assert len(kept) == 16


def test_too_much_weight_costs_the_caller_who_has_most() -> None:
    kept: ExpiringStore[list[str]] = ExpiringStore("x", ttl=60, capacity=10, weight=len, max_weight=10)
    mine = kept.put("me", ["v"] * 4)
    first, second = kept.put("you", ["v"] * 3), kept.put("you", ["v"] * 3)
    growing = kept.get("you", second)
    assert growing is not None
    growing.append("v")
    kept.shrink()
    assert kept.get("me", mine) is not None
    assert kept.get("you", first) is None
    assert kept.get("you", second) == ["v"] * 4
