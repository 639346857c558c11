"""Fixtures for the whole test run: one event loop library, and an environment without anybody's keys."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from testkit.claude_double import ClaudeDouble

_FOREIGN = ("_API_KEY", "_AUTH_TOKEN", "_API_TOKEN", "_BASE_URL", "_PROXY", "_proxy")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test may find a real key, server address, proxy or default provider."""
    for name in list(os.environ):
        if name.endswith(_FOREIGN) or name.startswith("UNIFIED_LLM_"):
            monkeypatch.delenv(name)


@pytest.fixture
def claude_double() -> Iterator[ClaudeDouble]:
    """A strict loopback double of the Claude API; a request the real one would refuse fails the test."""
    from testkit.claude_double import ClaudeDouble

    with ClaudeDouble() as double:
        yield double
    assert double.violations == []
