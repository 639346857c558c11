"""Answers with a field of another kind than the dialect says: what comes out is an answer or an error of ours.

Every field of a whole answer, and of each event of a stream, is replaced by each odd value in turn.
"""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from testkit.odd_values import variants
from testkit.wire_server import Answer, Request, WireServer, chunked, json_reply
from unified_llm import ChatResponse, ResponseError, UnifiedLLM, UnifiedLLMError

CHAT_CALL = {"index": 0, "id": "call_a", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}
CHAT_USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 3,
    "total_tokens": 12,
    "prompt_tokens_details": {"cached_tokens": 2},
    "completion_tokens_details": {"reasoning_tokens": 1},
    "cost": 0.1,
}
CHAT_MESSAGE = {
    "role": "assistant",
    "content": "Hello",
    "reasoning_content": "Hm",
    "reasoning_details": [{"type": "reasoning.text", "text": "Hm", "index": 0}],
    "refusal": "No",
    "annotations": [{"type": "url_citation", "url_citation": {"url": "https://example.org"}}],
    "images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}],
    "audio": {"id": "a", "data": "AAAA", "transcript": "Hello", "expires_at": 1},
    "tool_calls": [CHAT_CALL],
    "extra_content": {"google": {"thought_signature": "s"}},
}
CHAT = {
    "id": "c",
    "model": "m",
    "created": 1,
    "service_tier": "default",
    "choices": [{"index": 0, "message": CHAT_MESSAGE, "finish_reason": "tool_calls", "stop_reason": None}],
    "usage": CHAT_USAGE,
    "timings": {"predicted_n": 3, "prompt_n": 9, "cache_n": 0},
    "x_groq": {"id": "g", "usage": CHAT_USAGE},
}
CHAT_EVENTS: list[dict[str, Any]] = [
    {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hel"}}]},
    {"id": "c", "choices": [{"index": 0, "delta": {"content": "lo"}, "finish_reason": None}]},
    {"id": "c", "choices": [{"index": 0, "delta": CHAT_MESSAGE}]},
    {"id": "c", "choices": [{"index": 0, "delta": CHAT_MESSAGE, "finish_reason": "stop"}], "usage": CHAT_USAGE},
    {"id": "c", "choices": [], "usage": CHAT_USAGE, "service_tier": "default", "prompt_progress": {"total": 2}},
]

ITEMS: list[dict[str, Any]] = [
    {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "Hm"}], "encrypted_content": "e"},
    {
        "type": "message",
        "id": "msg",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": "Hello", "annotations": [{"type": "url_citation", "url": "u"}]}],
    },
    {"type": "function_call", "id": "fc", "call_id": "call_a", "name": "add", "arguments": '{"a":1}'},
    {"type": "image_generation_call", "id": "ig", "result": "AAAA", "output_format": "png"},
]
RESPONSE = {
    "id": "resp",
    "object": "response",
    "model": "m",
    "status": "completed",
    "incomplete_details": {"reason": "max_output_tokens"},
    "output": ITEMS,
    "service_tier": "default",
    "usage": {
        "input_tokens": 9,
        "output_tokens": 3,
        "input_tokens_details": {"cached_tokens": 1},
        "output_tokens_details": {"reasoning_tokens": 1},
    },
}
RESPONSE_EVENTS: list[dict[str, Any]] = [
    {"type": "response.created", "response": {"id": "resp", "model": "m"}},
    {"type": "response.output_item.added", "output_index": 0, "item": ITEMS[0]},
    {"type": "response.reasoning_summary_text.delta", "output_index": 0, "item_id": "rs", "delta": "Hm"},
    {"type": "response.output_item.done", "output_index": 0, "item": ITEMS[0]},
    {"type": "response.output_item.added", "output_index": 1, "item": ITEMS[1]},
    {"type": "response.output_text.delta", "output_index": 1, "item_id": "msg", "delta": "Hello"},
    {"type": "response.output_text.annotation.added", "output_index": 1, "annotation": {"type": "url_citation"}},
    {"type": "response.output_item.done", "output_index": 1, "item": ITEMS[1]},
    {"type": "response.output_item.added", "output_index": 2, "item": ITEMS[2]},
    {"type": "response.function_call_arguments.delta", "output_index": 2, "item_id": "fc", "delta": '{"a":1}'},
    {"type": "response.output_item.done", "output_index": 2, "item": ITEMS[2]},
    {"type": "response.completed", "response": RESPONSE},
]

