"""The chat model over LM Studio's websockets: nothing in the adapter knows of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.messages.ai import add_ai_message_chunks
from langchain_core.tools import tool

from langchain_unified_llm import ChatUnifiedLLM
from testkit.lmstudio_ws_double import Call, LMStudioDouble, Say


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@pytest.fixture
def studio() -> Iterator[LMStudioDouble]:
    with LMStudioDouble() as double:
        yield double


async def test_tools_stream_and_their_results_go_back(studio: LMStudioDouble) -> None:
    studio.script(
        Say(reasoning="Sum them.", calls=[Call("add", {"a": 1, "b": 2}, "c1"), Call("add", {"a": 3, "b": 4}, "c2")]),
        Say("3 and 7."),
    )
    llm = ChatUnifiedLLM(model="lmstudio:tiny", base_url=studio.url).bind_tools([add])
    question = HumanMessage("1+2, 3+4?")
    chunks = [chunk async for chunk in llm.astream([question])]
    whole = add_ai_message_chunks(*[c for c in chunks if isinstance(c, AIMessageChunk)])
    assert [(c["id"], c["args"]) for c in whole.tool_calls] == [("c1", {"a": 1, "b": 2}), ("c2", {"a": 3, "b": 4})]
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["input_tokens"] == 24
    results = [ToolMessage(str(add.invoke(c["args"])), tool_call_id=c["id"]) for c in whole.tool_calls]
    answer = await llm.ainvoke([question, whole, *results])
    assert isinstance(answer, AIMessage)
    assert answer.text == "3 and 7."
    roles = [m["role"] for m in studio.predictions[1].messages]
    assert roles == ["user", "assistant", "tool"]
    assert studio.http.requests == []
