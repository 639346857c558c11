"""Asks model servers whether they are there, and how quickly they answer. No key is sent."""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from unified_llm.cli.concurrently import gather
from unified_llm.credentials import ConfigFileSource
from unified_llm.errors import ConfigurationError, redact
from unified_llm.providers.registry import PROVIDER_CONFIGS

__all__ = ["ServerState", "probe_all", "server_addresses"]

PROBE_SECONDS = 0.8
_OLLAMA = "http://127.0.0.1:11434/v1"
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


@dataclass(frozen=True, slots=True)
class ServerState:
    """What one address answered.

    Attributes:
        state: answers | wants a key | nothing listens | no answer in time | not a model server | bad address.
        configured: whether the user set the address, so that silence is a problem.
        latency_ms: milliseconds from connecting to the whole answer, or None without one.
        models: how many models it lists, or None when it does not say.
        detail: what was odd, or None.
    """

    name: str
    url: str
    configured: bool
    state: str
    latency_ms: float | None = None
    models: int | None = None
    detail: str | None = None

    @property
    def up(self) -> bool:
        """Whether a model server is there."""
        return self.state in ("answers", "wants a key")

    def to_dict(self) -> dict[str, Any]:
        """The known fields."""
        return {n: v for n in self.__slots__ if (v := getattr(self, n)) is not None}


def server_addresses() -> dict[str, tuple[str, bool]]:
    """Addresses worth asking, by provider: loopback ones, and those the user configured (then True)."""
    found: dict[str, tuple[str, bool]] = {}
    for name, config in PROVIDER_CONFIGS.items():
        given = os.environ.get(config.base_url_env or "", "").strip() or _from_file(name, config.env)
        url = given or config.base_url
        if url and (given or urlsplit(url).hostname in _LOOPBACK):
            found[name] = (url, bool(given))
    if not any(":11434" in url for url, _ in found.values()):
        found["ollama"] = (_OLLAMA, False)
    return found


def _from_file(name: str, names: tuple[str, ...]) -> str | None:
    try:
        return ConfigFileSource().get(name, names).get("base_url")
    except ConfigurationError:  # reported with the keys, once
        return None


def probe_all(addresses: Mapping[str, tuple[str, bool]], seconds: float = PROBE_SECONDS) -> list[ServerState]:
    """Ask all addresses at once; takes at most `seconds` and a little."""
    jobs = {name: partial(_probe, name, url, given, seconds) for name, (url, given) in addresses.items()}
    answers = gather(jobs, seconds + 0.1)
    return [
        ServerState(name, _shown(addresses[name][0]), addresses[name][1], "no answer in time", detail=None)
        if isinstance(answer, Exception)
        else answer
        for name, answer in answers.items()
    ]


def _probe(name: str, url: str, configured: bool, seconds: float) -> ServerState:
    def state(word: str, **known: Any) -> ServerState:
        return ServerState(name, _shown(url), configured, word, **known)

    started = time.perf_counter()
    try:
        status, body = _get_models(url, seconds)
    except ConnectionRefusedError:
        return state("nothing listens")
    except TimeoutError:
        return state("no answer in time")
    except OSError as exc:
        return state("nothing listens", detail=exc.strerror or type(exc).__name__)
    except http.client.HTTPException as exc:
        return state("not a model server", detail=type(exc).__name__)
    except ValueError as exc:  # a URL that is none
        return state("bad address", detail=redact(str(exc)))
    latency = round((time.perf_counter() - started) * 1000, 1)
    if status in (401, 403):
        return state("wants a key", latency_ms=latency)
    models = _count(body)
    if models is None:
        return state("not a model server", latency_ms=latency, detail=f"HTTP {status} at /models")
    return state("answers", latency_ms=latency, models=models)


def _get_models(url: str, seconds: float) -> tuple[int, bytes]:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("the address needs http:// or https:// and a host")
    connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = connect(parts.hostname, parts.port, timeout=seconds)
    try:
        connection.request("GET", f"{parts.path.rstrip('/') or '/v1'}/models", headers={"accept": "application/json"})
        reply = connection.getresponse()
        return reply.status, reply.read(4_000_000)
    finally:
        connection.close()


def _count(body: bytes) -> int | None:
    try:
        value = json.loads(body)
    except ValueError:
        return None
    listed = value.get("data") if isinstance(value, dict) else None
    if listed is None and isinstance(value, dict) and value.get("object") == "list":
        return 0  # Ollama without models: {"object": "list", "data": null}
    return len(listed) if isinstance(listed, list) else None


def _shown(url: str) -> str:
    """The address without user, password and query, which may be secrets."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return redact(f"{parts.scheme}://{host}{parts.path}") if parts.scheme else redact(url)
