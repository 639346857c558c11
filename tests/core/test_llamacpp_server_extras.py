"""What a llama.cpp server does besides chats, against the real engine; a router and faults against the wire."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testkit.llama import LlamaServer, start_llama_server
from testkit.openai_wire import ask
from testkit.tiny_gguf import TinyModel, write_tiny_gguf
from testkit.wire_server import Answer, Request, WireServer, json_reply, reply
from unified_llm import UnifiedLLM
from unified_llm.codecs.llamacpp_server import Ranked
from unified_llm.errors import (
    AuthenticationError,
    ContextLengthError,
    InvalidRequestError,
    ModelNotFoundError,
    ResponseError,
    UnifiedLLMError,
    UnsupportedOptionError,
)
from unified_llm.messages import Message
from unified_llm.providers.llamacpp_server import LlamaCppServerProvider
from unified_llm.responses import FinishReason
from unified_llm.tools import Tool


@pytest.fixture
def llama(llama_server: LlamaServer) -> Iterator[LlamaCppServerProvider]:
    provider = LlamaCppServerProvider(base_url=llama_server.url)
    yield provider
    provider.close()


@pytest.fixture(scope="module")
def infill_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaServer]:
    """A server whose model knows how to fill in."""
    model = TinyModel(infill=True, name="Tiny Infill")
    path = write_tiny_gguf(tmp_path_factory.mktemp("models") / "tiny-infill.gguf", model)
    with start_llama_server(path, name="tiny-infill", context=512, parallel=1) as server:
        yield server


@pytest.fixture(scope="module")
def rerank_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaServer]:
    """A server with a reranking model, which asks for a key."""
    model = TinyModel(kind="rerank", name="Tiny Rerank")
    path = write_tiny_gguf(tmp_path_factory.mktemp("models") / "tiny-rerank.gguf", model)
    with start_llama_server(path, kind="rerank", api_key="llama-key-123456", context=512, parallel=1) as server:
        yield server


# -- the real engine --------------------------------------------------------------------------------------------------


async def test_tokens_go_there_and_back(llama: LlamaCppServerProvider) -> None:
    tokens = llama.tokenize("Hello é")
    assert len(tokens) > 5
    assert llama.detokenize(tokens) == "Hello é"
    assert await llama.tokenize_async("Hello é") == tokens
    assert await llama.detokenize_async(tokens) == "Hello é"
    marked = "<|im_start|>"
    assert len(llama.tokenize(marked)) == 1
    assert len(llama.tokenize(marked, parse_special=False)) > 1
    await llama.aclose()


async def test_the_tokens_of_a_prompt_are_those_that_a_chat_is_charged_for(llama: LlamaCppServerProvider) -> None:
    tool = Tool("look", "Looks", {"type": "object", "properties": {"where": {"type": "string"}}})
    history = [Message("system", "Be brief."), Message("user", "Hello")]
    plain, with_tool = ask(history, max_tokens=1), ask(history, tools=(tool,), max_tokens=300)
    counted = llama.count_tokens(plain)
    assert counted == await llama.count_tokens_async(plain)
    assert counted == llama.chat(plain).usage.input_tokens
    assert llama.count_tokens(with_tool) == llama.chat(with_tool).usage.input_tokens
    await llama.aclose()


async def test_properties_and_slots_are_told_as_they_are(llama: LlamaCppServerProvider) -> None:
    props = llama.props()
    assert props["default_generation_settings"]["n_ctx"] == 2048
    assert "im_start" in props["chat_template"]
    assert (await llama.props_async())["total_slots"] == props["total_slots"] == 2
    slots = llama.slots()
    assert [(s["id"], s["n_ctx"]) for s in slots] == [(0, 2048), (1, 2048)]
    assert len(await llama.slots_async()) == 2
    await llama.aclose()


async def test_text_is_filled_in_between(infill_server: LlamaServer) -> None:
    llama = LlamaCppServerProvider(base_url=infill_server.url)
    options: dict[str, Any] = {"max_tokens": 8, "temperature": 0, "seed": 1}
    filled = llama.infill("def f(", "\n  return 1", prompt="x", files={"a.py": "A = 1"}, **options)
    assert filled.strip()
    assert filled.finish_reason is FinishReason.LENGTH
    assert filled.usage.output_tokens == 8
    assert (filled.usage.input_tokens or 0) > len("def f(x")
    assert (filled.cost, filled.provider) == (0.0, "llamacpp")
    again = await llama.infill_async("def f(", "\n  return 1", prompt="x", files={"a.py": "A = 1"}, **options)
    assert str(again) == str(filled)
    stopped = llama.infill(
        "def f(", "", max_tokens=60, temperature=0, stop_sequences=[str(llama.infill("def f(", "", **options))[2:4]]
    )
    assert stopped.finish_reason is FinishReason.STOP_SEQUENCE
    with pytest.raises(ContextLengthError):
        llama.infill("x " * 2000, "y", prompt="z " * 2000, max_tokens=4)
    await llama.aclose()


def test_an_option_that_infill_does_not_have_is_recorded(infill_server: LlamaServer) -> None:
    llama = LlamaCppServerProvider(base_url=infill_server.url)
    filled = llama.infill("a", "b", max_tokens=2, no_such_option=1)
    assert [(a.kind, a.what) for a in filled.adjustments] == [("dropped", "no_such_option")]


async def test_documents_are_ranked(rerank_server: LlamaServer) -> None:
    llama = LlamaCppServerProvider(base_url=rerank_server.url, api_key="llama-key-123456")
    documents = ["a cat", "the weather of today", "a dog"]
    ranked = llama.rerank("cat", documents)
    assert sorted(r.index for r in ranked) == [0, 1, 2]
    assert [r.score for r in ranked] == sorted((r.score for r in ranked), reverse=True)
    assert all(documents[r.index] == r.document for r in ranked)
    assert await llama.rerank_async("cat", documents) == ranked
    assert llama.rerank("cat", documents, top_n=1) == ranked[:1]
    with pytest.raises(InvalidRequestError, match="documents"):
        llama.rerank("cat", [])
    await llama.aclose()


def test_a_refused_key_is_an_authentication_error(rerank_server: LlamaServer) -> None:
    llama = LlamaCppServerProvider(base_url=rerank_server.url, api_key="wrong-key-654321")
    with pytest.raises(AuthenticationError) as caught:
        llama.rerank("cat", ["a"])
    assert caught.value.provider == "llamacpp"
    assert "wrong-key-654321" not in str(caught.value)


@pytest.mark.parametrize(
    ("method", "arguments", "hint"),
    [
        ("rerank", ("a", ["b"]), "--reranking"),
        ("infill", ("a", "b"), "FIM"),
        ("load_model", ("m",), "router"),
        ("unload_model", ("m",), "router"),
    ],
)
def test_what_this_server_was_not_started_for_says_how_to_start_it(
    llama: LlamaCppServerProvider, method: str, arguments: tuple[Any, ...], hint: str
) -> None:
    with pytest.raises(UnsupportedOptionError) as caught:
        getattr(llama, method)(*arguments)
    assert caught.value.provider == "llamacpp"
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize("stream", [False, True])
def test_a_grammar_is_obeyed(llama_server: LlamaServer, stream: bool) -> None:
    grammar = {"llamacpp": {"grammar": 'root ::= "yes" | "no"'}}
    with UnifiedLLM("llamacpp", base_url=llama_server.url) as llm:
        if stream:
            with llm.stream("Is it?", provider_options=grammar, max_tokens=20) as pieces:
                answer = pieces.get_response()
        else:
            answer = llm.chat("Is it?", provider_options=grammar, max_tokens=20)
    assert str(answer) in ("yes", "no")


def test_a_grammar_that_is_none_is_an_error(llama_server: LlamaServer) -> None:
    with UnifiedLLM("llamacpp", base_url=llama_server.url) as llm, pytest.raises(UnifiedLLMError) as caught:
        llm.chat("Is it?", provider_options={"llamacpp": {"grammar": "root ::= [unclosed"}})
    assert caught.value.status == 400


def test_the_methods_are_reached_through_the_client(llama_server: LlamaServer) -> None:
    with UnifiedLLM("llamacpp", base_url=llama_server.url) as llm:
        provider = llm.get_provider("llamacpp")
        assert isinstance(provider, LlamaCppServerProvider)
        assert provider.tokenize("a") == [97]
        assert llm.get_provider() == "llamacpp"
        assert llm.count_tokens("Hello") > 5


# -- the wire ---------------------------------------------------------------------------------------------------------


class Router:
    """A llama-server without a model, which loads what it is asked for."""

    def __init__(self) -> None:
        self.status = {"a/model:Q4": "unloaded", "b": "loaded"}

    def __call__(self, request: Request) -> Answer:
        path = request.target
        body = json.loads(request.body) if request.body else {}
        if path == "/v1/models":
            data = [{"id": m, "object": "model", "status": {"value": v, "args": []}} for m, v in self.status.items()]
            return json_reply({"object": "list", "data": data})
        if path in ("/models/load", "/models/unload"):
            assert body.keys() == {"model"}
            if body["model"] not in self.status:
                return json_reply(
                    {"error": {"code": 400, "message": "model not found", "type": "invalid_request_error"}}, 400
                )
            self.status[body["model"]] = "loaded" if path.endswith("/load") else "unloaded"
            return json_reply({"success": True})
        if path == "/props?model=a%2Fmodel%3AQ4":
            return json_reply({"total_slots": 1})
        if path == "/tokenize":
            assert body["model"] == "a/model:Q4"
            return json_reply({"tokens": [1, 2]})
        return json_reply({"error": {"code": 400, "message": "model name is missing from the request"}}, 400)


async def test_a_router_lists_loads_and_unloads_its_models() -> None:
    with WireServer(Router()) as server:
        llama = LlamaCppServerProvider(base_url=server.url)
        assert {m.id: m.loaded for m in llama.list_models()} == {"a/model:Q4": False, "b": True}
        llama.load_model("a/model:Q4")
        await llama.unload_model_async("b")
        assert {m.id: m.loaded for m in await llama.list_models_async()} == {"a/model:Q4": True, "b": False}
        await llama.load_model_async("b")
        llama.unload_model("a/model:Q4")
        assert {m.id: m.loaded for m in llama.list_models()} == {"a/model:Q4": False, "b": True}
        with pytest.raises(ModelNotFoundError):
            llama.load_model("c")
        await llama.aclose()


async def test_a_call_of_a_router_names_its_model() -> None:
    with WireServer(Router()) as server:
        llama = LlamaCppServerProvider(base_url=server.url)
        assert llama.props(model="a/model:Q4") == {"total_slots": 1}
        assert llama.tokenize("x", model="a/model:Q4") == [1, 2]
        with pytest.raises(InvalidRequestError, match="model name is missing"):
            await llama.slots_async()
        await llama.aclose()


@pytest.mark.parametrize(
    "answer",
    [
        reply(200, b"<html><title>Sign in</title></html>", {"content-type": "text/html"}),
        reply(200, b'{"tokens": [1, '),
        json_reply({"tokens": ["a"]}),
        json_reply([]),
        json_reply(None),
    ],
)
def test_a_success_that_is_no_answer_is_an_unusable_one(answer: Answer) -> None:
    with WireServer(answer) as server, pytest.raises(ResponseError) as caught:
        LlamaCppServerProvider(base_url=server.url).tokenize("x")
    assert caught.value.provider == "llamacpp"
    assert caught.value.hint


@pytest.mark.parametrize("results", [[{"index": 5, "relevance_score": 1}], [{"index": 0}], "x", None])
def test_a_ranking_of_documents_that_were_not_sent_is_unusable(results: Any) -> None:
    with WireServer(json_reply({"results": results})) as server, pytest.raises(ResponseError):
        LlamaCppServerProvider(base_url=server.url).rerank("q", ["a"])


def test_a_ranking_is_sorted_whatever_the_order_of_the_server() -> None:
    results = [{"index": 0, "relevance_score": -1.5}, {"index": 1, "relevance_score": 2}]
    with WireServer(json_reply({"results": results})) as server:
        ranked = LlamaCppServerProvider(base_url=server.url).rerank("q", ["a", "b"])
    assert ranked == [Ranked(1, 2.0, "b"), Ranked(0, -1.5, "a")]


def test_every_method_has_an_async_twin_with_the_same_arguments() -> None:
    from unified_llm.providers.ollama import OllamaProvider

    for cls in (LlamaCppServerProvider, OllamaProvider):
        names = [n for n, v in vars(cls).items() if callable(v) and not n.startswith("_") and not n.endswith("_async")]
        for name in set(names) - {"close", "aclose"}:
            twin = getattr(cls, f"{name}_async")
            assert list(inspect.signature(getattr(cls, name)).parameters) == list(inspect.signature(twin).parameters)


def test_the_model_of_the_fixture_is_written_where_asked(tmp_path: Path) -> None:
    from unified_llm.local_models import read_gguf_metadata

    path = write_tiny_gguf(tmp_path / "m.gguf", TinyModel(infill=True, tensors=False))
    assert "tokenizer.ggml.fim_mid_token_id" in read_gguf_metadata(path)
