"""LangGraph and LangChain agents: checkpoints, middleware and every streaming mode, over the doubles and offline."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ModelFallbackMiddleware, ModelRetryMiddleware, SummarizationMiddleware
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_anthropic.middleware import AnthropicPromptCachingMiddleware
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel

from langchain_unified_llm import ChatUnifiedLLM
from testkit.claude_double import ClaudeDouble, answer, text, thinking, tool_use
from testkit.openai_double import Call, OpenAIDouble, Say
from unified_llm.testing import Failure, FakeLLM, Reply, ToolCall


@tool
def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"It is sunny in {city}."


class Report(BaseModel):
    """A weather report."""

    city: str
    sunny: bool


REPORT = Report(city="Paris", sunny=True)
CALL = Reply(tool_calls=[ToolCall("weather", {"city": "Paris"}, "call_1")])
QUESTION: Any = {"messages": [("user", "How is Paris?")]}


def claude(double: ClaudeDouble) -> ChatUnifiedLLM:
    return ChatUnifiedLLM(model="claude:claude-haiku-5-5", api_key=double.key, base_url=double.url)


async def test_an_agent_calls_its_tool_and_answers_sync_and_async() -> None:
    llm = ChatUnifiedLLM(client=FakeLLM(CALL, "Sunny.", CALL, "Sunny again."))
    agent = create_agent(llm, [weather])
    assert agent.invoke(QUESTION)["messages"][-1].text == "Sunny."
    messages = (await agent.ainvoke(QUESTION))["messages"]
    assert [type(m) for m in messages[1:3]] == [AIMessage, ToolMessage]
    assert messages[-1].text == "Sunny again."


def test_signed_thinking_survives_a_checkpoint_and_goes_back_unchanged(claude_double: ClaudeDouble) -> None:
    claude_double.script([answer(thinking("I should look."), tool_use("weather", {"city": "Paris"}, id="toolu_1"))])
    saver = InMemorySaver()
    config: Any = {"configurable": {"thread_id": "1"}}
    first = create_agent(claude(claude_double), [weather], checkpointer=saver, interrupt_before=["tools"])
    first.invoke(QUESTION, config)
    resumed = create_agent(claude(claude_double), [weather], checkpointer=saver)
    resumed.invoke(None, config)
    assistant = claude_double.last["messages"][1]["content"]
    assert [block["type"] for block in assistant] == ["thinking", "tool_use"]
    assert assistant[0]["signature"]


def test_the_provider_can_change_in_the_middle_of_a_thread(claude_double: ClaudeDouble) -> None:
    claude_double.script([answer(thinking("I should look."), tool_use("weather", {"city": "Paris"}))])
    saver = InMemorySaver()
    config: Any = {"configurable": {"thread_id": "1"}}
    create_agent(claude(claude_double), [weather], checkpointer=saver).invoke(QUESTION, config)
    with OpenAIDouble("lmstudio") as double:
        other = ChatUnifiedLLM(model="lmstudio:double-1", base_url=double.url)
        more: Any = {"messages": [("user", "And tomorrow?")]}
        create_agent(other, [weather], checkpointer=saver).invoke(more, config)
    assert "I should look." not in str(double.requests[-1].body)
    back: Any = {"messages": [("user", "And now?")]}
    create_agent(claude(claude_double), [weather], checkpointer=saver).invoke(back, config)
    assert claude_double.violations == []


@pytest.mark.parametrize("mode", ["values", "updates", "messages"])
def test_every_stream_mode_of_langgraph_ends_with_the_answer(mode: Any) -> None:
    agent = create_agent(ChatUnifiedLLM(client=FakeLLM(CALL, "It is sunny.")), [weather])
    pieces: list[Any] = list(agent.stream(QUESTION, stream_mode=mode))
    if mode == "messages":
        spoken = [m.text for m, meta in pieces if meta["langgraph_node"] == "model"]
        assert "".join(spoken) == "It is sunny."
        assert len([piece for piece in spoken if piece]) > 1
    else:
        assert "It is sunny." in str(pieces[-1])


async def test_protocol_events_of_a_graph_use_the_native_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: Any, **options: Any) -> Any:
        raise AssertionError("the bridge over chunks was used")

    monkeypatch.setattr(ChatUnifiedLLM, "_stream", never)
    monkeypatch.setattr(ChatUnifiedLLM, "_astream", never)
    llm = ChatUnifiedLLM(client=FakeLLM("one two three", "one two three"))
    assert llm.stream_events("Hi", version="v3").output.text == "one two three"
    stream: Any = await llm.astream_events("Hi", version="v3")
    assert (await stream.output).text == "one two three"


def test_an_agent_streams_protocol_events_by_the_native_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: Any, **options: Any) -> Any:
        raise AssertionError("the bridge over chunks was used")

    monkeypatch.setattr(ChatUnifiedLLM, "_stream", never)
    agent: Any = create_agent(ChatUnifiedLLM(client=FakeLLM(CALL, "It is sunny.")), [weather])
    stream = agent.stream_events(QUESTION, version="v3")
    outputs = [message.output for message in stream.messages]
    assert [call["name"] for call in outputs[0].tool_calls] == ["weather"]
    assert outputs[-1].text == "It is sunny."
    assert stream.output["messages"][-1].text == "It is sunny."


@pytest.mark.filterwarnings("ignore:astream_events version='v1' is deprecated")
@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_an_agent_streams_events_of_its_model_and_its_tools(version: Any) -> None:
    agent = create_agent(ChatUnifiedLLM(client=FakeLLM(CALL, "It is sunny.")), [weather])
    events = [event async for event in agent.astream_events(QUESTION, version=version)]
    chunks = [event["data"]["chunk"] for event in events if event["event"] == "on_chat_model_stream"]
    assert "".join(chunk.text for chunk in chunks) == "It is sunny."
    assert [event["name"] for event in events if event["event"] == "on_tool_end"] == ["weather"]


@pytest.mark.parametrize("strategy", [ProviderStrategy, ToolStrategy])
def test_a_structured_answer_comes_with_either_strategy(strategy: Any) -> None:
    final = Reply(tool_calls=[ToolCall("Report", REPORT.model_dump())])
    last: Any = final if strategy is ToolStrategy else REPORT.model_dump_json()
    agent = create_agent(ChatUnifiedLLM(client=FakeLLM(CALL, last)), [weather], response_format=strategy(Report))
    assert agent.invoke(QUESTION)["structured_response"] == REPORT


def test_an_agent_that_has_to_answer_by_a_tool_comes_to_an_end_offline() -> None:
    agent = create_agent(ChatUnifiedLLM(model="offline"), [weather], response_format=Report)
    answer = agent.invoke(QUESTION, {"recursion_limit": 12})
    assert isinstance(answer["structured_response"], Report)


def test_an_agent_without_tools_sends_none() -> None:
    fake = FakeLLM("Hello.")
    create_agent(ChatUnifiedLLM(client=fake), []).invoke(QUESTION)
    assert "tools" not in fake.requests[-1].body


def test_fallback_middleware_goes_on_with_the_next_model() -> None:
    broken = ChatUnifiedLLM(client=FakeLLM(Failure(status=503)), max_retries=0)
    second = ChatUnifiedLLM(client=FakeLLM("from the second"))
    agent = create_agent(broken, [], middleware=[ModelFallbackMiddleware(second)])
    assert agent.invoke(QUESTION)["messages"][-1].text == "from the second"


def test_retry_middleware_retries_what_may_pass_and_nothing_else() -> None:
    retry = ModelRetryMiddleware(max_retries=2, initial_delay=0.0, jitter=False, on_failure="error")
    passing = FakeLLM(Failure(status=503), "ok")
    agent = create_agent(ChatUnifiedLLM(client=passing, max_retries=0), [], middleware=[retry])
    assert agent.invoke(QUESTION)["messages"][-1].text == "ok"
    hopeless = FakeLLM(Failure(status=400), "never")
    with pytest.raises(ValueError, match="the script says so"):
        create_agent(ChatUnifiedLLM(client=hopeless, max_retries=0), [], middleware=[retry]).invoke(QUESTION)
    assert len([r for r in hopeless.requests if "chat" in r.path]) == 1


def test_summarisation_middleware_shortens_a_long_thread() -> None:
    llm = ChatUnifiedLLM(client=FakeLLM("a summary", "the answer"), profile={"max_input_tokens": 1000})
    shorten = SummarizationMiddleware(llm, trigger=("messages", 6), keep=("messages", 2))
    history: Any = {"messages": [(("user", "assistant")[i % 2], f"turn {i}") for i in range(7)]}
    messages = create_agent(llm, [], middleware=[shorten]).invoke(history)["messages"]
    assert "a summary" in messages[0].text
    assert messages[-1].text == "the answer"
    assert len(messages) < 6


class CacheEverywhere(AnthropicPromptCachingMiddleware):
    """The middleware without its check of the model's class: its marks on system prompt, tools and call are its own."""

    def _should_apply_caching(self, request: Any) -> bool:
        return True


