"""A strict loopback double of the Claude API: refuses what the real one refuses, and records every violation.

    with ClaudeDouble() as double:
        double.script([answer("Hello"), failure(529)])      # one per request; without a script it improvises
        ... ClaudeProvider(api_key=double.key, base_url=double.url) ...
        double.requests[-1].body                            # what was sent, decoded
        double.wait_for_disconnect(0.5)                     # the client hung up while a slow answer ran
    assert double.violations == []

It serves ``POST /v1/messages`` (streamed and whole), ``POST /v1/messages/count_tokens``, ``GET /v1/models`` and
``GET /v1/models/{id}``. Each request is checked against the `anthropic` package's own request types and against the
API's documented rules (testkit/claude_rules.py); a faulty one is answered with the API's 400 *and* listed in
`violations`, so that a test which forgot to look still fails in its fixture.
"""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from testkit import claude_rules
from testkit.claude_replies import (
    Failure,
    Raw,
    Reply,
    answer,
    count_tokens,
    events_of,
    failure,
    improvise,
    message_of,
    raw,
    redacted,
    text,
    thinking,
    tool_use,
)

__all__ = [
    "ClaudeDouble",
    "Failure",
    "Raw",
    "Received",
    "Reply",
    "answer",
    "failure",
    "raw",
    "redacted",
    "text",
    "thinking",
    "tool_use",
]


