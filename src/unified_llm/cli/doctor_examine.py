"""Finds out what `doctor` reports. Every question is asked at once, with a limit; none may end the report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from unified_llm.cli.concurrently import gather
from unified_llm.cli.doctor_advice import next_steps, problems
from unified_llm.cli.doctor_report import KeyState, Report
from unified_llm.cli.extras import extras
from unified_llm.cli.failures import describe
from unified_llm.cli.probes import probe_all, server_addresses
from unified_llm.credentials import ConfigFileSource, EnvironmentSource, KeyringSource, Secret
from unified_llm.credentials.chain import find_source
from unified_llm.detection import detect
from unified_llm.errors import UnifiedLLMError
from unified_llm.providers.registry import PROVIDER_CONFIGS, create_provider
from unified_llm.responses import ModelInfo

__all__ = ["examine"]

_SECONDS = 5.0  # for the slow ones: a large model folder, a keyring that has to be unlocked


def examine() -> Report:
    """Look at everything. Takes about a second at most; a keyring or disk that hangs, five."""
    jobs: dict[str, Callable[[], Any]] = {
        "keys": _keys,
        "servers": lambda: probe_all(server_addresses()),
        "local_models": _local_models,
        "auto": detect,
    }
    found = gather(jobs, _SECONDS)
    keys, servers = found["keys"], found["servers"]
    report = Report(
        extras(),
        [KeyState("", None, error=describe(keys)["message"])] if isinstance(keys, Exception) else keys,
        [] if isinstance(servers, Exception) else servers,
        found["local_models"],
        found["auto"],
    )
    if isinstance(servers, Exception):
        report.problems.append(f"the servers could not be asked: {describe(servers)['message']}")
    report.problems += problems(report)
    report.next_steps = next_steps(report)
    return report


def _keys() -> list[KeyState]:
    return [_key(name, config.env) for name, config in PROVIDER_CONFIGS.items() if config.env]


def _key(name: str, variables: tuple[str, ...]) -> KeyState:
    """Ask each source by itself: a configuration file that cannot be read does not hide the environment."""
    error = None
    for source in (EnvironmentSource(), ConfigFileSource(), KeyringSource()):
        try:
            found, key = find_source(name, variables, chain=[source])
        except UnifiedLLMError as exc:
            error = error or exc.message
            continue
        if found is not None:
            return KeyState(name, found.label, _variable(variables, key), error)
    return KeyState(name, None, error=error)


def _variable(variables: tuple[str, ...], key: Secret | None) -> str | None:
    """The environment variable that holds the key in use, if one does."""
    for variable in variables:
        if key is not None and EnvironmentSource().get("", (variable,)).get("api_key") == key.get_secret_value():
            return variable
    return None


def _local_models() -> list[ModelInfo]:
    provider = create_provider("local")
    try:
        return provider.list_models()
    finally:
        provider.close()
