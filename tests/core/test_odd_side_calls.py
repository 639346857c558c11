"""What providers do besides chats, answered in another shape: a value of the promised type, or an error of ours.

Every field of each answer is replaced by each odd value in turn; then whole bodies are odd.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from testkit.lmstudio_ws_double import LMStudioDouble
from testkit.odd_values import ODD, variants
from testkit.wire_server import Answer, Request, WireServer, json_reply, reply
from unified_llm import (
    ChatRequest,
    ChatResponse,
    LMStudioProvider,
    Message,
    ResponseError,
    UnifiedLLM,
    UnifiedLLMError,
)
from unified_llm.codecs.anthropic_batches import Batch
from unified_llm.codecs.anthropic_files import FileInfo
from unified_llm.codecs.base import CodecContext
from unified_llm.codecs.llamacpp_server import Ranked
from unified_llm.codecs.lmstudio_chat import LMStudioChatCodec
from unified_llm.codecs.lmstudio_stats import prediction_stats
from unified_llm.profiles import Profile
from unified_llm.responses import ModelInfo
from unified_llm.wire import WireReply

ASKED = ChatRequest("m", (Message("user", "Hi"),))

BATCH = {
    "id": "batch_1",
    "type": "message_batch",
    "processing_status": "ended",
    "request_counts": {"processing": 0, "succeeded": 1},
    "created_at": "2026-01-01T00:00:00Z",
    "expires_at": "2026-01-02T00:00:00Z",
    "ended_at": None,
    "results_url": "http://127.0.0.1/v1/messages/batches/batch_1/results",
}
FILE = {
    "id": "file_01A",
    "type": "file",
    "filename": "a.pdf",
    "mime_type": "application/pdf",
    "size_bytes": 5,
    "created_at": "2026-01-01T00:00:00Z",
    "downloadable": True,
}
CLAUDE_MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "Hello"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 1, "output_tokens": 1},
}
RESULT = {"custom_id": "a", "result": {"type": "succeeded", "message": CLAUDE_MESSAGE}}
FAILED = {"custom_id": "a", "result": {"type": "errored", "error": {"type": "error", "error": {"message": "no"}}}}
STUDIO_LIST = {
    "models": [
        {
            "type": "llm",
            "key": "m",
            "display_name": "M",
            "loaded_instances": [{"id": "m:1", "config": {"context_length": 8}}],
            "max_context_length": 8,
            "quantization": {"name": "Q4", "bits_per_weight": 4},
            "capabilities": {"vision": True, "trained_for_tool_use": True, "reasoning": {"allowed_options": ["on"]}},
            "size_bytes": 5,
        }
    ]
}
STUDIO_LOADED = {
    "type": "llm",
    "instance_id": "m:1",
    "status": "loaded",
    "load_config": {"context_length": 8},
}
OLLAMA_TAGS = {"models": [{"name": "m", "model": "m", "size": 5, "details": {"quantization_level": "Q4"}}]}
OLLAMA_PS = {"models": [{"name": "m", "model": "m", "size": 5, "size_vram": 5, "context_length": 8}]}
OLLAMA_SHOW = {
    "details": {"family": "f", "quantization_level": "Q4"},
    "model_info": {"general.architecture": "f", "f.context_length": 8},
    "capabilities": ["completion", "tools"],
}
INFILL = {
    "content": "x",
    "model": "m",
    "stop_type": "eos",
    "tokens_evaluated": 1,
    "tokens_predicted": 1,
    "timings": {"prompt_n": 1},
}

# name of the case: provider, end of the path that is answered oddly, the answer, what is called, other answers by path
Case = tuple[str, str, Any, Callable[[Any], Any], Mapping[str, Any]]
CASES: dict[str, Case] = {
    "claude count": ("claude", "/count_tokens", {"input_tokens": 5}, lambda p: p.count_tokens(ASKED), {}),
    "claude batch": ("claude", "/batch_1", BATCH, lambda p: p.batches.get("batch_1"), {}),
    "claude new batch": ("claude", "/batches", BATCH, lambda p: p.batches.create({"a": "Hi"}, model="m"), {}),
    "claude batches": ("claude", "/batches", {"data": [BATCH], "has_more": False, "last_id": "batch_1"},
                       lambda p: p.batches.list_batches(), {}),
    "claude result": ("claude", "/results", RESULT, lambda p: list(p.batches.results("batch_1")), {"/batch_1": BATCH}),
    "claude failed": ("claude", "/results", FAILED, lambda p: list(p.batches.results("batch_1")), {"/batch_1": BATCH}),
    "claude file": ("claude", "/file_01A", FILE, lambda p: p.files.get("file_01A"), {}),
    "claude upload": ("claude", "/files", FILE, lambda p: p.files.upload(b"x", name="a.txt"), {}),
    "claude files": ("claude", "/files", {"data": [FILE], "has_more": False, "last_id": "file_01A"},
                     lambda p: p.files.list_files(), {}),
    "studio list": ("lmstudio", "/api/v1/models", STUDIO_LIST, lambda p: p.list_models(), {}),
    "studio loaded": ("lmstudio", "/api/v1/models", STUDIO_LIST, lambda p: p.loaded_models(), {}),
    "studio load": ("lmstudio", "/models/load", STUDIO_LOADED, lambda p: p.load_model("m"),
                    {"/api/v1/models": {"models": []}}),
    "studio unload": ("lmstudio", "/models/unload", {"instance_id": "m:1"}, lambda p: p.unload_model("m"),
                      {"/api/v1/models": STUDIO_LIST}),
    "lollms tokens": ("lollms", "/tokenize", {"tokens": [1, 2], "count": 2}, lambda p: p.tokenize("a", model="m"), {}),
    "lollms text": ("lollms", "/detokenize", {"text": "a"}, lambda p: p.detokenize([1], model="m"), {}),
    "lollms window": ("lollms", "/context_size", {"context_size": 8}, lambda p: p.context_size("m"), {}),
    "lollms personalities": ("lollms", "/personalities", {"data": [{"id": "a", "name": "A"}]},
                             lambda p: p.personalities(), {}),
    "webui list": ("lollms-webui", "/list_models", {"object": "list", "data": [{"id": "m"}]},
                   lambda p: p.list_models(), {"/get_active_model": {"model": "m"}}),
    "webui active": ("lollms-webui", "/get_active_model", {"model": "m"}, lambda p: p.list_models(),
                     {"/list_models": {"object": "list", "data": [{"id": "m"}]}}),
    "webui tokens": ("lollms-webui", "/lollms_tokenize", {"raw_tokens": [1]}, lambda p: p.tokenize("a"), {}),
    "ollama tags": ("ollama", "/api/tags", OLLAMA_TAGS, lambda p: p.list_models(),
                    {"/api/show": OLLAMA_SHOW, "/api/ps": OLLAMA_PS}),
    "ollama show": ("ollama", "/api/show", OLLAMA_SHOW, lambda p: p.show("m"), {}),
    "ollama shown": ("ollama", "/api/show", OLLAMA_SHOW, lambda p: p.list_models(),
                     {"/api/tags": OLLAMA_TAGS, "/api/ps": OLLAMA_PS}),
    "ollama memory": ("ollama", "/api/ps", OLLAMA_PS, lambda p: p.loaded_models(), {}),
    "ollama running": ("ollama", "/api/ps", OLLAMA_PS, lambda p: p.list_models(),
                       {"/api/show": OLLAMA_SHOW, "/api/tags": OLLAMA_TAGS}),
    "ollama load": ("ollama", "/api/chat", {"model": "m", "done": True}, lambda p: p.load_model("m"), {}),
    "ollama pull": ("ollama", "/api/pull", {"status": "success", "digest": "sha256:a", "total": 5, "completed": 5},
                    lambda p: p.pull("m", progress=lambda _: None), {"/api/show": OLLAMA_SHOW}),
    "llamacpp tokens": ("llamacpp", "/tokenize", {"tokens": [1]}, lambda p: p.tokenize("a"), {}),
    "llamacpp text": ("llamacpp", "/detokenize", {"content": "a"}, lambda p: p.detokenize([1]), {}),
    "llamacpp count": ("llamacpp", "/input_tokens", {"input_tokens": 5}, lambda p: p.count_tokens(ASKED), {}),
    "llamacpp rerank": ("llamacpp", "/rerank", {"results": [{"index": 0, "relevance_score": 0.5}]},
                        lambda p: p.rerank("q", ["a"]), {}),
    "llamacpp infill": ("llamacpp", "/infill", INFILL, lambda p: p.infill("a", "b"), {}),
    "llamacpp props": ("llamacpp", "/props", {"chat_template": "x"}, lambda p: p.props(), {}),
    "llamacpp slots": ("llamacpp", "/slots", [{"id": 0, "n_ctx": 8}], lambda p: p.slots(), {}),
    "llamacpp load": ("llamacpp", "/models/load", {"success": True}, lambda p: p.load_model("m"), {}),
}  # fmt: skip
ASYNC = {
    "claude count": lambda p: p.count_tokens_async(ASKED),
    "claude batches": lambda p: p.batches.list_batches_async(),
    "claude files": lambda p: p.files.list_files_async(),
    "studio load": lambda p: p.load_model_async("m"),
    "lollms window": lambda p: p.context_size_async("m"),
    "ollama pull": lambda p: p.pull_async("m", progress=lambda _: None),
    "llamacpp rerank": lambda p: p.rerank_async("q", ["a"]),
}


class Server:
    """Answers one path with what is set, the others of a case with what they should be."""

    def __init__(self, path: str, others: Mapping[str, Any]) -> None:
        self.answer: Answer = []
        self._path = path
        self._others = others

    def __call__(self, request: Request) -> Answer:
        path = request.target.partition("?")[0]
        if path.endswith(self._path):
            return self.answer
        found = next((v for end, v in self._others.items() if path.endswith(end)), None)
        return json_reply(found) if found is not None else json_reply({"error": f"no {path}"}, 404)


def provider_of(case: Case, url: str) -> tuple[UnifiedLLM, Any]:
    more: dict[str, Any] = {"transport": "http"} if case[0] in ("claude", "lmstudio") else {}
    llm = UnifiedLLM(case[0], model="m", api_key="k", base_url=url, max_retries=0, **more)
    return llm, llm.get_provider(case[0])


def is_typed(value: Any, kind: Any) -> bool:
    """Whether `value` fits one of the annotations of our dataclasses."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return True
    if origin in (typing.Union, types.UnionType):
        return any(is_typed(value, k) for k in inner)
    if origin is typing.Literal:
        return value in inner
    wanted = origin or kind
    return isinstance(value, wanted) and not (wanted is int and type(value) is bool)


