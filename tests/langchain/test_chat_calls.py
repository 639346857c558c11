"""Calls: chains for any model reference, streams one may leave, loops, threads, and keys that stay where they are."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler, UsageMetadataCallbackHandler
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_core.runnables import ConfigurableField
from langchain_core.runnables.history import RunnableWithMessageHistory

from langchain_unified_llm import ChatUnifiedLLM
from testkit.claude_double import ClaudeDouble, answer, text, thinking, tool_use
from testkit.openai_double import Call, OpenAIDouble, Say
from unified_llm import UnifiedLLM
from unified_llm.errors import UnifiedLLMError
from unified_llm.testing import Failure, FakeLLM, Reply, ToolCall

PROMPT = ChatPromptTemplate.from_messages([("system", "Be brief."), ("human", "{question}")])


def claude(double: ClaudeDouble, **fields: Any) -> ChatUnifiedLLM:
    return ChatUnifiedLLM(model="claude:claude-haiku-5-5", api_key=double.key, base_url=double.url, **fields)


# -- one chain, any backend ----------------------------------------------------------------------------------------


def test_one_chain_runs_with_every_model_reference(claude_double: ClaudeDouble) -> None:
    with OpenAIDouble("lmstudio") as lmstudio, OpenAIDouble() as other:
        models = [
            claude(claude_double),
            ChatUnifiedLLM(model="lmstudio:double-1", base_url=lmstudio.url),
            ChatUnifiedLLM(model="double-1", base_url=other.url),
            ChatUnifiedLLM(model="offline"),
            ChatUnifiedLLM(client=UnifiedLLM("offline")),
        ]
        for llm in models:
            answer = (PROMPT | llm | StrOutputParser()).invoke({"question": "What is a codec?"})
            assert "What is a codec?" in answer


async def test_every_way_of_calling_gives_the_same_answer_and_the_same_usage() -> None:
    script = [Say("One two three.", reasoning="hmm", usage=USAGE)] * 8
    with OpenAIDouble("lmstudio").script(script) as double:
        llm = ChatUnifiedLLM(model="lmstudio:double-1", base_url=double.url)
        first, *rest = llm.stream("Hi")
        afirst, *arest = [chunk async for chunk in llm.astream("Hi")]
        answers: list[AIMessage] = [
            llm.invoke("Hi"),
            await llm.ainvoke("Hi"),
            first + rest,
            afirst + arest,
            llm.batch(["Hi"])[0],
            (await llm.abatch(["Hi"]))[0],
            llm.stream_events("Hi", version="v3").output,
            await (await llm.astream_events("Hi", version="v3")).output,
        ]
    for message in answers:
        assert message.text == "One two three."
        assert message.usage_metadata == {
            "input_tokens": 30,
            "output_tokens": 12,
            "total_tokens": 42,
            "input_token_details": {"cache_read": 20},
            "output_token_details": {"reasoning": 5},
        }
        assert message.response_metadata["model_name"] == "double-1"
        assert message.response_metadata["model_provider"] == "lmstudio"
        assert message.response_metadata["finish_reason"] == "stop"
        assert [block["type"] for block in message.content_blocks] == ["reasoning", "text"]


USAGE = {
    "prompt_tokens": 30,
    "completion_tokens": 12,
    "total_tokens": 42,
    "prompt_tokens_details": {"cached_tokens": 20},
    "completion_tokens_details": {"reasoning_tokens": 5},
}


def added(chunks: Any) -> AIMessageChunk:
    first, *rest = chunks
    whole: AIMessageChunk = first + rest
    return whole


def test_reasoning_then_a_call_stay_two_blocks_in_a_v1_stream(claude_double: ClaudeDouble) -> None:
    claude_double.script([answer(thinking("Let me see."), text("I call."), tool_use("add", {"a": 1}))])
    llm = claude(claude_double, output_version="v1").bind_tools([{"name": "add", "description": "", "parameters": {}}])
    message = added(llm.stream("Hi"))
    assert [block["type"] for block in message.content_blocks] == ["reasoning", "text", "tool_call"]
    assert message.tool_calls[0]["args"] == {"a": 1}


def test_calls_cut_by_the_token_limit_are_never_executable() -> None:
    cut = Say(calls=[Call("write", '{"path": "/data/ab', id="c1")], finish="length")
    with OpenAIDouble().script([cut] * 3) as double:
        llm = ChatUnifiedLLM(model="openai-compatible:m", base_url=double.url).bind_tools(
            [{"name": "write", "description": "", "parameters": {"type": "object", "properties": {}}}]
        )
        events: Any = llm.stream_events("Hi", version="v3")
        for message in (llm.invoke("Hi"), added(llm.stream("Hi")), events.output):
            assert message.tool_calls == []
            assert message.invalid_tool_calls[0]["name"] == "write"


def test_callbacks_see_tokens_when_streaming_is_on_and_usage_afterwards() -> None:
    class Watch(BaseCallbackHandler):
        tokens: list[str]

        def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
            self.tokens.append(token)

    watch, usage = Watch(), UsageMetadataCallbackHandler()
    watch.tokens = []
    llm = ChatUnifiedLLM(client=FakeLLM("one two three"), streaming=True)
    llm.invoke("Hi", config={"callbacks": [watch, usage]})
    assert "".join(watch.tokens) == "one two three"
    assert list(usage.usage_metadata) == ["echo"]


@pytest.mark.filterwarnings("ignore:astream_events version='v1' is deprecated")
async def test_events_of_versions_1_and_2_carry_the_chunks() -> None:
    for version in ("v1", "v2"):
        llm = ChatUnifiedLLM(client=FakeLLM("one two three"))
        events = [event async for event in llm.astream_events("Hi", version=version)]
        chunks = [event["data"]["chunk"] for event in events if event["event"] == "on_chat_model_stream"]
        assert "".join(chunk.text for chunk in chunks) == "one two three"
        assert all(isinstance(chunk, AIMessageChunk) for chunk in chunks)
        assert events[-1]["data"]["output"].text == "one two three"


# -- leaving a stream -----------------------------------------------------------------------------------------------


def slow(double: ClaudeDouble) -> None:
    double.script([answer(text("word " * 200), pieces=100, pause=0.05)])


def test_leaving_a_stream_closes_the_request(claude_double: ClaudeDouble) -> None:
    slow(claude_double)
    for _ in claude(claude_double).stream("Hi"):
        break
    assert claude_double.wait_for_disconnect(0.5)


async def test_leaving_an_async_stream_closes_the_request(claude_double: ClaudeDouble) -> None:
    slow(claude_double)
    async for _ in claude(claude_double).astream("Hi"):
        break
    assert await asyncio.to_thread(claude_double.wait_for_disconnect, 0.5)


async def test_cancelling_a_call_closes_the_request(claude_double: ClaudeDouble) -> None:
    slow(claude_double)
    task = asyncio.create_task(claude(claude_double).ainvoke("Hi"))
    await asyncio.to_thread(claude_double.wait_for_request)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(claude_double.wait_for_disconnect, 0.5)


async def test_closing_a_v3_stream_closes_the_request(claude_double: ClaudeDouble) -> None:
    slow(claude_double)
    stream = await claude(claude_double).astream_events("Hi", version="v3")
    async for _ in stream.text:
        break
    await stream.aclose()
    assert await asyncio.to_thread(claude_double.wait_for_disconnect, 0.5)


async def test_cancelling_who_reads_a_v3_stream_in_its_context_closes_the_request(claude_double: ClaudeDouble) -> None:
    async def read() -> None:
        async with await claude(claude_double).astream_events("Hi", version="v3") as stream:
            async for _ in stream.text:
                pass

    slow(claude_double)
    task = asyncio.create_task(read())
    await asyncio.to_thread(claude_double.wait_for_request)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(claude_double.wait_for_disconnect, 0.5)


# -- loops and threads ----------------------------------------------------------------------------------------------


def test_one_model_serves_several_event_loops_one_after_the_other() -> None:
    with OpenAIDouble() as double:
        llm = ChatUnifiedLLM(model="openai-compatible:m", base_url=double.url, max_retries=0)
        for _ in range(4):
            assert asyncio.run(llm.ainvoke("Hi")).text
        assert len(double.requests) == 4


def test_one_model_serves_several_threads_with_and_without_loops() -> None:
    with OpenAIDouble() as double:
        llm = ChatUnifiedLLM(model="openai-compatible:m", base_url=double.url, max_retries=0)
        texts: list[str] = []

        def sync(i: int) -> None:
            texts.append(llm.invoke(f"question {i}").text)

        def loop(i: int) -> None:
            texts.append(asyncio.run(llm.ainvoke(f"question {i}")).text)

        threads = [threading.Thread(target=sync if i % 2 else loop, args=(i,)) for i in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert sorted(texts) == sorted(f"Echo: question {i}" for i in range(12))
        assert len(llm.connections.all()) == 1


async def test_a_batch_keeps_the_order_and_the_concurrency_asked_for() -> None:
    questions: list[Any] = [f"question {i}" for i in range(10)]
    with OpenAIDouble() as double:
        llm = ChatUnifiedLLM(model="openai-compatible:m", base_url=double.url)
        wanted = [f"Echo: {q}" for q in questions]
        assert [m.text for m in llm.batch(questions, config={"max_concurrency": 3})] == wanted
        assert [m.text for m in await llm.abatch(questions, config={"max_concurrency": 3})] == wanted


async def test_a_batch_has_as_many_calls_at_a_time_as_were_asked_for() -> None:
    class Together(BaseCallbackHandler):
        """No call goes on before three have begun; a fourth one at the same time is an error."""

        raise_error = True

        def __init__(self) -> None:
            self.running = 0
            self.most = 0
            self.lock = threading.Lock()
            self.three = threading.Barrier(3, timeout=20)

        def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
            with self.lock:
                self.running += 1
                self.most = max(self.most, self.running)
            self.three.wait()

        def on_llm_end(self, *args: Any, **kwargs: Any) -> None:
            with self.lock:
                self.running -= 1

    questions: list[Any] = [f"question {i}" for i in range(9)]
    llm = ChatUnifiedLLM(model="offline")
    sync, asynchronous = Together(), Together()
    llm.batch(questions, config={"max_concurrency": 3, "callbacks": [sync]})
    await llm.abatch(questions, config={"max_concurrency": 3, "callbacks": [asynchronous]})
    assert (sync.most, asynchronous.most) == (3, 3)


def test_a_batch_can_return_the_failures_beside_the_answers() -> None:
    llm = ChatUnifiedLLM(client=FakeLLM("ok", Failure(status=400), "ok"), max_retries=0)
    results = llm.batch(["a", "b", "c"], config={"max_concurrency": 1}, return_exceptions=True)
    assert [isinstance(r, UnifiedLLMError) for r in results] == [False, True, False]


# -- another model for one call -------------------------------------------------------------------------------------


def test_another_provider_for_one_call_never_sees_the_key_of_the_first(claude_double: ClaudeDouble) -> None:
    with OpenAIDouble() as other:
        llm = claude(claude_double)
        llm.core_client().configure_provider("openai-compatible", {"base_url": other.url})
        message = llm.invoke("Hi", model="openai-compatible:double-1")
        llm.invoke("Hi")
    assert message.response_metadata["model_provider"] == "openai-compatible"
    assert claude_double.key not in str(other.requests[-1].headers)
    assert "authorization" not in other.requests[-1].headers
    assert claude_double.requests[-1].headers["x-api-key"] == claude_double.key


def test_a_model_of_the_same_provider_may_be_named_without_it(claude_double: ClaudeDouble) -> None:
    message = claude(claude_double).invoke("Hi", model="claude-opus-4-8")
    assert message.response_metadata["model_name"] == "claude-opus-4-8"
    assert claude_double.last["model"] == "claude-opus-4-8"


def test_fields_can_be_chosen_at_run_time_without_new_connections() -> None:
    with OpenAIDouble() as double:
        llm = ChatUnifiedLLM(model="openai-compatible:a", base_url=double.url)
        chosen = llm.configurable_fields(
            model=ConfigurableField(id="model"), temperature=ConfigurableField(id="temperature")
        )
        for name in ("b", "c"):
            chosen.invoke("Hi", config={"configurable": {"model": f"openai-compatible:{name}", "temperature": 0.3}})
        chosen.invoke("Hi")
        assert [r.body["model"] for r in double.requests] == ["b", "c", "a"]
        assert double.requests[0].body["temperature"] == 0.3
        assert len(llm.connections.all()) == 1


def test_whole_models_can_be_chosen_at_run_time() -> None:
    llm = ChatUnifiedLLM(client=FakeLLM("first")).configurable_alternatives(
        ConfigurableField(id="which"), other=ChatUnifiedLLM(client=FakeLLM("other"))
    )
    assert llm.invoke("Hi", config={"configurable": {"which": "other"}}).text == "other"
    assert llm.invoke("Hi").text == "first"


def test_langchains_fallbacks_see_the_errors_they_look_for() -> None:
    broken = ChatUnifiedLLM(client=FakeLLM(Failure(status=503)), max_retries=0)
    chain = broken.with_fallbacks([ChatUnifiedLLM(client=FakeLLM("second"))])
    assert chain.invoke("Hi").text == "second"


def test_the_cores_fallbacks_are_asked_and_the_answer_says_who_gave_it() -> None:
    with OpenAIDouble() as double:
        double.script(*[Say("late")])
        llm = ChatUnifiedLLM(
            model="openai-compatible:m", base_url="http://127.0.0.1:9", fallbacks=["offline:"], max_retries=0
        )
        message = llm.invoke("Hi")
    assert message.response_metadata["model_provider"] == "offline"


def test_langchains_retries_work_on_our_errors() -> None:
    fake = FakeLLM(Failure(status=500), "ok")
    llm = ChatUnifiedLLM(client=fake, max_retries=0)
    assert llm.with_retry(stop_after_attempt=2, wait_exponential_jitter=False).invoke("Hi").text == "ok"


def test_a_rate_limiter_is_asked_before_each_call() -> None:
    class Counting(InMemoryRateLimiter):
        asked = 0

        def acquire(self, *, blocking: bool = True) -> bool:
            self.asked += 1
            return True

    limiter = Counting(requests_per_second=1)
    llm = ChatUnifiedLLM(client=FakeLLM("a", "b"), rate_limiter=limiter)
    llm.invoke("Hi")
    list(llm.stream("Hi"))
    assert limiter.asked == 2


@pytest.mark.filterwarnings("ignore:The class `InMemoryChatMessageHistory` was deprecated")
@pytest.mark.filterwarnings("ignore:RunnableWithMessageHistory is deprecated")
async def test_message_history_is_kept_across_calls_and_sent_again() -> None:
    fake = FakeLLM("first", "second", "third")
    store = InMemoryChatMessageHistory()
    prompt = ChatPromptTemplate.from_messages([MessagesPlaceholder("history"), ("human", "{question}")])
    chain = RunnableWithMessageHistory(
        prompt | ChatUnifiedLLM(client=fake),
        lambda session_id: store,
        input_messages_key="question",
        history_messages_key="history",
    )
    config: Any = {"configurable": {"session_id": "s"}}
    for question in ("one", "two"):
        chain.invoke({"question": question}, config=config)
    assert [m["content"] for m in fake.requests[-1].messages] == ["one", "first", "two"]
    await chain.ainvoke({"question": "three"}, config=config)
    assert [m["content"] for m in fake.requests[-1].messages] == ["one", "first", "two", "second", "three"]


def test_disabled_streaming_with_tools_still_streams_one_chunk() -> None:
    fake = FakeLLM(Reply(tool_calls=[ToolCall("look", {})]))
    llm = ChatUnifiedLLM(client=fake, disable_streaming="tool_calling")
    (chunk,) = llm.bind_tools([{"name": "look", "description": "", "parameters": {}}]).stream("Hi")
    assert chunk.tool_calls[0]["name"] == "look"
    assert "stream" not in fake.requests[-1].body


def test_closing_leaves_the_model_usable() -> None:
    with OpenAIDouble() as double:
        llm = ChatUnifiedLLM(model="openai-compatible:m", base_url=double.url)
        llm.invoke("Hi")
        llm.close()
        assert llm.invoke("Hi").text
        assert len(double.requests) == 2
