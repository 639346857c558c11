"""The probe for LM Studio: bounded in time, whatever is on the port."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from testkit.wire_server import WireServer, json_reply
from unified_llm.detection import lmstudio_answers

Say = Callable[[socket.socket, threading.Event], None]


@contextmanager
def _serving(say: Say) -> Iterator[str]:
    """A server that answers one connection with `say`, which ends when the event is set."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection, suppress(OSError):  # the probe hung up
                connection.recv(65536)
                say(connection, over)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        finally:
            over.set()
            thread.join(10)


def _trickle(connection: socket.socket, over: threading.Event, piece: bytes) -> None:
    end = time.monotonic() + 5
    while time.monotonic() < end and not over.wait(0.05):
        connection.sendall(piece)


def _trickling_head(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    _trickle(connection, over, b"x-more: to come\r\n")


def _trickling_body(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 9000\r\n\r\n")
    _trickle(connection, over, b"[")


def _late(connection: socket.socket, over: threading.Event) -> None:
    over.wait(0.2)
    connection.sendall(b'HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{"data":[]}')


@pytest.mark.parametrize("say", [_trickling_head, _trickling_body])
def test_an_answer_that_trickles_in_does_not_stretch_the_probe(say: Say) -> None:
    with _serving(say) as address:
        started = time.monotonic()
        assert not lmstudio_answers(address)
        assert time.monotonic() - started < 2  # 0.3, and room for a busy machine; the trickle lasts 5


def test_an_answer_within_the_time_is_believed() -> None:
    with _serving(_late) as address:
        assert lmstudio_answers(address, seconds=3)


def test_a_server_that_asks_for_a_key_is_there() -> None:
    with WireServer(json_reply({"error": "no key"}, status=401)) as server:
        assert lmstudio_answers(server.url + "/v1", seconds=3)


@pytest.mark.parametrize("address", ["", "nonsense", "http://", "http://127.0.0.1:9/v1", "http://127.0.0.1:99999/v1"])
def test_an_address_where_nothing_can_be_is_no(address: str) -> None:
    assert not lmstudio_answers(address)
