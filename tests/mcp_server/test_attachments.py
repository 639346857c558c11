"""Attachments: only from the allowed folders, only of bounded size, nothing fetched."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from testkit.mcp_clients import ERAS, Result, in_memory
from testkit.probe_provider import ProbeProvider
from unified_llm import UnifiedLLM
from unified_llm.messages import File, Image, Part
from unified_llm_mcp import Settings, build_server

pytestmark = pytest.mark.parametrize("era", ERAS)

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def data_uri(data: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


async def attach(era: str, given: str, **settings: object) -> tuple[Result, list[Part]]:
    """Send one attachment; the result, and the parts the provider got after the text."""
    provider = ProbeProvider()
    server = build_server(UnifiedLLM(provider=provider), Settings(**settings))  # type: ignore[arg-type]
    async with in_memory(server, era) as client:
        result = await client.call("chat", prompt="look", attachments=[given])
    return result, [part for request in provider.requests for part in request.messages[-1].parts[1:]]


async def test_a_file_inside_an_allowed_folder_is_sent(era: str, tmp_path: Path) -> None:
    picture = tmp_path / "a" / "dot.png"
    picture.parent.mkdir()
    picture.write_bytes(PNG)
    (tmp_path / "note.txt").write_text("hello", encoding="utf-8")
    result, (image,) = await attach(era, str(picture), allow_dirs=(tmp_path,))
    assert not result.is_error
    assert isinstance(image, Image)
    assert (image.data, image.media_type) == (PNG, "image/png")
    _, (note,) = await attach(era, str(tmp_path / "note.txt"), allow_dirs=(tmp_path,))
    assert isinstance(note, File)
    assert (note.data, note.media_type, note.name) == (b"hello", "text/plain", "note.txt")


async def test_a_data_uri_is_sent_without_any_allowed_folder(era: str) -> None:
    result, (image,) = await attach(era, data_uri(PNG, "image/png"))
    assert not result.is_error
    assert isinstance(image, Image)
    assert image.data == PNG


async def refused(era: str, given: str, said: str, **settings: object) -> None:
    result, parts = await attach(era, given, **settings)
    assert result.error["category"] == "attachment"
    assert said in result.text
    assert parts == []


async def test_no_file_is_read_without_an_allowed_folder(era: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x")
    await refused(era, str(tmp_path / "x"), "--allow-dir")


async def test_a_path_outside_is_refused_whether_it_exists_or_not(era: str, tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret").write_bytes(b"s")
    (tmp_path / "inside-too").mkdir()
    (tmp_path / "inside-too" / "x").write_bytes(b"x")
    for outside in ("secret", "absent", "inside/../secret", "inside-too/x"):
        await refused(era, str(tmp_path / outside), "outside the folders", allow_dirs=(inside,))


async def test_a_link_to_the_outside_is_refused(era: str, tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret").write_bytes(b"s")
    (inside / "link").symlink_to(tmp_path / "secret")
    (inside / "folder").symlink_to(tmp_path)
    await refused(era, str(inside / "link"), "outside the folders", allow_dirs=(inside,))
    await refused(era, str(inside / "folder" / "secret"), "outside the folders", allow_dirs=(inside,))


async def test_an_allowed_folder_may_itself_be_a_link(era: str, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x.txt").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    result, parts = await attach(era, str(tmp_path / "link" / "x.txt"), allow_dirs=(tmp_path / "link",))
    assert not result.is_error
    assert len(parts) == 1


async def test_what_is_no_regular_file_is_refused_without_waiting_for_it(era: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    await refused(era, str(tmp_path / "pipe"), "no regular file", allow_dirs=(tmp_path,))
    await refused(era, str(tmp_path), "no regular file", allow_dirs=(tmp_path,))
    await refused(era, str(tmp_path / "absent"), "No such file", allow_dirs=(tmp_path,))
    await refused(era, str(tmp_path / "a\0b"), "null character", allow_dirs=(tmp_path,))


async def test_relative_paths_and_urls_are_refused(era: str, tmp_path: Path) -> None:
    await refused(era, "note.txt", "absolute path", allow_dirs=(tmp_path,))
    await refused(era, "http://169.254.169.254/latest", "fetches none", allow_dirs=(tmp_path,))
    await refused(era, "file:///etc/passwd", "fetches none", allow_dirs=(tmp_path,))


async def test_files_and_data_uris_that_are_too_large_are_refused(era: str, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 2000)
    await refused(era, str(tmp_path / "big"), "larger than", allow_dirs=(tmp_path,), max_attachment_bytes=1999)
    await refused(era, data_uri(b"x" * 4000, "text/plain"), "larger than", max_attachment_bytes=1999)


async def test_attachments_that_are_too_large_together_are_refused(era: str, tmp_path: Path) -> None:
    (tmp_path / "half").write_bytes(b"x" * 1000)
    provider = ProbeProvider()
    settings = Settings(allow_dirs=(tmp_path,), max_attachment_bytes=1999)
    async with in_memory(build_server(UnifiedLLM(provider=provider), settings), era) as client:
        one = await client.call("chat", prompt="x", attachments=[str(tmp_path / "half")])
        two = await client.call("chat", prompt="x", attachments=[str(tmp_path / "half")] * 2)
        both = await client.call(
            "chat", prompt="x", attachments=[data_uri(b"x" * 1000, "text/plain"), str(tmp_path / "half")]
        )
    assert [one.is_error, two.is_error, both.is_error] == [False, True, True]
    assert "larger than" in two.text


async def test_an_image_that_is_none_and_a_broken_data_uri_are_refused(era: str) -> None:
    await refused(era, data_uri(b"<html>", "image/png"), "says it is an image")
    await refused(era, "data:image/png;base64,@@@", "write it as data:image/png;base64,...")
