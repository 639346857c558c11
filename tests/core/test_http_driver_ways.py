"""The HTTP driver behind proxies and over TLS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from testkit.http_caller import WAYS, Caller
from testkit.relay import Relay
from testkit.wire_server import HANG, WireServer, json_reply, reply, sse
from unified_llm.drivers.http import HTTPDriver
from unified_llm.drivers.proxies import find_proxy
from unified_llm.drivers.urls import Address
from unified_llm.errors import APIConnectionError, ConfigurationError
from unified_llm.wire import WireCall


@pytest.fixture(params=WAYS)
async def caller(request: pytest.FixtureRequest) -> AsyncIterator[Caller]:
    caller = Caller(request.param)
    yield caller
    await caller.close()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture(scope="module")
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


# -- TLS ------------------------------------------------------------------------------------------------------------


async def test_calls_and_streams_work_over_tls_on_one_connection(
    caller: Caller, server_tls: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    with WireServer(json_reply(1), sse(["one"]), json_reply(2), tls=server_tls) as server:
        driver = caller.driver(f"{server.url}/v1", verify=trusting)
        assert (await caller.send(driver)).body == b"1"
        assert b"".join(await caller.pieces(driver)) == b"data: one\n\n"
        assert (await caller.send(driver)).body == b"2"
        assert server.connections == 1


async def test_large_bodies_pass_through_tls_both_ways(
    caller: Caller, server_tls: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    body = bytes(range(256)) * 8192
    with WireServer(lambda request: reply(200, request.body), tls=server_tls) as server:
        driver = caller.driver(server.url, verify=trusting)
        assert (await caller.send(driver, WireCall("x", body))).body == body


async def test_an_untrusted_certificate_is_refused_with_advice(caller: Caller, server_tls: ssl.SSLContext) -> None:
    with WireServer(json_reply(1), tls=server_tls) as server:
        with pytest.raises(APIConnectionError, match="certificate is not trusted") as caught:
            await caller.send(caller.driver(server.url))
        assert "SSL_CERT_FILE" in str(caught.value)
        assert not caught.value.retryable
        assert server.requests == []


async def test_an_authority_in_ssl_cert_file_is_trusted(
    caller: Caller, server_tls: ssl.SSLContext, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with WireServer(json_reply(1), tls=server_tls) as server:
        assert (await caller.send(caller.driver(server.url))).body == b"1"


async def test_verify_false_trusts_any_certificate(caller: Caller, server_tls: ssl.SSLContext) -> None:
    with WireServer(json_reply(1), tls=server_tls) as server:
        assert (await caller.send(caller.driver(server.url, verify=False))).body == b"1"


async def test_leaving_a_tls_stream_early_closes_the_request(
    caller: Caller, server_tls: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    with WireServer(sse(["one", HANG]), tls=server_tls) as server:
        await caller.first_piece(caller.driver(server.url, verify=trusting))
        assert await server.requests[0].wait_gone_async(0.5)


def test_loops_that_end_leave_no_tls_connection_open(server_tls: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    with WireServer(json_reply(1), tls=server_tls) as server:
        for way in WAYS[1:]:
            caller = Caller(way)
            driver = caller.driver(server.url, verify=trusting)
            assert asyncio.run(caller.send(driver)).body == b"1"
            assert server.wait_open_connections(0)


# -- proxies --------------------------------------------------------------------------------------------------------


async def test_a_plain_http_call_goes_to_the_proxy_in_absolute_form(caller: Caller) -> None:
    with WireServer(json_reply(1)) as proxy:
        driver = caller.driver("http://model.example:8000/v1", proxy=f"http://me:s%40cret@127.0.0.1:{proxy.port}")
        assert (await caller.send(driver)).body == b"1"
        assert b"".join(await caller.pieces(driver)) == b"1"
    sent = proxy.requests[0]
    assert sent.target == "http://model.example:8000/v1/chat/completions"
    assert sent.headers["host"] == "model.example:8000"
    assert sent.headers["proxy-authorization"] == "Basic bWU6c0BjcmV0"
    assert proxy.connections == 1


async def test_an_https_call_goes_through_a_tunnel(
    caller: Caller, server_tls: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    with WireServer(json_reply(1), sse(["one", HANG]), tls=server_tls) as server, Relay() as relay:
        driver = caller.driver(server.url, proxy=f"http://me:secret@127.0.0.1:{relay.port}", verify=trusting)
        assert (await caller.send(driver)).body == b"1"
        assert await caller.first_piece(driver) == b"data: one\n\n"
        assert await server.requests[1].wait_gone_async(0.5)
        assert server.connections == 1
    assert relay.seen == [("CONNECT", f"localhost:{server.port}", "Basic bWU6c2VjcmV0")]
    assert "proxy-authorization" not in server.requests[0].headers


async def test_a_proxy_that_refuses_is_named(caller: Caller, trusting: ssl.SSLContext) -> None:
    with Relay(refuse=True) as relay:
        driver = caller.driver("https://model.example/v1", proxy=f"http://me:secret@127.0.0.1:{relay.port}")
        with pytest.raises(APIConnectionError, match=f"through the proxy 127.0.0.1:{relay.port}.*407") as caught:
            await caller.send(driver)
        assert "secret" not in str(caught.value)


async def test_a_socks_proxy_is_used(caller: Caller, server_tls: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    with WireServer(json_reply(1), tls=server_tls) as server, Relay() as relay:
        driver = caller.driver(server.url, proxy=f"socks5://me:secret@127.0.0.1:{relay.port}", verify=trusting)
        assert (await caller.send(driver)).body == b"1"
        assert (await caller.send(driver)).body == b"1"
    assert relay.seen == [("SOCKS5", f"localhost:{server.port}", "me:secret")]


async def test_a_socks_proxy_that_refuses_is_named(caller: Caller) -> None:
    with Relay(refuse=True) as relay:
        driver = caller.driver("https://model.example/v1", proxy=f"socks5://127.0.0.1:{relay.port}")
        with pytest.raises(APIConnectionError, match=f"through the proxy 127.0.0.1:{relay.port}"):
            await caller.send(driver)


@pytest.mark.parametrize("proxy", ["ftp://127.0.0.1:1", "http://", "http://me:secret@127.0.0.1:99999"])
def test_an_impossible_proxy_is_refused_without_its_password(proxy: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be used") as caught:
        HTTPDriver("http://h", proxy=proxy)
    assert "secret" not in str(caught.value)


async def test_the_proxy_of_the_environment_is_used(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    with WireServer(json_reply(1)) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert (await caller.send(caller.driver("http://model.example/v1"))).body == b"1"
    assert proxy.requests[0].target == "http://model.example/v1/chat/completions"


@pytest.mark.parametrize(
    ("url", "environment", "expected"),
    [
        ("https://api.example", {"HTTPS_PROXY": "http://p:3128"}, "http://p:3128"),
        ("https://api.example", {"ALL_PROXY": "socks5://p"}, "socks5://p:1080"),
        ("https://api.example", {"https_proxy": "p:3128"}, "http://p:3128"),
        ("https://api.example", {"HTTP_PROXY": "http://p:3128"}, None),
        ("https://api.example", {"HTTPS_PROXY": "http://p:3128", "NO_PROXY": ".example"}, None),
        ("http://api.example:8000", {"HTTP_PROXY": "http://p", "NO_PROXY": "api.example:8000"}, None),
        ("http://127.0.0.1:1234", {"HTTP_PROXY": "http://p:3128"}, None),
        ("http://localhost:1234", {"ALL_PROXY": "http://p:3128"}, None),
        ("http://[::1]:1234", {"HTTP_PROXY": "http://p:3128"}, None),
        ("https://api.example", {}, None),
    ],
)
def test_the_environment_decides_as_everywhere_except_for_this_machine(
    url: str, environment: dict[str, str], expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    proxy = find_proxy(Address.parse(url), None)
    assert (proxy and proxy.url) == expected


def test_a_proxy_keeps_its_password_out_of_its_repr() -> None:
    proxy = find_proxy(Address.parse("http://h"), "http://me:secret@p:1")
    assert proxy is not None
    assert proxy.auth == ("me", "secret")
    assert "secret" not in repr(proxy)