def check_value(value: Any) -> None:
    """What comes out is of the type that the method promises."""
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, tuple):
            name, answer = one
            assert isinstance(name, str)
            if not isinstance(answer, ChatResponse):
                assert isinstance(answer, UnifiedLLMError)
                assert answer.hint
        elif isinstance(one, (Batch, FileInfo, ModelInfo, Ranked)):
            hints = typing.get_type_hints(type(one))
            for field in dataclasses.fields(one):
                found = getattr(one, field.name)
                assert is_typed(found, hints[field.name]), f"{field.name} is {found!r}"
        else:
            assert type(one) is not bool


def check_error(error: UnifiedLLMError, provider: str) -> None:
    assert error.hint, repr(error)
    assert error.provider == provider


def fault_of(case: Case, provider: Any) -> str | None:
    """What is wrong with what comes out of a call, if anything is."""
    try:
        check_value(case[3](provider))
    except UnifiedLLMError as exc:
        try:
            check_error(exc, case[0])
        except AssertionError as bad:
            return str(bad)
    except Exception as exc:  # noqa: BLE001  # the bare errors that are looked for
        return repr(exc)
    return None


BODIES: list[tuple[str, Answer]] = [
    *((f"body {odd!r}", json_reply(odd)) for odd in ODD),
    ("nothing", reply(200, b"")),
    ("HTML", reply(200, b"<html><title>Sign in</title></html>", {"content-type": "text/html"})),
    ("cut JSON", reply(200, b'{"id": "batch_1", "da', {"content-type": "application/json"})),
    ("no UTF-8", reply(200, b"\xff\xfe{}", {"content-type": "application/json"})),
]


