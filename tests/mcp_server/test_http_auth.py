"""Who may connect over HTTP, and that callers do not see each other's things."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from testkit.mcp_clients import ERAS
from testkit.mcp_http import HANDSHAKE, HTTP_SAFE, RAW_ERAS, answer_of, over_http, raw_client, served
from testkit.probe_provider import ProbeProvider
from testkit.wire_server import WireServer, json_reply
from unified_llm import UnifiedLLM
from unified_llm.credentials import Secret
from unified_llm.errors import ConfigurationError
from unified_llm_mcp import ModelServer, Settings, build_server
from unified_llm_mcp.http import HttpSettings, read_tokens
from unified_llm_mcp.oauth import JWTVerifier, OAuthResource

ALICE, BOB = "alice-token-0123456789", "bob-token-0123456789abc"
TOKENS = {"alice": Secret(ALICE), "bob": Secret(BOB)}
pytestmark = pytest.mark.skipif(not HTTP_SAFE, reason="SDKs before 1.30 do not serve HTTP: see test_old_sdk.py")

CHAT = {"name": "chat", "arguments": {"prompt": "Hi"}}


def serve(provider: ProbeProvider | None = None, **settings: Any) -> ModelServer:
    return build_server(UnifiedLLM(provider=provider or ProbeProvider()), Settings(**settings))


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", f"Basic {ALICE}", f"Bearer {ALICE}x", f"Bearer {ALICE[:-1]}", "Bearer \u00e9"],
)
async def test_without_a_known_token_nothing_is_served(header: str | None) -> None:
    async with served(serve(), tokens=TOKENS) as url, httpx.AsyncClient(trust_env=False) as http:
        headers = [] if header is None else [(b"authorization", header.encode())]
        response = await http.post(url, json={}, headers=headers)
        health = await http.get(url.replace("/mcp", "/health"))
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer ")
    assert ALICE not in response.text
    assert health.status_code == 200


@pytest.mark.parametrize("era", ERAS)
async def test_a_known_token_is_served_and_never_sent_upstream(era: str) -> None:
    provider = ProbeProvider()
    async with served(serve(provider), tokens=TOKENS) as url, over_http(url, era, ALICE) as client:
        result = await client.call("chat", prompt="Hi")
    assert result.text == "Hello, world"
    assert ALICE not in repr(provider.requests)


@pytest.mark.parametrize("era", ERAS)
async def test_callers_do_not_see_each_others_conversations_answers_vectors_and_usage(era: str) -> None:
    server = serve(max_output_chars=3)
    async with (
        served(server, tokens=TOKENS) as url,
        over_http(url, era, ALICE) as alice,
        over_http(url, era, BOB) as bob,
    ):
        chat = (await alice.call("chat", prompt="mine", conversation_id="new")).structured
        uris = [
            f"llm://conversations/{chat['conversation_id']}",
            f"llm://responses/{chat['response_id']}",
            (await alice.call("embed", texts=["a"], encoding="resource")).structured["resource_uri"],
        ]
        for uri in uris:
            assert (await alice.session.read_resource(uri)).contents
            with pytest.raises(Exception, match=f"Unknown resource: {uri}"):
                await bob.session.read_resource(uri)
        stolen = await bob.call("chat", prompt="x", conversation_id=chat["conversation_id"])
        unknown = await bob.call("chat", prompt="x", conversation_id="conv_guess")
        assert stolen.wire["content"] == unknown.wire["content"]
        assert (await bob.call("get_response", response_id=chat["response_id"])).error["category"] == "unknown_response"
        usage = json.loads((await bob.session.read_resource("llm://usage")).contents[0].text)
        assert usage["chats"] == 0
        assert all("conversations" not in str(r.uri) for r in (await bob.session.list_resources()).resources)


@pytest.mark.parametrize("era", ERAS)
async def test_each_caller_has_a_rate_of_their_own(era: str) -> None:
    async with (
        served(serve(calls_per_minute=1), tokens=TOKENS) as url,
        over_http(url, era, ALICE) as alice,
        over_http(url, era, BOB) as bob,
    ):
        assert not (await alice.call("chat", prompt="x")).is_error
        assert (await alice.call("chat", prompt="x")).error["category"] == "rate_limited"
        assert not (await bob.call("chat", prompt="x")).is_error


async def test_a_caller_who_opens_many_sessions_loses_the_oldest_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unified_llm_mcp.http.MOST_SESSIONS", 4)
    async with served(serve(), tokens=TOKENS) as url, raw_client(url, HANDSHAKE, BOB) as bob, AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(raw_client(url, HANDSHAKE, ALICE)) for _ in range(4)]
        assert (await opened[0].post("ping", {})).status_code == 404  # the one unused for longest
        assert (await opened[1].post("ping", {})).status_code == 200  # now it is another one
        opened.append(await stack.enter_async_context(raw_client(url, HANDSHAKE, ALICE)))
        after = [(await client.post("ping", {})).status_code for client in (*opened, bob)]
    assert after == [404, 200, 404, 200, 200, 200]


async def test_a_session_cannot_be_taken_over_with_another_token() -> None:
    era = RAW_ERAS[-1]  # sessions are of the handshake protocol
    async with served(serve(), tokens=TOKENS) as url, raw_client(url, era, ALICE) as alice:
        response = await alice.post("tools/call", CHAT, authorization=f"Bearer {BOB}")
    assert response.status_code in (403, 404)


def test_tokens_come_from_a_variable_and_a_file(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"# comment\n\nbob {BOB}\nunnamed-token-000000\n", encoding="utf-8")
    tokens = read_tokens(f" {ALICE} ", file)
    assert [*tokens][:2] == ["default", "bob"]
    assert [*tokens][2].startswith("caller-")
    assert tokens["bob"].get_secret_value() == BOB
    assert BOB not in repr(tokens)


@pytest.mark.parametrize(
    ("content", "said"), [("short", "shorter"), (f"a {BOB}\nb {BOB}", "twice"), ("# nothing", "no token")]
)
def test_unusable_tokens_are_refused_without_being_shown(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "tokens"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=said) as refused:
        read_tokens(None, file)
    assert BOB not in str(refused.value)


def test_a_token_file_that_is_no_text_is_refused_without_being_shown(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_bytes(b"secret-token-0123456789 \xff")
    with pytest.raises(ConfigurationError, match="no text in UTF-8") as refused:
        read_tokens(None, tmp_path / "tokens")
    assert refused.value.__cause__ is None
    assert "secret" not in str(refused.value)


def test_a_byte_order_mark_is_no_part_of_a_token_file(tmp_path: Path) -> None:
    for text in (f"{ALICE}\n", f"alice {ALICE}\n"):
        (tmp_path / "tokens").write_text(text, encoding="utf-8-sig")
        ((name, token),) = read_tokens(None, tmp_path / "tokens").items()
        assert "\ufeff" not in name
        assert token.get_secret_value() == ALICE


def test_a_token_file_that_is_not_there_is_said() -> None:
    with pytest.raises(ConfigurationError, match="cannot read"):
        read_tokens(None, Path("/nonexistent/tokens"))


def test_others_can_be_let_in_with_a_token_and_a_host_name() -> None:
    settings = HttpSettings(host="0.0.0.0", tokens=TOKENS, allowed_hosts=("llm.example.org",))
    assert "llm.example.org" in settings.security()["allowed_hosts"]
    with pytest.raises(ConfigurationError, match="names clients use"):
        HttpSettings(host="0.0.0.0", tokens=TOKENS)
    with pytest.raises(ConfigurationError, match="choose one"):
        HttpSettings(tokens=TOKENS, oauth=True)


ISSUER, RESOURCE = "https://issuer.example.org", "https://llm.example.org/mcp"


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def issuer(key: rsa.RSAPrivateKey) -> Iterator[WireServer]:
    """A loopback server that publishes the issuer's keys."""
    published = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())) | {"kid": "k1", "use": "sig"}
    with WireServer(json_reply({"keys": [published]})) as server:
        yield server


