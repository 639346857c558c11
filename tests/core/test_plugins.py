"""Providers of other packages: the entry-point group, as an installed distribution declares it."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from unified_llm import ConfigurationError, InvalidBaseURLError, UnifiedLLM, UnknownProviderError
from unified_llm.providers import plugins, registry

MODULE = """
from unified_llm import ChatResponse, LLMProvider, Message

class Acme(LLMProvider):
    name = "acme"

    def __init__(self, *, greeting="hi", volume=1):
        self.greeting = greeting

    def chat(self, request):
        return ChatResponse(Message("assistant", f"{self.greeting} {request.model}"), provider="acme")

    def default_model(self):
        return "acme-1"

def no_provider(**options):
    return {}
"""
ENTRY_POINTS = """[unified_llm.providers]
acme = acme_llm:Acme
broken = acme_llm_without:Nothing
strange = acme_llm:no_provider
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A distribution on sys.path, as pip would install it."""
    info = tmp_path / "acme_llm-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-llm\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (tmp_path / "acme_llm.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    known = dict(registry.PROVIDER_CONFIGS)
    yield
    registry.PROVIDER_CONFIGS.clear()
    registry.PROVIDER_CONFIGS.update(known)
    sys.modules.pop("acme_llm", None)


@pytest.mark.usefixtures("package")
async def test_a_provider_of_another_package_is_used_by_name_and_by_reference() -> None:
    assert UnifiedLLM("acme").chat("x") == "hi acme-1"
    assert UnifiedLLM(model="Acme:m7").chat("x") == "hi m7"
    assert UnifiedLLM("acme", greeting="hey").chat("x") == "hey acme-1"
    assert await UnifiedLLM("acme").chat_async("x") == "hi acme-1"
    assert "".join(UnifiedLLM("acme").chat("x", stream=True)) == "hi acme-1"
    assert "acme" in UnifiedLLM("offline").available_providers


@pytest.mark.usefixtures("package")
def test_a_broken_package_names_itself_and_hides_no_other_provider(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConfigurationError, match="of the package 'acme-llm' cannot be loaded") as caught:
        UnifiedLLM("broken")
    assert caught.value.hint is not None
    assert "uninstall acme-llm" in caught.value.hint
    with caplog.at_level(logging.WARNING, "unified_llm"):
        available = UnifiedLLM("offline").available_providers
    assert "broken" not in available
    assert {"acme", "offline"} <= set(available)
    assert "cannot be loaded" in caplog.text


@pytest.mark.usefixtures("package")
def test_a_factory_that_makes_no_provider_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="made a dict, which is no LLMProvider"):
        UnifiedLLM("strange")


@pytest.mark.usefixtures("package")
def test_a_name_nobody_has_suggests_one_of_another_package() -> None:
    with pytest.raises(UnknownProviderError, match="did you mean 'acme'"):
        UnifiedLLM("acmee")


def test_a_model_id_with_a_colon_does_not_search_the_installed_packages_again() -> None:
    plugins.plugins()
    started = time.perf_counter()
    for _ in range(200):
        assert registry.canonical_name("llama3") is None
    assert time.perf_counter() - started < 1  # 200 searches take several seconds


@pytest.mark.parametrize("provider", ["offline", "claude", "openai", "lmstudio"])
def test_an_option_the_provider_does_not_have_is_named_with_the_ones_it_has(provider: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{provider} has no option 'api_kee'") as caught:
        registry.create_provider(provider, api_kee="x")
    assert caught.value.hint is not None
    assert "its options: " in caught.value.hint
    assert "__init__" not in str(caught.value)
    if provider != "offline":
        assert "did you mean 'api_key'?" in caught.value.hint


def test_a_bad_address_names_the_provider() -> None:
    with pytest.raises(InvalidBaseURLError, match=r"provider llamacpp"):
        UnifiedLLM("llamacpp", base_url="localhost:8080")