@pytest.mark.parametrize("name", CASES)
def test_an_odd_answer_is_a_value_of_its_type_or_an_error_of_ours(name: str) -> None:
    case = CASES[name]
    server = Server(case[1], case[4])
    answers = [(what, json_reply(value)) for what, value in variants(case[2])]
    with WireServer(server) as wire:
        llm, provider = provider_of(case, wire.url)
        server.answer = json_reply(case[2])
        check_value(case[3](provider))
        faults = []
        for what, server.answer in answers + BODIES:
            if (fault := fault_of(case, provider)) is not None:
                faults.append(f"{what}: {fault}")
        llm.close()
    assert not faults, f"{len(faults)} faults:\n" + "\n".join(faults[:10])


# -- LM Studio over its SDK's websockets ------------------------------------------------------------------------------

MODEL = {
    "type": "llm",
    "modelKey": "tiny",
    "displayName": "Tiny",
    "path": "models/tiny.gguf",
    "sizeBytes": 5,
    "vision": False,
    "trainedForToolUse": True,
    "maxContextLength": 8,
    "quantization": {"name": "Q4", "bits": 4},
}
LOADED = MODEL | {"identifier": "tiny", "contextLength": 8}
REMOTE: dict[str, tuple[str, Any, Callable[[Any], Any]]] = {
    "disk": ("system/listDownloadedModels", [MODEL], lambda p: p.list_models()),
    "memory": ("llm/listLoaded", [LOADED], lambda p: p.loaded_models()),
    "both": ("llm/listLoaded", [LOADED], lambda p: p.list_models()),
    "window": ("llm/getModelInfo", LOADED, lambda p: p.context_length("tiny")),
    "tokens": ("llm/tokenize", {"tokens": [1, 2]}, lambda p: [t + 0 for t in p.tokenize("a", "tiny")]),
    "count": ("llm/countTokens", {"tokenCount": 2}, lambda p: p.count_tokens(ChatRequest("tiny", ASKED.messages))),
    "template": ("llm/applyPromptTemplate", {"formatted": "a"},
                 lambda p: p.count_tokens(ChatRequest("tiny", ASKED.messages))),
}  # fmt: skip


