"""Many deadlines on one timer: each call ends at its own, and nobody else's cancellation is taken for one."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref

import pytest

from unified_llm.flow.deadlines import DeadlineExpired, within


async def test_work_in_time_gives_its_value_and_its_error() -> None:
    async def fail() -> None:
        raise KeyError("x")

    assert await within(5, asyncio.sleep(0, "value")) == "value"
    with pytest.raises(KeyError):
        await within(5, fail())


async def test_each_call_ends_at_its_own_deadline() -> None:
    async def ended(seconds: float) -> float:
        started = time.monotonic()
        with pytest.raises(DeadlineExpired):
            await within(seconds, asyncio.sleep(30))
        return time.monotonic() - started

    limits = [0.3, 0.05, 0.2, 0.0, 0.1]  # a shorter one arms the timer anew
    spent = await asyncio.gather(*map(ended, limits))
    assert all(limit <= s + 0.02 for limit, s in zip(limits, spent, strict=True))
    assert sorted(spent) == [s for _, s in sorted(zip(limits, spent, strict=True))]


async def test_a_late_call_after_many_quick_ones_is_still_stopped() -> None:
    for _ in range(50):
        await within(0.1, asyncio.sleep(0))
    with pytest.raises(DeadlineExpired):
        await within(0.1, asyncio.sleep(30))


async def test_a_cancellation_from_elsewhere_is_no_deadline() -> None:
    task = asyncio.create_task(within(30, asyncio.sleep(30)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_deadlines_inside_each_other_and_inside_asyncios_own() -> None:
    with pytest.raises(DeadlineExpired):
        await within(0.05, within(30, asyncio.sleep(30)))
    with pytest.raises(DeadlineExpired):
        await within(30, within(0.05, asyncio.sleep(30)))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await within(30, asyncio.sleep(30))
    current = asyncio.current_task()
    assert current is not None
    assert current.cancelling() == 0


def test_loops_that_have_ended_are_forgotten() -> None:
    async def main() -> weakref.ref[asyncio.AbstractEventLoop]:
        await within(60, asyncio.sleep(0))
        return weakref.ref(asyncio.get_running_loop())

    first = asyncio.run(main())
    asyncio.run(main())
    gc.collect()
    assert first() is None
