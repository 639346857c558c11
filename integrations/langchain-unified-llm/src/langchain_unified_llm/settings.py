"""The settings that the chat model and the embeddings share: which model, where, with which key."""

from __future__ import annotations

import copy
import os
import sys
import warnings
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from langchain_unified_llm.connections import Connections, provider_of, with_provider
from langchain_unified_llm.errors import translate
from unified_llm.errors import UnifiedLLMError

if TYPE_CHECKING:
    from unified_llm import UnifiedLLM
else:
    UnifiedLLM = Any  # imported by the first call; LangChain evaluates annotations before (`with_fallbacks`)

__all__ = ["ConnectedModel", "warn_unknown"]


def warn_unknown(names: Iterable[str], known: Iterable[str]) -> None:
    """Warn about parameters that nobody knows, with the nearest known one. Values are not shown: they may be keys.

    The warning points at the line that made the call, and Python shows it once for each such line.
    """
    candidates = list(known)
    place = " (server-specific fields go in extra_body={...})" if "extra_body" in candidates else ""
    for name in names:
        near = get_close_matches(name, candidates, n=1, cutoff=0.6)
        guess = f"; did you mean {near[0]!r}?" if near else ""
        warnings.warn(
            f"unknown parameter {name!r} is not sent{guess}{place}",
            stacklevel=_level_of_the_caller(),
        )


_BETWEEN = frozenset({"langchain_unified_llm", "langchain_core", "langchain", "langgraph", "pydantic"})


