"""The rows of the table of providers, and the table, which takes no row that could not be used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from unified_llm.errors import ConfigurationError
from unified_llm.providers.base import LLMProvider

__all__ = ["ProviderConfig", "ProviderTable"]


@dataclass(frozen=True, slots=True)
class ProviderConfig:
    """One provider, as data.

    Attributes:
        factory: a class, a callable, or ``"module:name"`` of one (imported on first use). Called with the keyword
            arguments the user gave (api_key, base_url, timeout, ...), and with `name=` when it serves several names.
        env: environment variables that may hold the key, in order.
        base_url: address when none is given; base_url_env: variable that may hold another one.
        project_url: address with a ``{project_id}``, for services that bill by project.
        sent: how other fields of a credential go to the service: name of the field to that of a header, or of a query
            parameter when it begins with ``?``.
        needs_key: whether a request without a key is pointless.
        profile: name of its row in `profiles.PROFILES`.
        default_model, default_embedding_model: used when the caller names none.
        description: one line for ``unified-llm doctor``.
        vendor: the name that tracing and pricing services give it (OpenTelemetry ``gen_ai.provider.name``, LangSmith
            ``ls_provider``) when it is not its own.
    """

    factory: str | Callable[..., LLMProvider]
    env: tuple[str, ...] = ()
    base_url: str | None = None
    base_url_env: str | None = None
    project_url: str | None = None
    needs_key: bool = False
    profile: str = "openai-compatible"
    default_model: str | None = None
    default_embedding_model: str | None = None
    description: str = ""
    vendor: str | None = None
    sent: Mapping[str, str] = field(default_factory=dict, hash=False)


class ProviderTable(dict[str, ProviderConfig]):
    """Names of providers to their rows. A row that could not be used is refused where it is entered.

    Raises:
        ConfigurationError: a name in capital letters or with a colon, which no look-up would find; a row that is no
            `ProviderConfig`.
    """

    def __setitem__(self, name: str, row: ProviderConfig) -> None:
        _check(name, row)
        super().__setitem__(name, row)

    def setdefault(self, name: str, row: Any = None) -> ProviderConfig:
        if name not in self:
            self[name] = row
        return self[name]

    def update(self, *rows: Any, **named: ProviderConfig) -> None:
        for name, row in dict(*rows, **named).items():
            self[name] = row

    def __ior__(self, rows: Any) -> Self:  # type: ignore[override,misc]  # dict's has two overloads
        self.update(rows)
        return self


def _check(name: object, row: object) -> None:
    if not isinstance(name, str) or not name or name != name.strip().lower() or ":" in name:
        raise ConfigurationError(
            f"{name!r} cannot be the name of a provider",
            hint="names are in small letters, without a colon; those who use it may write it in any case",
        )
    usable = isinstance(row, ProviderConfig) and (isinstance(row.factory, str) or callable(row.factory))
    if not usable:
        what = (
            f"a ProviderConfig with the factory {row.factory!r}"
            if isinstance(row, ProviderConfig)
            else type(row).__name__
        )
        raise ConfigurationError(
            f"the row of the provider {name!r} cannot be used: {what}",
            hint='a row is ProviderConfig("module:Class", env=("ACME_API_KEY",), base_url="https://..."), or '
            "replace() of another provider's",
        )
