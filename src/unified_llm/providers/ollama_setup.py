"""How the Ollama provider is set up: what its options mean on the wire, and where its server is."""

from __future__ import annotations

import os
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from unified_llm.errors import ConfigurationError

__all__ = ["KeepAlive", "default_fields", "host_variable"]

KeepAlive: TypeAlias = str | float


def default_fields(dialect: str, num_ctx: int | None, keep_alive: KeepAlive | None) -> dict[str, Any]:
    """Body fields of every call. Raises `ConfigurationError` for what cannot be sent, and for unknown dialects."""
    if dialect not in ("native", "openai", "chat", "responses"):
        raise ConfigurationError(
            f"unknown dialect {dialect!r}", provider="ollama", hint="use 'native', 'openai' or 'responses'"
        )
    defaults: dict[str, Any] = {}
    if keep_alive is not None:
        defaults["keep_alive"] = keep_alive
    if num_ctx is not None:
        defaults["options"] = {"num_ctx": num_ctx}
    if num_ctx is not None and (isinstance(num_ctx, bool) or not isinstance(num_ctx, int) or num_ctx < 1):
        raise ConfigurationError(
            f"num_ctx must be a positive number of tokens, not {num_ctx!r}", provider="ollama", hint="num_ctx=16384"
        )
    if defaults and dialect != "native":
        raise ConfigurationError(
            "num_ctx and keep_alive cannot be sent to Ollama's OpenAI endpoints",
            provider="ollama",
            hint="use dialect='native', or set OLLAMA_CONTEXT_LENGTH and OLLAMA_KEEP_ALIVE where the server starts",
        )
    return defaults


def host_variable() -> str | None:
    """The address in OLLAMA_HOST, unless OLLAMA_BASE_URL is set: a host, a port, both, or an address.

    A server that listens on every interface has 0.0.0.0 there, which is no place to call.
    """
    text = os.environ.get("OLLAMA_HOST", "").strip().strip("\"'")
    if not text or os.environ.get("OLLAMA_BASE_URL", "").strip():
        return None
    if "://" not in text:
        text = f"http://{text}"
        host, _, port = urlsplit(text).netloc.rpartition(":")
        if not port.isdigit() or text.endswith("]"):
            text = f"{text.rstrip('/:')}:11434"
        elif not host:
            text = text.replace("http://:", "http://127.0.0.1:")
    return text.replace("//0.0.0.0", "//127.0.0.1").replace("//[::]", "//[::1]")