def _level_of_the_caller() -> int:
    """`stacklevel`, for the function that asks, of the first frame that is not of this package or of LangChain's."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _BETWEEN:
        frame, level = frame.f_back, level + 1
    return level


class ConnectedModel(BaseModel):
    """Where the model is. Constructing it asks nobody: key, package and server are looked at by the first call."""

    model_config = ConfigDict(
        arbitrary_types_allowed=True,
        populate_by_name=True,
        hide_input_in_errors=True,
        protected_namespaces=(),
        defer_build=True,  # never made itself: building validators of base classes is half of the import
    )

    model: str | None = Field(default=None, validation_alias=AliasChoices("model", "model_name"))
    """Model id, ``provider:model``, or a provider's name alone; None is the provider's own default."""

    provider: str = "auto"
    """Provider name. "auto": the one `model` names, else what is configured or running on this machine."""

    api_key: SecretStr | str | None = None
    """Key for that provider, never used for another (a `SecretStr`). None: the core looks in its usual places."""

    base_url: str | None = None
    """Address of the server. Alone, it means an OpenAI-compatible one."""

    timeout: float | None = Field(default=None, gt=0, validation_alias=AliasChoices("timeout", "request_timeout"))
    """Seconds without progress before a timeout error."""

    config_path: str | None = Field(default=None, exclude=True)
    """Where the core's configuration file is, when it is not in its usual place."""

    client_options: dict[str, Any] | None = Field(default=None, exclude=True, repr=False)
    """More keywords of the provider's constructor."""

    client: Any = Field(default=None, exclude=True, repr=False)
    """A `unified_llm.UnifiedLLM` to use instead of one made from the settings above."""

    connections: Connections = Field(default_factory=Connections, exclude=True, repr=False)
    """The core clients made so far; copies of a model share them."""

    @field_validator("api_key")
    @classmethod
    def _hide_key(cls, value: SecretStr | str | None) -> SecretStr | None:
        return SecretStr(value) if isinstance(value, str) else value

    @field_validator("provider")
    @classmethod
    def _check_provider(cls, value: str) -> str:
        if value != "auto":
            from unified_llm.providers.registry import canonical_name, unknown_provider

            if canonical_name(value) is None:
                raise unknown_provider(value)
        return value

    @field_validator("client")
    @classmethod
    def _check_client(cls, value: Any) -> Any:
        if value is not None:
            from unified_llm import UnifiedLLM as Client

            if not isinstance(value, Client):
                raise ValueError(f"client is {type(value).__name__}, not a unified_llm.UnifiedLLM")
        return value

    @field_validator("base_url")
    @classmethod
    def _check_base_url(cls, value: str | None) -> str | None:
        # Checked here although the core checks it too: an address with a password in it must not reach a repr.
        if value is None:
            return None
        from unified_llm.drivers.urls import normalize_base_url

        normalize_base_url(value)
        return value

    @model_validator(mode="before")
    @classmethod
    def _warn_about_unknown_parameters(cls, values: Any) -> Any:
        if isinstance(values, Mapping):
            known = cls._parameter_names()
            if unknown := [name for name in values if name not in known]:
                warn_unknown(unknown, known)
        return values

    @classmethod
    def _parameter_names(cls) -> frozenset[str]:
        names = set(cls.model_fields)
        for field in cls.model_fields.values():
            if field.alias:
                names.add(field.alias)
            if isinstance(field.validation_alias, AliasChoices):
                names.update(str(choice) for choice in field.validation_alias.choices)
        return frozenset(names)

    def core_client(self) -> UnifiedLLM:
        """The core client behind this object, made on first use.

        Raises:
            UnifiedLLMError: unknown provider, missing key or package, address that is none; also LangChain's class.
        """
        if self.client is not None:
            given: UnifiedLLM = self.client
            return given
        reference = with_provider(self.model, self.provider, self.base_url)
        prefix = (reference or "").partition(":")[0]
        settings = (self.provider, prefix, self.api_key, self.base_url, self.timeout, self.config_path)
        try:
            return self.connections.get((*settings, _mark(self.client_options)), self._client_keywords(reference))
        except UnifiedLLMError as exc:
            raise translate(exc) from exc

    def _client_keywords(self, reference: str | None) -> dict[str, Any]:
        from unified_llm import ModelConfig

        keywords: dict[str, Any] = {
            "provider": self.provider,
            "model": reference,
            "api_key": self.api_key,
            "base_url": self.base_url,
            "config_path": self.config_path,
            "config": ModelConfig(timeout=self.timeout),
        }
        return {k: v for k, v in keywords.items() if v is not None} | (self.client_options or {})

    def provider_name(self, reference: str | None = None) -> str | None:
        """The provider that calls go to; None as long as it has to be detected."""
        if self.client is not None:
            return provider_of(reference, "auto", None) or self.client.current_provider
        named = provider_of(reference or self.model, self.provider, self.base_url)
        if named is not None:
            return named
        return next((c.current_provider for c in self.connections.all() if c.current_provider), None)

    def close(self) -> None:
        """Close the connections. The object stays usable and opens new ones."""
        for client in self.connections.all():
            client.close()

    async def aclose(self) -> None:
        """`close`, for the running event loop's connections too."""
        for client in self.connections.all():
            await client.aclose()

    def _backend(self, reference: str | None) -> list[Any]:
        """Who answers, as far as it can be known without asking: what no dump of the settings says.

        The address may come from the environment or a configuration file, and everything from a given `client`.
        """
        told: list[Any] = [self.client_options, self.config_path]
        try:
            client = self.core_client()
            name = self.provider_name(reference) or client.get_provider()
            provider = client.get_provider(name)
        except UnifiedLLMError:  # nobody can be asked, which the call will say
            return told
        told += [name, *(getattr(provider, place, None) for place in ("base_url", "cache_scope")), client.current_model]
        return [*told, repr(client.config), client.config.extra_headers, os.environ.get("UNIFIED_LLM_MODEL")]

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        # Settings are copied; client, connections, callbacks and rate limiters (they hold locks) are to be shared.
        twin = self.model_copy()
        for name, value in self.__dict__.items():
            if isinstance(value, (list, dict)) and name not in _SHARED:
                twin.__dict__[name] = copy.deepcopy(value, memo)
        return twin


_SHARED = frozenset({"callbacks", "client_options", "profile"})


def _mark(options: dict[str, Any] | None) -> Any:
    """Something hashable that is equal for equal options."""
    if options is None:
        return None
    try:
        hash(marks := tuple(sorted(options.items())))
    except TypeError:
        return id(options)  # the model keeps the dictionary alive, and copies of the model share it
    return marks