@dataclass
class Received:
    """One request as it arrived. `headers` have lower-case names; `body` is decoded JSON or None."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: Any
    raw: bytes


class ClaudeDouble:
    """See the module. Attributes: `url`, `key`, `requests`, `violations`, `disconnects` (one time per hang-up)."""

    key = "sk-ant-api03-double-0123456789abcdef"

    def __init__(self, *, models: Iterable[str] = claude_rules.KNOWN_MODELS, page: int = 20) -> None:
        self.models = list(models)
        self.page = page
        self.requests: list[Received] = []
        self.violations: list[str] = []
        self.disconnects: list[float] = []
        self.default_pause = 0.0
        self._script: list[Reply | Failure | Raw] = []
        self._prompts_seen: set[str] = set()
        self._lock = threading.Lock()
        self._hung_up = threading.Event()
        self._started = threading.Event()
        self._serial = 0
        self._server: _Server | None = None

    # -- life -------------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Listen on a free loopback port, in a thread of its own."""
        self._server = _Server(self)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def stop(self) -> None:
        """Close every connection and join every thread."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """``http://127.0.0.1:port``."""
        assert self._server is not None, "not started"
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    # -- script -----------------------------------------------------------------------------------------------------

    def script(self, replies: Iterable[Reply | Failure | Raw | str]) -> None:
        """Answer the next requests with these, in order; after them it improvises again."""
        with self._lock:
            self._script += [answer(r) if isinstance(r, str) else r for r in replies]

    def wait_for_request(self, timeout: float = 5.0) -> Received:
        """Block until a chat request has arrived since the last call of this method."""
        assert self._started.wait(timeout), "no request came"
        self._started.clear()
        return self.requests[-1]

    def wait_for_disconnect(self, timeout: float = 5.0) -> bool:
        """Whether a client hung up in the middle of an answer, now or within `timeout` seconds."""
        return self._hung_up.wait(timeout)

    @property
    def last(self) -> Any:
        """The decoded body of the last request."""
        return self.requests[-1].body

    # -- used by the server -----------------------------------------------------------------------------------------

    def next_reply(self, body: Mapping[str, Any]) -> Reply | Failure | Raw:
        with self._lock:
            return self._script.pop(0) if self._script else improvise(body)

    def next_serial(self) -> int:
        with self._lock:
            self._serial += 1
            return self._serial

    def cached(self, body: Mapping[str, Any]) -> bool:
        """Whether the system prompt and tools of `body` were seen before (a stand-in for the prompt cache)."""
        prompt = json.dumps([body.get("system"), body.get("tools"), body["messages"][:1]])
        with self._lock:
            seen = prompt in self._prompts_seen
            self._prompts_seen.add(prompt)
            return seen

    def note_request(self, received: Received) -> None:
        with self._lock:
            self.requests.append(received)

    def note_disconnect(self) -> None:
        self.disconnects.append(time.monotonic())
        self._hung_up.set()

    def violation(self, faults: list[str]) -> None:
        with self._lock:
            self.violations += faults


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 128
    block_on_close = True

    def __init__(self, double: ClaudeDouble) -> None:
        self.double = double
        self.open_sockets: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    def stop(self) -> None:
        self.shutdown()
        for connection in list(self.open_sockets):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # closed by its own thread in the meantime
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        import sys

        kind = sys.exc_info()[0]
        if kind is not None and not issubclass(kind, ConnectionError):
            self.double.violation([f"the double itself failed: {sys.exc_info()[1]!r}"])


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.open_sockets.add(self.connection)

    def finish(self) -> None:
        self.server.open_sockets.discard(self.connection)
        super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        """Silent: pytest shows what matters."""

    # -- routing ----------------------------------------------------------------------------------------------------

    def do_GET(self) -> None:
        url = self._receive(None, b"")
        if url is None:
            return
        if url.path == "/v1/models":
            self._send_json(200, self._models_page(parse_qs(url.query)))
        elif url.path.startswith("/v1/models/") and url.path.rsplit("/", 1)[1] in self.server.double.models:
            self._send_json(200, _model_info(url.path.rsplit("/", 1)[1]))
        else:
            self._fail(Failure(404, f"no such path: {url.path}"))

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers.get("content-length", 0)))
        try:
            body = json.loads(data)
        except ValueError:
            body = None
        url = self._receive(body, data)
        if url is None:
            return
        if url.path not in ("/v1/messages", "/v1/messages/count_tokens"):
            self._fail(Failure(404, f"no such path: {url.path}"))
            return
        self._serve(body, counting=url.path.endswith("count_tokens"))

    def _receive(self, body: Any, data: bytes) -> Any:
        """Record the request; answer and return None when its headers are wrong."""
        url = urlsplit(self.path)
        headers = {k.lower(): v for k, v in self.headers.items()}
        double = self.server.double
        double.note_request(Received(self.command, url.path, parse_qs(url.query), headers, body, data))
        version = headers.get("anthropic-version")
        if version not in claude_rules.VERSIONS:
            double.violation([f"anthropic-version: {version!r} is not a version"])
            self._fail(Failure(400, f"anthropic-version: {version!r} is not a valid version"))
            return None
        if data and headers.get("content-type", "").split(";")[0] != "application/json":
            double.violation([f"content-type: {headers.get('content-type')!r}"])
        given = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
        if given != double.key:
            self._fail(Failure(401, "invalid x-api-key" if given else "x-api-key header is required"))
            return None
        return url

    # -- answers ----------------------------------------------------------------------------------------------------

    def _serve(self, body: Any, *, counting: bool) -> None:
        double = self.server.double
        model = body.get("model") if isinstance(body, dict) else None
        if isinstance(model, str) and model not in double.models:
            self._fail(Failure(404, f"model: {model}"))
            return
        betas = tuple(filter(None, self.headers.get("anthropic-beta", "").split(",")))
        version = self.headers["anthropic-version"]
        faults = claude_rules.faults_of(body, version=version, betas=betas, counting=counting)
        if faults:
            double.violation(faults)
            self._fail(Failure(400, faults[0]))
        elif counting:
            self._send_json(200, {"input_tokens": count_tokens(body)})
        else:
            double._started.set()
            self._reply(double.next_reply(body), body)

    def _reply(self, reply: Reply | Failure | Raw, body: dict[str, Any]) -> None:
        if isinstance(reply, Failure):
            self._fail(reply)
            return
        if isinstance(reply, Raw):
            self._send(reply.status, reply.body, {"content-type": reply.content_type} | dict(reply.headers))
            return
        double = self.server.double
        message = message_of(reply, body, double.next_serial(), double.cached(body))
        if body.get("stream"):
            self._stream(reply, message)
        elif self._still_there(reply.pause):
            self._send_json(200, message, reply.headers)

    def _stream(self, reply: Reply, message: dict[str, Any]) -> None:
        self.send_response(200)
        for name, value in self._common({"content-type": "text/event-stream; charset=utf-8"} | dict(reply.headers)):
            self.send_header(name, value)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        events = list(events_of(message, reply.pieces))
        events[1:1] = reply.extra_events
        if reply.error_after is not None:
            count, kind, said = reply.error_after
            events = [*events[:count], ("error", {"type": "error", "error": {"type": kind, "message": said}})]
        for i, (name, data) in enumerate(events):
            if i == reply.cut_after:
                self.close_connection = True
                return
            if not self._still_there(reply.pause if i else 0.0) or not self._chunk(_sse(name, data)):
                return
        self._chunk(b"")

    def _chunk(self, data: bytes) -> bool:
        try:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        except OSError:
            self.server.double.note_disconnect()
            self.close_connection = True
            return False
        return True

    def _still_there(self, pause: float) -> bool:
        """Wait `pause` seconds, but only as long as the client does."""
        deadline = time.monotonic() + pause
        while True:
            left = max(0.0, deadline - time.monotonic())
            readable = select.select([self.connection], [], [], left)[0]
            if not readable:
                return True
            try:
                gone = not self.connection.recv(1, socket.MSG_PEEK)
            except OSError:
                gone = True
            if gone:
                self.server.double.note_disconnect()
                self.close_connection = True
                return False
            if not left:
                return True

    def _fail(self, fail: Failure) -> None:
        request_id = f"req_{self.server.double.next_serial():04d}"
        headers = {"content-type": "application/json", "request-id": request_id} | dict(fail.headers)
        self._send(fail.status, fail.body(request_id), headers)

    def _send_json(self, status: int, value: Any, headers: Mapping[str, str] | None = None) -> None:
        self._send(status, json.dumps(value).encode(), {"content-type": "application/json"} | dict(headers or {}))

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in self._common(headers):
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _common(self, headers: Mapping[str, str]) -> list[tuple[str, str]]:
        serial = self.server.double.next_serial()
        defaults = {"request-id": f"req_{serial:04d}", "anthropic-ratelimit-requests-remaining": "999"}
        return list((defaults | dict(headers)).items())

    def _models_page(self, query: Mapping[str, list[str]]) -> dict[str, Any]:
        double = self.server.double
        limit = min(int(query.get("limit", ["20"])[0]), double.page)
        after = query.get("after_id", [None])[0]
        begin = double.models.index(after) + 1 if after else 0
        ids = double.models[begin : begin + limit]
        more = begin + limit < len(double.models)
        data = [_model_info(m) for m in ids]
        return {
            "data": data,
            "has_more": more,
            "first_id": ids[0] if ids else None,
            "last_id": ids[-1] if ids else None,
        }


