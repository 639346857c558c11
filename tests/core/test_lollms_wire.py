"""lollms and lollms-webui on the wire, with every habit of theirs; shapes are those of their own sources."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from testkit.openai_wire import PNG, SCHEMA
from testkit.wire_server import CLOSE, HANG, Answer, Request, Step, WireServer, chunked, json_reply, reply, sse
from unified_llm import Image, Message, Text, TextDelta, UnifiedLLM
from unified_llm.errors import (
    APITimeoutError,
    AuthenticationError,
    InvalidRequestError,
    ModelNotFoundError,
    PermissionDeniedError,
    ResponseError,
    ServerError,
    StreamInterruptedError,
    UnifiedLLMError,
    UnsupportedOptionError,
)
from unified_llm.providers.lollms import LollmsProvider, LollmsWebUIProvider
from unified_llm.responses import FinishReason
from unified_llm.stream import UsageUpdate

Script = Callable[[Request], Answer]
# The fields that the two servers read; lollms ignores others in silence, so sending one would lose it.
_READ = {
    "lollms": {
        "model", "messages", "personality", "temperature", "max_tokens", "stream", "tools", "tool_choice",
        "reasoning_effort",
    },
    "lollms-webui": {"model", "messages", "max_tokens", "stream", "temperature"},
}  # fmt: skip


class Lollms:
    """One of the two servers: checks what it is sent, and answers `chat` to a chat; `routes` are its other paths."""

    def __init__(self, name: str, chat: Answer | Script | None = None, **routes: Any) -> None:
        self.name = name
        self.chat = chat
        self.routes = routes
        self.bodies: list[Any] = []

    def __call__(self, request: Request) -> Answer:
        path = request.target.removeprefix("/v1/").lstrip("/")
        body: Any = json.loads(request.body) if request.body else None
        if path == "chat/completions":
            self._check(body)
            assert self.chat is not None
            return self.chat(request) if callable(self.chat) else self.chat
        self.bodies.append(body)
        found = self.routes.get(path.replace("/", "_"))
        return json_reply({"detail": "Not Found"}, 404) if found is None else json_reply(found)

    def _check(self, body: Mapping[str, Any]) -> None:
        self.bodies.append(body)
        unread = body.keys() - _READ[self.name]
        assert not unread, f"{self.name} does not read {unread}"
        if self.name == "lollms-webui":
            assert all(isinstance(m["content"], str) for m in body["messages"]), "422: content is a str"


def webui_lines(*texts: str, count: int = 12) -> list[bytes]:
    """Lines as lollms-webui streams them: each "stops", each has an index of its own, each counts one token."""
    return [
        json.dumps(
            {
                "id": f"id{i}",
                "choices": [
                    {
                        "finish_reason": "stop",
                        "index": i,
                        "delta": {"content": t, "role": "assistant"},
                        "logprobs": None,
                    }
                ],
                "created": 1,
                "model": "real-model",
                "object": "chat.completion.chunk",
                "system_fingerprint": None,
                "usage": {"prompt_tokens": count, "completion_tokens": 1},
            }
        ).encode()
        + b"\n"
        for i, t in enumerate(texts)
    ]


def webui_stream(lines: Sequence[Step], *, end: bool = True) -> Answer:
    return chunked(lines, headers={"content-type": "application/json"}, end=end)


def lollms_chunk(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    """A chunk as lollms sends it: what is not there is an explicit null."""
    full = {"role": None, "content": None, "tool_calls": None, **delta}
    choice = {"index": 0, "delta": full, "finish_reason": finish}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "b/m", "choices": [choice]}


def whole(message: Mapping[str, Any], finish: str = "stop", **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "b/m", "choices": [choice], **more}


MEMORY = {"error": {"message": "out of memory", "type": "server_error"}}
SLOW = {"error": {"message": "no token within 60 s", "type": "timeout_error"}}
USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}


@pytest.fixture
def served() -> Iterator[Callable[..., tuple[UnifiedLLM, Lollms]]]:
    """``served(name, chat, **routes)``: a client, and the server it talks to."""
    opened: list[tuple[WireServer, UnifiedLLM]] = []

    def start(name: str, chat: Answer | Script | None = None, **routes: Any) -> tuple[UnifiedLLM, Lollms]:
        lollms = Lollms(name, chat, **routes)
        server = WireServer(lollms)
        server.__enter__()
        opened.append((server, UnifiedLLM(name, base_url=server.url, model="b/m", max_retries=0)))
        return opened[-1][1], lollms

    yield start
    for server, llm in opened:
        llm.close()
        server.__exit__(None, None, None)


Served = Callable[..., tuple[UnifiedLLM, Lollms]]


# -- lollms -----------------------------------------------------------------------------------------------------------


def test_a_stream_of_lollms_has_nulls_no_usage_and_an_end_that_says_nothing(served: Served) -> None:
    events = [
        lollms_chunk(role="assistant"),
        lollms_chunk(content="It "),
        lollms_chunk(content="rains"),
        lollms_chunk("stop"),
    ]
    llm, lollms = served("lollms", sse([*events, "[DONE]"]))
    with llm.stream("Weather?", temperature=0.5, max_tokens=20) as stream:
        answer = stream.get_response()
    assert str(answer) == "It rains"
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (None, None)
    assert (answer.finish_reason, answer.native_finish_reason) == (None, "stop")
    assert "stream_options" not in lollms.bodies[0]


def test_a_whole_answer_of_lollms_has_usage_and_thinking_in_its_text(served: Served) -> None:
    llm, _ = served(
        "lollms", json_reply(whole({"content": "<think>\nHm\n</think>\nIt rains", "tool_calls": None}, usage=USAGE))
    )
    answer = llm.chat("Weather?")
    assert (str(answer), answer.reasoning) == ("It rains", "Hm")
    assert answer.usage.total_tokens == 13
    assert answer.finish_reason is None


@pytest.mark.parametrize("stream", [False, True])
def test_tool_calls_of_lollms_come_in_one_burst(served: Served, stream: bool) -> None:
    call = {"id": "aB3dE5fG7", "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}, "index": 0}
    events = [lollms_chunk(role="assistant"), lollms_chunk(tool_calls=[call]), lollms_chunk("tool_calls"), "[DONE]"]
    message = {"content": None, "tool_calls": [call]}
    llm, lollms = served("lollms", sse(events) if stream else json_reply(whole(message, "tool_calls", usage=USAGE)))
    tool = {"name": "look", "description": "Look.", "parameters": {"type": "object", "properties": {}}}
    if stream:
        with llm.stream("Look!", tools=[tool]) as pieces:
            answer = pieces.get_response()
    else:
        answer = llm.chat("Look!", tools=[tool])
    assert [(c.id, c.arguments) for c in answer.tool_calls] == [("aB3dE5fG7", {"a": 1})]
    assert answer.finish_reason is FinishReason.TOOL_CALLS
    assert lollms.bodies[0]["tools"][0]["function"]["name"] == "look"


def test_what_lollms_does_not_read_is_recorded_and_a_schema_goes_into_the_prompt(served: Served) -> None:
    llm, lollms = served("lollms", json_reply(whole({"content": '{"x": 1}'})))
    answer = llm.chat("x?", top_p=0.9, seed=1, stop="END", response_format=SCHEMA)
    assert answer.parsed == {"x": 1}
    assert {a.what for a in answer.adjustments} == {"top_p", "seed", "stop_sequences", "response_format"}
    assert '"x"' in lollms.bodies[0]["messages"][0]["content"]


def test_a_personality_is_an_option_of_lollms(served: Served) -> None:
    llm, lollms = served("lollms", json_reply(whole({"content": "Arr"})))
    llm.chat("Hi", provider_options={"lollms": {"personality": "pirate"}}, effort="low")
    assert (lollms.bodies[0]["personality"], lollms.bodies[0]["reasoning_effort"]) == ("pirate", "low")


@pytest.mark.parametrize(
    ("events", "error", "partial"),
    [
        ([lollms_chunk(role="assistant"), lollms_chunk(content="It "), MEMORY, "[DONE]"], ServerError, "It "),
        ([lollms_chunk(content="It "), SLOW, "[DONE]"], APITimeoutError, "It "),
        ([{"error": "binding failed"}, "[DONE]"], UnifiedLLMError, None),
        (["[DONE]"], ResponseError, None),
        ([lollms_chunk(role="assistant"), "[DONE]"], ResponseError, None),
        ([lollms_chunk(role="assistant"), lollms_chunk(content="It ")], StreamInterruptedError, "It "),
    ],
)  # fmt: skip
def test_an_error_inside_a_stream_of_lollms_is_raised(
    served: Served, events: list[Any], error: type[UnifiedLLMError], partial: str | None
) -> None:
    llm, _ = served("lollms", sse(events))
    with pytest.raises(error) as caught:
        list(llm.stream("x"))
    assert caught.value.hint
    assert (caught.value.provider, caught.value.model) == ("lollms", "b/m")
    assert (None if caught.value.partial is None else str(caught.value.partial)) == partial


@pytest.mark.parametrize(
    ("status", "detail", "error", "hint"),
    [
        (403, "OpenAI API service is not enabled by the administrator.", PermissionDeniedError, "off by default"),
        (401, "Invalid API Key", AuthenticationError, "API key"),
        (404, "No models found from any active bindings.", ModelNotFoundError, "list_models"),
        (500, "Generation error: boom", ServerError, "try again"),
        (422, [{"loc": ["body", "model"], "msg": "field required", "type": "missing"}], InvalidRequestError, "message"),
    ],
)
def test_errors_of_lollms_have_a_detail(
    served: Served, status: int, detail: Any, error: type[UnifiedLLMError], hint: str
) -> None:
    llm, _ = served("lollms", json_reply({"detail": detail}, status))
    with pytest.raises(error) as caught:
        llm.chat("x")
    assert hint in (caught.value.hint or "")
    assert caught.value.status == status


async def test_lollms_tokenises_and_tells_windows_and_personalities(served: Served) -> None:
    llm, lollms = served(
        "lollms",
        tokenize={"tokens": [1, 2], "count": 2},
        detokenize={"text": "ab"},
        context_size={"context_size": 4096},
        personalities={"object": "list", "data": [{"id": "p", "name": "Pirate"}]},
        models={"object": "list", "data": [{"id": "b/m", "name": "My model", "object": "model", "owned_by": "lollms"}]},
    )
    provider = llm.get_provider("lollms")
    assert isinstance(provider, LollmsProvider)
    assert provider.tokenize("ab", model="b/m") == await provider.tokenize_async("ab", model="b/m") == [1, 2]
    assert provider.detokenize([1, 2], model="b/m") == await provider.detokenize_async([1, 2], model="b/m") == "ab"
    assert provider.context_size("b/m") == await provider.context_size_async("b/m") == 4096
    assert provider.personalities() == await provider.personalities_async() == [{"id": "p", "name": "Pirate"}]
    assert lollms.bodies[0] == {"text": "ab", "model": "b/m"}
    assert [(m.id, m.name) for m in llm.list_models()] == [("b/m", "My model")]
    await llm.aclose()


def test_tokens_that_are_only_counted_are_no_tokens(served: Served) -> None:
    llm, _ = served("lollms", tokenize={"tokens": 2, "count": 2})
    provider = llm.get_provider("lollms")
    assert isinstance(provider, LollmsProvider)
    with pytest.raises(ResponseError, match="no list of tokens"):
        provider.tokenize("ab", model="b/m")


# -- lollms-webui -----------------------------------------------------------------------------------------------------


async def test_a_stream_of_webui_is_lines_of_json_without_an_end_mark(served: Served) -> None:
    llm, lollms = served("lollms-webui", webui_stream(webui_lines("It ", "rains ", "a lot")))
    with llm.stream("Weather?", max_tokens=3) as stream:
        answer = stream.get_response()
    async with llm.stream_async("Weather?", max_tokens=3) as streamed:
        again = await streamed.get_response()
    for found in (answer, again):
        assert str(found) == "It rains a lot"
        assert found.model == "real-model"
        # Each line says "stop" and counts one token: neither is known.
        assert (found.finish_reason, found.native_finish_reason) == (None, "stop")
        assert (found.usage.input_tokens, found.usage.output_tokens) == (12, None)
    assert lollms.bodies[0]["messages"] == [{"role": "user", "content": "Weather?"}]
    await llm.aclose()


def test_no_event_of_webui_tells_a_wrong_count(served: Served) -> None:
    llm, _ = served("lollms-webui", webui_stream(webui_lines("a", "b")))
    told = [e.usage.output_tokens for e in llm.stream("x") if isinstance(e, UsageUpdate)]
    assert told == [None]


@pytest.mark.parametrize("cut", ["between lines", "inside a line"])
async def test_a_stream_of_webui_that_breaks_is_not_taken_for_a_whole_one(served: Served, cut: str) -> None:
    lines = webui_lines("It ", "rains")
    sent: list[Step] = [lines[0], *([lines[1][:40]] if cut == "inside a line" else []), CLOSE]
    llm, _ = served("lollms-webui", webui_stream(sent, end=False))
    with pytest.raises(StreamInterruptedError) as caught:
        list(llm.stream("x"))
    with pytest.raises(StreamInterruptedError) as again:
        async for _ in llm.stream_async("x"):
            pass
    assert str(caught.value.partial) == str(again.value.partial) == "It "
    await llm.aclose()


def test_leaving_a_stream_of_webui_closes_its_request() -> None:
    lollms = Lollms("lollms-webui", webui_stream([*webui_lines("It "), HANG], end=False))
    with WireServer(lollms) as server, UnifiedLLM("lollms-webui", base_url=server.url, model="m") as llm:
        for event in llm.stream("x"):
            if isinstance(event, TextDelta):
                break
        assert server.requests[0].wait_gone(0.5)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (json_reply({"status": False, "error": "model not loaded"}), UnifiedLLMError),
        (json_reply({"detail": "Error : 'NoneType' object has no attribute 'tokenize'"}, 400), InvalidRequestError),
        (json_reply(None), ResponseError),
        (reply(200, b"<html><title>LoLLMS WebUI</title></html>", {"content-type": "text/html"}), ResponseError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_an_error_of_webui_is_raised_whatever_its_status(
    served: Served, answer: Answer, error: type[UnifiedLLMError], stream: bool
) -> None:
    llm, _ = served("lollms-webui", answer)
    ask: Callable[[], object] = (lambda: list(llm.stream("x"))) if stream else (lambda: llm.chat("x"))
    with pytest.raises(error) as caught:
        ask()
    assert caught.value.hint
    assert caught.value.provider == "lollms-webui"


def test_null_says_that_no_model_is_chosen(served: Served) -> None:
    llm, _ = served("lollms-webui", json_reply(None))
    with pytest.raises(ResponseError) as caught:
        llm.chat("x")
    assert "settings" in (caught.value.hint or "")


async def test_webui_lists_its_models_and_the_one_that_answers(served: Served) -> None:
    models, active = ["a.gguf", "b.gguf"], {"status": True, "model": "b.gguf", "index": 1}
    llm, _ = served("lollms-webui", json_reply(whole({"content": "Hi"})), list_models=models, get_active_model=active)
    assert [(m.id, m.loaded) for m in llm.list_models()] == [("a.gguf", False), ("b.gguf", True)]
    assert llm.list_models() == await llm.list_models_async()
    # It answers with that one, whatever is asked for.
    assert not llm.chat("x", model="lollms-webui:b.gguf").adjustments
    assert [a.what for a in llm.chat("x", model="lollms-webui:a.gguf").adjustments] == ["model"]
    provider = llm.get_provider("lollms-webui")
    assert provider.default_model() == "b.gguf"
    await llm.aclose()


def test_without_that_call_nobody_knows_which_one_answers(served: Served) -> None:
    llm, _ = served("lollms-webui", list_models=["a.gguf"])
    assert [(m.id, m.loaded) for m in llm.list_models()] == [("a.gguf", None)]


async def test_webui_embeds_one_text_after_the_other(served: Served) -> None:
    llm, lollms = served("lollms-webui", lollms_embed={"vector": [0.5, 0.25]})
    vectors = llm.embed(["a", "b"])
    assert vectors.tolist() == [[0.5, 0.25]] * 2
    assert lollms.bodies == [{"text": "a"}, {"text": "b"}]
    assert vectors.usage.input_tokens is None
    assert (await llm.embed_async(["a"], dimensions=1)).adjustments[0].what == "dimensions"
    await llm.aclose()


@pytest.mark.parametrize(
    "body", [{"status": False, "error": "no vectorizer"}, {"vector": []}, {"vector": "x"}, [], None]
)
def test_an_embedding_that_is_none_is_an_error(served: Served, body: Any) -> None:
    llm, _ = served("lollms-webui", lollms_embed=body if body is not None else False)
    with pytest.raises(UnifiedLLMError) as caught:
        llm.embed(["a"])
    assert caught.value.hint
    assert caught.value.provider == "lollms-webui"


@pytest.mark.parametrize("tokens", [[1, 2], {"status": True, "raw_tokens": [1, 2], "named_tokens": []}])
async def test_webui_tokenises_in_both_of_its_shapes(served: Served, tokens: Any) -> None:
    llm, lollms = served("lollms-webui", lollms_tokenize=tokens, lollms_detokenize="ab")
    provider = llm.get_provider("lollms-webui")
    assert isinstance(provider, LollmsWebUIProvider)
    assert provider.tokenize("ab") == await provider.tokenize_async("ab") == [1, 2]
    assert provider.detokenize([1, 2]) == await provider.detokenize_async([1, 2]) == "ab"
    assert lollms.bodies[0] == {"prompt": "ab", "return_named": False}
    await llm.aclose()


def test_an_error_of_the_tokeniser_inside_a_200_is_raised(served: Served) -> None:
    llm, _ = served("lollms-webui", lollms_tokenize={"status": False, "error": "no model"})
    provider = llm.get_provider("lollms-webui")
    assert isinstance(provider, LollmsWebUIProvider)
    with pytest.raises(UnifiedLLMError, match="no model"):
        provider.tokenize("ab")


def test_what_webui_has_no_place_for_is_recorded(served: Served) -> None:
    llm, lollms = served("lollms-webui", json_reply(whole({"content": "A dot"})))
    picture = Message("user", [Text("What is it?"), Image(data=PNG, media_type="image/png")])
    answer = llm.chat(picture, top_k=5, tools=[{"name": "look", "description": "", "parameters": {"type": "object"}}])
    assert {a.what for a in answer.adjustments} == {"messages[0].image", "top_k", "tools", "model"}
    assert "image not sent" in lollms.bodies[0]["messages"][0]["content"]
    with pytest.raises(UnsupportedOptionError):
        llm.chat("x", top_k=5, on_unsupported="error")


@pytest.mark.parametrize("path", ["", "/v1", "/v1/"])
def test_the_address_of_webui_may_have_a_path(path: str) -> None:
    with WireServer(Lollms("lollms-webui", list_models=["a"])) as server:
        provider = LollmsWebUIProvider(base_url=server.url + path)
        assert provider.base_url == server.url
        assert [m.id for m in provider.list_models()] == ["a"]
        provider.close()
