"""The official conformance suite against `build_server`: every scored scenario of both revisions, no exceptions."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import pytest

from testkit.mcp_clients import SDK_2
from testkit.mcp_node import NodeTools
from testkit.mcp_raw import raw_server

SERVER = [sys.executable, str(Path(__file__).parents[1] / "servers" / "conformance_server.py")]
SCORED = {"2025-11-25": 30, "2026-07-28": 37}

pytestmark = [
    pytest.mark.skipif(not SDK_2, reason="the fixtures are written for SDK 2.x, which serves both revisions"),
    pytest.mark.timeout(180),
]


UNSCORED = {
    "tasks-lifecycle",
    "tasks-capability-negotiation",
    "tasks-wire-fields",
    "tasks-request-state-removal",
    "tasks-request-headers",
    "tasks-required-task-error",
    "tasks-mrtr-composition",
    "http-header-validation",
}
"""Not required of any server, and passed all the same. The other task scenarios need tasks that ask for input."""


def outcomes(report: str) -> tuple[dict[str, tuple[int, int]], set[str]]:
    """Scored scenarios to (checks passed, checks failed); and the names of those passed that are not scored."""
    summary, _, rest = report.partition("=== SUMMARY ===")[2].partition("Not scored for")
    marks = {name: mark for mark, name in re.findall(r"^\s+([✓✗]) (\S+) \(", rest, re.MULTILINE)}
    found = re.findall(r"^[✓✗] (\S+): (\d+) passed, (\d+) failed", summary, re.MULTILINE)
    scored = {name: (int(passed), int(failed)) for name, passed, failed in found if name not in marks}
    return scored, {name for name, mark in marks.items() if mark == "✓"}


async def run_suite(revision: str, node: NodeTools) -> tuple[int, str]:
    """The suite's exit code and report for one revision, on a server of its own."""
    async with raw_server(command=SERVER) as server:
        url = await server.said("listening on ")
        arguments = ["server", "--url", url, "--requirements", revision]
        return await asyncio.to_thread(node.run, "@modelcontextprotocol/conformance/dist/index.js", *arguments)


@pytest.fixture(scope="module")
async def reports(node: NodeTools) -> dict[str, tuple[int, str]]:
    """Both runs, at the same time: most of each is waiting for what must not happen, or not yet."""
    runs = await asyncio.gather(*(run_suite(revision, node) for revision in SCORED))
    return dict(zip(SCORED, runs, strict=True))


@pytest.mark.parametrize("revision", SCORED)
async def test_every_scored_scenario_passes(revision: str, reports: dict[str, tuple[int, str]]) -> None:
    code, report = reports[revision]
    scored, also_passed = outcomes(report)
    assert {name: checks for name, checks in scored.items() if checks[1] or not checks[0]} == {}, report
    assert len(scored) == SCORED[revision]
    assert code == 0, report
    if revision == "2026-07-28":
        assert also_passed >= UNSCORED, report
