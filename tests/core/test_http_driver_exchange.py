"""The parsers behind the HTTP driver, without sockets: the same answer wherever the bytes are cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpcore
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from unified_llm.drivers.aiohttp import AiohttpExchange
from unified_llm.drivers.exchange import Exchange, H11Exchange
from unified_llm.drivers.http_sync import reply_headers
from unified_llm.drivers.plain_answers import PlainExchange


def plain_or_h11() -> Exchange:
    return PlainExchange(H11Exchange)


def plain_or_aiohttp() -> Exchange:
    return PlainExchange(AiohttpExchange)


ENGINES = [H11Exchange, AiohttpExchange, plain_or_h11, plain_or_aiohttp]
HEADERS = [(b"host", b"h"), (b"content-length", b"2")]

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Id: a\r\nx-id: b\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nx-trailer: 1\r\n\r\n"
INTERIM = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + PLAIN
NO_BODY = b"HTTP/1.1 204 No Content\r\nx: y\r\n\r\n"
NO_REASON = b"HTTP/1.1 200 \r\ncontent-length: 5\r\n\r\nhello"
CLOSING = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello"
BARE = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n00002\r\nlo\r\n0\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\nhello"


@pytest.fixture(params=ENGINES)
async def engine(request: pytest.FixtureRequest) -> Callable[[], Exchange]:
    made: Callable[[], Exchange] = request.param
    return made


def _answer(exchange: Exchange, pieces: list[bytes]) -> tuple[int, dict[str, str], bytes, bool]:
    """Status, headers, body, and whether the connection can be used again."""
    exchange.request(b"POST", b"/x", HEADERS, b"{}")
    response, body, complete = None, b"", False
    for piece in pieces:
        exchange.feed(piece)
        response = response or exchange.response()
        while response is not None and not complete:
            data, complete = exchange.body()
            body += data
            if not data:
                break
    assert response is not None
    assert complete
    exchange.finish()
    return response[0], reply_headers(response[1]), body, exchange.idle


def _cuts(data: bytes) -> Iterator[list[bytes]]:
    yield [data]
    yield [data[i : i + 1] for i in range(len(data))]
    for i in range(1, len(data)):
        yield [data[:i], data[i:]]


@pytest.mark.parametrize(
    "answer",
    [PLAIN, CHUNKED, BARE, INTERIM, NO_REASON],
    ids=["plain", "chunked", "bare-chunks", "interim", "no-reason"],
)
async def test_an_answer_is_the_same_wherever_it_is_cut(engine: Callable[[], Exchange], answer: bytes) -> None:
    for pieces in _cuts(answer):
        status, headers, body, idle = _answer(engine(), pieces)
        assert (status, body, idle) == (200, b"hello", True)
        if answer in (PLAIN, INTERIM):
            assert headers == {"content-length": "5", "x-id": "a, b"}


async def test_one_exchange_carries_many_answers(engine: Callable[[], Exchange]) -> None:
    exchange = engine()
    for answer in (PLAIN, NO_BODY, CHUNKED, INTERIM, PLAIN):
        status, _, body, idle = _answer(exchange, [answer])
        assert (status, body, idle) == ((204, b"", True) if answer is NO_BODY else (200, b"hello", True))


@pytest.mark.parametrize(
    "pieces",
    [[CLOSING], [UNTIL_CLOSE, b""], [PLAIN.replace(b"1.1", b"1.0")], [PLAIN + PLAIN], [PLAIN + b"HTTP/1.1 2"]],
    ids=["connection-close", "until-close", "http-1.0", "two-answers", "an-answer-and-a-bit"],
)
async def test_a_connection_that_cannot_be_trusted_is_not_idle_afterwards(
    engine: Callable[[], Exchange], pieces: list[bytes]
) -> None:
    if engine is AiohttpExchange and pieces == [PLAIN + b"HTTP/1.1 2"]:
        pytest.skip("this parser does not tell; the next request gets a new one, without the bit")
    assert _answer(engine(), pieces)[2:] == (b"hello", False)


async def test_a_bit_of_a_surplus_answer_never_reaches_the_next(engine: Callable[[], Exchange]) -> None:
    exchange = engine()
    if not _answer(exchange, [PLAIN + b"HTTP/1.1 500 planted\r\n"])[3]:
        return  # it will not be used again
    assert _answer(exchange, [PLAIN])[0] == 200


@pytest.mark.parametrize(
    "pieces",
    [
        [b""],
        [b"HTTP/1.1 200 OK\r\ncontent-le", b""],
        [PLAIN[:-1], b""],
        [CHUNKED[:-2], b""],
        [b"hello\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!"],
        [b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\nhello\r\n"],
        [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n"],
        [b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n"],
    ],
    ids=[
        "nothing",
        "half-a-head",
        "half-a-body",
        "no-last-chunk",
        "no-http",
        "two-lengths",
        "negative-length",
        "no-chunk-size",
        "wrong-chunk-size",
        "switched-protocols",
        "no-header",
    ],
)
async def test_what_is_no_whole_answer_is_a_protocol_error(engine: Callable[[], Exchange], pieces: list[bytes]) -> None:
    with pytest.raises(httpcore.RemoteProtocolError):
        _answer(engine(), pieces)


_BITS = [b"", b"\r\n", b"\n", b"\r", b"\0", b" ", b":", b"\t", b"0", b"9", b",", b"x: y\r\n", b" folded\r\n", b"\xe9"]
_BITS += [b"content-length: 5\r\n", b"transfer-encoding: chunked\r\n", b"connection: close\r\n", b"hello"]
_BITS += [b"HTTP/1.1 100 Continue\r\n\r\n"]


def _told(make: Callable[[], Exchange], pieces: list[bytes]) -> object:
    try:
        return _answer(make(), pieces)
    except httpcore.RemoteProtocolError:
        return "no HTTP"
    except AssertionError:
        return "not complete"


@settings(max_examples=400, deadline=None)
@given(at=st.integers(0, len(CHUNKED)), cut=st.integers(0, 3), bit=st.sampled_from(_BITS), split=st.integers(0, 120))
@example(at=12, cut=3, bit=b"", split=0)  # no reason, and no space before it
def test_what_is_read_as_plain_is_what_h11_reads(at: int, cut: int, bit: bytes, split: int) -> None:
    for answer in (PLAIN, CLOSING, NO_REASON, CHUNKED, BARE):
        damaged = answer[:at] + bit + answer[at + cut :]
        cuts = [damaged[:split], damaged[split:]]
        for pieces in ([damaged], [damaged, b""], cuts, [c for c in cuts if c] + [b""]):
            assert _told(plain_or_h11, pieces) == _told(H11Exchange, pieces), pieces


def test_a_plain_answer_needs_no_parser() -> None:
    def parser() -> Exchange:
        raise AssertionError("it was asked for")

    for answer in (PLAIN, BARE):
        for end in range(answer.index(b"\r\n\r\n") + 4, len(answer)):
            assert _answer(PlainExchange(parser), [answer[:end], answer[end:]])[2:] == (b"hello", True)


def test_a_damaged_chunk_that_came_with_the_head_is_told_after_the_head_and_what_was_good() -> None:
    exchange = plain_or_h11()
    exchange.request(b"POST", b"/x", HEADERS, b"{}")
    exchange.feed(BARE.replace(b"lo\r\n", b"loXX"))
    assert exchange.response() is not None
    assert exchange.body() == (b"hello", False)
    with pytest.raises(httpcore.RemoteProtocolError):
        exchange.body()
    exchange.finish()
    assert not exchange.idle


async def test_a_long_header_is_the_same_wherever_it_is_cut(engine: Callable[[], Exchange]) -> None:
    answer = PLAIN.replace(b"X-Id: a", b"X-Id: " + b"a" * 60_000)
    for pieces in ([answer], [answer[:30_000], answer[30_000:]]):
        assert _answer(engine(), pieces)[2:] == (b"hello", True)


def test_what_came_of_a_chunk_is_given_at_once() -> None:
    exchange = plain_or_h11()
    exchange.request(b"POST", b"/x", HEADERS, b"{}")
    exchange.feed(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\nhel")
    assert exchange.response() is not None
    assert exchange.body() == (b"hel", False)
    exchange.feed(b"lo")
    assert exchange.body() == (b"lo", False)
