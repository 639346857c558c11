"""Keys planted in every source, a day's worth of calls and failures, and then a search: they are nowhere but at home.

Each key goes to one provider. It may appear in the HTTP requests to that provider, and nowhere else: no log at DEBUG
(also of the HTTP libraries and SDKs), no repr, no exception or traceback, no pickle, JSON dump, hook argument, span,
cache file, and no request to anybody else. The keys have no known shape, so that no pattern can save us.
"""

from __future__ import annotations

import contextlib
import json
import logging
import pickle
import re
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keyring
import pytest
from keyring.backend import KeyringBackend

from testkit.wire_server import HANG, RESET, Answer, Request, WireServer, json_reply, reply, sse
from unified_llm import (
    CredentialManager,
    Deployment,
    ModelConfig,
    OpenTelemetryHooks,
    SQLiteCache,
    UnifiedLLM,
    UnifiedLLMError,
)
from unified_llm.cli.failures import describe

KEYS = {
    "claude": "PLANTED.explicit.kqzjx",
    "openai": "PLANTED.environment.wvbnm",
    "mistral": "PLANTED.file.hgfds",
    "groq": "PLANTED.keyring.poiuy",
    "deepseek": "PLANTED.deployment.lkjhg",
}
MARK = re.compile(r"PLANTED[.\w]*")


class OneKeyring(KeyringBackend):
    """A keyring with one key."""

    priority = 1

    def get_password(self, service: str, username: str) -> str | None:
        return KEYS["groq"] if (service, username) == ("unified_llm", "groq") else None

    def set_password(self, service: str, username: str, password: str) -> None:
        raise NotImplementedError

    def delete_password(self, service: str, username: str) -> None:
        raise NotImplementedError


@dataclass
class Found:
    """Everything that was collected, by where it came from."""

    texts: list[tuple[str, str]] = field(default_factory=list)

    def add(self, where: str, value: object) -> None:
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        self.texts.append((where, text))

    def leaks(self) -> list[str]:
        return [f"{where}: {match.group()}" for where, text in self.texts for match in MARK.finditer(text)]


class Nosy:
    """A hook that looks at everything it is given."""

    def __init__(self, found: Found) -> None:
        self._found = found

    def __getattr__(self, name: str) -> Any:
        if not name.startswith(("on_", "before_")):
            raise AttributeError(name)
        return lambda *args: self._look(name, args)

    def _look(self, name: str, values: tuple[object, ...]) -> None:
        for value in values:
            self._found.add(f"hook {name}", repr(value))
            self._found.add(f"hook {name} request", repr(getattr(value, "request", None)))


ANTHROPIC = {
    "id": "m1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "hi"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 1, "output_tokens": 1},
}
CHOICE = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}


def key_in(request: Request) -> str:
    return request.headers.get("x-api-key") or request.headers.get("authorization", "").removeprefix("Bearer ")