def _sse(event: str, data: Mapping[str, Any]) -> bytes:
    return f"event: {event}\ndata: {json.dumps(data)}\n\n".encode()


def _model_info(model: str) -> dict[str, Any]:
    """A row of the models list, with the keys of `anthropic.types.ModelInfo`."""
    facts = claude_rules.facts_of(model)

    def can(value: bool) -> dict[str, bool]:
        return {"supported": value}

    types = {k: can(k in facts.thinking) for k in ("adaptive", "enabled", "disabled", "between_tools")}
    levels = {k: can(k in facts.efforts) for k in ("low", "medium", "high", "xhigh", "max")}
    return {
        "id": model,
        "type": "model",
        "display_name": model.replace("-", " ").title(),
        "created_at": "2026-01-01T00:00:00Z",
        "lifecycle": "deprecated" if model == "claude-sonnet-4-5" else "active",
        "line": model.split("-")[1],
        "deprecated_at": None,
        "retires_at": None,
        "max_input_tokens": facts.context,
        "max_tokens": facts.max_output,
        "capabilities": {
            **{k: can(True) for k in ("batch", "citations", "code_execution", "image_input", "pdf_input")},
            "structured_outputs": can(True),
            "thinking": {"supported": True, "types": types},
            "effort": {"supported": bool(facts.efforts), **levels},
            "context_management": can(facts.context > 200_000),
            "server_tools": {"supported": True, "web_search": can(True), "code_execution": can(True)},
        },
    }
