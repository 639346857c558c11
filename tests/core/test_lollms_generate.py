"""The native dialect of lollms-webui: a prompt in, bare text out; errors are JSON with the status 200."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from testkit.openai_wire import PNG, SCHEMA
from testkit.wire_server import CLOSE, HANG, Answer, Request, Step, WireServer, chunked, json_reply, reply
from unified_llm import Image, Message, Text, TextDelta, ToolCall, ToolResult, UnifiedLLM
from unified_llm.errors import (
    ConfigurationError,
    InvalidMessageError,
    ResponseError,
    StreamInterruptedError,
    UnifiedLLMError,
)
from unified_llm.providers.lollms import LollmsWebUIProvider

PLAIN = {"content-type": "text/plain; charset=utf-8"}
# Fields of LollmsGenerateRequest, with and without images.
FIELDS = {
    "prompt", "model_name", "personality", "n_predict", "stream", "temperature", "top_k", "top_p", "repeat_penalty",
    "repeat_last_n", "seed", "n_threads",
}  # fmt: skip


class Server:
    """Checks what it is sent, and answers the same each time."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.seen: list[tuple[str, Any]] = []

    def __call__(self, request: Request) -> Answer:
        body: Any = json.loads(request.body)
        unknown = body.keys() - FIELDS - ({"images"} if "images" in request.target else set())
        assert not unknown, f"unknown fields: {unknown}"
        assert isinstance(body["prompt"], str)
        self.seen.append((request.target, body))
        return self.answer


def text(*pieces: Step, end: bool = True) -> Answer:
    """A stream: bare text under the type of events."""
    return chunked(pieces, headers={"content-type": "text/event-stream"}, end=end)


@pytest.fixture
def served() -> Iterator[Callable[[Answer], tuple[UnifiedLLM, Server]]]:
    opened: list[tuple[WireServer, UnifiedLLM]] = []

    def start(answer: Answer) -> tuple[UnifiedLLM, Server]:
        script = Server(answer)
        server = WireServer(script)
        server.__enter__()
        llm = UnifiedLLM("lollms-webui", base_url=server.url, model="m", dialect="native", max_retries=0)
        opened.append((server, llm))
        return llm, script

    yield start
    for server, llm in opened:
        llm.close()
        server.__exit__(None, None, None)


Served = Callable[[Answer], tuple[UnifiedLLM, Server]]


async def test_a_chat_is_a_prompt_and_its_answer_is_the_body(served: Served) -> None:
    llm, server = served(reply(200, "Il pleut à Nîmes".encode(), PLAIN))
    history = [Message("system", "Be brief."), Message("user", "Weather?")]
    answer = llm.chat(history, temperature=0.2, top_k=5, top_p=0.5, seed=3, max_tokens=9)
    assert str(answer) == "Il pleut à Nîmes"
    assert (answer.finish_reason, answer.usage.input_tokens, answer.usage.output_tokens) == (None, None, None)
    assert server.seen == [
        (
            "/lollms_generate",
            {
                "prompt": "!@>system: Be brief.\n!@>user: Weather?\n!@>assistant:",
                "model_name": "m",
                "stream": False,
                "temperature": 0.2,
                "top_k": 5,
                "top_p": 0.5,
                "seed": 3,
                "n_predict": 9,
            },
        )
    ]
    assert str(await llm.chat_async(history)) == str(answer)
    assert not answer.adjustments
    await llm.aclose()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
async def test_a_stream_is_the_text_itself_however_it_is_cut(served: Served, size: int) -> None:
    whole = "<think>Hm</think>Il pleut\n\ndata: à Nîmes é".encode()
    llm, _ = served(text(*(whole[i : i + size] for i in range(0, len(whole), size))))
    with llm.stream("x") as stream:
        answer = stream.get_response()
    async with llm.stream_async("x") as streamed:
        again = await streamed.get_response()
    assert str(answer) == str(again) == "Il pleut\n\ndata: à Nîmes é"
    assert answer.reasoning == "Hm"
    assert answer.time_to_first_token is not None
    await llm.aclose()


