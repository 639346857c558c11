"""A strict loopback server for the OpenAI dialect: what OpenAI, or the imitated server, would refuse is a violation.

    with OpenAIDouble("lmstudio") as double:         # leaving the block fails the test when there were violations
        double.script("Hello!", Say(calls=[Call("add", {"a": 1, "b": 2})]), Fail(429, headers={"retry-after": "1"}))
        UnifiedLLM(provider="lmstudio", base_url=double.url).chat("Hi")
        assert double.requests[0].body["messages"] == [...]

Without a script it answers by itself: forced tools are called with arguments valid for their schema, a JSON Schema is
obeyed, everything else is echoed; embeddings depend on the words of the text. A `requests` entry is a chat, embeddings
or models request; `disconnects` are requests whose client left before the answer was complete. The fixture of the same
name starts doubles and checks them at the end of the test.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self, TypeAlias, Union

from testkit.openai_answers import (
    Call,
    Cut,
    Fail,
    Hang,
    MidStreamError,
    Say,
    Wire,
    chunks,
    completion,
    decide,
    embeddings,
)
from testkit.openai_quirks import Quirks
from testkit.openai_rules import chat_faults, embedding_faults
from testkit.openai_services import QUIRKS
from testkit.strict_double import Seen, StrictDouble
from testkit.wire_server import CLOSE, HANG, RESET, Answer, Request, Step, chunked, json_reply, reply

__all__ = ["Call", "Cut", "Fail", "Hang", "MidStreamError", "OpenAIDouble", "Say", "Seen", "Wire"]

Item: TypeAlias = Union[str, Say, Call, Fail, Cut, MidStreamError, Hang, Wire, Callable[[Mapping[str, Any]], Any]]
_HEADERS = {"x-request-id": "req_double", "openai-processing-ms": "5"}


class OpenAIDouble(StrictDouble):
    """See the module docstring. `quirks` overrides single cells of the profile's row in `QUIRKS`."""

    def __init__(
        self,
        profile: str = "openai",
        *,
        api_key: str | None = None,
        models: Sequence[str | Mapping[str, Any]] = ("double-1", "double-embed-1"),
        dimensions: int = 32,
        **quirks: Any,
    ) -> None:
        super().__init__()
        self.quirks: Quirks = replace(QUIRKS[profile], **quirks)
        self._api_key = api_key
        self._models = models
        self._dimensions = dimensions
        self._script: deque[Item] = deque()
        self._extra_routes: dict[str, Any] = {}

    # -- running ----------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """The base URL: with the path at which the server has its API."""
        return f"{self._server.url}/{self.quirks.base_path}".rstrip("/")

    def script(self, *items: Item | Sequence[Item]) -> Self:
        """Add answers, used in order by chat and embeddings requests; afterwards the double answers by itself again."""
        for item in items:
            if isinstance(item, Sequence) and not isinstance(item, str):
                self._script.extend(item)
            else:
                self._script.append(item)
        return self

    def serve(self, path: str, value: Any) -> Self:
        """Answer GET `path` (from the root, such as ``/api/v0/models``) with a JSON value, or with `Fail`."""
        self._extra_routes[path] = value
        return self

    # -- answering --------------------------------------------------------------------------------------------------

    def _answer(self, request: Request) -> Answer:
        path = request.target.partition("?")[0]
        base = f"/{self.quirks.base_path}" if self.quirks.base_path else ""
        if path == "/lmstudio-greeting":  # tells LM Studio itself; no request of the dialect
            return self._fail(Fail(404, message="Unexpected endpoint or method."))
        body = json.loads(request.body) if request.body else None
        self.requests.append(Seen(request.method, path.removeprefix(base), request.headers, body, request))
        if path in self._extra_routes:
            value = self._extra_routes[path]
            return self._fail(value) if isinstance(value, Fail) else json_reply(value)
        refused = self._authorize(request)
        if refused is not None:
            return refused
        match request.method, path.removeprefix(base) if path.startswith(base) else "":
            case "POST", "/chat/completions":
                return self._chat(body)
            case "POST", "/embeddings" if self.quirks.embeddings:
                return self._embed(body)
            case "GET", "/models" if self.quirks.lists_models:
                return json_reply({"object": "list", "data": [self._model(m) for m in self._models]}, headers=_HEADERS)
        return self._fail(Fail(404, message=f"Unexpected endpoint or method. ({request.method} {path})"))

    def _authorize(self, request: Request) -> Answer | None:
        given = request.headers.get("authorization")
        if given is not None and (not given.startswith("Bearer ") or not given[7:].strip()):
            self.violations.append(f"authorization header {given!r} carries no token")
        other = "authorization" if self.quirks.auth == "api-key" else "api-key"
        if other in request.headers:
            self.violations.append(f"the key came in {other}, which is not read here")
        found = request.headers.get("api-key") if other == "authorization" else given
        key = (found or "").removeprefix("Bearer ")
        if self._api_key is None or key == self._api_key:
            return None
        return self._fail(Fail(401, message=f"Incorrect API key provided: {key}"), code="invalid_api_key")

    def _refuse(self, faults: list[str]) -> Answer:
        self.violations += faults
        return self._fail(Fail(self.quirks.refusal_status, message=faults[0]))

    def _chat(self, body: Any) -> Answer:
        faults = chat_faults(body, self.quirks)
        if faults and not (self.quirks.unknown_fields == "ignore" and all("unknown field" in f for f in faults)):
            return self._refuse(faults)
        self.violations += faults
        return self._play(self._next(body), body)

    def _next(self, body: Mapping[str, Any]) -> Any:
        if not self._script:
            return decide(body, self.quirks, len(self.requests))
        item: Any = self._script.popleft()
        return item(body) if callable(item) else item

    def _play(self, item: Any, body: Mapping[str, Any]) -> Answer:
        match item:
            case Fail():
                return self._fail(item)
            case Wire():
                return item.steps
            case Cut() | MidStreamError() | Hang():
                return self._broken(item, body)
            case dict():
                return json_reply(item, headers=_HEADERS)
        say = _as_say(item)
        if not body.get("stream"):
            return json_reply(completion(say, body, self.quirks, len(self.requests)), headers=_HEADERS)
        return self._sse([*self._events(say, body), *([b"data: [DONE]\n\n"] if self.quirks.done else [])])

    def _events(self, say: Say, body: Mapping[str, Any]) -> Iterator[bytes]:
        if self.quirks.comments:
            yield b": OPENROUTER PROCESSING\n\n"
        for chunk in chunks(say, body, self.quirks, len(self.requests)):
            yield b"data: " + json.dumps(chunk).encode() + b"\n\n"

    def _sse(self, pieces: Sequence[Step], *, end: bool = True) -> Answer:
        return chunked(pieces, headers={"content-type": "text/event-stream", **_HEADERS}, end=end)

    def _broken(self, item: Cut | MidStreamError | Hang, body: Mapping[str, Any]) -> Answer:
        events = list(self._events(_as_say(item.say), body))
        sent: list[Step] = list(events[: item.after])
        if isinstance(item, Hang):
            return self._sse([*sent, HANG])
        if isinstance(item, MidStreamError):
            return self._sse([*sent, b"data: " + json.dumps(item.error).encode() + b"\n\n"])
        if item.how == "inside_event":
            sent.append(events[item.after][: len(events[item.after]) // 2])
        self.requests[-1].cut = True
        return [*self._sse(sent, end=False), RESET if item.how == "reset" else CLOSE]

    def _embed(self, body: Any) -> Answer:
        faults = embedding_faults(body, self.quirks)
        if faults:
            return self._refuse(faults)
        item = self._next(body) if self._script else None
        if isinstance(item, (Fail, Wire, dict)):
            return self._play(item, body)
        return json_reply(embeddings(body, self.quirks, self._dimensions), headers=_HEADERS)

    def _model(self, model: str | Mapping[str, Any]) -> dict[str, Any]:
        if isinstance(model, str):
            return {"id": model, "object": "model", "created": 1767225600, "owned_by": "double"}
        return dict(model)

    def _fail(self, fail: Fail, *, code: str | None = None) -> Answer:
        headers = {**_HEADERS, **fail.headers}
        if isinstance(fail.body, bytes):
            return reply(fail.status, fail.body, headers)
        body = fail.body
        if body is None:
            kind = "server_error" if fail.status >= 500 else "invalid_request_error"
            body = error_body(self.quirks.errors, fail.status, fail.message, kind, code)
        return json_reply(body, fail.status, headers)


def error_body(form: str, status: int, message: str, kind: str, code: str | None) -> Any:
    """An error in the form of the imitated server."""
    match form:
        case "text":
            return {"error": message}
        case "flat":
            return {"object": "error", "message": message, "type": kind, "param": None, "code": status}
        case "mistral":
            told: Any = {"detail": [{"type": "extra_forbidden", "msg": message}]} if status == 422 else message
            return {"object": "error", "message": told, "type": kind, "param": None, "code": str(status)}
        case "number":
            return {"error": {"message": message, "code": status, "metadata": {"provider_name": "Double"}}}
        case "list":
            return [{"error": {"code": status, "message": message, "status": "INVALID_ARGUMENT"}}]
        case "code":
            return {"code": "Client specified an invalid argument", "error": message}
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _as_say(item: Any) -> Say:
    if isinstance(item, Say):
        return item
    if isinstance(item, Call):
        return Say(calls=[item])
    if isinstance(item, str):
        return Say(item)
    raise TypeError(f"{item!r} is nothing the double can say")
