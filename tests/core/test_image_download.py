"""Images fetched by URL keep to every limit: of time, of how often, of what may be asked."""

from __future__ import annotations

import asyncio
import io
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image as Pillow

from testkit.openai_double import OpenAIDouble
from testkit.wire_server import HANG, Answer, Pause, WireServer, reply
from unified_llm import APITimeoutError, Image, InvalidMessageError, MemoryCache, Message, UnifiedLLM
from unified_llm.drivers import image_download
from unified_llm.drivers.image_download import download_image, download_image_async


def png() -> bytes:
    out = io.BytesIO()
    Pillow.new("RGB", (3, 2), (200, 10, 20)).save(out, "PNG")
    return out.getvalue()


FOUND: Answer = reply(200, png(), {"content-type": "image/png"})


def studio(double: OpenAIDouble, **options: Any) -> UnifiedLLM:
    return UnifiedLLM("lmstudio", base_url=double.url, model="m", transport="http", download_images="any", **options)


def said(*parts: Any) -> list[Message]:
    return [Message("user", ["Look.", *parts])]


async def sync_download(url: str) -> bytes:
    return download_image(url, private=True)


async def async_download(url: str) -> bytes:
    return await download_image_async(url, private=True)


async def chat(llm: UnifiedLLM, messages: Any, **options: Any) -> Any:
    return llm.chat(messages, **options)


async def stream(llm: UnifiedLLM, messages: Any, **options: Any) -> Any:
    return llm.stream(messages, **options).get_response()


async def chat_async(llm: UnifiedLLM, messages: Any, **options: Any) -> Any:
    return await llm.chat_async(messages, **options)


async def stream_async(llm: UnifiedLLM, messages: Any, **options: Any) -> Any:
    return await llm.stream_async(messages, **options).get_response()


sides = pytest.mark.parametrize("download", [sync_download, async_download])
ways = pytest.mark.parametrize("way", [chat, stream, chat_async, stream_async])
Download = Callable[[str], Any]
Way = Callable[..., Any]


# -- time -------------------------------------------------------------------------------------------------------------


@ways
async def test_the_deadline_of_a_call_is_the_deadline_of_its_images(way: Way) -> None:
    with OpenAIDouble("lmstudio") as double, WireServer([HANG]) as web:
        llm = studio(double, max_retries=0)
        started = time.monotonic()
        with pytest.raises(APITimeoutError) as caught:
            await way(llm, said(Image(url=f"{web.url}/a.png?token=secret")), deadline=0.5)
        assert time.monotonic() - started < 10
        assert "deadline" in str(caught.value)
        assert "secret" not in str(caught.value)
        assert await asyncio.to_thread(web.requests[0].wait_gone, 5)
        assert double.requests == []
        await llm.aclose()


async def test_the_chat_has_what_its_images_left_of_the_deadline() -> None:
    with WireServer([Pause(0.6), *FOUND]) as web, WireServer([HANG]) as server:
        options: Any = {"model": "m", "transport": "http", "download_images": "any", "max_retries": 0}
        llm = UnifiedLLM("lmstudio", base_url=server.url, **options)
        started = time.monotonic()
        with pytest.raises(APITimeoutError):
            llm.chat(said(Image(url=f"{web.url}/a.png")), deadline=1.0)
        assert 0.9 < time.monotonic() - started < 1.5
        await llm.aclose()


_PIECES = [step for _ in range(100) for step in (b"a", Pause(0.05))]


@sides
@pytest.mark.parametrize(
    "answer",
    [
        [b"HTTP/1.1 200 OK\r\nX: ", *_PIECES],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", *_PIECES],
        [step for _ in range(100) for step in (b"HTTP/1.1 102 Processing\r\n\r\n", Pause(0.05))],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", *_PIECES],
        [HANG],
    ],
    ids=["head", "chunk extension", "interim answers", "body", "silence"],
)
async def test_the_limit_of_time_holds_whatever_dribbles_in(
    monkeypatch: pytest.MonkeyPatch, download: Download, answer: Any
) -> None:
    monkeypatch.setattr(image_download, "_SECONDS", 0.5)
    with WireServer(answer) as web:
        started = time.monotonic()
        with pytest.raises(InvalidMessageError, match=r"takes longer than 0\.5 s"):
            await download(f"{web.url}/a.png")
        assert time.monotonic() - started < 3


@sides
async def test_the_limit_of_time_holds_for_a_name_that_is_looked_up(
    monkeypatch: pytest.MonkeyPatch, download: Download
) -> None:
    over = threading.Event()
    monkeypatch.setattr(image_download, "_SECONDS", 0.3)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(20))
    try:
        started = time.monotonic()
        with pytest.raises(InvalidMessageError, match=r"takes longer than 0\.3 s"):
            await download("http://slow.example/a.png")
        assert time.monotonic() - started < 3
    finally:
        over.set()


