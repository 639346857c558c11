"""What the commands of ``unified-llm auth`` do."""

from __future__ import annotations

import getpass
import os
import sys
import time

from unified_llm.cli.output import Output, is_terminal
from unified_llm.client import UnifiedLLM
from unified_llm.credentials import CredentialManager, CredentialSource, default_config_path
from unified_llm.drivers.urls import normalize_base_url
from unified_llm.errors import InvalidRequestError, UnknownProviderError
from unified_llm.providers.registry import PROVIDER_CONFIGS, canonical_name, unknown_provider

__all__ = ["attempt", "forget", "keep", "show"]

_SOURCES = {"config": CredentialSource.CONFIG_FILE, "keyring": CredentialSource.KEYRING}

# Its list of models is open to everybody: reading it says nothing about the key.
_PUBLIC_LISTS = frozenset({"openrouter"})


def keep(out: Output, provider: str, source: str, *, from_stdin: bool, base_url: str | None) -> None:
    """Read a key and keep it.

    Raises:
        UnknownProviderError, InvalidRequestError (takes no key; nobody to ask, or no answer), InvalidBaseURLError,
        ConfigurationError (empty or broken key, unreadable file, no keyring).
    """
    name = _with_key(provider)
    address = {"base_url": normalize_base_url(base_url)} if base_url else {}
    key = _read(name, from_stdin)
    manager = CredentialManager()
    manager.save_credentials(name, {"api_key": key, **address}, _SOURCES[source])
    place = str(default_config_path()) if source == "config" else "the system keyring"
    if out.json:
        out.data({"provider": name, "source": _SOURCES[source].value})
    else:
        out.note(f"kept the key of {name} in {place}")
    used = manager.credential_source(name)
    if used is not None and used is not _SOURCES[source]:
        out.warn(f"note: the key in use is another one: that of the {_described(manager, name, used)} comes first")


def show(out: Output) -> None:
    """List provider and source of every key."""
    rows = [(name, str(source)) for name, source in CredentialManager().configured_sources().items()]
    if out.json:
        out.data({"credentials": [{"provider": name, "source": source} for name, source in rows]})
        return
    out.table(("PROVIDER", "SOURCE"), rows)
    if not rows:
        out.note("no keys: `unified-llm auth set PROVIDER` keeps one")


def forget(out: Output, provider: str, source: str | None) -> None:
    """Remove a provider from one place, or from both."""
    name = _with_key(provider)
    manager = CredentialManager()
    removed = manager.clear_credentials(name, _SOURCES[source] if source else None)
    left = manager.credential_source(name)
    if out.json:
        out.data({"provider": name, "removed": removed, "left": left and left.value})
        return
    out.note(f"forgot {name}" if removed else f"nothing was kept for {name}")
    if left is not None:
        out.warn(f"note: there still is a key: that of the {_described(manager, name, left)}")


def attempt(out: Output, provider: str, model: str | None, timeout: float | None) -> None:
    """Make one call that needs the key. Raises what the call raises."""
    name = _known(provider)
    manager = CredentialManager()
    source = manager.credential_source(name)
    out.status(f"asking {name}…")
    started = time.perf_counter()
    with UnifiedLLM(name, timeout=timeout or 20.0, max_retries=0) as llm:
        if model is not None:
            answered = f"{llm.chat('Say hi.', model=f'{name}:{model}', max_tokens=16).model or model} answers"
        else:
            answered = f"{len(llm.list_models(name))} models"
    seconds = round(time.perf_counter() - started, 3)
    proves = model is not None or name not in _PUBLIC_LISTS
    if out.json:
        out.data(
            {"provider": name, "source": source and source.value, "ok": True, "key_used": proves, "seconds": seconds}
        )
        return
    with_key = f"key from the {_described(manager, name, source)}" if source else "no key"
    out.line(f"{name} works: {answered}, {seconds:.2f} s, {with_key}")
    if source and not proves:
        out.warn(f"note: {name} lists its models without looking at the key: --model MODEL tries it")


def _known(provider: str) -> str:
    """The registered name of a provider. A word that is too long for one may be a key, and is not repeated."""
    name = canonical_name(provider)
    if name is not None:
        return name
    if len(provider) < _TOO_LONG:
        raise unknown_provider(provider)
    raise UnknownProviderError(
        f"a word of {len(provider)} letters stands in the place of the provider",
        hint="`unified-llm auth set PROVIDER` asks for the key; it is never given on the command line",
    )


_TOO_LONG = 24


def _with_key(provider: str) -> str:
    """The registered name of a provider that can have a key."""
    name = _known(provider)
    if not PROVIDER_CONFIGS[name].env:
        raise InvalidRequestError(f"{name} takes no key", hint="it works without one")
    return name


def _read(name: str, from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.read()
    if not is_terminal(sys.stdin):
        raise InvalidRequestError("there is nobody to ask for the key", hint="--stdin reads it from a pipe")
    try:
        return getpass.getpass(f"API key of {name} (it is not shown): ")
    except EOFError as exc:  # Ctrl-D
        raise InvalidRequestError("no key was given", hint="type it or paste it; Ctrl-C leaves") from exc


def _described(manager: CredentialManager, name: str, source: CredentialSource) -> str:
    if source is not CredentialSource.ENV:
        return source.value
    variable = next((v for v in manager.variables(name) if os.environ.get(v, "").strip()), "")
    return f"{source.value} ({variable})"
