"""Lines over the pipes, sockets and files that a host may have given the server as standard input and output."""

from __future__ import annotations

import asyncio
import os
import select
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from unified_llm_mcp.lines import LineReader, LineWriter

Ends = tuple[int, int]
"""File descriptors to read from, and to write to."""


@pytest.fixture(params=["pipe", "socket"])
def ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    if request.param == "pipe":
        reading, writing = os.pipe()
    else:
        reading, writing = (end.detach() for end in socket.socketpair())
    yield reading, writing
    for fd in (reading, writing):
        try:
            os.close(fd)
        except OSError:
            continue  # the test has closed it


async def every(reader: LineReader) -> list[str]:
    lines = []
    async with asyncio.timeout(10):
        while (line := await reader.next()) is not None:
            lines.append(line)
    return lines


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (b"one\ntwo\n", ["one", "two"]),
        (b"one\r\n\n \ntwo\n", ["one", "two"]),
        (b"one\nno end", ["one", "no end"]),
        ("\ufeffone\r\ntwo\n".encode(), ["one", "two"]),
        (b"\xff\xfe is no UTF-8\n", ["\ufffd\ufffd is no UTF-8"]),
        (b"", []),
    ],
)
async def test_what_is_written_is_read_as_lines_to_the_end(ends: Ends, written: bytes, read: list[str]) -> None:
    os.write(ends[1], written)
    os.close(ends[1])
    reader = LineReader(ends[0])
    assert await every(reader) == read
    assert await reader.next() is None  # and for ever after


async def test_a_line_that_comes_in_parts_is_read_whole_though_the_cut_is_inside_a_character(ends: Ends) -> None:
    reader = LineReader(ends[0])
    for byte in "é!\n".encode():
        os.write(ends[1], bytes([byte]))
        await asyncio.sleep(0)
    assert await reader.next() == "é!"


@pytest.mark.parametrize("blocking", [True, False], ids=["as hosts open them", "made non-blocking by somebody else"])
async def test_a_line_of_ten_megabytes_goes_through_whole(ends: Ends, blocking: bool) -> None:
    for fd in ends:
        os.set_blocking(fd, blocking)
    reader, writer = LineReader(ends[0]), LineWriter(ends[1])
    text = "0123456789" * 1_000_000
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(writer.write(text + "\n"))
        assert await reader.next() == text


async def test_lines_are_read_from_a_file_which_no_event_loop_can_wait_for(tmp_path: Path) -> None:
    (tmp_path / "lines").write_bytes(b"one\ntwo")
    fd = os.open(tmp_path / "lines", os.O_RDONLY)
    try:
        assert await every(LineReader(fd)) == ["one", "two"]
    finally:
        os.close(fd)


async def test_lines_are_written_to_a_file_which_no_event_loop_can_wait_for(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "lines", os.O_WRONLY | os.O_CREAT)
    try:
        writer = LineWriter(fd)
        async with asyncio.TaskGroup() as group:
            for number in range(100):
                group.create_task(writer.write(f"{number}\n"))
        assert (tmp_path / "lines").read_text().split() == [str(number) for number in range(100)]
    finally:
        os.close(fd)


async def test_the_descriptor_stays_blocking_for_those_who_share_it(ends: Ends) -> None:
    LineReader(ends[0])
    await LineWriter(ends[1]).write("x\n")
    assert os.get_blocking(ends[0])
    assert os.get_blocking(ends[1])


async def test_a_reader_that_is_closed_ends_at_once_and_leaves_the_descriptor_alone(ends: Ends) -> None:
    reader = LineReader(ends[0])
    waiting = asyncio.ensure_future(reader.next())
    await asyncio.sleep(0)
    reader.close()
    assert await waiting is None
    os.write(ends[1], b"later\n")
    assert os.read(ends[0], 10) == b"later\n"


def fill(fd: int) -> int:
    """Fill a pipe or socket whose other end reads nothing; returns how many bytes it took."""
    poll, taken = select.poll(), 0
    poll.register(fd, select.POLLOUT)
    while poll.poll(0):
        taken += os.write(fd, b"x" * 512)
    return taken


def empty(fd: int, count: int) -> None:
    while count:
        count -= len(os.read(fd, count))


async def test_a_client_that_does_not_read_holds_up_nobody_but_who_writes_to_it(ends: Ends) -> None:
    taken = fill(ends[1])
    writer = LineWriter(ends[1])
    writes = [asyncio.ensure_future(writer.write(f"{number}\n")) for number in range(3)]
    for _ in range(5):
        await asyncio.sleep(0)  # the event loop goes on
    assert not any(write.done() for write in writes)
    empty(ends[0], taken)
    reader = LineReader(ends[0])
    assert [await reader.next() for _ in range(3)] == ["0", "1", "2"]
    await asyncio.gather(*writes)


async def test_a_cancelled_write_tears_no_line(ends: Ends) -> None:
    taken = fill(ends[1])
    writer = LineWriter(ends[1])
    cancelled = asyncio.ensure_future(writer.write("a" * 20_000 + "\n"))
    await asyncio.sleep(0)
    other = asyncio.ensure_future(writer.write("b\n"))
    await asyncio.sleep(0)
    cancelled.cancel()
    empty(ends[0], taken)
    reader = LineReader(ends[0])
    assert [await reader.next(), await reader.next()] == ["a" * 20_000, "b"]
    await other
    assert cancelled.cancelled()


async def test_writing_to_a_client_that_has_gone_is_an_error(ends: Ends) -> None:
    os.close(ends[0])
    writer = LineWriter(ends[1])
    for _ in range(2):
        with pytest.raises(BrokenPipeError):
            await writer.write("x\n")
    with pytest.raises(BrokenPipeError):
        await writer.flush()


async def test_a_client_that_goes_while_a_write_waits_for_it_is_an_error(ends: Ends) -> None:
    fill(ends[1])
    writing = asyncio.ensure_future(LineWriter(ends[1]).write("x\n"))
    await asyncio.sleep(0)
    assert not writing.done()
    os.close(ends[0])
    with pytest.raises(OSError, match=r"Broken pipe|reset"):
        await asyncio.wait_for(writing, 10)
