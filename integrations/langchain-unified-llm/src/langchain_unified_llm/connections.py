"""The core clients behind a model: made on first use, one per set of connection settings, shared by its copies.

Constructing a model must need no key, no package and no network, and `configurable_fields` makes a new model object for
every call. Both are why the client is not a field: it lives here, and copies of a model share the same `Connections`.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import ExitStack
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Self

from unified_llm.forks import renew_in_child

if TYPE_CHECKING:
    from unified_llm import UnifiedLLM

__all__ = ["Connections", "model_of", "provider_of", "vendor_of", "with_provider"]

_MOST = 16  # clients kept per model; one per tenant's key is the usual reason to have several


def provider_of(reference: str | None, provider: str, base_url: str | None) -> str | None:
    """Canonical name of the provider that `reference` (a model, maybe ``provider:model``) goes to.

    None means that the core decides at the first call (see `unified_llm.detection.detect`).
    """
    return _provider_of(reference, provider, base_url, _registered())


@lru_cache(maxsize=512)
def _provider_of(reference: str | None, provider: str, base_url: str | None, registered: int) -> str | None:
    """Kept, because every trace asks for it; `registered` is different after somebody registered a provider."""
    from unified_llm.detection import given_provider

    return given_provider(provider, with_provider(reference, provider, base_url), base_url)


def with_provider(reference: str | None, provider: str, base_url: str | None) -> str | None:
    """`reference`, in which a bare provider name (``"local"``) becomes ``"local:"``: that provider's default model."""
    if not reference or ":" in reference or provider != "auto" or base_url:
        return reference
    return _default_of(reference, _registered()) or reference


@lru_cache(maxsize=512)
def _default_of(reference: str, registered: int) -> str | None:
    return f"{reference}:" if _registry().canonical_name(reference) else None


def model_of(reference: str | None) -> str | None:
    """The model that a reference names, without its provider; None for a provider alone."""
    return _model_of(reference, _registered()) if reference else None


@lru_cache(maxsize=512)
def _model_of(reference: str, registered: int) -> str | None:
    from unified_llm.detection import split_model_ref

    return split_model_ref(reference)[1]


def vendor_of(provider: str) -> str:
    """The name under which tracing and pricing services know a provider."""
    config = _registry().PROVIDER_CONFIGS.get(provider)
    return (config.vendor if config else None) or provider


def _registered() -> int:
    registry = _registry()
    return len(registry.PROVIDER_CONFIGS) + len(registry.ALIASES)


@cache
def _registry() -> Any:
    """The registry of providers, imported on first use: an import statement costs a microsecond each time."""
    from unified_llm.providers import registry

    return registry


class Connections:
    """Clients by their settings, at most sixteen. Thread-safe. Copies share it; a pickle of it is empty."""

    def __init__(self) -> None:
        self._clients: OrderedDict[Any, UnifiedLLM] = OrderedDict()
        self._lock = threading.Lock()
        # Nobody closes a LangChain model, so its sockets are closed with it. Not by `__del__`: models end up in
        # reference cycles (LangChain's v3 streams make one), whose finalisers run in no particular order.
        weakref.finalize(self, _close_all, self._clients)
        renew_in_child(self)

    def after_fork(self) -> None:
        """See `Forkable`."""
        self._lock = threading.Lock()

    def get(self, settings: tuple[Any, ...], keywords: Mapping[str, Any]) -> UnifiedLLM:
        """The client for `settings` (hashable), made with ``UnifiedLLM(**keywords)`` if there is none yet."""
        known = self._clients.get(settings)
        if known is not None:
            return known
        from unified_llm import UnifiedLLM

        with self._lock:
            if settings not in self._clients:
                self._clients[settings] = UnifiedLLM(**keywords)
                while len(self._clients) > _MOST:
                    self._clients.popitem(last=False)
            return self._clients[settings]

    def all(self) -> list[UnifiedLLM]:
        """Every client made so far."""
        with self._lock:
            return list(self._clients.values())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Connections)  # not a setting: models that differ in nothing else are equal

    __hash__ = object.__hash__

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[type[Connections], tuple[()]]:
        return Connections, ()

    def __repr__(self) -> str:
        return f"Connections({len(self._clients)})"


def _close_all(clients: Mapping[Any, UnifiedLLM]) -> None:
    with ExitStack() as closing:  # one that cannot be closed keeps no other one open
        for client in clients.values():
            closing.callback(client.close)