BLOCKS: list[dict[str, Any]] = [
    {"type": "thinking", "thinking": "Hm", "signature": "s"},
    {"type": "text", "text": "Hello", "citations": [{"type": "char_location", "cited_text": "x"}]},
    {"type": "tool_use", "id": "toolu_a", "name": "add", "input": {"a": 1}},
]
CLAUDE = {
    "id": "msg",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": BLOCKS,
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 9,
        "output_tokens": 3,
        "cache_read_input_tokens": 1,
        "cache_creation_input_tokens": 1,
        "cache_creation": {"ephemeral_5m_input_tokens": 1},
        "server_tool_use": {"web_search_requests": 1},
        "service_tier": "standard",
    },
}
CLAUDE_EVENTS: list[dict[str, Any]] = [
    {"type": "message_start", "message": {**CLAUDE, "content": [], "stop_reason": None}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "s"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": "", "citations": []}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Hello"}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "citations_delta", "citation": {"type": "x"}}},
    {"type": "content_block_stop", "index": 1},
    {
        "type": "content_block_start",
        "index": 2,
        "content_block": {"type": "tool_use", "id": "t", "name": "add", "input": {}},
    },
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": '{"a":1}'}},
    {"type": "content_block_stop", "index": 2},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use", "stop_sequence": None},
        "usage": {"output_tokens": 3},
    },
    {"type": "message_stop"},
]

OLLAMA_END = {"done": True, "done_reason": "stop", "prompt_eval_count": 9, "eval_count": 3, "total_duration": 5}
OLLAMA_MESSAGE = {
    "role": "assistant",
    "content": "Hello",
    "thinking": "Hm",
    "images": ["AAAA"],
    "tool_calls": [{"id": "call_a", "function": {"index": 0, "name": "add", "arguments": {"a": 1}}}],
}
OLLAMA = {"model": "m", "created_at": "2026-01-01T00:00:00Z", "message": OLLAMA_MESSAGE, **OLLAMA_END}
OLLAMA_EVENTS: list[dict[str, Any]] = [
    {"model": "m", "message": {"role": "assistant", "content": "Hello"}, "done": False},
    {"model": "m", "message": OLLAMA_MESSAGE, "done": False},
    {"model": "m", "message": {"role": "assistant", "content": ""}, **OLLAMA_END},
]

WHOLE = {
    "chat": ("openai-compatible", "/v1", "/chat/completions", CHAT),
    "responses": ("openai-compatible", "/v1", "/responses", RESPONSE),
    "claude": ("claude", "", "/messages", CLAUDE),
    "ollama": ("ollama", "", "/api/chat", OLLAMA),
}
STREAMS = {
    "chat": CHAT_EVENTS,
    "responses": RESPONSE_EVENTS,
    "claude": CLAUDE_EVENTS,
    "ollama": OLLAMA_EVENTS,
}


def framed(name: str, events: list[dict[str, Any]]) -> Answer:
    """A stream of `events`, as the dialect frames them."""
    if name == "ollama":
        lines = [json.dumps(e).encode() + b"\n" for e in events]
        return chunked([b"".join(lines)], headers={"content-type": "application/x-ndjson"})
    texts = [f"event: {e.get('type')}\ndata: {json.dumps(e)}\n\n".encode() for e in events]
    texts += [b"data: [DONE]\n\n"] if name == "chat" else []
    return chunked([b"".join(texts)], headers={"content-type": "text/event-stream"})


