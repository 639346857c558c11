"""Fixtures for pytest. In a conftest.py: ``pytest_plugins = ["unified_llm.testing.pytest_plugin"]``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from unified_llm.testing.fake import FakeLLM
from unified_llm.testing.guards import block_network, forbid_real_providers

__all__ = ["fake_llm", "no_network", "only_fake_providers"]


@pytest.fixture
def fake_llm() -> Iterator[Callable[..., FakeLLM]]:
    """Makes `FakeLLM`s: ``llm = fake_llm("first answer", "second answer")``. Steps left over fail the test."""
    made: list[FakeLLM] = []

    def make(*steps: Any, **options: Any) -> FakeLLM:
        made.append(FakeLLM(*steps, **options))
        return made[-1]

    yield make
    for llm in made:
        llm.close()
        llm.assert_script_used()


@pytest.fixture
def only_fake_providers() -> Iterator[None]:
    """No provider but offline can be used, and no other machine reached (`forbid_real_providers`)."""
    with forbid_real_providers():
        yield


@pytest.fixture
def no_network() -> Iterator[None]:
    """No other machine can be reached (`block_network`)."""
    with block_network():
        yield
