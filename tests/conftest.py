"""Fixtures for the whole test run: one event loop library, and an environment without anybody's keys."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from testkit.claude_double import ClaudeDouble
    from testkit.llama import LlamaServer
    from testkit.openai_double import OpenAIDouble

_STORES = ("OLLAMA_MODELS", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "LLAMA_CACHE", "XDG_CACHE_HOME")
# keyring takes any backend class that was ever defined for the machine's own, those of tests included.
os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.null.Keyring"

_FOREIGN = ("_API_KEY", "_AUTH_TOKEN", "_API_TOKEN", "_BASE_URL", "_PROXY", "_proxy")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def empty_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder without configuration, logins or models."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, empty_home: Path) -> None:
    """No test may find a real key, server address, proxy, default provider, configuration file or model."""
    for name in list(os.environ):
        if name.endswith(_FOREIGN) or name.startswith("UNIFIED_LLM_") or name in _STORES:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(empty_home))
    monkeypatch.setenv("USERPROFILE", str(empty_home))


@pytest.fixture
def claude_double() -> Iterator[ClaudeDouble]:
    """A strict loopback double of the Claude API; a request the real one would refuse fails the test."""
    from testkit.claude_double import ClaudeDouble

    with ClaudeDouble() as double:
        yield double
    assert double.violations == []


@pytest.fixture
def openai_double() -> Iterator[Callable[..., OpenAIDouble]]:
    """``openai_double(profile, **options)`` starts a strict loopback double of a server in the OpenAI dialect.

    A request that server would refuse fails the test at its end.
    """
    from testkit.openai_double import OpenAIDouble

    started: list[OpenAIDouble] = []

    def start(profile: str = "openai", **options: Any) -> OpenAIDouble:
        started.append(OpenAIDouble(profile, **options).start())
        return started[-1]

    yield start
    for double in started:
        double.stop()


@pytest.fixture(scope="session")
def tiny_chat_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chat model of 0.5 MB; see `testkit.tiny_gguf` for what it says."""
    from testkit.tiny_gguf import write_tiny_gguf

    return write_tiny_gguf(tmp_path_factory.mktemp("models") / "tiny-chat.gguf")


@pytest.fixture(scope="session")
def tiny_embedding_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An embedding model of 0.5 MB: 64 dimensions, mean pooling."""
    from testkit.tiny_gguf import TinyModel, write_tiny_gguf

    model = TinyModel(kind="embedding", name="Tiny Embedding")
    return write_tiny_gguf(tmp_path_factory.mktemp("models") / "tiny-embedding.gguf", model)


@pytest.fixture(scope="session")
def llama_server(tiny_chat_gguf: Path) -> Iterator[LlamaServer]:
    """A real llama.cpp server with the tiny chat model: two slots of 2048 tokens."""
    from testkit.llama import start_llama_server

    with start_llama_server(tiny_chat_gguf, name="tiny-chat") as server:
        yield server


@pytest.fixture(scope="session")
def llama_embedding_server(tiny_embedding_gguf: Path) -> Iterator[LlamaServer]:
    """A real llama.cpp server with the tiny embedding model."""
    from testkit.llama import start_llama_server

    with start_llama_server(tiny_embedding_gguf, kind="embedding", name="tiny-embedding") as server:
        yield server
