"""Claude on other clouds, through the SDK's clients: paths, bodies and credentials as those platforms want them."""

from __future__ import annotations

import base64
import binascii
import json
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from testkit import claude_rules
from testkit.wire_server import CLOSE, Answer, Request, WireServer, chunked, json_reply, sse
from unified_llm import UnifiedLLM
from unified_llm.drivers.aws_event_stream import EventStreamDecoder, FrameError
from unified_llm.errors import (
    ConfigurationError,
    MissingCredentialError,
    RateLimitError,
    StreamInterruptedError,
    UnifiedLLMError,
    UnsupportedOptionError,
)

MODEL = "claude-sonnet-5-5"
KEY = "platform-key-0123456789"
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": MODEL,
    "content": [{"type": "text", "text": "Bonjour"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 9, "output_tokens": 2},
}
EVENTS: list[dict[str, Any]] = [
    {"type": "message_start", "message": MESSAGE | {"content": [], "stop_reason": None}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Bon"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "jour"}},
    {"type": "content_block_stop", "index": 0},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 2},
    },
    {"type": "message_stop"},
]


def frame(payload: bytes, **headers: str) -> bytes:
    """One frame of Amazon's event stream."""
    names = b"".join(
        bytes([len(name)]) + name + b"\x07" + struct.pack(">H", len(value)) + value
        for name, value in ((f":{k.replace('_', '-')}".encode(), v.encode()) for k, v in headers.items())
    )
    prelude = struct.pack(">II", 16 + len(names) + len(payload), len(names))
    data = prelude + struct.pack(">I", binascii.crc32(prelude)) + names + payload
    return data + struct.pack(">I", binascii.crc32(data))


def chunk(event: dict[str, Any]) -> bytes:
    inside = base64.b64encode(json.dumps(event).encode()).decode()
    return frame(json.dumps({"bytes": inside, "p": "abc"}).encode(), message_type="event", event_type="chunk")


def frames(*data: bytes, end: bool = True) -> Answer:
    return chunked(data, headers={"content-type": "application/vnd.amazon.eventstream"}, end=end)


def sse_of(events: list[dict[str, Any]]) -> Answer:
    return sse([f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events])


def check_body(request: Request, platform: str) -> None:
    """The body is the API's own, but for what the platform moves elsewhere."""
    body = request.json()
    if platform != "foundry":
        assert body.pop("anthropic_version") == request.headers["anthropic-version"]
        assert "model" not in body  # it is in the path
    assert "stream" not in body or platform != "bedrock"
    assert claude_rules.faults_of({"model": MODEL} | body, version="2026-10-21", betas=()) == []


def bedrock(server: WireServer) -> UnifiedLLM:
    options = {"aws_region": "eu-west-3"}
    return UnifiedLLM("claude", KEY, model=MODEL, platform="bedrock", base_url=server.url, sdk_options=options)


def vertex(server: WireServer) -> UnifiedLLM:
    options = {"region": "europe-west1", "project_id": "p1", "access_token": KEY}
    return UnifiedLLM("claude", model=MODEL, platform="vertex", base_url=f"{server.url}/v1", sdk_options=options)


def foundry(server: WireServer) -> UnifiedLLM:
    return UnifiedLLM("claude", KEY, model=MODEL, platform="foundry", base_url=f"{server.url}/anthropic")


PATHS = {
    "bedrock": (f"/model/{MODEL}/invoke", f"/model/{MODEL}/invoke-with-response-stream"),
    "vertex": tuple(
        f"/v1/projects/p1/locations/europe-west1/publishers/anthropic/models/{MODEL}:{verb}"
        for verb in ("rawPredict", "streamRawPredict")
    ),
    "foundry": ("/anthropic/v1/messages", "/anthropic/v1/messages"),
}
MAKERS: dict[str, Callable[[WireServer], UnifiedLLM]] = {"bedrock": bedrock, "vertex": vertex, "foundry": foundry}


@pytest.fixture(autouse=True)
def nobody_elses_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-not-for-other-clouds")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.delenv("ANTHROPIC_FOUNDRY_API_KEY", raising=False)


