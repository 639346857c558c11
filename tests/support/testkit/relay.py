"""A proxy on loopback: HTTP CONNECT and SOCKS5, blocking sockets, one thread per direction."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from types import TracebackType
from typing import Self

__all__ = ["Relay"]


class Relay:
    """Relays connections. `seen` lists what was asked for: ``("CONNECT", "host:port", proxy_authorization)`` or
    ``("SOCKS5", "host:port", "user:password")``. `refuse` answers every request with a refusal.
    """

    def __init__(self, *, refuse: bool = False) -> None:
        self._refuse = refuse
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self.seen: list[tuple[str, str, str | None]] = []
        self.port = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            reader = client.makefile("rb", buffering=0)
            first = reader.read(1) or b""
            target = self._socks(client, reader) if first == b"\x05" else self._connect(client, reader, first)
            if target is None:
                client.shutdown(socket.SHUT_RDWR)
                return
            server = socket.create_connection(target, 5)
            self._sockets.append(server)
            threading.Thread(target=_pump, args=(server, client), daemon=True).start()
            _pump(client, server)

    def _connect(self, client: socket.socket, reader: socket.SocketIO, first: bytes) -> tuple[str, int] | None:
        head = first
        while not head.endswith(b"\r\n\r\n"):
            head += reader.read(1) or b""
        request, *lines = head.decode("latin-1").split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
        target = request.split(" ")[1]
        self.seen.append(("CONNECT", target, headers.get("proxy-authorization")))
        if self._refuse:
            client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
            return None
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        host, _, port = target.rpartition(":")
        return host, int(port)

    def _socks(self, client: socket.socket, reader: socket.SocketIO) -> tuple[str, int] | None:
        def take(count: int) -> bytes:
            data = b""
            while len(data) < count:
                data += reader.read(count - len(data)) or b""
            return data

        login = None
        if 2 in take(take(1)[0]):
            client.sendall(b"\x05\x02")
            user = take(take(2)[1]).decode()
            login = f"{user}:{take(take(1)[0]).decode()}"
            client.sendall(b"\x01\x00")
        else:
            client.sendall(b"\x05\x00")
        kind = take(4)[3]
        host = take(take(1)[0]).decode() if kind == 3 else socket.inet_ntoa(take(4))
        port = struct.unpack("!H", take(2))[0]
        self.seen.append(("SOCKS5", f"{host}:{port}", login))
        client.sendall(b"\x05" + (b"\x02" if self._refuse else b"\x00") + b"\x00\x01" + bytes(6))
        return None if self._refuse else (host, port)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
