"""Images that a server does not take as they are: written anew where Pillow is, fetched where that is allowed."""

from __future__ import annotations

import base64
import importlib.abc
import io
import random
import socket
import struct
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from PIL import EpsImagePlugin, WebPImagePlugin
from PIL import Image as Pillow

from testkit.claude_double import ClaudeDouble
from testkit.lmstudio_ws_double import LMStudioDouble
from testkit.ollama_double import OllamaDouble
from testkit.openai_double import OpenAIDouble
from testkit.wire_server import HANG, Answer, Request, WireServer, chunked, json_reply, reply
from unified_llm import (
    ChatRequest,
    ConfigurationError,
    Image,
    InvalidMessageError,
    Message,
    ToolCall,
    ToolResult,
    UnifiedLLM,
)
from unified_llm.attachments import image_type
from unified_llm.drivers import image_download
from unified_llm.drivers.image_download import MAX_BYTES, download_image
from unified_llm.drivers.public_addresses import is_public
from unified_llm.pictures import converted
from unified_llm.providers import images
from unified_llm.providers.kept_images import KeptImages

PNG_JPEG = frozenset({"image/png", "image/jpeg"})


def picture(form: str, mode: str = "RGB", size: tuple[int, int] = (3, 2), **options: Any) -> bytes:
    out = io.BytesIO()
    colour: Any = {"RGBA": (200, 10, 20, 90), "L": 7, "P": 3, "CMYK": (9, 8, 7, 6), "I;16": 300}.get(
        mode, (200, 10, 20)
    )
    Pillow.new(mode, size, colour).save(out, form, **options)
    return out.getvalue()


WEBP = picture("WEBP", lossless=True)


def opened(data: bytes) -> Pillow.Image:
    return Pillow.open(io.BytesIO(data))


def sent_image(url: str) -> bytes:
    return base64.b64decode(url.partition("base64,")[2])


def said(*parts: Any) -> list[Message]:
    return [Message("user", ["Look.", *parts])]


class _Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        if fullname == "PIL" or fullname.startswith("PIL."):
            raise ModuleNotFoundError("No module named 'PIL'", name="PIL")


