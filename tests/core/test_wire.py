"""The splitters give the same events whatever the cuts of the network are."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from unified_llm import StreamInterruptedError
from unified_llm.wire import LineSplitter, SSEEvent, SSESplitter

STREAM = (
    b"\xef\xbb\xbf: keep-alive\n\n"
    b'data: {"a": "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"}\n\n'
    b"event: message_start\ndata: one\ndata: two\n\n"
    b"event: ping\r\ndata: {}\r\n\r\n"
    b"data:no space\r\rdata: [DONE]\n\n"
    b"id: 7\nretry: 10\n\n"
    b"data: last"
)
EVENTS = [
    SSEEvent(b"", b'{"a": "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"}'),
    SSEEvent(b"message_start", b"one\ntwo"),
    SSEEvent(b"ping", b"{}"),
    SSEEvent(b"", b"no space"),
    SSEEvent(b"", b"[DONE]"),
    SSEEvent(b"", b"last"),
]


def split(chunks: list[bytes]) -> list[SSEEvent]:
    splitter = SSESplitter()
    events = [event for chunk in chunks for event in splitter.feed(chunk)]
    return events + splitter.close()


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1000])
def test_events_are_the_same_for_every_chunk_size(size: int) -> None:
    assert split([STREAM[i : i + size] for i in range(0, len(STREAM), size)]) == EVENTS


@example([97, 97])  # an empty read between CR and LF
@given(st.lists(st.integers(0, len(STREAM)), max_size=6))
def test_events_are_the_same_wherever_the_stream_is_cut(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    assert split([STREAM[a:b] for a, b in pairwise(edges)]) == EVENTS


def test_every_single_cut_gives_the_same_events() -> None:
    for cut in range(len(STREAM) + 1):
        assert split([STREAM[:cut], STREAM[cut:]]) == EVENTS


def test_an_endless_event_is_refused_instead_of_filling_the_memory() -> None:
    splitter = SSESplitter(limit=100)
    with pytest.raises(StreamInterruptedError, match="larger than 100 bytes"):
        splitter.feed(b"data: " + b"x" * 200)


@given(st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=9), max_size=2), max_size=5), st.integers(1, 9))
def test_lines_are_the_same_for_every_chunk_size(values: list[dict[str, str]], size: int) -> None:
    body = b"\r\n".join(json.dumps(v).encode() for v in values)
    splitter = LineSplitter()
    lines = [line for i in range(0, len(body), size) for line in splitter.feed(body[i : i + size])]
    assert [json.loads(line) for line in lines + splitter.close()] == values


def test_an_endless_line_is_refused() -> None:
    with pytest.raises(StreamInterruptedError):
        LineSplitter(limit=10).feed(b"x" * 11)