@pytest.mark.parametrize("name", REMOTE)
def test_an_odd_result_of_a_remote_call_is_a_value_of_its_type_or_an_error_of_ours(name: str) -> None:
    path, whole, ask = REMOTE[name]
    case: Case = ("lmstudio", "", whole, ask, {})
    faults = []
    with LMStudioDouble() as studio, UnifiedLLM("lmstudio", base_url=studio.url, transport="sdk", timeout=10) as llm:
        provider = llm.get_provider("lmstudio")
        some = [*variants(whole)][::3]  # each takes a few round trips
        for what, value in [("as it should be", whole), *some, *((f"result {odd!r}", odd) for odd in ODD)]:
            studio.results[path] = value
            if (fault := fault_of(case, provider)) is not None:
                faults.append(f"{what}: {fault}")
    assert not faults, f"{len(faults)} faults:\n" + "\n".join(faults[:10])


def test_lists_of_models_that_are_none_are_errors() -> None:
    with LMStudioDouble() as studio, UnifiedLLM("lmstudio", base_url=studio.url, transport="sdk", timeout=10) as llm:
        provider = llm.get_provider("lmstudio")
        assert isinstance(provider, LMStudioProvider)
        studio.results["system/listDownloadedModels"] = {"odd": 1}
        with pytest.raises(ResponseError, match="no list of models"):
            provider.list_models()
        studio.results["llm/listLoaded"] = "odd"
        with pytest.raises(ResponseError, match="no list of models"):
            provider.loaded_models()


