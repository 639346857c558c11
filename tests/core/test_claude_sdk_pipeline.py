"""What only the SDK's own request pipeline can do: fetched credentials and middleware, through the same driver."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from anthropic.lib.credentials import AccessToken

from testkit.claude_calls import request
from testkit.claude_double import ClaudeDouble, answer, failure
from unified_llm import AuthenticationError, OverloadedError, StreamInterruptedError
from unified_llm.providers.claude import ClaudeProvider
from unified_llm.stream import StreamEnd, TextDelta


class Tokens:
    """A credential provider as the SDK takes them; the first token is stale when `stale`."""

    def __init__(self, good: str, *, stale: bool = False) -> None:
        self.good = good
        self.stale = stale
        self.asked = 0

    def __call__(self, *, force_refresh: bool = False) -> AccessToken:
        self.asked += 1
        return AccessToken(token="revoked" if self.stale and self.asked == 1 else self.good, expires_at=None)


@pytest.fixture
def tokens(claude_double: ClaudeDouble) -> Tokens:
    return Tokens(claude_double.key)


@pytest.fixture
def claude(claude_double: ClaudeDouble, tokens: Tokens) -> Iterator[ClaudeProvider]:
    provider = ClaudeProvider(base_url=claude_double.url, sdk_options={"credentials": tokens})
    yield provider
    provider.close()


def test_a_fetched_token_is_used_and_kept(claude: ClaudeProvider, claude_double: ClaudeDouble, tokens: Tokens) -> None:
    assert claude.chat(request("a")) == "You said: a"
    events = list(claude.stream(request("b")))
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == "You said: b"
    assert isinstance(events[-1], StreamEnd)
    assert claude.list_models()
    assert tokens.asked == 1
    assert claude_double.requests[0].headers["authorization"] == f"Bearer {claude_double.key}"


async def test_a_fetched_token_is_used_in_async_calls(claude: ClaudeProvider) -> None:
    assert await claude.chat_async(request("a")) == "You said: a"
    events = [e async for e in claude.stream_async(request("b"))]
    assert isinstance(events[-1], StreamEnd)
    await claude.aclose()


def test_a_revoked_token_is_fetched_anew_for_the_next_call(claude_double: ClaudeDouble) -> None:
    tokens = Tokens(claude_double.key, stale=True)
    provider = ClaudeProvider(base_url=claude_double.url, sdk_options={"credentials": tokens})
    with pytest.raises(AuthenticationError):
        list(provider.stream(request("a")))
    assert provider.chat(request("a")) == "You said: a"
    assert tokens.asked == 2
    provider.close()


async def test_a_revoked_token_is_fetched_anew_for_the_next_async_call(claude_double: ClaudeDouble) -> None:
    provider = ClaudeProvider(
        base_url=claude_double.url, sdk_options={"credentials": Tokens(claude_double.key, stale=True)}
    )
    with pytest.raises(AuthenticationError):
        await provider.chat_async(request("a"))
    assert await provider.chat_async(request("a")) == "You said: a"
    await provider.aclose()


def test_failures_are_typed_there_too_and_asked_once(claude: ClaudeProvider, claude_double: ClaudeDouble) -> None:
    claude_double.script([failure(529), failure(529), answer("one two", cut_after=4)])
    with pytest.raises(OverloadedError) as caught:
        claude.chat(request("x"))
    assert caught.value.status == 529
    with pytest.raises(OverloadedError):
        list(claude.stream(request("x")))
    with pytest.raises(StreamInterruptedError):
        list(claude.stream(request("x")))
    assert len(claude_double.requests) == 3


def test_closing_a_stream_closes_the_request_upstream(claude: ClaudeProvider, claude_double: ClaudeDouble) -> None:
    claude_double.script([answer("word " * 50, pieces=50, pause=0.1)])
    events = claude.stream(request("x"))
    next(e for e in events if isinstance(e, TextDelta))
    events.close()  # type: ignore[attr-defined]  # a generator
    assert claude_double.wait_for_disconnect(0.5)


def test_middleware_of_the_sdk_sees_every_request(claude_double: ClaudeDouble) -> None:
    seen: list[str] = []

    def note(asked: Any, call_next: Any) -> Any:
        seen.append(asked.url)
        return call_next(asked)

    provider = ClaudeProvider(api_key=claude_double.key, base_url=claude_double.url, sdk_options={"middleware": [note]})
    assert provider.chat(request("a")) == "You said: a"
    assert isinstance(list(provider.stream(request("a")))[-1], StreamEnd)
    provider.close()
    assert seen == ["v1/messages", "v1/messages"]