@pytest.fixture
def no_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the extra is not installed."""
    for name in [n for n in sys.modules if n == "PIL" or n.startswith("PIL.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [_Missing(), *sys.meta_path])


# -- converting -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_lossless_formats_become_png_with_the_same_pixels(form: str) -> None:
    data = picture(form, lossless=True) if form == "WEBP" else picture(form)
    found = converted(data, PNG_JPEG)
    assert found is not None
    assert (image_type(found[0]), found[1], opened(found[0]).size) == ("image/png", "image/png", (3, 2))
    if form in ("WEBP", "BMP", "TIFF"):
        assert opened(found[0]).convert("RGB").getpixel((0, 0)) == (200, 10, 20)


def test_transparency_is_kept() -> None:
    found = converted(picture("WEBP", "RGBA", lossless=True), PNG_JPEG)
    assert found is not None
    assert opened(found[0]).getpixel((0, 0)) == (200, 10, 20, 90)


@pytest.mark.parametrize(("mode", "form"), [("L", "BMP"), ("P", "GIF"), ("CMYK", "TIFF"), ("I;16", "TIFF")])
def test_modes_that_png_has_not_are_converted_too(mode: str, form: str) -> None:
    found = converted(picture(form, mode), frozenset({"image/png"}))
    assert found is not None
    assert image_type(found[0]) == "image/png"


def test_a_photograph_is_turned_as_its_camera_says() -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    found = converted(picture("WEBP", size=(3, 2), exif=exif.tobytes()), PNG_JPEG)
    assert found is not None
    assert opened(found[0]).size == (2, 3)


def test_what_is_large_as_png_is_sent_as_jpeg() -> None:
    noise = Pillow.effect_noise((1400, 1400), 90).convert("RGB")
    out = io.BytesIO()
    noise.save(out, "WEBP", quality=80, method=0)
    found = converted(out.getvalue(), PNG_JPEG)
    assert found is not None
    assert found[1] == "image/jpeg"
    lossless = converted(out.getvalue(), frozenset({"image/png"}))
    assert lossless is not None
    assert len(lossless[0]) > 4 << 20  # what is large
    assert lossless[1] == "image/png"


def test_a_small_file_that_would_fill_the_memory_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pillow, "MAX_IMAGE_PIXELS", 100)
    for size in ((14, 10), (100, 100)):  # Pillow warns of the first, and refuses the second
        assert converted(picture("GIF", size=size), PNG_JPEG) is None


@pytest.mark.parametrize("data", [b"RIFF\0\0\0\0WEBPVP8 ", WEBP[:30], b"BM"])
def test_what_pillow_cannot_read_is_left_as_it_is(data: bytes) -> None:
    assert converted(data, PNG_JPEG) is None


def test_sixty_four_million_pixels_are_the_most_that_is_decoded() -> None:
    out = io.BytesIO()
    Pillow.new("1", (8100, 8000)).save(out, "TIFF", compression="group4")
    assert len(out.getvalue()) < 100_000
    assert converted(out.getvalue(), PNG_JPEG) is None


def test_formats_for_which_pillow_starts_a_program_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", "gs")
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: started.append(1))
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
    assert Pillow.open(io.BytesIO(eps)).format == "EPS"
    assert converted(eps, PNG_JPEG) is None
    assert started == []


@pytest.mark.parametrize("error", [RuntimeError, SyntaxError, struct.error, IndexError, ZeroDivisionError])
def test_whatever_a_decoder_raises_for_damage_is_an_error_of_the_message(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def damaged(*_: Any) -> Any:
        raise error("broken data")

    monkeypatch.setattr(WebPImagePlugin.WebPImageFile, "load", damaged)
    with (
        UnifiedLLM("lmstudio", base_url="http://127.0.0.1:9", model="m", transport="http") as llm,
        pytest.raises(InvalidMessageError, match="image/webp"),
    ):
        llm.chat(said(Image(data=WEBP)))


def test_damaged_images_of_every_format_raise_nothing_else() -> None:
    chance = random.Random(1)
    for form in ("GIF", "WEBP", "TIFF", "BMP", "AVIF", "PNG", "JPEG"):
        whole = picture(form, size=(40, 40))
        for _ in range(40):
            data = bytearray(whole)
            for _ in range(chance.randint(1, 6)):
                data[chance.randrange(min(len(data), 200))] = chance.randrange(256)
            found = converted(bytes(data[: chance.randrange(1, len(data) + 1)]), PNG_JPEG)
            assert found is None or found[1] in PNG_JPEG


def test_what_was_converted_is_kept_within_a_limit() -> None:
    kept: KeptImages[int] = KeptImages(100)
    for i in range(5):
        kept.put(i, bytes(40), "image/png")
    assert [kept.get(i) is not None for i in range(5)] == [False, False, False, True, True]
    kept.put(5, bytes(101), "image/png")
    assert kept.get(5) is None
    kept.put(3, bytes(90), "image/jpeg")
    assert (kept.get(3), kept.get(4)) == ((bytes(90), "image/jpeg"), None)


def test_an_image_of_the_history_is_converted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[bytes] = []

    def counted(data: bytes, taken: frozenset[str]) -> Any:
        calls.append(data)
        return converted(data, taken)

    monkeypatch.setattr(images, "converted", counted)
    with OpenAIDouble("lmstudio") as double, studio(double) as llm:
        for _ in range(3):
            llm.chat(said(Image(data=WEBP)))
    assert calls == [WEBP]
    assert not hasattr(converted, "cache_info")  # nothing outlives its client


def test_nothing_is_written_in_a_format_that_nobody_takes() -> None:
    assert converted(WEBP, frozenset({"image/heic"})) is None


# -- servers ----------------------------------------------------------------------------------------------------------


async def test_lm_studio_gets_png_over_http_whichever_way_it_is_asked() -> None:
    with OpenAIDouble("lmstudio") as double:
        llm = UnifiedLLM("lmstudio", base_url=double.url, model="m", transport="http")
        answers = [
            llm.chat(said(Image(data=WEBP))),
            await llm.chat_async(said(Image(data=WEBP))),
            llm.stream(said(Image(data=WEBP))).get_response(),
            await llm.stream_async(said(Image(data=WEBP))).get_response(),
        ]
        for answer, request in zip(answers, double.requests, strict=True):
            (part,) = [p for p in request.body["messages"][0]["content"] if p["type"] == "image_url"]
            assert image_type(sent_image(part["image_url"]["url"])) == "image/png"
            assert [(a.kind, a.what) for a in answer.adjustments] == [("changed", "messages[0].parts[1]")]
            assert "takes no image/webp: sent as image/png" in answer.adjustments[0].reason
        await llm.aclose()


def test_lm_studio_gets_png_over_its_websockets() -> None:
    with LMStudioDouble() as studio, UnifiedLLM("lmstudio", base_url=studio.url, transport="sdk", model="tiny") as llm:
        answer = llm.chat(said(Image(data=WEBP)))
        (upload,) = [parameter for path, parameter in studio.calls if path == "files/uploadFileBase64"]
    assert image_type(base64.b64decode(upload["contentBase64"])) == "image/png"
    assert len(answer.adjustments) == 1


def test_images_of_the_history_and_of_tools_are_converted_as_well() -> None:
    history = [
        Message("user", ["One.", Image(data=WEBP)]),
        Message("assistant", ["Yes.", ToolCall("look", "{}", "call_1")]),
        Message("tool", ToolResult("call_1", ["Here:", Image(data=WEBP)])),
        Message("assistant", "A square."),
        Message("user", "And?"),
    ]
    with OpenAIDouble("lmstudio") as double:
        answer = UnifiedLLM("lmstudio", base_url=double.url, model="m", transport="http").chat(history)
        urls = [
            p["image_url"]["url"]
            for m in double.requests[0].body["messages"]
            for p in (m["content"] if isinstance(m["content"], list) else ())
            if p["type"] == "image_url"
        ]
    assert [image_type(sent_image(u)) for u in urls] == ["image/png"] * 2
    assert not [a for a in answer.adjustments if a.kind == "lost"]


@pytest.mark.parametrize("transport", ["sdk", "http"])
def test_claude_gets_png_for_what_it_does_not_read(claude_double: ClaudeDouble, transport: str) -> None:
    options: Any = {"transport": transport, "model": "claude-haiku-5-5"}
    with UnifiedLLM("claude", claude_double.key, base_url=claude_double.url, **options) as llm:
        answer = llm.chat(said(Image(data=picture("BMP"))))
        source = claude_double.last["messages"][0]["content"][1]["source"]
        assert source["media_type"] == "image/png"
        assert image_type(base64.b64decode(source["data"])) == "image/png"
        assert llm.count_tokens(said(Image(data=picture("TIFF"))))
    assert [a.what for a in answer.adjustments] == ["messages[0].parts[1]"]


def test_batches_of_claude_convert_too() -> None:
    made = json_reply({"id": "batch_1", "processing_status": "in_progress"})
    with WireServer(made) as server, UnifiedLLM("claude", "k", base_url=server.url, transport="http") as llm:
        provider: Any = llm.get_provider("claude")
        batch = provider.batches.create({"a": said(Image(data=picture("BMP")))}, model="claude-haiku-5-5")
        (row,) = server.requests[0].json()["requests"]
    assert row["params"]["messages"][0]["content"][1]["source"]["media_type"] == "image/png"
    assert [a.what for a in batch.adjustments] == ["messages[0].parts[1]"]


def test_ollama_gets_what_it_reads() -> None:
    with OllamaDouble() as double, UnifiedLLM("ollama", base_url=double.url, model="tiny") as llm:
        llm.chat(said(Image(data=picture("GIF")), Image(data=WEBP)))
        (asked,) = [r for r in double.requests if r.path == "/api/chat"]
    images = [base64.b64decode(i) for i in asked.body["messages"][0]["images"]]
    assert [image_type(i) for i in images] == ["image/png", "image/webp"]  # WebP it takes as it is


def test_what_a_server_takes_goes_to_it_byte_for_byte() -> None:
    with OpenAIDouble("openai") as double, UnifiedLLM("openai", "k", base_url=double.url, model="gpt-4o") as llm:
        answer = llm.chat(said(Image(data=WEBP)))
        assert sent_image(double.requests[0].body["messages"][0]["content"][1]["image_url"]["url"]) == WEBP
        assert answer.adjustments == ()


@pytest.mark.usefixtures("no_pillow")
def test_without_pillow_the_error_names_the_extra(claude_double: ClaudeDouble) -> None:
    with (
        UnifiedLLM("lmstudio", base_url="http://127.0.0.1:9", model="m", transport="http") as llm,
        pytest.raises(InvalidMessageError, match="image/webp") as caught,
    ):
        llm.chat(said(Image(data=WEBP)))
    assert "unified-llm[images]" in str(caught.value.hint)
    assert "image/jpeg or image/png" in str(caught.value.hint)
    with (
        UnifiedLLM("claude", claude_double.key, base_url=claude_double.url, model="claude-haiku-5-5") as llm,
        pytest.raises(InvalidMessageError) as caught,
    ):
        llm.chat(said(Image(data=b"BM" + bytes(60))))
    assert "unified-llm[images]" in str(caught.value.hint)


# -- fetching ---------------------------------------------------------------------------------------------------------


class Web:
    """Serves answers by path."""

    def __init__(self, **answers: Answer) -> None:
        self.answers = {f"/{name}": answer for name, answer in answers.items()}
        self.requests: list[Request] = []

    def __call__(self, request: Request) -> Answer:
        self.requests.append(request)
        return self.answers.get(request.target.partition("?")[0], reply(404))


@pytest.fixture
def web() -> Iterator[tuple[Web, str]]:
    pages = Web(
        webp=reply(200, WEBP, {"content-type": "text/plain"}),
        page=reply(200, b"<html></html>", {"content-type": "image/png"}),
        moved=reply(302, b"", {"location": "/webp"}),
        round=reply(302, b"", {"location": "/round"}),
        file=reply(302, b"", {"location": "file:///etc/passwd"}),
    )
    with WireServer(pages) as server:
        yield pages, server.url


def studio(double: OpenAIDouble, **options: Any) -> UnifiedLLM:
    return UnifiedLLM("lmstudio", base_url=double.url, model="m", transport="http", **options)


def test_nothing_is_fetched_unless_it_is_allowed(web: tuple[Web, str]) -> None:
    pages, url = web
    with OpenAIDouble("lmstudio") as double, studio(double) as llm:
        with pytest.raises(InvalidMessageError, match="does not load images from URLs") as caught:
            llm.chat(said(Image(url=f"{url}/webp")))
        assert "download_images=True" in str(caught.value.hint)
    assert pages.requests == []


async def test_an_image_is_fetched_converted_and_kept(web: tuple[Web, str]) -> None:
    pages, url = web
    with OpenAIDouble("lmstudio") as double:
        llm = studio(double, download_images="any")
        answers = [llm.chat(said(Image(url=f"{url}/moved?token=secret")))]
        answers.append(await llm.chat_async(said(Image(url=f"{url}/moved?token=secret"))))
        for answer, request in zip(answers, double.requests, strict=True):
            sent = request.body["messages"][0]["content"][1]["image_url"]["url"]
            assert image_type(sent_image(sent)) == "image/png"
            assert ["downloaded" in a.reason for a in answer.adjustments] == [True, False]
        await llm.aclose()
    assert [r.target for r in pages.requests] == ["/moved?token=secret", "/webp"]
    assert not {"authorization", "cookie"} & pages.requests[0].headers.keys()


@pytest.mark.parametrize("name", ["ollama", "lollms-webui", "gemini", "llamacpp"])
def test_every_server_that_fetches_none_can_be_helped(web: tuple[Web, str], name: str) -> None:
    _, url = web
    provider: Any = UnifiedLLM(name, "k", base_url="http://127.0.0.1:9/v1", download_images="any").get_provider(name)
    asked = provider.images
    request = ChatRequest("m", tuple(said(Image(url=f"{url}/webp"))))
    profile = provider.context.profile
    assert asked.unfit(request, profile) is (not profile.image_urls)
    if not profile.image_urls:
        fitted, notes = asked.fitted(request, profile, asked.fetch(request, profile))
        assert fitted.messages[0].parts[1].data is not None
        assert notes


def test_the_public_internet_is_all_that_true_allows(web: tuple[Web, str]) -> None:
    pages, url = web
    with OpenAIDouble("lmstudio") as double, studio(double, download_images=True) as llm:
        with pytest.raises(InvalidMessageError, match="this machine or its networks") as caught:
            llm.chat(said(Image(url=f"{url}/webp?token=secret")))
        assert "secret" not in str(caught.value)
        assert caught.value.provider == "lmstudio"
    assert pages.requests == []


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "192.168.1.1", "172.16.0.9", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "::1", "fe80::1%lo", "fd00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2", "ff02::1", "::",
        "fec0::1", "::7f00:1", "::8.8.8.8", "::ffff:0:7f00:1", "64:ff9b:1::7f00:1", "64:ff9b::808:808", "5f00::1",
        "fe80::5efe:a00:1", "2606:4700::5efe:a00:1", "2606:4700::200:5efe:a00:1", "3fff::1", "2001:db8::1", "100::1",
        "192.0.0.8", "192.0.0.9", "192.88.99.1", "198.18.0.1", "198.19.255.255", "203.0.113.1", "192.0.2.1",
        "198.51.100.1", "240.0.0.1", "255.255.255.255", "100.127.255.255", "172.31.255.255", "::ffff:192.0.0.8",
        "2001:10::1", "2001:20::1", "2002:808:808::1",
    ],
)  # fmt: skip
def test_addresses_of_machines_and_networks_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "93.184.216.34",
        "2606:4700:4700::1111",
        "::ffff:1.1.1.1",
        "2001:4860:4860::8888",
        "172.32.0.1",
        "100.128.0.1",
    ],
)
def test_addresses_of_the_internet_are(address: str) -> None:
    assert is_public(address)


def test_names_are_looked_up_once_and_every_address_must_be_public(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in ("1.1.1.1", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(InvalidMessageError, match="this machine or its networks"):
        download_image("http://rebind.example/")


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("gone", "HTTP 404"),
        ("round", "leads on more than 5 times"),
        ("file", "only plain http and https"),
        ("page", "no image of a known format"),
    ],
)
def test_what_cannot_be_had_is_an_error_that_says_why(web: tuple[Web, str], path: str, says: str) -> None:
    _, url = web
    with (
        OpenAIDouble("lmstudio") as double,
        studio(double, download_images="any") as llm,
        pytest.raises(InvalidMessageError, match=says) as caught,
    ):
        llm.chat(said(Image(url=f"{url}/{path}")))
    assert caught.value.hint
    assert "messages[0].parts[1]" in str(caught.value)


@pytest.mark.parametrize("url", ["ftp://example.org/a.png", "http://user:pw@127.0.0.1/a.png", "http:///a.png"])
def test_other_schemes_and_keys_in_urls_are_refused(url: str) -> None:
    with pytest.raises(InvalidMessageError) as caught:
        download_image(url, private=True)
    assert "pw" not in str(caught.value)


def test_https_does_not_lead_to_http() -> None:
    start = httpx.URL("https://a.example/x")
    with pytest.raises(image_download._Refusal, match="less safe"):
        image_download._next(start, "http://a.example/y")
    assert image_download._next(start, "/y") == "https://a.example/y"


def test_a_body_without_an_end_is_left_at_the_limit() -> None:
    pieces = [bytes(1 << 20)] * ((MAX_BYTES >> 20) + 1)
    with (
        WireServer(chunked([*pieces, HANG], headers={"content-type": "image/png"})) as server,
        pytest.raises(InvalidMessageError, match=f"larger than {MAX_BYTES >> 20} MiB"),
    ):
        download_image(server.url, private=True)


def test_an_address_that_does_not_answer_is_an_error() -> None:
    with pytest.raises(InvalidMessageError, match="cannot be fetched: ConnectError"):
        download_image("http://127.0.0.1:9/a.png", private=True)


def test_in_the_history_a_text_stands_for_what_is_gone(web: tuple[Web, str]) -> None:
    _, url = web
    history = [Message("user", ["One.", Image(url=f"{url}/gone")]), Message("assistant", "A."), Message("user", "And?")]
    with OpenAIDouble("lmstudio") as double, studio(double, download_images="any") as llm:
        answer = llm.chat(history)
    assert [a.kind for a in answer.adjustments] == ["lost"]


@pytest.mark.parametrize("wrong", ["public", 5])
def test_what_may_be_fetched_is_one_of_three(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="download_images"):
        UnifiedLLM("lmstudio", download_images=wrong)
