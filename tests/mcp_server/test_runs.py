"""Calls in tasks of their own, at the end of the server."""

from __future__ import annotations

import pytest

from testkit.mcp_clients import ERAS, in_memory
from testkit.probe_provider import ProbeProvider
from unified_llm import UnifiedLLM
from unified_llm_mcp import Settings, build_server
from unified_llm_mcp.deferred import Deferred
from unified_llm_mcp.failures import ToolCallError
from unified_llm_mcp.runs import Run, Runs


async def test_what_starts_after_the_end_does_not_begin() -> None:
    begun: list[str] = []

    async def produce(run: Run[str]) -> str:
        begun.append("begun")
        return "done"

    runs = Runs()
    await runs.aclose()
    run = runs.start(produce)
    await run.wait_done(5)
    assert begun == []
    with pytest.raises(ToolCallError, match="cancelled"):
        run.result()


async def test_what_is_made_for_a_first_call_that_arrives_at_the_end_starts_nothing() -> None:
    deferred = Deferred(UnifiedLLM(provider=ProbeProvider()), Settings())
    await deferred.aclose()

    async def produce(run: Run[str]) -> str:
        return "done"

    run = (await deferred.state_async()).runs.start(produce)
    await run.wait_done(5)
    assert run.cancelled


@pytest.mark.parametrize("era", ERAS)
async def test_a_call_that_arrives_at_the_end_asks_no_model(era: str) -> None:
    provider = ProbeProvider()
    server = build_server(UnifiedLLM(provider=provider), Settings())
    async with in_memory(server, era) as client:
        await client.call("chat", prompt="before")
        await server.aclose()
        result = await client.call("chat", prompt="after")
    assert result.structured["status"] == "cancelled"
    assert len(provider.requests) == 1
