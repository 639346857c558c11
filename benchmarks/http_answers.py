"""What reads an answer: ``python -m benchmarks.http_answers`` compares the ways that `unified_llm.drivers` has.

CPU of one exchange without sockets (request written, answer read) and of one chunk of a streamed answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial

from benchmarks import payloads
from unified_llm.drivers.aiohttp import AiohttpExchange
from unified_llm.drivers.exchange import Exchange, H11Exchange
from unified_llm.drivers.plain_answers import PlainExchange

_REQUEST = [
    (b"host", b"127.0.0.1:8080"),
    (b"accept-encoding", b"gzip, deflate"),
    (b"user-agent", b"unified-llm"),
    (b"authorization", b"Bearer x"),
    (b"content-type", b"application/json"),
    (b"content-length", b"60"),
]
_FIELDS = b"date: Sat, 21 Nov 2026 20:00:00 GMT\r\nserver: s\r\ncontent-type: application/json\r\nx-request-id: r\r\n"
_ROUNDS, _TIMES = 40, 100


def _ask(exchange: Exchange) -> None:
    exchange.request(b"POST", b"/v1/chat/completions", _REQUEST, b"x" * 60)


def _whole(exchange: Exchange, answer: bytes) -> None:
    _ask(exchange)
    exchange.feed(answer)
    if exchange.response() is None or not exchange.body()[1]:
        raise RuntimeError("the answer is not complete")
    exchange.finish()


def _chunk(exchange: Exchange, chunk: bytes) -> None:
    exchange.feed(chunk)
    if not exchange.body()[0]:
        raise RuntimeError("the chunk brought nothing")


def _best(work: Callable[[], None]) -> float:
    """Microseconds of CPU, the best of many rounds."""
    best = float("inf")
    for _ in range(_ROUNDS):
        started = time.process_time()
        for _ in range(_TIMES):
            work()
        best = min(best, (time.process_time() - started) / _TIMES)
    return best * 1e6


async def main() -> None:
    """Measure and print."""
    body = payloads.chat_answer()
    answer = b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\n\r\n%b" % (_FIELDS, len(body), body)
    event = b"data: " + b"x" * 200 + b"\n\n"
    chunk = b"%x\r\n%b\r\n" % (len(event), event)
    print("| read by | whole answer, us | chunk, us |\n|---|---|---|")
    ways: dict[str, Callable[[], Exchange]] = {
        "h11": H11Exchange,
        "aiohttp's parser": AiohttpExchange,
        "plain answers": partial(PlainExchange, H11Exchange),
    }
    for name, make in ways.items():
        whole = _best(partial(_whole, make(), answer))
        stream = make()
        _ask(stream)
        stream.feed(b"HTTP/1.1 200 OK\r\n%btransfer-encoding: chunked\r\n\r\n" % _FIELDS)
        stream.response()
        print(f"| {name} | {whole:.1f} | {_best(partial(_chunk, stream, chunk)):.1f} |")


if __name__ == "__main__":
    asyncio.run(main())
