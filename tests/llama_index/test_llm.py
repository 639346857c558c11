"""The LlamaIndex LLM: native endpoints, tools, structured output, usage counted once, no secret shown."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import (
    CacheControl,
    CachePoint,
    ChatMessage,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel

import unified_llm as core
from llama_index.llms.unified_llm import UnifiedLLM
from llama_index.llms.unified_llm.from_core import StreamAssembler, from_core_response
from llama_index.llms.unified_llm.to_core import to_core_messages
from testkit.claude_double import ClaudeDouble
from testkit.openai_double import OpenAIDouble

KEY = "sk-planted-0123456789"


class City(BaseModel):
    """A city."""

    name: str
    people: int


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@pytest.fixture
def openai() -> Iterator[OpenAIDouble]:
    with OpenAIDouble() as double:
        yield double
    assert double.violations == []


def over(double: OpenAIDouble, **options: Any) -> UnifiedLLM:
    return UnifiedLLM("openai-compatible:gpt-test", base_url=double.url, api_key=KEY, **options)


async def test_the_eight_endpoints_agree(openai: OpenAIDouble) -> None:
    llm = over(openai)
    messages = [ChatMessage(role="user", content="hello")]
    said = llm.chat(messages).message.content
    assert said
    assert (await llm.achat(messages)).message.content == said
    assert llm.complete("hello").text == said
    assert (await llm.acomplete("hello")).text == said
    assert "".join(r.delta or "" for r in llm.stream_chat(messages)) == said
    assert [r async for r in await llm.astream_chat(messages)][-1].message.content == said
    assert list(llm.stream_complete("hello"))[-1].text == said
    assert [r async for r in await llm.astream_complete("hello")][-1].text == said


def test_streamed_responses_grow_and_the_last_one_has_the_usage(openai: OpenAIDouble) -> None:
    responses = list(over(openai).stream_chat([ChatMessage(role="user", content="hello")]))
    texts = [r.message.content or "" for r in responses]
    assert all(later.startswith(earlier) for earlier, later in pairwise(texts))
    assert "usage" not in responses[0].raw
    assert responses[-1].raw["usage"]["total_tokens"] > 0


@pytest.mark.parametrize("method", ["complete", "chat"])
def test_usage_is_counted_once(openai: OpenAIDouble, method: str) -> None:
    counter = TokenCountingHandler()
    llm = over(openai, callback_manager=CallbackManager([counter]))
    response = llm.complete("hi") if method == "complete" else llm.chat([ChatMessage(role="user", content="hi")])
    assert counter.total_llm_token_count == response.raw["usage"]["total_tokens"]


# The workflow engine of LlamaIndex looks at every attribute of a pydantic model, deprecated ones too.
@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")
async def test_an_agent_calls_its_tool_and_ends() -> None:
    agent = FunctionAgent(tools=[add], llm=UnifiedLLM("offline:"), system_prompt="Use add for sums.")
    result: Any = await agent.run("Please add two numbers with the tool add.")
    assert [call.tool_name for call in result.tool_calls] == ["add"]
    assert str(result)


def test_a_forced_tool_is_called_with_valid_arguments(openai: OpenAIDouble) -> None:
    llm = over(openai)
    tool = FunctionTool.from_defaults(add)
    history = [ChatMessage(role="user", content="earlier"), ChatMessage(role="assistant", content="yes")]
    response = llm.chat_with_tools([tool], "add 1 and 2", chat_history=history, tool_required=True)
    (selection,) = llm.get_tool_calls_from_response(response)
    assert selection.tool_name == "add"
    assert set(selection.tool_kwargs) == {"a", "b"}
    assert len(history) == 2


def test_tools_and_tool_choice_are_not_sent_when_there_are_none(openai: OpenAIDouble) -> None:
    over(openai).chat_with_tools([], "hi", tool_required=True)
    body = openai.requests[-1].body
    assert "tools" not in body
    assert "tool_choice" not in body


def test_a_user_message_object_is_not_lost(openai: OpenAIDouble) -> None:
    over(openai).chat_with_tools([], ChatMessage(role="user", content="keep me"))
    assert "keep me" in json.dumps(openai.requests[-1].body)


@pytest.mark.parametrize("model", ["offline:", "openai"])
def test_structured_output_is_native_and_streams(openai: OpenAIDouble, model: str) -> None:
    llm = over(openai) if model == "openai" else UnifiedLLM(model)
    prompt = PromptTemplate("Describe {what}.")
    assert isinstance(llm.structured_predict(City, prompt, what="Oslo"), City)
    partial = list(llm.stream_structured_predict(City, prompt, what="Oslo"))
    assert isinstance(partial[-1], City)


async def test_structured_output_works_in_async(openai: OpenAIDouble) -> None:
    llm = over(openai, system_prompt="You know cities.")
    prompt = PromptTemplate("Describe {what}.")
    assert isinstance(await llm.astructured_predict(City, prompt, what="Oslo"), City)
    stream = await llm.astream_structured_predict(City, prompt, what="Oslo")
    assert isinstance([o async for o in stream][-1], City)
    assert "You know cities." in json.dumps(openai.requests[-1].body)


def test_output_that_does_not_fit_is_the_cores_error() -> None:
    llm = UnifiedLLM("offline:", client_options={"script": ["no json"]})
    with pytest.raises(core.StructuredOutputError):
        llm.structured_predict(City, PromptTemplate("x"))


def test_errors_are_typed_and_not_wrapped(openai: OpenAIDouble) -> None:
    with pytest.raises(core.InvalidRequestError, match="temperature"):
        over(openai, temperature=3).complete("hi")


def test_thinking_travels_with_its_signature_and_comes_back(claude_double: ClaudeDouble) -> None:
    thinking = core.Thinking("hm", "SIG", native=core.Native("anthropic", {"type": "thinking"}, "claude", "m"))
    redacted = core.Thinking("", redacted="XYZ")
    opaque = core.Opaque(core.Native("anthropic", {"type": "server_tool_use", "id": "s1"}, "claude"))
    call = core.ToolCall("add", {"a": 1}, "t1")
    message = core.Message("assistant", [thinking, redacted, opaque, core.Text("a"), core.Text("b"), call])
    there = from_core_response(core.ChatResponse(message)).message
    (back,) = to_core_messages([ChatMessage.model_validate_json(there.model_dump_json())])
    assert back.parts == (thinking, redacted, opaque, core.Text("ab"), call)
    assert [getattr(p, "native", None) for p in back.parts[:3]] == [thinking.native, None, opaque.native]
    assert there.content == "ab"


def test_thinking_shows_in_the_stream_and_arguments_grow() -> None:
    assembler = StreamAssembler()
    events: list[Any] = [
        core.ThinkingDelta("hm", 0),
        core.PartEnd(core.Thinking("hm", "SIG"), 0),
        core.ToolCallStart("t1", "add", 1),
        core.ToolCallDelta('{"a": 1, "b', 1),
    ]
    first, nothing, _, last = [assembler.add(e) for e in events]
    assert first is not None
    assert first.additional_kwargs["thinking_delta"] == "hm"
    assert nothing is None
    assert last is not None
    llm = UnifiedLLM("offline:")
    assert llm.get_tool_calls_from_response(last)[0].tool_kwargs["a"] == 1
    assert isinstance(last.message.blocks[0], ThinkingBlock)
    assert last.message.additional_kwargs["tool_calls"][0]["id"] == "t1"


def test_broken_arguments_stay_text_and_are_never_an_executable_call() -> None:
    message = core.Message("assistant", core.ToolCall("add", '{"a": ', "t1"))
    block = from_core_response(core.ChatResponse(message)).message.blocks[0]
    assert isinstance(block, ToolCallBlock)
    assert block.tool_kwargs == '{"a": '


def test_every_kind_of_block_is_translated_and_video_is_refused() -> None:
    message = ChatMessage(
        role="user",
        blocks=[
            TextBlock(text="look"),
            ImageBlock(image=b"\x89PNG\r\n\x1a\n", image_mimetype="image/png", detail="low"),
            ImageBlock(url="https://example.org/a.png"),
            DocumentBlock(data=b"%PDF-1.7", title="paper", document_mimetype="application/pdf"),
            CachePoint(cache_control=CacheControl(type="ephemeral")),
        ],
    )
    (translated,) = to_core_messages([message])
    assert translated.parts == (
        core.Text("look"),
        core.Image(data=b"\x89PNG\r\n\x1a\n", media_type="image/png", detail="low"),
        core.Image(url="https://example.org/a.png", media_type="image/png"),
        core.File(data=b"%PDF-1.7", media_type="application/pdf", name="paper"),
    )
    with pytest.raises(core.InvalidMessageError, match="VideoBlock"):
        to_core_messages([ChatMessage(role="user", blocks=[VideoBlock(url="https://example.org/a.mp4")])])


def test_roles_of_other_integrations_are_understood() -> None:
    messages = [
        ChatMessage(role=MessageRole.DEVELOPER, content="s"),
        ChatMessage(role=MessageRole.CHATBOT, content="a"),
        ChatMessage(role=MessageRole.MODEL, content="b"),
    ]
    assert [m.role for m in to_core_messages(messages)] == ["system", "assistant", "assistant"]


def test_calls_kept_only_in_additional_kwargs_are_found() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    message = ChatMessage(role="assistant", content=None, additional_kwargs={"tool_calls": [call]})
    assert to_core_messages([message])[0].tool_calls == (core.ToolCall("add", '{"a": 1}', "c"),)


def test_no_key_in_repr_dict_payload_or_pickle() -> None:
    llm = UnifiedLLM("openai-compatible:m", base_url="http://127.0.0.1:9/v1", api_key=KEY)
    payload = llm.to_payload() if hasattr(llm, "to_payload") else None  # newer versions have it
    shown = f"{llm!r} {llm} {llm.to_dict()} {llm.to_json()} {payload}"
    assert KEY not in shown


def test_copies_and_pickles_work_after_use(openai: OpenAIDouble) -> None:
    llm = over(openai)
    llm.complete("hi")
    assert copy.deepcopy(llm).complete("hi").text
    assert pickle.loads(pickle.dumps(llm)).model == "openai-compatible:gpt-test"
    assert llm.complete("still here").text


def test_two_event_loops_one_llm(openai: OpenAIDouble) -> None:
    llm = over(openai)
    for _ in range(2):
        assert asyncio.run(llm.acomplete("hi")).text


def test_making_one_needs_no_key_and_no_network() -> None:
    assert UnifiedLLM("claude:claude-sonnet-5-5").metadata.is_function_calling_model


@pytest.mark.parametrize(("window", "tokens"), [(4096, 4096), (2048, None), (None, None), (100, 5000)])
def test_metadata_always_leaves_room_for_a_prompt(window: int | None, tokens: int | None) -> None:
    metadata = UnifiedLLM("offline:", context_window=window, max_tokens=tokens).metadata
    assert 0 < metadata.num_output < metadata.context_window / 2


def test_a_core_client_can_be_shared() -> None:
    client = core.UnifiedLLM("offline")
    llm = UnifiedLLM.from_client(client)
    assert llm.client is client
    assert llm.complete("hi").text