def test_the_marks_of_prompt_caching_middleware_are_understood(claude_double: ClaudeDouble) -> None:
    mark = {"type": "ephemeral", "ttl": "1h"}
    options: Any = {"system_prompt": "Be brief.", "middleware": [CacheEverywhere(ttl="1h")]}
    for _ in range(2):
        last = create_agent(claude(claude_double), [weather], **options).invoke(QUESTION)["messages"][-1]
    body = claude_double.last
    assert [body["cache_control"], body["system"][0]["cache_control"], body["tools"][0]["cache_control"]] == [mark] * 3
    assert last.usage_metadata["input_token_details"]["cache_read"] > 0
    with OpenAIDouble("lmstudio") as double:
        other = ChatUnifiedLLM(model="lmstudio:double-1", base_url=double.url)
        last = create_agent(other, [weather], **options).invoke(QUESTION)["messages"][-1]
    assert "cache_control" not in str(double.requests[-1].body)
    assert last.response_metadata["adjustments"]


def test_prompt_caching_needs_no_middleware(claude_double: ClaudeDouble) -> None:
    llm = ChatUnifiedLLM(
        model="claude:claude-haiku-5-5", api_key=claude_double.key, base_url=claude_double.url, prompt_caching=True
    )
    for _ in range(2):
        last = create_agent(llm, [weather], system_prompt="Be brief.").invoke(QUESTION)["messages"][-1]
    assert last.usage_metadata["input_token_details"]["cache_read"] > 0


