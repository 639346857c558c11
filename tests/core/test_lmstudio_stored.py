"""Conversations that LM Studio keeps: only what is new is sent, and the whole again when the server lost them."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from PIL import Image as Pillow

from testkit.openai_double import Fail, OpenAIDouble
from testkit.openai_wire import ADD
from testkit.responses_double import Cut, Hang, MidStreamError, ResponsesDouble, call
from unified_llm import ChatRequest, ChatResponse, Image, Message, ToolResult, UnifiedLLM
from unified_llm.errors import (
    ConfigurationError,
    InvalidRequestError,
    ModelNotFoundError,
    StreamInterruptedError,
)
from unified_llm.providers.lmstudio_stored import StoredResponses
from unified_llm.responses import Adjustment


@pytest.fixture
def double() -> Iterator[ResponsesDouble]:
    with ResponsesDouble() as found:
        yield found


def client(double: ResponsesDouble, **options: Any) -> UnifiedLLM:
    given = {"stored_responses": True, "model": "m", "max_retries": 0, **options}
    return UnifiedLLM("lmstudio", base_url=double.url, **given)


def whole(llm: UnifiedLLM, messages: Any, **options: Any) -> ChatResponse:
    answer: ChatResponse = llm.chat(messages, **options)
    return answer


def streamed(llm: UnifiedLLM, messages: Any, **options: Any) -> ChatResponse:
    return llm.stream(messages, **options).get_response()


async def whole_async(llm: UnifiedLLM, messages: Any, **options: Any) -> ChatResponse:
    answer: ChatResponse = await llm.chat_async(messages, **options)
    return answer


async def streamed_async(llm: UnifiedLLM, messages: Any, **options: Any) -> ChatResponse:
    return await llm.stream_async(messages, **options).get_response()


Way = Callable[..., Any]
ways = pytest.mark.parametrize("way", [whole, streamed, whole_async, streamed_async], ids=lambda way: way.__name__)


async def ask(way: Way, llm: UnifiedLLM, messages: Any, **options: Any) -> ChatResponse:
    answer = way(llm, messages, **options)
    result: ChatResponse = answer if isinstance(answer, ChatResponse) else await answer
    return result


def texts(double: ResponsesDouble, request: int = -1) -> list[str]:
    return [item["content"] for item in double.requests[request].body["input"]]


def replays(response: ChatResponse) -> list[Adjustment]:
    return [a for a in response.adjustments if a.what == "previous_response_id"]


@ways
async def test_a_turn_names_the_response_before_it_and_sends_what_is_new(double: ResponsesDouble, way: Way) -> None:
    async with client(double) as llm:
        talk = [Message("system", "Be kind."), Message("user", "one")]
        for word in ("two", "three"):
            answer = await ask(way, llm, talk)
            talk += [answer.message, Message("user", word)]
        last = await ask(way, llm, talk)
    assert last == "Echo: three"
    assert [texts(double, i) for i in range(3)] == [["Be kind.", "one"], ["two"], ["three"]]
    assert [r.body["store"] for r in double.requests] == [True] * 3
    assert "previous_response_id" not in double.requests[0].body
    assert last.adjustments == ()


@ways
async def test_what_the_server_lost_is_sent_again_in_full_and_told(double: ResponsesDouble, way: Way) -> None:
    async with client(double) as llm:
        talk = [Message("user", "one")]
        first = await ask(way, llm, talk)
        talk += [first.message, Message("user", "two")]
        double.forget()
        answer = await ask(way, llm, talk)
        assert answer == "Echo: two"
        assert [r.body.get("previous_response_id") for r in double.requests] == [None, first.response_id, None]
        assert len(double.requests[-1].body["input"]) == 3
        (note,) = replays(answer)
        assert note.kind == "changed"
        assert f"{first.response_id}: the whole history was sent again" in note.reason
        talk += [answer.message, Message("user", "three")]
        after = await ask(way, llm, talk)
    assert (texts(double), replays(after)) == (["three"], [])  # stored anew


@ways
async def test_a_long_history_is_sent_whole_at_once_when_all_of_it_is_lost(double: ResponsesDouble, way: Way) -> None:
    async with client(double) as llm:
        talk = [Message("user", "one")]
        for word in ("two", "three", "four"):
            last = await ask(way, llm, talk)
            talk += [last.message, Message("user", word)]
        double.forget()
        before = len(double.requests)
        answer = await ask(way, llm, talk)
    refused, again = double.requests[before:]
    assert answer == "Echo: four"
    assert refused.body["previous_response_id"] == last.response_id
    assert "previous_response_id" not in again.body
    assert len(again.body["input"]) == 7
    (note,) = replays(answer)
    assert f"no longer has the response {last.response_id}: the whole history was sent again" in note.reason


@ways
async def test_a_history_with_an_image_that_is_converted_is_gone_on_from(double: ResponsesDouble, way: Way) -> None:
    out = io.BytesIO()
    Pillow.new("RGB", (3, 2)).save(out, "WEBP")
    async with client(double) as llm:
        talk = [Message("user", ["one", Image(data=out.getvalue())])]
        for word in ("two", "three"):
            last = await ask(way, llm, talk)
            talk += [last.message, Message("user", word)]
        answer = await ask(way, llm, talk)
        assert double.last["previous_response_id"] == last.response_id
        assert texts(double) == ["three"]
        double.forget()
        before = len(double.requests)
        again = await ask(way, llm, [*talk, answer.message, Message("user", "four")])
    assert again == "Echo: four"
    assert ["previous_response_id" in r.body for r in double.requests[before:]] == [True, False]


@ways
@pytest.mark.parametrize(
    "refusal",
    [
        Fail(404, {"error": "Unexpected: response resp_1 is gone"}),
        Fail(400, {"error": "Could not find previous_response_id resp_1"}),
        Fail(404, {"error": {"message": "x", "code": "previous_response_not_found"}}),
    ],
    ids=["404", "named", "code"],
)
async def test_every_way_to_say_that_it_is_lost_is_understood(double: ResponsesDouble, way: Way, refusal: Fail) -> None:
    async with client(double) as llm:
        first = await ask(way, llm, "one")
        double.script(refusal)
        answer = await ask(way, llm, [Message("user", "one"), first.message, Message("user", "two")])
    assert answer == "Echo: two"
    assert len(replays(answer)) == 1


@pytest.mark.parametrize("way", [streamed, streamed_async], ids=lambda way: way.__name__)
async def test_a_stream_that_starts_and_then_says_so_is_asked_again(double: ResponsesDouble, way: Way) -> None:
    error = {"type": "error", "code": "previous_response_not_found", "message": "Previous response not found"}
    async with client(double) as llm:
        first = await ask(way, llm, "one")
        double.script(MidStreamError(error=error, after=1))
        answer = await ask(way, llm, [Message("user", "one"), first.message, Message("user", "two")])
    assert answer == "Echo: two"
    assert len(replays(answer)) == 1


@ways
async def test_it_is_asked_again_once_only(double: ResponsesDouble, way: Way) -> None:
    async with client(double) as llm:
        first = await ask(way, llm, "one")
        double.script(Fail(404, {"error": "no such model"}), Fail(404, {"error": "no such model"}))
        with pytest.raises(ModelNotFoundError):
            await ask(way, llm, [Message("user", "one"), first.message, Message("user", "two")])
    posts = [r for r in double.requests if r.method == "POST"]
    assert len(posts) == 3


@pytest.mark.parametrize("way", [streamed, streamed_async], ids=lambda way: way.__name__)
async def test_an_answer_that_has_begun_is_not_asked_again(double: ResponsesDouble, way: Way) -> None:
    async with client(double) as llm:
        first = await ask(way, llm, "one")
        double.script(Cut("a long answer", after=6))
        with pytest.raises(StreamInterruptedError):
            await ask(way, llm, [Message("user", "one"), first.message, Message("user", "two")])
    assert len(double.requests) == 2


def test_results_of_tools_are_new_and_find_their_calls(double: ResponsesDouble) -> None:
    double.script([call("add", {"a": 1, "b": 2}), call("add", {"a": 3, "b": 4})])
    with client(double) as llm:
        talk = [Message("user", "Add.")]
        answer = llm.chat(talk, tools=[ADD])
        results = [Message("tool", ToolResult(c.id, str(i))) for i, c in enumerate(answer.tool_calls)]
        llm.chat([*talk, answer.message, *results], tools=[ADD])
    body = double.requests[-1].body
    assert [i["type"] for i in body["input"]] == ["function_call_output"] * 2
    assert body["tools"]


@pytest.mark.parametrize(
    "change",
    [
        lambda talk: [Message("user", "another"), *talk[1:]],
        lambda talk: [talk[0], Message("assistant", "another"), talk[2]],
        lambda talk: [*talk, Message("system", "Be brief.")],
        lambda talk: [Message("system", "Be brief."), *talk],
    ],
    ids=["first turn", "answer", "late system", "early system"],
)
def test_a_history_that_was_edited_is_sent_whole(double: ResponsesDouble, change: Callable[[Any], Any]) -> None:
    with client(double) as llm:
        talk = [Message("user", "one")]
        talk += [llm.chat(talk).message, Message("user", "two")]
        answer = llm.chat(change(talk))
    assert "previous_response_id" not in double.requests[-1].body
    assert replays(answer) == []


def test_another_model_gets_the_whole_history(double: ResponsesDouble) -> None:
    with client(double) as llm:
        talk = [Message("user", "one")]
        talk += [llm.chat(talk).message, Message("user", "two")]
        llm.chat(talk, model="other")
    assert "previous_response_id" not in double.requests[-1].body


def test_a_history_read_back_from_its_dump_goes_on_where_it_was(double: ResponsesDouble) -> None:
    with client(double) as llm:
        talk = [Message("user", "one")]
        talk += [llm.chat(talk).message, Message("user", "two")]
        llm.chat([Message.from_dict(m.dump()) for m in talk])
    assert texts(double) == ["two"]


def test_what_only_chat_completions_have_is_asked_there() -> None:
    with OpenAIDouble("lmstudio") as double:
        llm = UnifiedLLM("lmstudio", base_url=double.url, model="m", stored_responses=True)
        llm.chat("Hi", seed=1)
        llm.chat("Hi", response_format={"type": "object", "properties": {"a": {"type": "integer"}}})
        assert [r.path for r in double.requests] == ["/chat/completions"] * 2


def test_a_response_that_the_caller_names_is_asked_for_where_it_is_read(double: ResponsesDouble) -> None:
    with client(double, stored_responses=False, transport="http", dialect="responses") as llm:
        first = llm.chat("one", extra_body={"store": True})
    with client(double, stored_responses=False, transport="http") as llm:
        assert llm.chat("two", extra_body={"previous_response_id": first.response_id}) == "Echo: two"
    assert texts(double) == ["two"]


def test_a_response_that_the_caller_names_and_that_is_gone_is_his_to_replace(double: ResponsesDouble) -> None:
    with (
        UnifiedLLM("lmstudio", base_url=double.url, model="m", transport="http", max_retries=0) as llm,
        pytest.raises(InvalidRequestError) as caught,
    ):
        llm.chat("two", extra_body={"previous_response_id": "resp_0"})
    assert "previous_response_id" in str(caught.value.hint)
    assert len(double.requests) == 1


def test_a_stream_that_is_left_closes_its_request_and_stores_nothing_here(double: ResponsesDouble) -> None:
    double.script(Hang("a long answer", after=5))
    with client(double) as llm:
        with llm.stream("one") as stream:
            next(iter(stream.text()))
        assert double.requests[0].request.wait_gone(5)
        llm.chat("one")
    assert len(double.disconnects) == 1
    assert "previous_response_id" not in double.last


async def test_a_task_that_is_cancelled_closes_its_request(double: ResponsesDouble) -> None:
    double.script(Hang("a long answer", after=5))
    async with client(double) as llm:
        begun = asyncio.Event()

        async def read() -> None:
            async with llm.stream_async("one") as stream:
                async for _ in stream.text():
                    begun.set()

        task = asyncio.create_task(read())
        await asyncio.wait_for(begun.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(double.requests[0].request.wait_gone, 5)


async def test_answers_from_many_tasks_at_once_are_each_gone_on_from(double: ResponsesDouble) -> None:
    async with client(double) as llm:

        async def talk(word: str) -> str:
            first = await llm.chat_async(word)
            history = [Message("user", word), first.message, Message("user", f"{word} again")]
            return str(await llm.chat_async(history))

        answers = await asyncio.gather(*(talk(f"word{i}") for i in range(12)))
    assert answers == [f"Echo: word{i} again" for i in range(12)]
    assert sum("previous_response_id" in r.body for r in double.requests) == 12


def test_what_was_stored_is_forgotten_oldest_first() -> None:
    stored = StoredResponses("lmstudio")
    requests = [ChatRequest("m", (Message("user", str(i)),)) for i in range(300)]
    for i, request in enumerate(requests):
        stored.chat(request, lambda _, i=i: ChatResponse("ok", response_id=f"resp_{i}"))  # type: ignore[misc]

    def known(i: int) -> str | None:
        talk = (*requests[i].messages, Message("assistant", "ok"), Message("user", "more"))
        return stored.continuation(ChatRequest("m", talk)).response_id

    assert [known(i) for i in (0, 43, 44, 299)] == [None, None, "resp_44", "resp_299"]


def test_stored_responses_do_not_go_over_the_websockets() -> None:
    with pytest.raises(ConfigurationError, match="stored_responses is a setting of HTTP"):
        UnifiedLLM("lmstudio", transport="sdk", stored_responses=True).get_provider("lmstudio")
