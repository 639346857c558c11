"""A LangChain history keeps what the Responses API said, so that reasoning items go back as they came."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage, message_chunk_to_message
from langchain_core.runnables import Runnable

from langchain_unified_llm import ChatUnifiedLLM
from testkit.responses_double import ResponsesDouble, call, message, thought, web_search

ADD = {"name": "add", "description": "Add.", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}}


@pytest.fixture
def double() -> Iterator[ResponsesDouble]:
    with ResponsesDouble() as found:
        yield found


def ask(llm: Runnable[Any, Any], history: list[BaseMessage], *, stream: bool) -> AIMessage:
    if not stream:
        answer = llm.invoke(history)
    else:
        first, *rest = llm.stream(history)
        answer = message_chunk_to_message(sum(rest, first))
    assert isinstance(answer, AIMessage)
    return answer


@pytest.mark.parametrize("stream", [False, True], ids=["invoke", "stream"])
def test_an_agents_loop_keeps_its_reasoning_byte_for_byte(double: ResponsesDouble, stream: bool) -> None:
    first = [thought("hmm"), call("add", {"a": 1})]
    second = [thought(), web_search(), message("It rains.", phase="final_answer")]
    double.script(first, second, "Bye.")
    model = ChatUnifiedLLM(
        model="openai:gpt-5-mini", base_url=double.url, api_key="k", client_options={"dialect": "responses"}
    )
    llm = model.bind_tools([ADD])
    history: list[BaseMessage] = [HumanMessage("Weather?")]
    asked = ask(llm, history, stream=stream)
    assert [block["type"] for block in asked.content_blocks] == ["reasoning", "tool_call"]
    history += [asked, ToolMessage("1", tool_call_id=str(asked.tool_calls[0]["id"]))]
    history += [ask(llm, history, stream=stream), HumanMessage("Thanks")]
    answer = ask(llm, history, stream=stream)
    assert [item for item in double.last["input"] if item.get("id")] == [*first, *second]
    assert "adjustments" not in answer.response_metadata
