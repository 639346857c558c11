"""Guards: no provider but fakes, no machine but this one."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator

import httpx
import pytest

from unified_llm import ChatRequest, ChatResponse, ConfigurationError, LLMProvider, UnifiedLLM
from unified_llm.testing import FakeLLM, NetworkBlockedError, block_network, forbid_real_providers

# TEST-NET-1 (RFC 5737): nobody has this address, so even a guard that fails reaches nobody.
FAR = ("192.0.2.1", 80)


@pytest.fixture
def server() -> Iterator[tuple[str, int]]:
    """Something that listens on this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()


# -- the network ------------------------------------------------------------------------------------------------------


def test_another_machine_cannot_be_reached() -> None:
    with block_network():
        with pytest.raises(NetworkBlockedError, match=r"192\.0\.2\.1"):
            socket.create_connection(FAR)
        with socket.socket() as one, pytest.raises(NetworkBlockedError):
            one.connect(FAR)
        with socket.socket() as one, pytest.raises(NetworkBlockedError):
            one.connect_ex(FAR)
        with socket.socket(type=socket.SOCK_DGRAM) as one, pytest.raises(NetworkBlockedError):
            one.connect(FAR)
        with pytest.raises(NetworkBlockedError, match=r"example\.com"):
            socket.getaddrinfo("example.com", 443)
        with pytest.raises(NetworkBlockedError):
            httpx.get("https://example.com")


async def test_async_code_is_held_back_too() -> None:
    with block_network():
        with pytest.raises(NetworkBlockedError):
            await asyncio.open_connection(*FAR)
        with pytest.raises(NetworkBlockedError):
            async with httpx.AsyncClient() as client:
                await client.get("https://example.com")


async def test_this_machine_stays_reachable(server: tuple[str, int]) -> None:
    with block_network():
        socket.create_connection(server).close()
        socket.create_connection(("localhost", server[1])).close()
        _, writer = await asyncio.open_connection(*server)
        writer.close()
        await writer.wait_closed()
        left, right = socket.socketpair()
        left.close()
        right.close()


def test_hosts_can_be_allowed() -> None:
    with block_network(allow=["192.0.2.1"]), socket.socket() as one:
        one.settimeout(0.01)
        with contextlib.suppress(OSError):  # unreachable or timed out: what matters is that it was tried
            one.connect(FAR)
        with pytest.raises(NetworkBlockedError):
            one.connect(("192.0.2.2", 80))


def test_everything_is_as_before_afterwards() -> None:
    before = (dict(vars(socket.socket)), socket.getaddrinfo)
    with pytest.raises(ZeroDivisionError), block_network(), block_network():
        _ = 1 / 0
    assert (dict(vars(socket.socket)), socket.getaddrinfo) == before


# -- providers --------------------------------------------------------------------------------------------------------


def test_a_real_provider_cannot_be_made_or_used() -> None:
    made_before = UnifiedLLM(provider="openai-compatible", base_url="http://127.0.0.1:9", model="m", max_retries=0)
    with forbid_real_providers():
        for make in (lambda: UnifiedLLM(provider="claude", api_key="key"), lambda: made_before.chat("Hi")):
            with pytest.raises(ConfigurationError, match="may not be used") as caught:
                make()
            assert "FakeLLM" in (caught.value.hint or "")
        with pytest.raises(ConfigurationError):
            made_before.embed("text", "any")
        with pytest.raises(ConfigurationError):
            made_before.list_models()
        with pytest.raises(NetworkBlockedError):
            socket.create_connection(FAR)


async def test_async_calls_and_streams_are_held_back_too() -> None:
    llm = UnifiedLLM(provider="openai-compatible", base_url="http://127.0.0.1:9", model="m", max_retries=0)
    with forbid_real_providers():
        with pytest.raises(ConfigurationError):
            await llm.chat_async("Hi")
        with pytest.raises(ConfigurationError):
            [event async for event in llm.stream_async("Hi")]
        with pytest.raises(ConfigurationError):
            list(llm.stream("Hi"))


def test_another_thread_is_held_back_too() -> None:
    errors: list[type[BaseException]] = []

    def work() -> None:
        try:
            UnifiedLLM(provider="claude", api_key="key")
        except ConfigurationError as exc:
            errors.append(type(exc))

    with forbid_real_providers():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(10)
    assert errors == [ConfigurationError]


class Double(LLMProvider):
    """An application's own test double."""

    def chat(self, request: ChatRequest) -> ChatResponse:
        return ChatResponse("from the double")


@forbid_real_providers()
def test_fakes_offline_and_own_doubles_stay_usable() -> None:
    assert FakeLLM("Hello").chat("Hi", model="claude:any") == "Hello"
    assert "not a language model" in UnifiedLLM(provider="offline").chat("Hi")
    assert UnifiedLLM(provider=Double()).chat("Hi", model="m") == "from the double"


def test_single_providers_can_be_allowed_and_the_innermost_rule_counts() -> None:
    with forbid_real_providers(allow=["claude"]):
        UnifiedLLM(provider="claude", api_key="key")
        with forbid_real_providers(), pytest.raises(ConfigurationError):
            UnifiedLLM(provider="claude", api_key="key")
        UnifiedLLM(provider="claude", api_key="key")
    UnifiedLLM(provider="claude", api_key="key")