class Served:
    """A server of one dialect that gives the answer which is set, and a client of it."""

    def __init__(self, name: str) -> None:
        self.provider, self.base, self.path, self.whole = WHOLE[name]
        self.answer: Answer = []
        self.server = WireServer(self._answer)

    def _answer(self, request: Request) -> Answer:
        return self.answer if request.target.endswith(self.path) else json_reply({"error": "no such path"}, 404)


def check_response(response: ChatResponse) -> None:
    """What an application reads is of the kind that the types say."""
    assert isinstance(response.text, str)
    assert isinstance(response.model, str)
    assert isinstance(response.response_id, str | None)
    assert isinstance(response.native_finish_reason, str | None)
    assert all(isinstance(c.id, str) and isinstance(c.name, str) for c in response.tool_calls)
    assert all(n is None or type(n) is int for n in (response.usage.input_tokens, response.usage.output_tokens))
    repr(response)


def check_error(error: UnifiedLLMError, provider: str, model: str | None = "m") -> None:
    assert error.hint
    assert (error.provider, error.model) == (provider, model)
    if isinstance(error, ResponseError):
        assert error.status == 200


def client(served: Served, url: str) -> UnifiedLLM:
    # Anthropic's SDK builds its own objects of an answer: our reading of the fields is in the plain transport.
    more: dict[str, Any] = {"transport": "http"} if served.provider == "claude" else {}
    if served.path == "/responses":
        more["dialect"] = "responses"
    return UnifiedLLM(served.provider, model="m", api_key="k", base_url=url + served.base, max_retries=0, **more)


@pytest.mark.parametrize("name", WHOLE)
def test_an_odd_field_of_a_whole_answer_gives_an_answer_or_an_error_of_ours(name: str) -> None:
    served = Served(name)
    faults = []
    with served.server as server:
        llm = client(served, server.url)
        for what, value in variants(served.whole):
            served.answer = json_reply(value)
            try:
                check_response(llm.chat("Hi"))
            except UnifiedLLMError as exc:
                check_error(exc, served.provider)
            except Exception as exc:  # noqa: BLE001  # the bare errors that are looked for
                faults.append(f"{what}: {exc!r}")
        llm.close()
    assert not faults, "\n".join(faults[:40])


@pytest.mark.parametrize("name", STREAMS)
def test_an_odd_field_of_a_stream_gives_an_answer_or_an_error_of_ours(name: str) -> None:
    served = Served(name)
    faults = []
    with served.server as server:
        llm = client(served, server.url)
        for what, events in variants(STREAMS[name]):
            if not all(isinstance(e, dict) for e in events):
                continue
            served.answer = framed(name, events)
            try:
                stream = llm.stream("Hi")
                list(stream)
                check_response(cast("ChatResponse", stream.response))
            except UnifiedLLMError as exc:
                check_error(exc, served.provider)
            except Exception as exc:  # noqa: BLE001  # the bare errors that are looked for
                faults.append(f"{what}: {exc!r}")
        llm.close()
    assert not faults, "\n".join(faults[:40])


@pytest.mark.parametrize(
    "message",
    [
        {"content": 5},
        {"content": {"odd": 1}},
        {"content": None, "tool_calls": [{"id": "a", "function": "f"}]},
    ],
)
def test_an_answer_that_would_be_lost_is_an_error_with_its_body_and_cause(message: dict[str, Any]) -> None:
    served = Served("chat")
    served.answer = json_reply({"id": "c", "choices": [{"message": message, "finish_reason": "stop"}]})
    with served.server as server:
        llm = client(served, server.url)
        with pytest.raises(ResponseError, match="unexpected shape") as caught:
            llm.chat("Hi")
        served.answer = framed("chat", [CHAT_EVENTS[0], {"choices": [{"delta": message, "finish_reason": "stop"}]}])
        with pytest.raises(ResponseError, match="unexpected shape") as streamed:
            list(llm.stream("Hi"))
        llm.close()
    assert cast("Any", caught.value.body)["choices"][0]["message"] == message
    assert isinstance(caught.value.__cause__, (AttributeError, TypeError))
    assert streamed.value.partial is not None
    assert streamed.value.partial.text == "Hel"