PREDICTION: list[dict[str, Any]] = [
    {"type": "loadProgress", "progress": 0.5},
    {"type": "promptProcessingProgress", "progress": 0.5, "details": {"cachedTokenCount": 1}},
    {"type": "fragment", "fragment": {"content": "hm", "reasoningType": "reasoning", "tokensCount": 1}},
    {"type": "fragment", "fragment": {"content": "Hello", "reasoningType": "none", "isStructural": False}},
    {"type": "toolCallGenerationStart", "toolCallId": "a"},
    {"type": "toolCallGenerationNameReceived", "name": "add"},
    {"type": "toolCallGenerationArgumentFragmentGenerated", "content": "{}"},
    {
        "type": "toolCallGenerationEnd",
        "toolCallRequest": {"type": "function", "id": "a", "name": "add", "arguments": {"a": 1}},
        "rawContent": "x",
    },
    {"type": "toolCallGenerationFailed", "error": {"title": "x"}, "rawContent": "x"},
    {
        "type": "success",
        "stats": {"stopReason": "eosFound", "tokensPerSecond": 1.5, "totalTokensCount": 5, "promptTokensCount": 2},
        "modelInfo": {"contextLength": 8},
    },
]


def test_an_odd_message_of_a_prediction_is_an_answer_or_an_error_of_ours() -> None:
    context = CodecContext("lmstudio", Profile())
    faults = []
    for what, lines in variants(PREDICTION):
        body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        try:
            answer = LMStudioChatCodec().decode(WireReply(200, {}, body), ASKED, context)
            assert isinstance(answer.text, str)
            assert all(isinstance(c.id, str) and isinstance(c.name, str) for c in answer.tool_calls)
            assert all(n is None or type(n) is int for n in (answer.usage.input_tokens, answer.usage.output_tokens))
            prediction_stats(answer)
        except UnifiedLLMError as exc:
            faults += [] if exc.hint else [f"{what}: {exc!r} has no hint"]
        except Exception as exc:  # noqa: BLE001  # the bare errors that are looked for
            faults.append(f"{what}: {exc!r}")
    assert not faults, f"{len(faults)} faults:\n" + "\n".join(faults[:10])


# -- more -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ASYNC)
async def test_the_async_twins_have_the_same_net(name: str) -> None:
    case = CASES[name]
    server = Server(case[1], case[4])
    with WireServer(server) as wire:
        llm, provider = provider_of(case, wire.url)
        for odd in ([1], "odd", {"odd": 1}):
            server.answer = json_reply(odd)
            with pytest.raises(UnifiedLLMError) as caught:
                await ASYNC[name](provider)
            check_error(caught.value, case[0])
        await llm.aclose()


@pytest.mark.parametrize(("name", "row"), [("claude batches", BATCH), ("claude files", FILE)], ids=["batches", "files"])
async def test_pages_without_an_end_are_an_error(name: str, row: dict[str, Any]) -> None:
    case = CASES[name]
    server = Server(case[1], {})
    server.answer = json_reply({"data": [row], "has_more": True, "last_id": row["id"]})
    with WireServer(server) as wire:
        llm, provider = provider_of(case, wire.url)
        with pytest.raises(UnifiedLLMError, match="no end") as caught:
            case[3](provider)
        check_error(caught.value, "claude")
        with pytest.raises(UnifiedLLMError, match="no end"):
            await ASYNC[name](provider)
        await llm.aclose()


def test_results_of_a_batch_that_are_cut_keep_what_came() -> None:
    case = CASES["claude result"]
    server = Server(case[1], case[4])
    line = json.dumps(RESULT).encode()
    server.answer = reply(200, line + b"\n" + line[:20])
    with WireServer(server) as wire:
        llm, provider = provider_of(case, wire.url)
        (first, second) = case[3](provider)
        llm.close()
    assert (first[0], str(first[1])) == ("a", "Hello")
    assert isinstance(second[1], UnifiedLLMError)