def test_one_agent_runs_on_four_backends_by_one_string(claude_double: ClaudeDouble) -> None:
    claude_double.script([answer(tool_use("weather", {"city": "Paris"})), answer(text("Sunny."))])
    says = [Say(calls=[Call("weather", {"city": "Paris"})]), Say("Sunny.")]
    with OpenAIDouble("lmstudio").script(says) as lmstudio, OpenAIDouble().script(says) as other:
        models = [
            claude(claude_double),
            ChatUnifiedLLM(model="lmstudio:double-1", base_url=lmstudio.url),
            ChatUnifiedLLM(model="openai-compatible:double-1", base_url=other.url),
            ChatUnifiedLLM(client=FakeLLM(CALL, "Sunny.")),
        ]
        for llm in models:
            messages = create_agent(llm, [weather]).invoke(QUESTION)["messages"]
            assert [m.type for m in messages] == ["human", "ai", "tool", "ai"]
            assert messages[2].text == "It is sunny in Paris."
            assert messages[-1].text == "Sunny."


def test_a_server_with_grammars_is_left_free_to_call_the_tools_of_an_agent_with_a_schema() -> None:
    says = [Say(calls=[Call("weather", {"city": "Paris"})]), Say(REPORT.model_dump_json())]
    with OpenAIDouble("lmstudio").script(says) as double:
        llm = ChatUnifiedLLM(model="lmstudio:double-1", base_url=double.url)
        agent = create_agent(llm, [weather], response_format=ProviderStrategy(Report))
        assert agent.invoke(QUESTION)["structured_response"] == REPORT
    chats = [request.body for request in double.requests if request.path == "/chat/completions"]
    assert all("response_format" not in body and body["tools"] for body in chats)
