"""Which provider to use when nobody says: environment, a running LM Studio, keys, local models, else offline."""

from __future__ import annotations

import http.client
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from difflib import get_close_matches
from urllib.parse import urlsplit

from unified_llm import _json
from unified_llm.credentials import KeyringSource, find_key
from unified_llm.credentials.chain import current_chain
from unified_llm.errors import InvalidRequestError
from unified_llm.providers.registry import ALIASES, PROVIDER_CONFIGS, canonical_name, provider_names, unknown_provider

__all__ = ["Detection", "detect", "given_provider", "lmstudio_answers", "refuse_misspelled", "split_model_ref"]

PROBE_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class Detection:
    """The provider chosen, and why, in a few words; `tried` lists what was looked at before, for error messages.

    `wished` tells whether somebody named it (UNIFIED_LLM_PROVIDER), so that it was not a guess.
    """

    provider: str
    reason: str
    tried: tuple[str, ...] = ()
    wished: bool = False


def split_model_ref(ref: str | None) -> tuple[str | None, str | None]:
    """Split ``provider:model`` into both; the prefix counts only if it names a provider.

    ``claude:claude-sonnet-5-5`` -> ("claude", "claude-sonnet-5-5"); ``llama3:8b`` -> (None, "llama3:8b");
    ``local:`` -> ("local", None).

    Raises:
        InvalidRequestError: `ref` is no text.
    """
    if not ref:
        return None, None
    if not isinstance(ref, str):
        raise InvalidRequestError(
            f"a model's name is a text, not {type(ref).__name__}", hint="such as 'claude:claude-sonnet-5-5'"
        )
    prefix, colon, rest = ref.partition(":")
    if colon and (name := canonical_name(prefix)) is not None:
        return name, rest or None
    return None, ref


def refuse_misspelled(ref: str | None, found: Detection | None, chosen: str | None = None) -> None:
    """Refuse ``claud:some-model``: it must not go to whatever provider was `found`, or `chosen`, instead.

    A provider that was found may have models such as ``ft:gpt-4o:acme`` or ``qwen3-8b:2``: there, only a prefix that
    looks like a provider's name counts as misspelled. One that somebody chose may have any model: there, what can be
    the name and the tag of a model, such as ``mixtral:8x7b`` and ``deepseek-r1:latest``, counts as one.

    Raises:
        UnknownProviderError: with the nearest name.
    """
    prefix, colon, rest = (ref or "").partition(":")
    if not colon or not prefix or "/" in prefix or "\\" in prefix:
        return
    if found is None or found.wished:  # somebody chose it
        refused = _looks_like_a_provider(prefix) and not _is_name_and_tag(prefix, rest)
    else:
        refused = found.provider == "offline" or _looks_like_a_provider(prefix)
    if refused:
        error = unknown_provider(prefix)
        name = chosen if found is None else found.provider
        where = "PROVIDER" if name in (None, "offline") else name
        names, others, rest = (error.hint or "").partition("; for another")
        error.hint = f"{names}; if {ref!r} is the id of a model, name its provider, too: {where}:{ref}{others}{rest}"
        raise error


def _looks_like_a_provider(prefix: str) -> bool:
    return bool(get_close_matches(prefix.strip().lower(), [*provider_names(), *ALIASES], n=1, cutoff=0.75))


# Tags as Ollama's library has them: latest, 4b, 8x7b, 7b-instruct-q4_K_M, v0.3, e4b, 1t-cloud, instruct...
_TAG = re.compile(
    r"(latest|cloud|instruct|chat|text|code|base|vision|it|tools|thinking|mini|small|medium|large|f(p|loat)?16|bf16"
    r"|v?\d+(\.\d+)*|e?\d+(\.\d+)?(x\d+(\.\d+)?)?[kmbte]|i?q\d\w*)([-_.].*)?",
    re.IGNORECASE,
)
# Families of models whose names are near those of providers.
_FAMILY = re.compile(r"(mixtral|mistrallite|llama|(claude|deepseek|gemini|grok|mistral)[-.\d])", re.IGNORECASE)


