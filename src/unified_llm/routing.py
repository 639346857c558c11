"""From a model reference to a provider instance and a model id: what `UnifiedLLM` decides before each call."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from unified_llm._optional import installed
from unified_llm.credentials import ConfigFileSource, find_key
from unified_llm.credentials.chain import configured_by
from unified_llm.detection import Detection, detect, refuse_misspelled, split_model_ref
from unified_llm.errors import ConfigurationError, InvalidRequestError, UnsupportedOptionError
from unified_llm.forks import renew_in_child
from unified_llm.policy import Balancer, Deployment, Member, Strategy, Target
from unified_llm.profiles import profile_named
from unified_llm.provider_settings import provider_settings
from unified_llm.providers.base import LLMProvider
from unified_llm.providers.guard import require_allowed
from unified_llm.providers.registry import (
    ALIASES,
    PROVIDER_CONFIGS,
    ProviderConfig,
    canonical_name,
    create_provider,
    provider_names,
    unknown_provider,
)

__all__ = ["AvailableProviders", "Router"]

logger = logging.getLogger("unified_llm")

MOST_FOUND = 1024
"""References whose targets are kept: applications have a handful, and may make them up."""

_NAMES_OF_MODELS = frozenset({"mistral"})
"""Providers called as a model is that people run themselves (https://ollama.com/library/mistral): what is said to the
model must not go to the provider."""


class AvailableProviders(Mapping[str, ProviderConfig]):
    """Names of usable providers to their `ProviderConfig`. Calling it gives the list of names."""

    def __init__(self, configs: Mapping[str, ProviderConfig]) -> None:
        self._configs = dict(configs)

    def __getitem__(self, name: str) -> ProviderConfig:
        lowered = name.strip().lower()
        return self._configs[ALIASES.get(lowered, lowered)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._configs)

    def __len__(self) -> int:
        return len(self._configs)

    def __call__(self) -> list[str]:
        return list(self._configs)

    def __repr__(self) -> str:
        return f"AvailableProviders({list(self._configs)})"


class Router:
    """Holds the settings of each provider, its one instance, and the current choice. Thread-safe.

    Credentials never cross: the options given with the client belong to the provider it was made for.
    """

    def __init__(
        self,
        provider: str | LLMProvider | type[LLMProvider],
        *,
        model: str | None,
        embed_model: str | None,
        options: dict[str, Any],
        config_path: str | os.PathLike[str] | None = None,
        deployments: Mapping[str, Sequence[Deployment | str]] | None = None,
        strategy: Strategy = "weighted",
        cost: Callable[[str, str], float | None] = lambda provider, model: None,
    ) -> None:
        self._lock = threading.RLock()
        self._instances: dict[str, LLMProvider] = {}
        self._options: dict[str, dict[str, Any]] = {}
        self._default_models: dict[str, str] = {}
        self._file = None if config_path is None else ConfigFileSource(config_path)
        self.embed_model = embed_model
        self.detection: Detection | None = None
        self.model: str | None = model
        self._current: str | None = None
        self._found: dict[str | None, tuple[Target]] = {}
        self._fallbacks: dict[str, tuple[Target]] = {}
        self._deployed: dict[str, tuple[str, Mapping[str, Any]]] = {}
        self._price = cost
        pools = {name: self._pool(name, given) for name, given in (deployments or {}).items()}
        self.balancer = Balancer(pools, strategy, cost=self._cost_of)
        self._choose(provider, options)
        renew_in_child(self)

    def after_fork(self) -> None:
        """See `Forkable`."""
        self._lock = threading.RLock()

    def _pool(self, name: str, given: Sequence[Deployment | str]) -> tuple[Member, ...]:
        """The members of the deployments called `name`. Their options are kept here, under their targets' keys."""
        if ":" in name or canonical_name(name) is not None:
            raise ConfigurationError(f"{name!r} cannot name deployments", hint="take a name that is no provider's")
        deployments = [Deployment(one) if isinstance(one, str) else one for one in given]
        if not deployments:
            raise ConfigurationError(f"there are no deployments in {name!r}", hint="give Deployment('provider:model')")
        members = []
        for position, one in enumerate(deployments):
            provider, model = split_model_ref(one.ref)
            if provider is None:
                raise unknown_provider(one.ref.partition(":")[0])
            key = f"{name}/{position}"
            self._deployed[key] = (provider, one.options)
            members.append(Member(Target(key, provider, model), one.weight))
        return tuple(members)

    def _cost_of(self, target: Target) -> float | None:
        """USD of a call, to compare targets: 0 where the user runs the engine, None where the price is not known."""
        config = PROVIDER_CONFIGS[target.provider]
        if target.provider in ("local", "offline") or profile_named(config.profile).free:
            return 0.0
        return self._price(target.provider, target.model or config.default_model or "")

    def _choose(self, provider: str | LLMProvider | type[LLMProvider], options: dict[str, Any]) -> None:
        from_model, self.model = split_model_ref(self.model)
        if not isinstance(provider, str):
            instance = provider(**options) if isinstance(provider, type) else provider
            if not isinstance(instance, LLMProvider):
                raise ConfigurationError(
                    f"provider is {type(instance).__name__}", hint="pass a name, an LLMProvider, or a subclass of it"
                )
            self._current = instance.name or type(instance).__name__.lower()
            self._instances[self._current] = instance
            return
        wanted: str | None = provider.strip() or "auto"
        if wanted == "auto":
            wanted = from_model or ("openai-compatible" if "base_url" in options else None)
        if wanted is None:
            self._options["auto"] = options
            return
        name = canonical_name(wanted)
        if name is None:
            raise unknown_provider(wanted)
        if from_model not in (None, name):
            raise ConfigurationError(
                f"provider is {name!r}, and the model names the provider {from_model!r}",
                hint="give one of them: model='provider:model' is enough; if that is the id of one of its models, "
                f"write model='{name}:{from_model}:...'",
            )
        if from_model is None:
            refuse_misspelled(self.model, None, name)
        self._current = name
        self._options[name] = options
        self.provider(name)

    @property
    def current(self) -> str | None:
        """The current provider's name, or None before detection."""
        return self._current

    @property
    def described(self) -> str:
        """The current provider's name, or "auto" before detection."""
        return self._current or "auto"

    def current_name(self) -> str:
        """Name of the current provider, detected if need be."""
        with self._lock:
            if self._current is None:
                with configured_by(self._file):
                    self.detection = detect()
                self._current = self.detection.provider
                self._options.setdefault(self._current, self._options.pop("auto", {}))
            return self._current

    def provider(self, name: str | None = None) -> LLMProvider:
        """The instance of a provider, made on first use."""
        known = self._known(name)
        if known is not None:
            return known
        with self._lock:
            if isinstance(name, str) and name in self._deployed:
                return self._deployment(name)
            wanted = self.current_name() if name is None else canonical_name(name)
            if wanted is None:
                raise unknown_provider(str(name))
            if wanted not in self._instances:
                with configured_by(self._file):
                    self._instances[wanted] = create_provider(wanted, **self._settings(wanted))
            require_allowed(wanted)
            return self._instances[wanted]

    def _deployment(self, key: str) -> LLMProvider:
        """The instance of a deployment, which is its own: so are its credentials and its connections."""
        name, options = self._deployed[key]
        require_allowed(name)
        if key not in self._instances:
            # The client's own options, its key among them, belong to the address they were given for.
            with configured_by(self._file):
                settings = options if "base_url" in options else {**self._settings(name), **options}
                self._instances[key] = create_provider(name, **settings)
        return self._instances[key]

    def _known(self, name: str | None) -> LLMProvider | None:
        """The instance that is there already, if it may be used now."""
        key = name or self._current or ""
        known = self._instances.get(key) if isinstance(key, str) else None
        if known is not None:
            require_allowed(self._deployed[key][0] if key in self._deployed else key)
        return known

    def _settings(self, name: str) -> dict[str, Any]:
        """Constructor keywords of a provider: those given, then what the places of credentials say."""
        return provider_settings(name, self._options.get(name, {}))

    async def provider_async(self, name: str | None = None) -> LLMProvider:
        """`provider`; detection and construction happen in a thread."""
        known = self._known(name)
        return known if known is not None else await asyncio.to_thread(self.provider, name)

    def _split_ref(self, ref: str | None) -> tuple[str | None, str | None]:
        """`split_model_ref`; a provider given as an object counts under its name, as `ModelInfo.ref` writes it."""
        prefix, colon, rest = ref.partition(":") if isinstance(ref, str) else ("", "", "")
        if colon and prefix in self._instances:
            return prefix, rest or None
        return split_model_ref(ref)

    def _split(self, ref: str | None) -> tuple[str | None, str | None]:
        """Provider (None: the current one) and model named by `ref`, else by the client, else by UNIFIED_LLM_MODEL."""
        name, model = self._split_ref(ref)
        given = model is not None or name is not None
        if not given:
            model = self.model
        if name is None and model is None:
            name, model = split_model_ref(os.environ.get("UNIFIED_LLM_MODEL", "").strip())
            given = True
            if name not in (None, self.current_name()):
                return None, None  # another provider was asked for explicitly: its own default model applies
        if name is None:
            self._refuse_misspelled(model, given=given)
        return (None if name == self._current else name), model

    def _refuse_misspelled(self, model: str | None, *, given: bool = True) -> None:
        """See `refuse_misspelled`. `given`: by this call; the client's own model was looked at when it was chosen."""
        if model is None or ":" not in model:
            return
        chosen = self.current_name()
        if given or self.detection is not None:
            refuse_misspelled(model, self.detection, chosen)

    def targets(self, ref: str | None, fallbacks: Iterable[str] = ()) -> tuple[Target, ...]:
        """Where a chat can go: what `ref` (or the client) names, then the fallbacks. Detects the provider if need be.

        Raises:
            UnknownProviderError: UNIFIED_LLM_PROVIDER names no provider, or `ref` looks like one misspelled.
        """
        targets = self._found.get(ref) or self._targets(ref)
        for fallback in fallbacks:
            targets += self._fallbacks.get(fallback) or self._fallback(fallback)
        return targets

    def _fallback(self, ref: str) -> tuple[Target, ...]:
        kept = self._fallbacks  # `set_provider` puts another in its place: what is found now would be wrong there
        whole = self.fallback_ref(ref)
        if self._current is None and whole != ref and whole[:-1] in _NAMES_OF_MODELS:
            self.current_name()  # what the bare name means depends on it
            whole = self.fallback_ref(ref)
        targets = self._targets(whole)
        found = self._found.get(whole)
        if found is not None:
            if len(kept) >= MOST_FOUND:
                kept.clear()
            kept[ref] = found
        return targets

    def fallback_ref(self, ref: str) -> str:
        """The whole reference of a fallback: a provider's bare name stands for it, with its default model.

        Raises:
            InvalidRequestError: it is blank, or as likely the name of a model on the user's own server.
        """
        if not ref.strip():
            raise InvalidRequestError("a fallback is blank", hint="name a model: fallbacks=['claude:', 'openai:gpt-5']")
        if ":" in ref or ref in self.balancer.pools:
            return ref
        name = ref if ref in self._instances else canonical_name(ref)
        if name is None:
            return ref
        row = PROVIDER_CONFIGS.get(self._current or "")
        if name in _NAMES_OF_MODELS and row is not None and not row.needs_key:
            raise InvalidRequestError(
                f"the fallback {ref!r} is a provider, and may be a model of {self._current}",
                hint=f"write '{name}:' for the provider, or '{self._current}:{ref}' for the model",
            )
        return f"{name}:"

    def _targets(self, ref: str | None) -> tuple[Target, ...]:
        kept = self._found  # as in `_fallback`
        wanted = ref or self.model or ""
        if wanted in self.balancer.pools:
            return self.balancer.targets(wanted)
        name, model = self._split(ref)
        provider = name or self.current_name()
        target = (Target(provider, provider, model),)
        # What names its provider always means the same, and the client's own model until another is set.
        if self._split_ref(ref)[0] is not None if ref else self.model is not None and self.detection is None:
            if len(kept) >= MOST_FOUND:
                kept.clear()
            kept[ref] = target
        return target

    @property
    def is_quick(self) -> bool:
        """Whether `targets` answers at once: no provider is to be detected, and no price list to be read."""
        return self._current is not None and not (self.balancer.pools and self.balancer.strategy == "cost")

    async def targets_async(self, ref: str | None, fallbacks: Iterable[str] = ()) -> tuple[Target, ...]:
        """`targets`, without blocking the event loop."""
        if self.is_quick:
            return self.targets(ref, fallbacks)
        return await asyncio.to_thread(self.targets, ref, fallbacks)

    def check(self, ref: str) -> str:
        """The provider a reference names, or the current one. Asks and detects nobody.

        Raises:
            UnknownProviderError: for ``nobody:``, and for what looks like a provider's name misspelled.
        """
        name, model = self._split_ref(ref)
        if name is None and ref.endswith(":"):
            raise unknown_provider(ref[:-1])
        if name is None:
            refuse_misspelled(model, None, self._current)
        return name or self.described

    def known(self, target: Target) -> tuple[LLMProvider, str] | None:
        """The instance and the model id of a target, unless one of them is still to be found."""
        key, model = target.key, target.model
        if not model:
            model = self._default_models.get(key)
            if model is None:
                return None
        provider = self._known(key)
        return None if provider is None else (provider, model)

    def resolve(self, target: Target) -> tuple[LLMProvider, str]:
        """The instance and the model id of a target; asks the provider for its default model when none is named."""
        provider = self.provider(target.key)
        model = target.model or self._default_models.get(target.key)
        return provider, model or self._remember(target.key, provider, provider.default_model())

    async def resolve_async(self, target: Target) -> tuple[LLMProvider, str]:
        """`resolve`, without blocking the event loop."""
        provider = await self.provider_async(target.key)
        model = target.model or self._default_models.get(target.key)
        return provider, model or self._remember(target.key, provider, await provider.default_model_async())

    def _remember(self, key: str, provider: LLMProvider, model: str | None) -> str:
        if not model:
            raise provider.no_default_model()
        self._default_models[key] = model
        return model

    def embed_target(self, ref: str | None) -> tuple[LLMProvider, Target]:
        """Provider and target of embeddings: `ref`, else the client's embed_model, else the provider's default."""
        name, model = self._split_ref(ref or self.embed_model)
        if (ref or self.embed_model or "") in self.balancer.pools:
            raise UnsupportedOptionError(
                f"{ref or self.embed_model!r} names deployments, which answer chats only",
                hint="name one model for embeddings: provider:model",
            )
        if name is None:
            self._refuse_misspelled(model)
        provider = self.provider(name)
        key = name or self.current_name()
        return provider, Target(key, key, self._embedding_model(model, key, provider))

    async def embed_target_async(self, ref: str | None) -> tuple[LLMProvider, Target]:
        """`embed_target`, without blocking the event loop."""
        name, model = self._split_ref(ref or self.embed_model)
        if model is None or self._known(name) is None:
            return await asyncio.to_thread(self.embed_target, ref)
        return self.embed_target(ref)

    def _embedding_model(self, model: str | None, name: str, provider: LLMProvider) -> str:
        model = model or provider.default_embedding_model()
        if model:
            return model
        if type(provider).embed is LLMProvider.embed:
            raise UnsupportedOptionError(
                f"{name} has no embeddings", provider=name, hint="pass embed_model='local:' or another provider's model"
            )
        # Servers that run one model (openai-compatible, llama.cpp) embed with the model of the client.
        if not self.model:
            raise InvalidRequestError(
                f"{name} needs the name of an embedding model",
                provider=name,
                hint="pass model_name='...' to embed(), or embed_model='provider:model' to UnifiedLLM",
            )
        return self.model

    def set_provider(self, name: str, model: str | None, options: Mapping[str, Any]) -> None:
        """See `UnifiedLLM.set_provider`."""
        canonical = name if isinstance(name, str) and name in self._instances else canonical_name(name)
        if canonical is None:
            raise unknown_provider(name)
        if split_model_ref(model)[0] is None:
            refuse_misspelled(model, None, canonical)
        with self._lock:
            if options:
                self.configure(canonical, options)
            self.provider(canonical)
            self._current = canonical
            self.detection = None  # chosen by the caller from now on
            self.model = model
            self._found = {}
            self._fallbacks = {}

    def configure(self, name: str, options: Mapping[str, Any]) -> None:
        """Set constructor keywords of a provider; an existing instance is closed and made again when needed."""
        canonical = canonical_name(name)
        if canonical is None:
            raise unknown_provider(name)
        if not isinstance(options, Mapping):
            raise ConfigurationError(
                f"options of {name} must be a mapping, not {type(options).__name__}",
                hint="for example {'base_url': 'http://127.0.0.1:8080/v1'}",
            )
        with self._lock:
            self._options[canonical] = {**self._options.get(canonical, {}), **options}
            old = self._instances.pop(canonical, None)
        if old is not None:
            old.close()

    def available(self) -> AvailableProviders:
        """See `UnifiedLLM.available_providers`."""
        usable = {}
        for name in provider_names():
            try:
                canonical_name(name)  # loads the provider of another package
            except ConfigurationError as exc:
                logger.warning("%s", exc.message)  # one broken package must not hide the others
                continue
            config = PROVIDER_CONFIGS[name]
            with configured_by(self._file):
                if _usable(name, config, self._options.get(name, {})):
                    usable[name] = config
        return AvailableProviders(usable)

    def opened(self) -> list[LLMProvider]:
        """Every instance made so far."""
        with self._lock:
            return list(self._instances.values())


_PACKAGES = {"claude": "anthropic", "local": "xllamacpp"}


def _usable(name: str, config: ProviderConfig, options: Mapping[str, Any]) -> bool:
    package = _PACKAGES.get(name)
    if package is not None and not installed(package):
        return False
    if (
        not config.base_url
        and config.base_url_env
        and not (options.get("base_url") or os.environ.get(config.base_url_env))
    ):
        return False
    return not config.needs_key or find_key(name, options.get("api_key"), config.env) is not None
