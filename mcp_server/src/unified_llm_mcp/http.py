"""Serving over streamable HTTP: loopback unless told otherwise, Host and Origin always checked, bearer tokens.

Answers come as an event stream, never as one JSON body: only so does a client that goes away cancel its call.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import re
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unified_llm.credentials import Secret
from unified_llm.errors import ConfigurationError
from unified_llm_mcp._sdk import DISCONNECTED
from unified_llm_mcp.server import ModelServer
from unified_llm_mcp.settings import is_loopback

__all__ = ["HttpServing", "HttpSettings", "http_app", "read_tokens", "serve_http"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "[::1]")
SHORTEST_TOKEN = 16
GRACE = 1
HEALTH = "/health"
MOST_SESSIONS = 2000
"""Sessions of all callers, of some 40 kB each; clients open another one when theirs has been closed."""
_HOST = re.compile(r"[^\s/*@]+(:\*)?")
_ORIGIN = re.compile(rf"[A-Za-z][A-Za-z0-9+.-]*://{_HOST.pattern}|null")
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """Where to listen, and for whom.

    Attributes:
        host, port: address to bind; port 0 takes a free one.
        path: path of the endpoint.
        tokens: bearer tokens by the name of the caller; each caller has conversations and limits of their own.
        oauth: whether the server was built as an OAuth resource server, which checks tokens itself.
        allowed_hosts: values of the Host header besides those of loopback, such as ``llm.example.org``.
        allowed_origins: values of the Origin header besides loopback pages, such as ``https://app.example.org``.
        max_body_bytes: largest request.

    Raises:
        ConfigurationError: others than this machine could connect without a token, no client could connect, or the
            port, the path or a value of a header is none.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    path: str = "/mcp"
    tokens: Mapping[str, Secret] = field(default_factory=dict)
    oauth: bool = False
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    max_body_bytes: int = 4 * 1024 * 1024

    def __post_init__(self) -> None:
        self._check_place()
        self._check_headers()
        if self.tokens and self.oauth:
            raise ConfigurationError("there are both bearer tokens and OAuth", hint="choose one of them")
        if is_loopback(self.host):
            return
        if not self.tokens and not self.oauth:
            raise ConfigurationError(
                f"listening on {self.host} lets other machines in, and there is no token",
                hint="set UNIFIED_LLM_MCP_TOKEN or pass --token-file FILE, or listen on 127.0.0.1",
            )
        if not self.allowed_hosts:
            raise ConfigurationError(
                f"listening on {self.host} needs the names clients use for this machine",
                hint="pass --allowed-host llm.example.org (with :PORT unless it is the standard one)",
            )

    def _check_place(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ConfigurationError(f"{self.port} is no port", hint="ports are 1 to 65535; 0 takes a free one")
        if not _PATH.fullmatch(self.path) or self.path == HEALTH:
            raise ConfigurationError(
                f"{self.path!r} cannot be the path of the endpoint",
                hint=f"write one like /mcp; {HEALTH} is taken, and answers without a token",
            )
        if self.max_body_bytes <= 0:
            raise ConfigurationError("max_body_bytes must be greater than 0", hint="leave it out: 4 MiB")

    @property
    def authority(self) -> str:
        """The host as URLs write it: an IPv6 address in brackets."""
        host = self.host.strip("[]")
        return f"[{host}]" if ":" in host else host

    def _check_headers(self) -> None:
        """A value that no client sends would do nothing."""
        for host in self.allowed_hosts:
            if not _HOST.fullmatch(host):
                raise ConfigurationError(
                    f"{host!r} is no value of the header Host",
                    hint="write llm.example.org, llm.example.org:8443, or llm.example.org:* for any port",
                )
        for origin in self.allowed_origins:
            if not _ORIGIN.fullmatch(origin):
                raise ConfigurationError(
                    f"{origin!r} is no value of the header Origin",
                    hint="write https://app.example.org, with :PORT unless it is the standard one, without a path",
                )

    def security(self) -> dict[str, Any]:
        """Fields of the SDK's ``TransportSecuritySettings``; a ``:*`` stands for any port."""
        names = {*LOOPBACK_HOSTS, *([self.authority] if is_loopback(self.host) else [])}
        loopback = [f"{host}{port}" for host in sorted(names) for port in ("", ":*")]
        pages = [f"http://{host}" for host in loopback]
        return {
            "enable_dns_rebinding_protection": True,
            "allowed_hosts": [*loopback, *self.allowed_hosts],
            "allowed_origins": [*pages, *self.allowed_origins],
        }


def read_tokens(variable: str | None, file: Path | None) -> dict[str, Secret]:
    """Tokens by name: that of the environment variable, and those of a file with ``NAME TOKEN`` or ``TOKEN`` lines.

    Raises:
        ConfigurationError: the file cannot be read, a token is too short, or two callers share one.
    """
    pairs = [("default", variable.strip())] if variable and variable.strip() else []
    if file is not None:
        pairs += _file_pairs(file)
    tokens: dict[str, Secret] = {}
    for name, value in pairs:
        if len(value) < SHORTEST_TOKEN:
            raise ConfigurationError(
                f"the token of {name} is shorter than {SHORTEST_TOKEN} characters",
                hint='make one with: python -c "import secrets; print(secrets.token_urlsafe(32))"',
            )
        if name in tokens or Secret(value) in tokens.values():
            raise ConfigurationError(f"the token or the name of {name} is there twice", hint="give each caller its own")
        tokens[name] = Secret(value)
    if file is not None and not tokens:
        raise ConfigurationError(f"there is no token in {file}", hint="write one token, or NAME TOKEN, on each line")
    return tokens


def _file_pairs(file: Path) -> list[tuple[str, str]]:
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()  # editors on Windows begin with a mark
    except OSError as error:
        raise ConfigurationError(f"cannot read {file}: {error.strerror}", hint="check the path") from error
    except UnicodeDecodeError:  # it quotes what it could not read: not in a message, nor in a traceback
        raise ConfigurationError(f"{file} is no text in UTF-8", hint="write it anew as plain text") from None
    words = [line.split() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    # A token without a name gets one that says nothing about it, and is the same after a restart.
    return [(pair[0] if len(pair) > 1 else _name_of(pair[0]), pair[-1]) for pair in words]


def _name_of(token: str) -> str:
    return "caller-" + hashlib.sha256(token.encode()).hexdigest()[:8]


def http_app(server: ModelServer, settings: HttpSettings) -> App:
    """The ASGI application: the endpoint, and ``/health`` for load balancers, which needs no token."""
    app = _tells_disconnects(server.streamable_http(settings.path, settings.security(), settings.max_body_bytes))
    app = _with_room_for_sessions(app, server)
    return _TokenCheck(app, settings.tokens) if settings.tokens else app


def _with_room_for_sessions(app: App, server: ModelServer) -> App:
    """ASGI middleware: sessions that one caller opens take the place of that caller's own, not that of others.

    The SDK refuses everybody when there are 10,000, and closes one when it has not been used for half an hour.
    """

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, send)
        await server.close_surplus_sessions(MOST_SESSIONS)

    return wrapped


def _tells_disconnects(app: App) -> App:
    """ASGI middleware: puts an event into the scope that is set when the client goes away.

    The SDK ends a call then only in the 2026 protocol. Before, a dropped connection could be resumed; this server
    keeps no events for that, so nobody would ever get the answer that is still being paid for.
    """

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        gone = scope[DISCONNECTED] = asyncio.Event()

        async def receive_and_tell() -> MutableMapping[str, Any]:
            message = await receive()
            if message["type"] == "http.disconnect":
                gone.set()
            return message

        await app(scope, receive_and_tell, send)

    return wrapped


class _TokenCheck:
    """ASGI middleware: requests need a known bearer token. Answers 401 as RFC 6750 asks."""

    def __init__(self, app: App, tokens: Mapping[str, Secret]) -> None:
        self._app = app
        self._tokens = {name: token.get_secret_value().encode() for name, token in tokens.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] != HEALTH:
            caller = self._caller(dict(scope["headers"]).get(b"authorization", b""))
            if caller is None:
                await _unauthorized(send)
                return
            scope["user"] = _user(caller)
        await self._app(scope, receive, send)

    def _caller(self, header: bytes) -> str | None:
        kind, _, given = header.partition(b" ")
        if kind.lower() != b"bearer":
            return None
        # Every token is compared, each in constant time: the time tells neither which one nor how much of it fits.
        matching = [name for name, token in self._tokens.items() if hmac.compare_digest(given.strip(), token)]
        return matching[0] if matching else None


def _user(caller: str) -> Any:
    """The authenticated user as the SDK knows it: it binds sessions to it, and we conversations and limits."""
    from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
    from mcp.server.auth.provider import AccessToken

    return AuthenticatedUser(AccessToken(token="", client_id=f"token:{caller}", scopes=[]))


async def _unauthorized(send: Send) -> None:
    body = json.dumps({"error": "invalid_token", "error_description": "A known bearer token is required"}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"www-authenticate", b'Bearer error="invalid_token"'),
    ]
    await send({"type": "http.response.start", "status": 401, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class HttpServing:
    """One run of the HTTP server. `serve()` ends after `stop()`.

    Raises:
        ConfigurationError: the address cannot be bound.
    """

    def __init__(self, server: ModelServer, settings: HttpSettings, log_level: str) -> None:
        import uvicorn

        self._server = server
        self._settings = settings
        self._socket = _bound(settings)
        config = uvicorn.Config(
            http_app(server, settings),
            log_config=None,
            log_level=log_level,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE,
        )
        self._uvicorn = _without_signals(uvicorn.Server)(config)
        self._closing: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"http://{self._settings.authority}:{self._socket.getsockname()[1]}{self._settings.path}"

    async def serve(self) -> None:
        """Serve until stopped."""
        await self._uvicorn.serve(sockets=[self._socket])

    def stop(self) -> None:
        """End running calls, then connections."""
        self._closing = asyncio.ensure_future(self._server.aclose())
        self._uvicorn.should_exit = True


def _bound(settings: HttpSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host.strip("[]"), settings.port), family=family, backlog=1024)
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error}",
            hint="another process may have the port: pass --port 0 for a free one",
        ) from error


def _without_signals(base: type[Any]) -> type[Any]:
    """uvicorn's server without its signal handlers: ours end the calls first."""

    class Quiet(base):  # type: ignore[misc]  # uvicorn is imported on first use
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    return Quiet


def serve_http(server: ModelServer, settings: HttpSettings, log_level: str = "warning") -> int:
    """Serve until a signal comes, after saying where on standard error; returns the exit code."""
    from unified_llm_mcp.process import run_until_signal

    serving = HttpServing(server, settings, log_level)
    print(f"listening on {serving.url}", file=sys.stderr, flush=True)  # noqa: T201
    return run_until_signal(server, serving.serve(), serving.stop)