async def test_a_task_that_is_cancelled_leaves_no_download_under_way() -> None:
    with OpenAIDouble("lmstudio") as double, WireServer([HANG]) as web:
        llm = studio(double)
        task = asyncio.create_task(llm.chat_async(said(Image(url=f"{web.url}/a.png"))))
        await asyncio.to_thread(web.wait_requests, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(web.requests[0].wait_gone, 5)
        await llm.aclose()


# -- how often --------------------------------------------------------------------------------------------------------


@ways
async def test_with_a_response_cache_an_image_is_asked_for_once(way: Way) -> None:
    with OpenAIDouble("lmstudio") as double, WireServer(reply(404), FOUND) as web:
        llm = studio(double, cache=MemoryCache())
        question = said(Image(url=f"{web.url}/a.png"))
        with pytest.raises(InvalidMessageError, match="HTTP 404"):
            await way(llm, question)
        assert len(web.requests) == 1
        answers = [await way(llm, question) for _ in range(2)]
        assert len(web.requests) == 2
        assert [a.cached for a in answers] == [False, True]
        assert len(double.requests) == 1
        await llm.aclose()


@ways
async def test_what_failed_for_an_earlier_turn_is_not_tried_with_every_turn(way: Way) -> None:
    with OpenAIDouble("lmstudio") as double, WireServer(reply(404)) as web:
        llm = studio(double, cache=MemoryCache())
        talk = [*said(Image(url=f"{web.url}/a.png"), Image(url=f"{web.url}/a.png")), Message("assistant", "A.")]
        for turn in ("And?", "So?"):
            answer = await way(llm, [*talk, Message("user", turn)])
            assert [a.kind for a in answer.adjustments] == ["lost", "lost"]
        assert len(web.requests) == 1
        with pytest.raises(InvalidMessageError, match="HTTP 404"):
            await way(llm, [*talk, *said(Image(url=f"{web.url}/a.png"))])  # what is asked now is tried again, once
        assert len(web.requests) == 2
        await llm.aclose()


# -- what may be asked ------------------------------------------------------------------------------------------------


@sides
@pytest.mark.parametrize(
    "url",
    ["http://[bad]/x.png", "http://[::1/x.png", "http://x:abc/", "http://a/\ud800", "http://a b/\0", "http://a:70000/"],
)
async def test_urls_that_are_none_are_refused_and_that_is_said_once(download: Download, url: str) -> None:
    with pytest.raises(InvalidMessageError) as caught:
        await download(url)
    assert str(caught.value).count("cannot be fetched") == 1
    assert "InvalidMessageError" not in str(caught.value)


@ways
async def test_a_url_that_is_none_is_an_error_of_the_message(way: Way) -> None:
    with OpenAIDouble("lmstudio") as double:
        llm = studio(double)
        with pytest.raises(InvalidMessageError, match=r"messages\[0\]\.parts\[1\].*cannot be fetched"):
            await way(llm, said(Image(url="http://[bad]/x.png")))
        await llm.aclose()


@sides
async def test_letters_beyond_ascii_in_a_url_are_sent_as_browsers_send_them(download: Download) -> None:
    with WireServer(FOUND) as web:
        assert await download(f"{web.url}/ü.png?q=é") == png()
        assert web.requests[0].target == "/%C3%BC.png?q=%C3%A9"


@sides
async def test_a_refusal_says_why_once(download: Download) -> None:
    with WireServer(reply(404)) as web, pytest.raises(InvalidMessageError) as caught:
        await download(f"{web.url}/a.png")
    assert caught.value.message == f"the image {web.url}/a.png cannot be fetched: HTTP 404"


@sides
async def test_a_url_that_leads_on_is_followed_and_checked_anew(download: Download) -> None:
    pages = {"/a": reply(302, b"", {"location": "/b"}), "/b": FOUND, "/c": reply(302, b"", {"location": "http://[x]/"})}
    with WireServer(lambda request: pages[request.target]) as web:
        assert await download(f"{web.url}/a") == png()
        with pytest.raises(InvalidMessageError, match="cannot be fetched"):
            await download(f"{web.url}/c")


async def test_event_loops_connect_to_the_public_internet_only_as_well() -> None:
    with WireServer(FOUND) as web:
        with pytest.raises(InvalidMessageError, match="this machine or its networks"):
            await download_image_async(f"{web.url}/a.png")
        assert web.requests == []