@pytest.fixture
def token(key: rsa.RSAPrivateKey) -> Callable[..., str]:
    """Makes tokens: good ones, unless a claim is changed."""

    def make(signed_with: Any = key, algorithm: str = "RS256", **claims: Any) -> str:
        good = {
            "iss": ISSUER,
            "aud": RESOURCE,
            "sub": "alice",
            "client_id": "app",
            "exp": int(time.time()) + 60,
            "scope": "llm",
        }
        changed = {name: value for name, value in (good | claims).items() if value is not None}
        return jwt.encode(changed, signed_with, algorithm=algorithm, headers={"kid": "k1"})

    return make


def protected(issuer: WireServer) -> ModelServer:
    verifier = JWTVerifier(issuer=ISSUER, audience=RESOURCE, jwks_url=f"{issuer.url}/jwks")
    oauth = OAuthResource(issuer=ISSUER, resource=RESOURCE, verifier=verifier, scopes=("llm",))
    return build_server(UnifiedLLM(provider=ProbeProvider()), oauth=oauth)


@pytest.mark.parametrize("era", ERAS)
async def test_a_token_of_the_issuer_for_this_server_is_served(
    era: str, issuer: WireServer, token: Callable[..., str]
) -> None:
    async with served(protected(issuer), oauth=True) as url, over_http(url, era, token()) as client:
        assert (await client.call("chat", prompt="x")).text == "Hello, world"


