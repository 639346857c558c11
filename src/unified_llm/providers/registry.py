"""Which providers exist: `PROVIDER_CONFIGS` (one row each, users may add rows) and how a name becomes an instance."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from inspect import Parameter, signature
from typing import Any, cast

from unified_llm.errors import ConfigurationError, UnifiedLLMError, UnknownProviderError
from unified_llm.providers.base import LLMProvider
from unified_llm.providers.guard import require_allowed
from unified_llm.providers.plugins import load_plugin, plugins
from unified_llm.providers.table import ProviderConfig, ProviderTable
from unified_llm.requests import nearest

__all__ = ["PROVIDER_CONFIGS", "ProviderConfig", "canonical_name", "create_provider", "register_provider"]


_OPENAI = "unified_llm.providers.openai:OpenAICompatibleProvider"

_BUILT_IN: dict[str, ProviderConfig] = {
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
        sent={"organization_id": "openai-organization", "project_id": "openai-project"},
    ),
    "azure": ProviderConfig(
        _OPENAI,
        env=("AZURE_OPENAI_API_KEY",),
        base_url_env="AZURE_OPENAI_ENDPOINT",
        needs_key=True,
        profile="azure",
        description="Azure OpenAI (v1 API; model names are deployment names)",
        vendor="azure.ai.openai",
        sent={"api_version": "?api-version"},
    ),
    "mistral": ProviderConfig(
        _OPENAI,
        env=("MISTRAL_API_KEY",),
        base_url="https://api.mistral.ai/v1",
        needs_key=True,
        profile="mistral",
        default_model="mistral-small-latest",
        default_embedding_model="mistral-embed",
        description="Mistral AI",
        vendor="mistral_ai",
    ),
    "gemini": ProviderConfig(
        _OPENAI,
        env=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        base_url="https://generativelanguage.googleapis.com/v1beta/openai",
        needs_key=True,
        profile="gemini",
        default_embedding_model="gemini-embedding-001",
        description="Google Gemini, through its OpenAI-compatible endpoint",
        vendor="gcp.gemini",
    ),
    "deepseek": ProviderConfig(
        _OPENAI,
        env=("DEEPSEEK_API_KEY",),
        base_url="https://api.deepseek.com/v1",
        needs_key=True,
        profile="deepseek",
        description="DeepSeek",
    ),
    "groq": ProviderConfig(
        _OPENAI,
        env=("GROQ_API_KEY",),
        base_url="https://api.groq.com/openai/v1",
        needs_key=True,
        profile="groq",
        description="Groq",
    ),
    "xai": ProviderConfig(
        _OPENAI,
        env=("XAI_API_KEY",),
        base_url="https://api.x.ai/v1",
        needs_key=True,
        profile="xai",
        description="xAI (Grok)",
        vendor="x_ai",
    ),
    "openrouter": ProviderConfig(
        _OPENAI,
        env=("OPENROUTER_API_KEY",),
        base_url="https://openrouter.ai/api/v1",
        needs_key=True,
        profile="openrouter",
        default_model="openrouter/auto",
        description="OpenRouter",
    ),
    "together": ProviderConfig(
        _OPENAI,
        env=("TOGETHER_API_KEY",),
        base_url="https://api.together.xyz/v1",
        needs_key=True,
        profile="together",
        description="Together AI",
    ),
    "fireworks": ProviderConfig(
        _OPENAI,
        env=("FIREWORKS_API_KEY",),
        base_url="https://api.fireworks.ai/inference/v1",
        needs_key=True,
        profile="fireworks",
        description="Fireworks AI",
    ),
    "perplexity": ProviderConfig(
        _OPENAI,
        env=("PERPLEXITY_API_KEY", "PPLX_API_KEY"),
        base_url="https://api.perplexity.ai",
        needs_key=True,
        profile="perplexity",
        default_model="sonar",
        description="Perplexity (answers from a web search)",
    ),
    "scaleway": ProviderConfig(
        _OPENAI,
        env=("SCW_SECRET_KEY", "SCALEWAY_API_KEY"),
        base_url="https://api.scaleway.ai/v1",
        base_url_env="SCALEWAY_BASE_URL",
        project_url="https://api.scaleway.ai/{project_id}/v1",
        needs_key=True,
        profile="scaleway",
        description="Scaleway Generative APIs",
    ),
    "openai-compatible": ProviderConfig(
        _OPENAI,
        env=("OPENAI_COMPATIBLE_API_KEY",),
        base_url_env="OPENAI_COMPATIBLE_BASE_URL",
        profile="openai-compatible",
        description="any server that speaks the OpenAI dialect (give base_url)",
    ),
    "llamacpp": ProviderConfig(
        "unified_llm.providers.llamacpp_server:LlamaCppServerProvider",
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
    "ollama": ProviderConfig(
        "unified_llm.providers.ollama:OllamaProvider",
        env=("OLLAMA_API_KEY",),
        base_url="http://127.0.0.1:11434",
        base_url_env="OLLAMA_BASE_URL",
        profile="ollama",
        description="a running Ollama",
    ),
    "vllm": ProviderConfig(
        _OPENAI,
        env=("VLLM_API_KEY",),
        base_url="http://127.0.0.1:8000/v1",
        base_url_env="VLLM_BASE_URL",
        profile="vllm",
        description="a running vLLM",
    ),
    "sglang": ProviderConfig(
        _OPENAI,
        env=("SGLANG_API_KEY",),
        base_url="http://127.0.0.1:30000/v1",
        base_url_env="SGLANG_BASE_URL",
        profile="sglang",
        description="a running SGLang",
    ),
    "open-webui": ProviderConfig(
        _OPENAI,
        env=("OPENWEBUI_API_KEY", "OPEN_WEBUI_API_KEY"),
        base_url="http://127.0.0.1:8080/api/v1",
        base_url_env="OPENWEBUI_BASE_URL",
        profile="open-webui",
        description="a running Open WebUI",
    ),
    "anythingllm": ProviderConfig(
        _OPENAI,
        env=("ANYTHINGLLM_API_KEY",),
        base_url="http://127.0.0.1:3001/api/v1/openai",
        base_url_env="ANYTHINGLLM_BASE_URL",
        profile="anythingllm",
        description="a running AnythingLLM (model names are workspaces)",
    ),
    "lollms": ProviderConfig(
        "unified_llm.providers.lollms:LollmsProvider",
        env=("LOLLMS_API_KEY",),
        base_url="http://127.0.0.1:9642/v1",
        base_url_env="LOLLMS_BASE_URL",
        profile="lollms",
        description="a running lollms",
    ),
    "lollms-webui": ProviderConfig(
        "unified_llm.providers.lollms:LollmsWebUIProvider",
        base_url="http://127.0.0.1:9600",
        base_url_env="LOLLMS_WEBUI_BASE_URL",
        profile="lollms-webui",
        description="a running lollms-webui, the predecessor of lollms",
    ),
    "local": ProviderConfig(
        "unified_llm.providers.local:LocalProvider",
        description="GGUF models found on this machine, run by llama.cpp without a server",
    ),
    "offline": ProviderConfig(
        "unified_llm.providers.offline:OfflineProvider",
        description="no model at all: deterministic answers, for tests and first steps",
    ),
}

PROVIDER_CONFIGS: dict[str, ProviderConfig] = ProviderTable(_BUILT_IN)

ALIASES: dict[str, str] = {
    "anthropic": "claude",
    "lm-studio": "lmstudio",
    "lm_studio": "lmstudio",
    "llama.cpp": "llamacpp",
    "llama-cpp": "llamacpp",
    "llama-server": "llamacpp",
    "openai_compatible": "openai-compatible",
    "azure-openai": "azure",
    "azure_openai": "azure",
    "google": "gemini",
    "grok": "xai",
    "mistralai": "mistral",
    "together_ai": "together",
    "fireworks_ai": "fireworks",
    "openwebui": "open-webui",
    "lollms_webui": "lollms-webui",
}


def register_provider(name: str, factory: ProviderConfig | Callable[..., LLMProvider] | str, *aliases: str) -> None:
    """Add a provider for this process, or replace one. `factory` may be an `LLMProvider` subclass.

    Names and aliases may be in any case, here and where they are used. Raises `ConfigurationError` for a name with a
    colon, or a factory that is none.
    """
    config = factory if isinstance(factory, ProviderConfig) else ProviderConfig(factory)
    known = name.strip().lower()
    PROVIDER_CONFIGS[known] = config
    ALIASES.update(dict.fromkeys((alias.strip().lower() for alias in aliases), known))


def canonical_name(name: str) -> str | None:
    """The registered name of `name` (case and aliases resolved, entry points included), or None.

    Raises:
        ConfigurationError: an installed package offers that provider, and cannot be imported.
    """
    if not isinstance(name, str):
        raise ConfigurationError(
            f"a provider's name is a text, not {type(name).__name__}", hint=f"known: {', '.join(PROVIDER_CONFIGS)}"
        )
    lowered = name.strip().lower()
    lowered = ALIASES.get(lowered, lowered)
    if lowered not in PROVIDER_CONFIGS:
        entry = plugins().get(lowered)
        if entry is None:
            return None
        register_provider(lowered, load_plugin(entry))
    return lowered


def provider_names() -> tuple[str, ...]:
    """Every known provider name, built in or installed."""
    return (*PROVIDER_CONFIGS, *(name for name in plugins() if name not in PROVIDER_CONFIGS))


def unknown_provider(name: str) -> UnknownProviderError:
    """The error for a name nobody registered, with the nearest known one."""
    close = get_close_matches(name.lower(), [*provider_names(), *ALIASES], n=1)
    guess = f"did you mean {close[0]!r}? " if close else ""
    return UnknownProviderError(
        f"unknown provider {name!r}",
        hint=f"{guess}known: {', '.join(provider_names())}; for another OpenAI-compatible server use "
        "provider='openai-compatible' with base_url=...",
    )


def factory_of(name: str) -> Callable[..., LLMProvider]:
    """What makes the provider with the registered name `name`, imported if need be."""
    factory = PROVIDER_CONFIGS[name].factory
    if isinstance(factory, str):
        module, _, attribute = factory.partition(":")
        factory = getattr(importlib.import_module(module), attribute)
    return cast("Callable[..., LLMProvider]", factory)


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
    factory = factory_of(canonical)
    if getattr(factory, "serves_many_names", False):
        options["name"] = canonical
    try:
        provider = factory(**options)
    except TypeError as exc:
        unknown = _unknown_option(canonical, factory, options, str(exc))
        if unknown is None:
            raise
        raise unknown from exc
    except UnifiedLLMError as exc:
        exc.with_context(provider=canonical)
        raise
    if not isinstance(provider, LLMProvider):
        raise ConfigurationError(
            f"the factory of {canonical!r} made a {type(provider).__name__}, which is no LLMProvider",
            provider=canonical,
            hint="register a subclass of unified_llm.LLMProvider, or a callable that returns an instance of one",
        )
    return provider


def _unknown_option(
    provider: str, factory: Callable[..., Any], options: Mapping[str, Any], text: str
) -> ConfigurationError | None:
    """The error for an option the constructor does not have; None when its TypeError is about something else."""
    found = re.search(r"unexpected keyword argument '(\w+)'", text)
    if found is None or found[1] not in options:
        return None
    kinds = (Parameter.KEYWORD_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    known = [p.name for p in signature(factory).parameters.values() if p.kind in kinds and p.name != "name"]
    return ConfigurationError(
        f"{provider} has no option {found[1]!r}",
        provider=provider,
        hint=" ".join(filter(None, (nearest(found[1], known), f"its options: {', '.join(known) or 'none'}"))),
    )
