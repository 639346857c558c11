"""Fixtures of the LangChain tests."""

from __future__ import annotations

import base64
import io
import wave
from pathlib import Path
from typing import Any

import httpx
import pytest

_PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
_JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAQEASABIAAD/2wBDAP//////////////////////////////////////////////////////////////////////////////"
    "////////wAALCAABAAEBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAAA//EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAIAQEAAD8AN//Z"
)
_PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\n%%EOF\n"


def _wav() -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(b"\0\0" * 80)
    return buffer.getvalue()


_PUBLIC_FILES = {".png": _PNG, ".jpg": _JPEG, ".pdf": _PDF, ".wav": _wav()}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """LangChain's v3 event streams announce that they are in beta; every other warning stays an error."""
    beta = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(beta)


@pytest.fixture(autouse=True)
def public_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """The standard tests download a few public files with `httpx.get`; here they get small ones of the same kind."""

    def get(url: Any, **options: Any) -> httpx.Response:
        body = next((body for ending, body in _PUBLIC_FILES.items() if str(url).endswith(ending)), None)
        assert body is not None, f"a test wants to download {url}"
        return httpx.Response(200, content=body, request=httpx.Request("GET", url))

    monkeypatch.setattr(httpx, "get", get)
    monkeypatch.setenv("LANGCHAIN_TESTS_USER_AGENT", "unified-llm tests")  # asked for by the audio tests


@pytest.fixture(scope="session")
def vcr_config() -> dict[str, Any]:
    """No test of this suite records or plays back HTTP: the doubles are real servers."""
    return {}


@pytest.fixture
def benchmark(benchmark: Any) -> Any:
    """The standard tests time the constructor; here it runs once. Speed is measured in ``benchmarks/``."""
    benchmark.disabled = True
    return benchmark


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening any socket fails the test."""
    import socket

    def refuse(*args: Any, **options: Any) -> Any:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