def test_fields_that_only_add_to_an_answer_cost_nothing_but_themselves() -> None:
    served = Served("chat")
    usage = {"prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": "n/a"}
    message = {"content": "Hello", "images": 5, "audio": {"data": 5}, "annotations": "x", "tool_calls": None}
    choice = {"message": message, "finish_reason": 5}
    served.answer = json_reply({"id": ["c"], "model": 7, "choices": [choice], "usage": usage})
    with served.server as server:
        llm = client(served, server.url)
        response = llm.chat("Hi")
        llm.close()
    assert (response.text, response.native_finish_reason, response.model) == ("Hello", "5", "7")
    assert (response.usage.input_tokens, response.usage.output_tokens) == (9, 3)


def test_another_provider_answers_when_the_shape_is_unexpected() -> None:
    served = Served("chat")
    served.answer = json_reply({"choices": [{"message": {"content": 5}}]})
    with served.server as server:
        llm = UnifiedLLM(
            "openai-compatible", model="m", api_key="k", base_url=server.url + "/v1", max_retries=0,
            fallbacks=["offline:spare"],
        )  # fmt: skip
        assert llm.chat("Hi").provider == "offline"
        llm.close()


EMBEDDINGS = {
    "model": "m",
    "data": [{"index": 0, "embedding": [0.5, 1.0], "object": "embedding"}],
    "usage": {"prompt_tokens": 1, "prompt_tokens_details": {"cached_tokens": 0}},
}
MODEL = {
    "id": "m",
    "object": "model",
    "created": 1,
    "owned_by": "x",
    "context_length": 8,
    "max_model_len": 8,
    "architecture": {"input_modalities": ["text"]},
    "supported_parameters": ["tools"],
    "pricing": {"prompt": "0.1", "completion": "0.2"},
    "meta": {"n_ctx": 8},
    "capabilities": {"vision": True},
}
LISTS = {
    "openai-compatible": ("/v1", {"object": "list", "data": [MODEL]}),
    "claude": ("", {"data": [{"type": "model", "id": "m", "display_name": "M"}], "has_more": False, "last_id": "m"}),
    "ollama": ("", {"models": [{"name": "m", "model": "m", "size": 1, "details": {"family": "f", "families": ["f"]}}]}),
    "lmstudio": ("/v1", {"object": "list", "data": [MODEL]}),
    "lollms": ("/v1", {"object": "list", "data": [MODEL]}),
}


def test_an_odd_field_of_embeddings_gives_vectors_or_an_error_of_ours() -> None:
    faults = []
    answer: list[Answer] = []
    with WireServer(lambda _: answer[-1]) as server:
        llm = UnifiedLLM("openai-compatible", model="m", api_key="k", base_url=server.url + "/v1", max_retries=0)
        for what, value in variants(EMBEDDINGS):
            answer.append(json_reply(value))
            try:
                assert len(llm.embed(["a"], "m")) == 1
            except UnifiedLLMError as exc:
                check_error(exc, "openai-compatible")
            except Exception as exc:  # noqa: BLE001  # the bare errors that are looked for
                faults.append(f"{what}: {exc!r}")
        llm.close()
    assert not faults, "\n".join(faults[:40])


@pytest.mark.parametrize("name", LISTS)
def test_an_odd_field_of_a_list_of_models_gives_models_or_an_error_of_ours(name: str) -> None:
    base, whole = LISTS[name]
    faults = []
    answer: list[Answer] = []
    with WireServer(lambda _: answer[-1]) as server:
        llm = UnifiedLLM(name, model="m", api_key="k", base_url=server.url + base, max_retries=0)
        for what, value in variants(whole):
            answer.append(json_reply(value))
            try:
                assert all(isinstance(m.id, str) for m in llm.list_models())
            except UnifiedLLMError as exc:
                check_error(exc, name, None)
            except Exception as exc:  # noqa: BLE001  # the bare errors that are looked for
                faults.append(f"{what}: {exc!r}")
        llm.close()
    assert not faults, "\n".join(faults[:40])
