"""Which providers exist: `PROVIDER_CONFIGS` (one row each, users may add rows) and how a name becomes an instance."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import Any

from unified_llm.errors import ConfigurationError, UnknownProviderError
from unified_llm.providers.base import LLMProvider
from unified_llm.providers.guard import require_allowed

__all__ = ["PROVIDER_CONFIGS", "ProviderConfig", "canonical_name", "create_provider", "register_provider"]


@dataclass(frozen=True, slots=True)
class ProviderConfig:
    """One provider, as data.

    Attributes:
        factory: a class, a callable, or ``"module:name"`` of one (imported on first use). Called with the keyword
            arguments the user gave (api_key, base_url, timeout, ...), and with `name=` when it serves several names.
        env: environment variables that may hold the key, in order.
        base_url: address when none is given; base_url_env: variable that may hold another one.
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
    needs_key: bool = False
    profile: str = "openai-compatible"
    default_model: str | None = None
    default_embedding_model: str | None = None
    description: str = ""
    vendor: str | None = None


_OPENAI = "unified_llm.providers.openai:OpenAICompatibleProvider"

PROVIDER_CONFIGS: dict[str, ProviderConfig] = {
    "claude": ProviderConfig(
        "unified_llm.providers.claude:ClaudeProvider",
        env=("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
        base_url="https://api.anthropic.com",
        base_url_env="ANTHROPIC_BASE_URL",
        needs_key=True,
        profile="claude",
        default_model="claude-sonnet-5-5",
        description="Claude, through the anthropic SDK",
        vendor="anthropic",
    ),
    "openai": ProviderConfig(
        _OPENAI,
        env=("OPENAI_API_KEY",),
        base_url="https://api.openai.com/v1",
        base_url_env="OPENAI_BASE_URL",
        needs_key=True,
        profile="openai",
        default_model="gpt-5-mini",
        default_embedding_model="text-embedding-3-small",
        description="OpenAI",
    ),
    "openai-compatible": ProviderConfig(
        _OPENAI,
        env=("OPENAI_COMPATIBLE_API_KEY",),
        base_url_env="OPENAI_COMPATIBLE_BASE_URL",
        profile="openai-compatible",
        description="any server that speaks the OpenAI dialect (give base_url)",
    ),
    "llamacpp": ProviderConfig(
        _OPENAI,
        env=("LLAMA_API_KEY",),
        base_url="http://127.0.0.1:8080/v1",
        base_url_env="LLAMACPP_BASE_URL",
        profile="llamacpp",
        description="a running llama.cpp server (llama-server)",
    ),
    "lmstudio": ProviderConfig(
        "unified_llm.providers.lmstudio:LMStudioProvider",
        env=("LMSTUDIO_API_KEY", "LMSTUDIO_API_TOKEN", "LM_API_TOKEN"),
        base_url="http://127.0.0.1:1234/v1",
        base_url_env="LMSTUDIO_BASE_URL",
        profile="lmstudio",
        description="a running LM Studio",
    ),
    "local": ProviderConfig(
        "unified_llm.providers.local:LocalProvider",
        description="GGUF models found on this machine, run inside this process by llama.cpp",
    ),
    "offline": ProviderConfig(
        "unified_llm.providers.offline:OfflineProvider",
        description="no model at all: deterministic answers, for tests and first steps",
    ),
}

ALIASES: dict[str, str] = {
    "anthropic": "claude",
    "lm-studio": "lmstudio",
    "lm_studio": "lmstudio",
    "llama.cpp": "llamacpp",
    "llama-cpp": "llamacpp",
    "llama-server": "llamacpp",
    "openai_compatible": "openai-compatible",
}

_GROUP = "unified_llm.providers"


def register_provider(name: str, factory: ProviderConfig | Callable[..., LLMProvider] | str, *aliases: str) -> None:
    """Add a provider for this process, or replace one. `factory` may be an `LLMProvider` subclass."""
    config = factory if isinstance(factory, ProviderConfig) else ProviderConfig(factory)
    PROVIDER_CONFIGS[name] = config
    ALIASES.update(dict.fromkeys(aliases, name))


def canonical_name(name: str) -> str | None:
    """The registered name of `name` (case and aliases resolved, entry points included), or None."""
    lowered = name.strip().lower()
    lowered = ALIASES.get(lowered, lowered)
    if lowered in PROVIDER_CONFIGS or _load_entry_point(lowered):
        return lowered
    return None


def provider_names() -> tuple[str, ...]:
    """Every known provider name, built in or installed."""
    return tuple(PROVIDER_CONFIGS) + tuple(e.name for e in entry_points(group=_GROUP) if e.name not in PROVIDER_CONFIGS)


def _load_entry_point(name: str) -> bool:
    for entry in entry_points(group=_GROUP, name=name):
        loaded = entry.load()
        register_provider(name, loaded)
        return True
    return False


def unknown_provider(name: str) -> UnknownProviderError:
    """The error for a name nobody registered, with the nearest known one."""
    close = get_close_matches(name.lower(), [*PROVIDER_CONFIGS, *ALIASES], n=1)
    guess = f"did you mean {close[0]!r}? " if close else ""
    return UnknownProviderError(
        f"unknown provider {name!r}",
        hint=f"{guess}known: {', '.join(provider_names())}; for another OpenAI-compatible server use "
        "provider='openai-compatible' with base_url=...",
    )


def create_provider(name: str, **options: Any) -> LLMProvider:
    """Make the provider called `name`. `options` are its constructor's keywords (api_key, base_url, timeout...).

    Raises:
        UnknownProviderError: nobody registered that name.
        ConfigurationError: a missing key or package, a bad base_url, an option the provider does not have.
    """
    canonical = canonical_name(name)
    if canonical is None:
        raise unknown_provider(name)
    require_allowed(canonical)
    factory = PROVIDER_CONFIGS[canonical].factory
    if isinstance(factory, str):
        module, _, attribute = factory.partition(":")
        factory = getattr(importlib.import_module(module), attribute)
    if getattr(factory, "serves_many_names", False):
        options["name"] = canonical
    try:
        return factory(**options)  # type: ignore[operator]  # a class or callable by now
    except TypeError as exc:
        if "unexpected keyword argument" in str(exc):
            raise ConfigurationError(f"{canonical}: {exc}", provider=canonical, hint="check the option's name") from exc
        raise