@pytest.mark.parametrize("platform", MAKERS)
async def test_a_chat_and_a_stream_go_where_the_platform_wants_them(platform: str) -> None:
    streamed = frames(*map(chunk, EVENTS)) if platform == "bedrock" else sse_of(EVENTS)

    def answer(request: Request) -> Answer:
        wants_stream = "stream" in request.target.lower() or bool(request.json().get("stream"))
        return streamed if wants_stream else json_reply(MESSAGE, headers={"request-id": "req_1"})

    with WireServer(answer) as server, MAKERS[platform](server) as llm:
        assert llm.chat("Hi") == "Bonjour"
        assert await llm.chat_async("Hi") == "Bonjour"
        assert llm.stream("Hi").get_response() == "Bonjour"
        response = await llm.stream_async("Hi").get_response()
        await llm.aclose()
        assert (response, response.usage.output_tokens, response.finish_reason) == ("Bonjour", 2, "stop")
        whole, stream = PATHS[platform]
        assert [request.target for request in server.requests] == [whole, whole, stream, stream]
        for request in server.requests:
            sent = request.headers
            given = sent["x-api-key"] if platform == "foundry" else sent["authorization"].removeprefix("Bearer ")
            assert given == KEY
            assert "sk-ant-not-for-other-clouds" not in str(sent)
            check_body(request, platform)


async def test_an_exception_in_a_stream_of_bedrock_is_typed_and_keeps_the_text() -> None:
    failure = frame(b'{"message": "Too many tokens"}', message_type="exception", exception_type="throttlingException")
    with WireServer(lambda _: frames(*map(chunk, EVENTS[:3]), failure)) as server, bedrock(server) as llm:
        with pytest.raises(RateLimitError, match="Too many tokens") as caught:
            llm.stream("Hi").get_response()
        assert caught.value.partial == "Bon"
        with pytest.raises(RateLimitError):
            await llm.stream_async("Hi").get_response()
        await llm.aclose()


@pytest.mark.parametrize("cut", [[CLOSE], [b"3\r\n\x00\x00\x00\r\n", CLOSE]], ids=["between", "inside a frame"])
def test_a_stream_of_bedrock_that_is_cut_keeps_the_text(cut: Answer) -> None:
    with WireServer(lambda _: [*frames(*map(chunk, EVENTS[:4]), end=False), *cut]) as server, bedrock(server) as llm:
        with pytest.raises(StreamInterruptedError) as caught:
            llm.stream("Hi").get_response()
        assert caught.value.partial == "Bonjour"


def test_damaged_frames_are_an_error_and_no_text() -> None:
    damaged = bytearray(chunk(EVENTS[2]))
    damaged[-8] ^= 1
    with WireServer(lambda _: frames(chunk(EVENTS[0]), bytes(damaged))) as server, bedrock(server) as llm:
        with pytest.raises(UnifiedLLMError, match="damaged") as caught:
            llm.stream("Hi").get_response()
        assert (caught.value.provider, caught.value.status) == ("claude", 200)


def test_frames_may_be_cut_anywhere() -> None:
    data = b"".join(map(chunk, EVENTS)) + frame(b"{}", message_type="event", event_type="metadata")
    whole = list(EventStreamDecoder().feed(data))
    assert [event.split(b"\n")[0] for event in whole] == [f"event: {e['type']}".encode() for e in EVENTS]

    def piecewise(size: int) -> Iterator[bytes]:
        decoder = EventStreamDecoder()
        for at in range(0, len(data), size):
            yield from decoder.feed(data[at : at + size])
        assert not decoder.pending

    assert all(list(piecewise(size)) == whole for size in (1, 2, 3, 7, 64, 1000))
    with pytest.raises(FrameError):
        list(EventStreamDecoder().feed(b"data: {}\n\n and so on"))


async def test_what_a_platform_cannot_do_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with WireServer(lambda _: json_reply(MESSAGE)) as server:
        llm = bedrock(server)
        with pytest.raises(UnsupportedOptionError, match="not supported in Bedrock"):
            llm.count_tokens("Hi", exact=True)
        llm.close()
    with pytest.raises(ConfigurationError, match="unknown platform") as unknown:
        UnifiedLLM("claude", platform="nimbus").chat("Hi")
    assert "bedrock" in str(unknown.value.hint)
    with pytest.raises(ConfigurationError, match="needs the SDK"):
        UnifiedLLM("claude", platform="vertex", transport="http").chat("Hi")
    with pytest.raises(MissingCredentialError, match="cannot log in"):
        UnifiedLLM("claude", platform="foundry", base_url="http://127.0.0.1:9").chat("Hi")
    monkeypatch.delenv("CLOUD_ML_REGION", raising=False)
    with pytest.raises(ConfigurationError, match="region"):
        await UnifiedLLM("claude", platform="vertex").chat_async("Hi")