async def test_the_metadata_document_names_the_issuer(issuer: WireServer) -> None:
    async with served(protected(issuer), oauth=True) as url, httpx.AsyncClient(trust_env=False) as http:
        refused = await http.post(url, json={})
        document = await http.get(url.replace("/mcp", "/.well-known/oauth-protected-resource/mcp"))
    assert refused.status_code == 401
    assert "resource_metadata=" in refused.headers["www-authenticate"]
    assert document.json()["authorization_servers"][0].rstrip("/") == ISSUER
    assert document.json()["resource"] == RESOURCE


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({"aud": "https://other.example.org/mcp"}, 401),
        ({"iss": "https://evil.example.org"}, 401),
        ({"exp": 1}, 401),
        ({"exp": None}, 401),
        ({"nbf": 32503680000}, 401),
        ({"scope": 5}, 401),
        ({"scope": "mail"}, 403),
    ],
)
async def test_a_token_for_somebody_else_or_expired_is_refused(
    issuer: WireServer, token: Callable[..., str], claims: dict[str, Any], status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    given = token(**claims)
    async with served(protected(issuer), oauth=True) as url, httpx.AsyncClient(trust_env=False) as http:
        response = await http.post(url, json={}, headers={"authorization": f"Bearer {given}"})
    assert response.status_code == status
    assert given not in caplog.text + response.text


async def test_a_token_signed_with_another_key_or_not_at_all_is_refused(
    issuer: WireServer, token: Callable[..., str]
) -> None:
    forged = token(signed_with=rsa.generate_private_key(public_exponent=65537, key_size=2048))
    unsigned = token(signed_with="", algorithm="none")
    symmetric = token(signed_with="guess" * 10, algorithm="HS256")
    async with served(protected(issuer), oauth=True) as url, httpx.AsyncClient(trust_env=False) as http:
        for given in (forged, unsigned, symmetric, "no.jwt", "x"):
            response = await http.post(url, json={}, headers={"authorization": f"Bearer {given}"})
            assert response.status_code == 401


@pytest.mark.parametrize("url", ["http://issuer.example.org/jwks", "http://127.0.0.1.example.org/jwks", "file:///jwks"])
def test_keys_are_fetched_over_https_only(url: str) -> None:
    with pytest.raises(ConfigurationError, match="https"):
        JWTVerifier(issuer=ISSUER, audience=RESOURCE, jwks_url=url)


async def test_two_people_of_one_application_are_two_callers(issuer: WireServer, token: Callable[..., str]) -> None:
    era = ERAS[0]
    async with (
        served(protected(issuer), oauth=True) as url,
        over_http(url, era, token()) as alice,
        over_http(url, era, token(sub="bob")) as bob,
    ):
        chat = await alice.call("chat", prompt="x", conversation_id="new")
        stolen = await bob.call("chat", prompt="x", conversation_id=chat.structured["conversation_id"])
        again = await alice.call("chat", prompt="x", conversation_id=chat.structured["conversation_id"])
    assert stolen.error["category"] == "unknown_conversation"
    assert not again.is_error


@pytest.mark.parametrize("era", RAW_ERAS)
async def test_the_token_counts_for_each_request_of_a_session(era: str) -> None:
    async with served(serve(), tokens=TOKENS) as url, raw_client(url, era, ALICE) as client:
        assert "result" in answer_of(await client.post("tools/call", CHAT))
        assert (await client.post("tools/call", CHAT, authorization="Bearer wrong")).status_code == 401