def answer(request: Request) -> Answer:
    """What the prompt asks for; errors quote the key, as real servers do."""
    text, key = request.body.decode(), key_in(request)
    if request.method == "GET":
        return json_reply({"error": {"message": f"no list for {key}"}}, 403)
    claude = request.target.endswith("/messages")
    if "ask:401" in text:
        return json_reply({"error": {"message": f"Incorrect API key provided: {key}", "type": "auth", "key": key}}, 401)
    if "ask:500" in text:
        body = f"<html>{key} caused {request.raw_head.decode()}</html>"
        # The HTTP library under Claude's SDK logs the headers of answers as they are, which is out of our reach.
        return reply(500, body.encode(), {"content-type": "text/html", "x-echo": "" if claude else key})
    if "ask:html" in text:
        return reply(200, f"<html>{key}</html>".encode(), {"content-type": "text/html"})
    if "ask:reset" in text:
        return [RESET]
    if "ask:hang" in text:
        return [HANG]
    if "ask:cut" in text:
        return [*sse([{"choices": [{"index": 0, "delta": {"content": "half"}}]}], end=False), RESET]
    if json.loads(text).get("stream"):
        if claude:
            return [RESET]
        return sse([{"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}]}])
    return json_reply(ANTHROPIC if claude else {"id": "c", "model": "m", "choices": [CHOICE]})


def look_at_error(found: Found, error: UnifiedLLMError) -> None:
    found.add("str(error)", str(error))
    found.add("repr(error)", repr(error))
    found.add("vars(error)", repr(vars(error)))
    found.add("traceback", "".join(traceback.format_exception(error)))
    found.add("pickled error", pickle.dumps(error))
    found.add("error as JSON", json.dumps(describe(error), default=repr))
    cause: BaseException | None = error
    while cause is not None:
        found.add("cause", repr(cause) + repr(cause.args))
        cause = cause.__cause__ or cause.__context__


def look_at_answer(found: Found, response: Any) -> None:
    found.add("repr(response)", repr(response))
    found.add("response as JSON", json.dumps(response.to_dict()))
    found.add("pickled response", pickle.dumps(response))
    found.add("response details", repr((response.headers, response.raw, response.message)))


async def use(llm: UnifiedLLM, ref: str, found: Found) -> None:
    """Every way to succeed and to fail, sync and async."""
    for prompt in ("plain", "ask:401", "ask:500", "ask:html", "ask:reset", "ask:hang"):
        try:
            look_at_answer(found, llm.chat(prompt, model=ref))
        except UnifiedLLMError as exc:
            look_at_error(found, exc)
        try:
            look_at_answer(found, await llm.chat_async(prompt, model=ref))
        except UnifiedLLMError as exc:
            look_at_error(found, exc)
    for prompt in ("plain", "ask:401", "ask:cut"):
        try:
            look_at_answer(found, llm.stream(prompt, model=ref).get_response())
        except UnifiedLLMError as exc:
            look_at_error(found, exc)
        with contextlib.suppress(UnifiedLLMError):
            found.add("events", [repr(e) async for e in llm.stream_async(prompt, model=ref)])
    for call in (lambda: llm.list_models(ref.partition(":")[0]), lambda: llm.embed("x", ref)):
        try:
            found.add("list or vectors", repr(call()))
        except UnifiedLLMError as exc:
            look_at_error(found, exc)


@pytest.fixture
def one_keyring() -> Iterator[None]:
    before = keyring.get_keyring()
    keyring.set_keyring(OneKeyring())  # type: ignore[no-untyped-call]  # keyring is half typed
    yield
    keyring.set_keyring(before)


@pytest.mark.slow
@pytest.mark.usefixtures("one_keyring")
async def test_a_planted_key_is_found_nowhere_but_in_requests_to_its_own_provider(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    config = tmp_path / "config.json"
    config.write_text(json.dumps({"mistral": {"api_key": KEYS["mistral"]}}))
    config.chmod(0o600)
    monkeypatch.setenv("UNIFIED_LLM_CONFIG", str(config))
    monkeypatch.setenv("OPENAI_API_KEY", KEYS["openai"])
    exporter, tracer = InMemorySpanExporter(), TracerProvider()
    tracer.add_span_processor(SimpleSpanProcessor(exporter))
    telemetry = OpenTelemetryHooks(tracer_provider=tracer, capture_content=True)
    found = Found()
    caplog.set_level(logging.DEBUG)
    with contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(WireServer(answer)) for name in KEYS}
        cache = SQLiteCache(tmp_path / "answers.db")
        llm = UnifiedLLM(
            "claude",
            api_key=KEYS["claude"],
            base_url=servers["claude"].url,
            hooks=[Nosy(found), telemetry],
            cache=cache,
            max_retries=0,
            config=ModelConfig(timeout=0.3),
            deployments={
                "fast": [
                    Deployment(
                        "deepseek:m",
                        options={"api_key": KEYS["deepseek"], "base_url": servers["deepseek"].url + "/v1"},
                    )
                ]
            },
        )
        for name in ("openai", "mistral", "groq"):
            llm.configure_provider(name, {"base_url": servers[name].url + "/v1"})
        refs = {"claude": "claude:m", "deepseek": "fast"} | {n: f"{n}:m" for n in ("openai", "mistral", "groq")}
        for ref in refs.values():
            await use(llm, ref, found)
        manager = CredentialManager()
        found.add("manager", repr([manager, vars(manager), *map(manager.get_credentials, KEYS)]))
        found.add("client", repr(llm) + repr(llm._router._deployed) + repr(llm._router.available()))
        for provider in llm._router.opened():
            found.add("provider", repr(provider) + repr(vars(provider)))
            found.add("driver", repr(vars(provider).get("driver")))
        with pytest.raises(UnifiedLLMError):
            pickle.dumps(llm)
        await llm.aclose()
        cache.close()
        for name, server in servers.items():
            assert server.requests, name
            seen = {m for r in server.requests for m in MARK.findall(r.raw_head.decode() + r.body.decode())}
            assert seen == {KEYS[name]}, f"requests to {name} carry other keys"
            assert any(key_in(r) == KEYS[name] for r in server.requests)
    formatter = logging.Formatter("%(name)s %(message)s")
    found.add("spans", "".join(span.to_json() for span in exporter.get_finished_spans()))
    for name in ("answers.db", "answers.db-wal"):
        file = tmp_path / name
        found.add("cache file", file.read_bytes() if file.exists() else b"")
    for record in caplog.records:
        found.add(f"log of {record.name}", formatter.format(record))
    assert len(found.texts) > 300
    assert "\n".join(sorted(set(found.leaks()))) == ""


def test_the_search_finds_what_is_there() -> None:
    found = Found()
    found.add("here", f"x {KEYS['claude']}")
    assert found.leaks() == [f"here: {KEYS['claude']}"]