def _is_name_and_tag(name: str, tag: str) -> bool:
    """Whether ``name:tag`` is how servers of many models write the id of one."""
    return _FAMILY.match(name) is not None or _TAG.fullmatch(tag) is not None


def given_provider(provider: str = "auto", model: str | None = None, base_url: str | None = None) -> str | None:
    """The provider that these arguments of `UnifiedLLM` stand for; None when it would be detected. Asks nobody.

    A name that nobody registered comes back as it is: using it raises `UnknownProviderError`.
    """
    named, _ = split_model_ref(model)
    if named is not None:
        return named
    if provider != "auto":
        return canonical_name(provider) or provider
    return "openai-compatible" if base_url else None


def detect() -> Detection:
    """Choose a provider. Asks one loopback port, for 300 ms at most; reads the environment and the model folders.

    Raises:
        UnknownProviderError: UNIFIED_LLM_PROVIDER names no provider.
    """
    wanted = os.environ.get("UNIFIED_LLM_PROVIDER", "").strip()
    if wanted and wanted != "auto":
        name = canonical_name(wanted)
        if name is None:
            raise unknown_provider(wanted)
        return Detection(name, "UNIFIED_LLM_PROVIDER", wished=True)
    model_provider, _ = split_model_ref(os.environ.get("UNIFIED_LLM_MODEL", "").strip())
    if model_provider:
        return Detection(model_provider, "UNIFIED_LLM_MODEL")
    tried: list[str] = []
    address = lmstudio_address()
    if lmstudio_answers(address):
        return Detection("lmstudio", f"LM Studio answers at {address}")
    tried.append(f"no LM Studio at {address}")
    # A keyring may ask its user to unlock at each look-up: only the providers it is known to hold are looked for.
    chain = current_chain()
    quiet = [source for source in chain if not isinstance(source, KeyringSource)]
    stored = {name for source in chain if isinstance(source, KeyringSource) for name in source.stored()}
    for name, config in PROVIDER_CONFIGS.items():  # claude is the first row that needs a key
        if config.needs_key and (find_key(name, None, config.env, chain=quiet) is not None or name in stored):
            return Detection(name, f"a key for {name}", tuple(tried))
    tried.append("no API key")
    if _local_models():
        return Detection("local", "a GGUF model on this machine", tuple(tried))
    tried.append("no GGUF model that can run in this process")
    return Detection("offline", "nothing else was found", tuple(tried))


def lmstudio_address() -> str:
    """Where LM Studio is expected: LMSTUDIO_BASE_URL, else its default port on this machine."""
    config = PROVIDER_CONFIGS["lmstudio"]
    return os.environ.get(config.base_url_env or "", "").strip() or config.base_url or ""


def lmstudio_answers(base_url: str, *, seconds: float = PROBE_SECONDS) -> bool:
    """Whether an OpenAI-style models list comes from `base_url` within `seconds` (401 counts: it is there)."""
    parts = urlsplit(base_url)
    connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    end = time.monotonic() + seconds
    try:
        with closing(connect(parts.hostname or "", parts.port, timeout=seconds)) as connection:
            connection.connect()
            with _ended_at(end, connection.sock):
                connection.request("GET", f"{parts.path.rstrip('/')}/models", headers={"accept": "application/json"})
                reply = connection.getresponse()
                answer = _json.loads(reply.read(1_000_000))
    except (OSError, http.client.HTTPException, ValueError):
        return False  # nothing there, or nothing that speaks HTTP and JSON: the question was only whether it answers
    return isinstance(answer, dict) and ("data" in answer or reply.status == 401)


@contextmanager
def _ended_at(end: float, connection: socket.socket) -> Iterator[None]:
    """Shut `connection` down at `end` (monotonic seconds): a socket's own timeout starts again with every byte."""
    timer = threading.Timer(max(end - time.monotonic(), 0), _shut_down, (connection,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def _shut_down(connection: socket.socket) -> None:
    with suppress(OSError):  # the other side was faster
        # The plain socket's method: that of a TLS socket takes its state away under the reading thread.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def _local_models() -> bool:
    from unified_llm._optional import installed

    if not installed("xllamacpp"):
        return False
    from unified_llm.providers.local import LocalProvider

    return LocalProvider().default_model() is not None
