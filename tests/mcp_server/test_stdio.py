"""The server as a process, driven by the official client over its standard input and output."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from testkit.mcp_clients import ERAS, over_stdio

HERE = Path(__file__).parent
PROBE = [sys.executable, str(HERE / "servers" / "probe_server.py")]
ENV = {"PYTHONPATH": str(HERE.parent / "support")}

pytestmark = pytest.mark.parametrize("era", ERAS)


async def test_the_three_tools_work_over_standard_input_and_output(era: str) -> None:
    async with over_stdio(PROBE, ENV, era) as client:
        answer = await client.call("chat", prompt="Hi")
        vectors = await client.call("embed", texts=["a", "b"], model="probe:org/embedder")
        models = await client.call("list_models", provider="probe")
    assert answer.text == "Hello, world"
    assert vectors.structured["count"] == 2
    assert [model["id"] for model in models.structured["models"]] == [
        "probe:talker",
        "probe:org/embedder",
        "probe:mystery",
    ]