def test_images_go_to_the_path_that_takes_them(served: Served) -> None:
    llm, server = served(reply(200, b"A dot", PLAIN))
    llm.chat(Message("user", [Text("What is it?"), Image(data=PNG, media_type="image/png")]))
    path, body = server.seen[0]
    assert path == "/lollms_generate_with_images"
    assert body["images"] == [base64.b64encode(PNG).decode()]
    assert body["prompt"] == "!@>user: What is it?\n!@>assistant:"
    assert body["n_predict"] == -1
    with pytest.raises(InvalidMessageError) as caught:
        llm.chat(Message("user", Image(url="https://example.com/a.png")))
    assert caught.value.hint


def test_a_personality_is_an_option(served: Served) -> None:
    llm, server = served(reply(200, b"Arr", PLAIN))
    llm.chat("x", provider_options={"lollms-webui": {"personality": 2}})
    assert server.seen[0][1]["personality"] == 2


def test_what_a_prompt_cannot_hold_is_recorded(served: Served) -> None:
    llm, server = served(reply(200, b'{"x": 1}', PLAIN))
    history = [
        Message("user", "1+2"),
        Message("assistant", tool_call=ToolCall("add", {}, "c1")),
        Message("tool", ToolResult("c1", "3")),
        Message("user", "x?"),
    ]
    answer = llm.chat(history, stop="END", tools=[{"name": "add", "description": "", "parameters": {"type": "object"}}])
    assert {(a.kind, a.what) for a in answer.adjustments} == {
        ("changed", "messages[1]"),
        ("changed", "messages[2]"),
        ("dropped", "stop_sequences"),
        ("dropped", "tools"),
    }
    assert "[The tool add answered: 3]" in server.seen[-1][1]["prompt"]
    shaped = llm.chat("x?", response_format=SCHEMA)
    assert shaped.parsed == {"x": 1}
    assert '"x"' in server.seen[-1][1]["prompt"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (json_reply({"status": False, "error": "model crashed"}), UnifiedLLMError, "model crashed"),
        (json_reply(None), ResponseError, "no model is chosen"),
        (
            json_reply({"detail": [{"loc": ["body", "prompt"], "msg": "field required"}]}, 422),
            UnifiedLLMError,
            "prompt",
        ),
        (reply(500, b"Internal Server Error", PLAIN), UnifiedLLMError, "Internal"),
    ],
)
def test_an_error_is_raised_whatever_its_status(
    served: Served, answer: Answer, error: type[UnifiedLLMError], words: str, stream: bool
) -> None:
    llm, _ = served(answer)
    ask: Callable[[], object] = (lambda: list(llm.stream("x"))) if stream else (lambda: llm.chat("x"))
    with pytest.raises(error, match=words) as caught:
        ask()
    assert caught.value.hint
    assert (caught.value.provider, caught.value.model) == ("lollms-webui", "m")


@pytest.mark.parametrize("pieces", [[b"It ", CLOSE], [b"It \xc3", CLOSE]])
def test_a_stream_that_breaks_is_not_taken_for_a_whole_one(served: Served, pieces: Sequence[Step]) -> None:
    llm, _ = served(text(*pieces, end=False))
    with pytest.raises(StreamInterruptedError) as caught:
        list(llm.stream("x"))
    assert str(caught.value.partial) == "It "


def test_leaving_a_stream_closes_its_request() -> None:
    with WireServer(text(b"It ", HANG, end=False)) as server:
        llm = UnifiedLLM("lollms-webui", base_url=server.url, model="m", dialect="native")
        for event in llm.stream("x"):
            if isinstance(event, TextDelta):
                break
        assert server.requests[0].wait_gone(0.5)
        llm.close()


def test_a_text_as_json_is_a_text(served: Served) -> None:
    llm, _ = served(json_reply("Hello"))
    assert str(llm.chat("x")) == "Hello"


def test_a_dialect_nobody_speaks_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="unknown dialect"):
        LollmsWebUIProvider(dialect="ollama")
