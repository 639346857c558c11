"""The table of providers takes no row that could not be used, by whatever way it is entered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from unified_llm import (
    PROVIDER_CONFIGS,
    ChatRequest,
    ChatResponse,
    ConfigurationError,
    LLMProvider,
    ProviderConfig,
    UnifiedLLM,
    register_provider,
)
from unified_llm.providers.registry import ALIASES, canonical_name


class Parrot(LLMProvider):
    name = "parrot"

    def chat(self, request: ChatRequest) -> ChatResponse:
        return ChatResponse(request.messages[-1].text, model=request.model, provider=self.name)

    def default_model(self) -> str:
        return "grey"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    rows, aliases = dict(PROVIDER_CONFIGS), dict(ALIASES)
    yield
    PROVIDER_CONFIGS.clear()
    PROVIDER_CONFIGS.update(rows)
    ALIASES.clear()
    ALIASES.update(aliases)


def test_a_provider_is_registered_and_found_in_any_case() -> None:
    register_provider("Parrot", Parrot, "PolyNesia")
    for name in ("parrot", "Parrot", " PARROT ", "polynesia", "PolyNesia"):
        assert canonical_name(name) == "parrot"
        assert UnifiedLLM(name).chat("hi") == "hi"
    assert UnifiedLLM(model="Parrot:grey").chat("hi").model == "grey"


def _set(name: str, row: Any) -> None:
    PROVIDER_CONFIGS[name] = row


def _merge(name: str, row: Any) -> None:
    table = PROVIDER_CONFIGS
    table |= {name: row}


WAYS: list[Callable[[str, Any], object]] = [
    _set,
    _merge,
    lambda name, row: PROVIDER_CONFIGS.update({name: row}),
    lambda name, row: PROVIDER_CONFIGS.update([(name, row)]),
    lambda name, row: PROVIDER_CONFIGS.setdefault(name, row),
]


@pytest.mark.parametrize("enter", WAYS)
@pytest.mark.parametrize("name", ["Parrot", " parrot", "par:rot", "", 5])
def test_a_name_that_no_look_up_would_find_is_refused(enter: Callable[[str, Any], object], name: Any) -> None:
    with pytest.raises(ConfigurationError, match="cannot be the name of a provider") as caught:
        enter(name, ProviderConfig(Parrot))
    assert "small letters" in str(caught.value.hint)
    assert name not in PROVIDER_CONFIGS


@pytest.mark.parametrize("enter", WAYS)
@pytest.mark.parametrize("row", [{"env_vars": ["NOUVEAU_API_KEY"]}, None, Parrot, ProviderConfig(cast("Any", 5))])
def test_a_row_that_is_none_is_refused_and_the_hint_shows_one(enter: Callable[[str, Any], object], row: Any) -> None:
    with pytest.raises(ConfigurationError, match="row of the provider 'nouveau'") as caught:
        enter("nouveau", row)
    assert "ProviderConfig(" in str(caught.value.hint)
    assert "nouveau" not in PROVIDER_CONFIGS


@pytest.mark.parametrize("enter", WAYS)
def test_a_good_row_is_taken_by_every_way(enter: Callable[[str, Any], object]) -> None:
    enter("parrot", ProviderConfig(Parrot))
    assert UnifiedLLM("Parrot").chat("hi") == "hi"


def test_a_factory_that_is_none_is_refused_when_it_is_registered() -> None:
    with pytest.raises(ConfigurationError, match="factory 5"):
        register_provider("five", cast("Any", 5))
