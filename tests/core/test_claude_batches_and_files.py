"""Batches and files of Claude's API, over every transport, against a server that refuses what the API refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from email import message_from_bytes
from email.policy import HTTP
from pathlib import Path
from typing import Any

import pytest

from testkit import claude_rules
from testkit.wire_server import Answer, Request, WireServer, json_reply, reply
from unified_llm import File, Message, UnifiedLLM
from unified_llm.codecs.anthropic_batches import BatchCodec
from unified_llm.errors import (
    APIError,
    APITimeoutError,
    ConfigurationError,
    InvalidRequestError,
    OverloadedError,
    ResponseError,
    UnsupportedOptionError,
)
from unified_llm.providers.claude import ClaudeProvider
from unified_llm.responses import ChatResponse

KEY = "sk-ant-api03-batch-0123456789"
MODEL = "claude-haiku-5-5"


class Workspace:
    """What the API keeps. A batch ends when it is looked at for the second time."""

    def __init__(self) -> None:
        self.batches: dict[str, dict[str, Any]] = {}
        self.files: dict[str, tuple[dict[str, Any], bytes]] = {}
        self.asked: dict[str, dict[str, Any]] = {}

    def __call__(self, request: Request) -> Answer:
        assert request.headers["anthropic-version"] in claude_rules.VERSIONS
        if request.headers.get("x-api-key") != KEY:
            return _error(401, "authentication_error", "invalid x-api-key")
        path, _, query = request.target.partition("?")
        names = path.strip("/").split("/")
        if names[:3] == ["v1", "messages", "batches"]:
            return self._batch(request, names[3:], query)
        assert names[:2] == ["v1", "files"]
        assert request.headers["anthropic-beta"] == "files-api-2025-04-14"
        return self._file(request, names[2:], query)

    def _batch(self, request: Request, names: list[str], query: str) -> Answer:
        if request.method == "POST" and not names:
            return self._new_batch(request)
        if not names:
            return json_reply(_page(list(self.batches.values()), query))
        if names[0] not in self.batches:
            return _error(404, "not_found_error", f"no batch {names[0]}")
        batch = self.batches[names[0]]
        if names[1:] == ["results"]:
            lines = [json.dumps(self._result(n)) for n in self.asked]
            return reply(200, "\n".join(lines).encode() + b"\n", {"content-type": "application/x-jsonl"})
        if names[1:] == ["cancel"]:
            assert request.method == "POST"
            batch["processing_status"] = "canceling"
        elif batch.pop("looked_at", False):
            batch |= {"processing_status": "ended", "ended_at": "2026-11-21T12:05:00Z"}
            batch["results_url"] = f"https://api.anthropic.com/v1/messages/batches/{batch['id']}/results"
        else:
            batch["looked_at"] = True
        return json_reply({k: v for k, v in batch.items() if k != "looked_at"})

    def _new_batch(self, request: Request) -> Answer:
        body = request.json()
        assert set(body) == {"requests"}
        for row in body["requests"]:
            assert set(row) == {"custom_id", "params"}
            version = request.headers["anthropic-version"]
            assert claude_rules.faults_of(row["params"], version=version, betas=()) == []
            assert "stream" not in row["params"]
            self.asked[row["custom_id"]] = row["params"]
        batch = {
            "id": f"msgbatch_{len(self.batches)}",
            "type": "message_batch",
            "processing_status": "in_progress",
            "request_counts": {"processing": len(body["requests"]), "succeeded": 0},
            "created_at": "2026-11-21T12:00:00Z",
            "expires_at": "2026-11-22T12:00:00Z",
            "ended_at": None,
            "results_url": None,
        }
        self.batches[str(batch["id"])] = batch
        return json_reply(batch)

    def _result(self, name: str) -> dict[str, Any]:
        if name == "busy":
            error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
            return {"custom_id": name, "result": {"type": "errored", "error": error}}
        if name == "late":
            return {"custom_id": name, "result": {"type": "expired"}}
        message = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": self.asked[name]["model"],
            "content": [{"type": "text", "text": f"{name}!"}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 5, "output_tokens": 2, "service_tier": "batch"},
        }
        return {"custom_id": name, "result": {"type": "succeeded", "message": message}}

    def _file(self, request: Request, names: list[str], query: str) -> Answer:
        if request.method == "POST":
            return self._new_file(request)
        if not names:
            return json_reply(_page([info for info, _ in self.files.values()], query))
        if names[0] not in self.files:
            return _error(404, "not_found_error", f"no file {names[0]}")
        info, data = self.files[names[0]]
        if request.method == "DELETE":
            del self.files[names[0]]
            return json_reply({"id": names[0], "type": "file_deleted"})
        return reply(200, data) if names[1:] == ["content"] else json_reply(info)

    def _new_file(self, request: Request) -> Answer:
        """Read by the standard library, which wrote none of it."""
        kind = request.headers["content-type"]
        form = message_from_bytes(f"content-type: {kind}\r\n\r\n".encode() + request.body, policy=HTTP)
        (part,) = form.iter_parts()
        assert part.get_param("name", header="content-disposition") == "file"
        data = part.get_payload(decode=True)
        assert isinstance(data, bytes)
        info = {
            "id": f"file_{len(self.files)}",
            "type": "file",
            "filename": part.get_filename(),
            "mime_type": part.get_content_type(),
            "size_bytes": len(data),
            "created_at": "2026-11-21T12:00:00Z",
            "downloadable": False,
        }
        self.files[str(info["id"])] = (info, data)
        return json_reply(info)


def _page(rows: list[dict[str, Any]], query: str) -> dict[str, Any]:
    """One row a page, so that somebody has to turn it."""
    after = dict(pair.split("=") for pair in query.split("&")).get("after_id")
    ids = [row["id"] for row in rows]
    at = ids.index(after) + 1 if after else 0
    return {"data": rows[at : at + 1], "has_more": at + 1 < len(rows), "last_id": ids[at] if at < len(ids) else None}


def _error(status: int, kind: str, message: str) -> Answer:
    return json_reply({"type": "error", "error": {"type": kind, "message": message}}, status)


@pytest.fixture
def server() -> Iterator[WireServer]:
    with WireServer(Workspace()) as running:
        yield running


@pytest.fixture(params=["sdk", "http"])
def claude(server: WireServer, request: pytest.FixtureRequest) -> Iterator[ClaudeProvider]:
    provider = ClaudeProvider(api_key=KEY, base_url=server.url, transport=request.param)
    yield provider
    provider.close()


QUESTIONS = {"fr": "Say hello in French", "busy": [{"role": "user", "content": "Hi"}], "late": "Hi", "de": "Hallo"}


def check_results(results: dict[str, Any]) -> None:
    assert (results["fr"], results["de"]) == ("fr!", "de!")
    assert isinstance(results["fr"], ChatResponse)
    assert (results["fr"].usage.output_tokens, results["fr"].model) == (2, MODEL)
    assert isinstance(results["busy"], OverloadedError)
    assert isinstance(results["late"], APIError)
    assert "expired" in results["late"].message


def test_a_batch_from_its_questions_to_its_answers(claude: ClaudeProvider, server: WireServer) -> None:
    batch = claude.batches.create(QUESTIONS, model=MODEL, max_tokens=50, system="Be brief.")
    assert (batch.status, batch.ended, batch.counts["processing"]) == ("in_progress", False, 4)
    sent = server.requests[0].json()["requests"][0]["params"]
    assert (sent["model"], sent["max_tokens"], sent["system"]) == (MODEL, 50, "Be brief.")
    with pytest.raises(InvalidRequestError, match="no results yet"):
        next(claude.batches.results(batch.id))
    assert claude.batches.wait(batch.id, every=0).ended
    check_results(dict(claude.batches.results(batch.id)))
    assert server.requests[-1].headers["host"] in server.url  # whatever host the address of the results names


async def test_a_batch_without_blocking_the_loop(claude: ClaudeProvider) -> None:
    batch = await claude.batches.create_async(QUESTIONS, model=MODEL)
    assert (await claude.batches.wait_async(batch.id, every=0)).ended
    check_results({name: answer async for name, answer in claude.batches.results_async(batch.id)})
    assert [b.id for b in await claude.batches.list_batches_async()] == [batch.id]
    assert (await claude.batches.cancel_async(batch.id)).status == "canceling"
    assert (await claude.batches.get_async(batch.id)).id == batch.id
    await claude.aclose()


def test_batches_are_listed_page_by_page_and_cancelled(claude: ClaudeProvider) -> None:
    ids = [claude.batches.create({"a": "Hi"}, model=MODEL).id for _ in range(3)]
    assert [batch.id for batch in claude.batches.list_batches()] == ids
    assert claude.batches.cancel(ids[1]).status == "canceling"
    with pytest.raises(APITimeoutError, match="has not ended"):
        claude.batches.wait(ids[0], every=0, timeout=0)
    with pytest.raises(APIError, match="no batch") as nowhere:
        claude.batches.get("msgbatch_x/../1")
    assert (nowhere.value.status, nowhere.value.hint) == (404, "list_batches() shows what there is")
    with pytest.raises(InvalidRequestError, match="at least one"):
        claude.batches.create({})
    requests = {"a": "Hi"} | {"b": _request("Hi", "claude-haiku-4-5", temperature=0.5)}
    with pytest.raises(InvalidRequestError, match="same headers"):
        claude.batches.create(requests, model=MODEL)


def _request(text: str, model: str, **options: Any) -> Any:
    from testkit.claude_calls import request

    return request(text, model, **options)


def test_a_batch_says_what_it_did_not_send(
    claude: ClaudeProvider, server: WireServer, caplog: pytest.LogCaptureFixture
) -> None:
    batch = claude.batches.create({"a": "x", "b": "y"}, model="claude-opus-5-5", temperature=0.3, seed=4)
    assert server.requests[-1].json()["requests"][0]["params"]["model"] == "claude-opus-5-5"
    assert sorted(a.what for a in batch.adjustments) == ["seed", "temperature"]
    assert sorted(record.getMessage().split()[1] for record in caplog.records) == ["seed", "temperature"]
    caplog.clear()
    silent = claude.batches.create({"a": "x"}, model="claude-opus-5-5", seed=4, on_unsupported="drop")
    assert ([a.what for a in silent.adjustments], caplog.records) == (["seed"], [])
    with pytest.raises(UnsupportedOptionError, match="seed"):
        claude.batches.create({"a": "x"}, model="claude-opus-5-5", seed=4, on_unsupported="error")


async def test_a_batch_never_takes_a_model_that_nobody_named(claude: ClaudeProvider, server: WireServer) -> None:
    for given in ({"a": "x"}, {"a": _request("x", MODEL), "b": "y"}, {"a": _request("x", "")}):
        with pytest.raises(ConfigurationError, match="needs a model") as caught:
            claude.batches.create(given)
        assert "claude-sonnet-5-5" in (caught.value.hint or "")
    with pytest.raises(ConfigurationError, match="needs a model"):
        await claude.batches.create_async({"a": "x"})
    assert server.requests == []
    claude.batches.create({"a": _request("x", MODEL)})
    assert server.requests[-1].json()["requests"][0]["params"]["model"] == MODEL
    await claude.aclose()


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (b"{}", ""),
        (b"5", ""),
        (b"half a li", ""),
        (b'{"custom_id": "a"}', "a"),
        (b'{"custom_id": "a", "result": {"type": "succeeded"}}', "a"),
        (b'{"custom_id": "a", "result": {"type": "succeeded", "message": 5}}', "a"),
    ],
)
def test_a_result_that_cannot_be_read_is_an_error_in_its_place(line: bytes, name: str) -> None:
    from testkit.claude_calls import CONTEXT
    from unified_llm.codecs.anthropic_messages import AnthropicMessages

    found, error = BatchCodec(AnthropicMessages()).result(line, {}, CONTEXT)
    assert (found, type(error)) == (name, ResponseError)
    assert isinstance(error, ResponseError)
    assert error.hint


@pytest.mark.parametrize(
    "body", [b"[]", b"<html>", b'{"data": [5]}', b'{"data": [], "has_more": true, "last_id": 5}'], ids=str
)
def test_lists_of_another_form_are_response_errors(body: bytes) -> None:
    with WireServer(reply(200, body)) as server:
        provider = ClaudeProvider(api_key=KEY, base_url=server.url, transport="http")
        for ask in (provider.batches.list_batches, provider.files.list_files):
            with pytest.raises(ResponseError) as caught:
                ask()
            assert caught.value.hint
        provider.close()


def test_a_description_with_odd_fields_is_read() -> None:
    body = b'{"id": "b", "processing_status": "ended", "request_counts": "x"}'
    with WireServer(reply(200, body)) as server:
        provider = ClaudeProvider(api_key=KEY, base_url=server.url, transport="http")
        assert (provider.batches.get("b").ended, provider.batches.get("b").counts) == (True, {})
        provider.close()


def test_a_file_is_kept_named_in_a_message_and_deleted(claude: ClaudeProvider, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(b"\r\n--\x00 some bytes \xff\r\n")
    kept = claude.files.upload(path)
    assert (kept.name, kept.media_type, kept.size) == ("notes.txt", "text/plain", path.stat().st_size)
    assert claude.files.download(kept.id) == path.read_bytes()
    other = claude.files.upload(b"%PDF-1.7", name="a.pdf")
    assert other.media_type == "application/pdf"
    assert [file.id for file in claude.files.list_files()] == [kept.id, other.id]
    assert claude.files.get(other.id) == other
    claude.files.delete(kept.id)
    with pytest.raises(APIError, match="no file"):
        claude.files.get(kept.id)


async def test_files_without_blocking_the_loop(claude: ClaudeProvider) -> None:
    kept = await claude.files.upload_async(b"data", name="d.bin")
    assert await claude.files.download_async(kept.id) == b"data"
    assert await claude.files.get_async(kept.id) == kept
    assert await claude.files.list_files_async() == [kept]
    await claude.files.delete_async(kept.id)
    assert await claude.files.list_files_async() == []
    await claude.aclose()


@pytest.mark.parametrize(
    ("file", "options", "says"),
    [
        (b"x", {}, "need a name"),
        (b"", {"name": "empty"}, "is empty"),
        ("/no/such/file", {}, "cannot be read"),
        (b"x", {"name": 'a"\r\nx: y'}, "cannot be called"),
    ],
)
def test_what_is_no_file_is_refused(file: Any, options: dict[str, Any], says: str, claude: ClaudeProvider) -> None:
    with pytest.raises(InvalidRequestError, match=says) as caught:
        claude.files.upload(file, **options)
    assert caught.value.hint


def test_the_facade_reaches_them(server: WireServer) -> None:
    with UnifiedLLM("claude", KEY, base_url=server.url) as llm:
        provider: Any = llm.get_provider("claude")
        kept = provider.files.upload(b"%PDF-1.7", name="a.pdf")
        question = Message("user", ["What is this?", File(file_id=kept.id)])
        batch = provider.batches.create({"a": [question]}, model=MODEL)
        assert batch.id == "msgbatch_0"
        blocks = server.requests[-1].json()["requests"][0]["params"]["messages"][0]["content"]
        assert {"type": "file", "file_id": kept.id} in [block.get("source") for block in blocks]
