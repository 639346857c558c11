"""What `AIMessage` cannot hold travels inside it, returns unchanged, and gives way to edits."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.load import dumps, loads
from langchain_core.messages import AIMessage, ToolMessage, merge_message_runs

from langchain_unified_llm import core_to_lc
from langchain_unified_llm.keeping import KEPT
from langchain_unified_llm.lc_to_core import to_core
from unified_llm import ChatResponse, Message, Native, Opaque, Origin, Text, Thinking, ToolCall

ORIGIN = Origin("claude", "anthropic", "m-1")


def native(**raw: Any) -> Native:
    return Native("anthropic", raw, "claude", "m-1")


THOUGHT = Thinking("hmm", "sig", native=native(type="thinking", thinking="hmm", signature="sig"))
SEARCH = Opaque(native(type="server_tool_use", id="s1", name="web_search", input={}))
TEXT = Text("Let me see.", ({"type": "char_location"},), native=native(type="text", text="Let me see."))
CALL = ToolCall("add", {"a": 1}, "c1", native=native(type="tool_use", id="c1", name="add", input={"a": 1}))
OTHER = ToolCall("add", {"a": 2}, "c2", native=native(type="tool_use", id="c2", name="add", input={"a": 2}))
MADE = Message("assistant", [THOUGHT, SEARCH, TEXT, CALL, OTHER], origin=ORIGIN)


def sent(message: AIMessage) -> Message:
    return to_core([message])[0]


def made(*parts: Any, v1: bool = False) -> AIMessage:
    return core_to_lc.message(ChatResponse(Message("assistant", parts, origin=ORIGIN)), v1=v1)


def natives(message: Message) -> list[Any]:
    return [getattr(part, "native", None) for part in message.parts]


@pytest.mark.parametrize("v1", [False, True], ids=["v0", "v1"])
def test_an_answer_goes_back_as_it_came(v1: bool) -> None:
    back = sent(made(*MADE.parts, v1=v1))
    assert back == MADE
    assert natives(back) == natives(MADE)


@pytest.mark.parametrize("store", ["json", "langchain", "copy"])
def test_it_goes_back_as_it_came_after_being_stored(store: str) -> None:
    message = made(*MADE.parts)
    match store:
        case "json":
            stored = AIMessage(**json.loads(json.dumps(message.model_dump())))
        case "langchain":
            stored = loads(dumps(message), allowed_objects="messages")
        case _:
            stored = message.model_copy(deep=True)
    back = sent(stored)
    assert back == MADE
    assert natives(back) == natives(MADE)


def test_text_and_calls_that_say_it_all_are_stored_once() -> None:
    assert KEPT not in made(Text("hi"), ToolCall("add", {"a": 1}, "c1")).additional_kwargs


def test_a_text_with_an_id_or_a_phase_of_its_own_is_kept_and_one_without_is_stored_once() -> None:
    plain = Text("hi", native=native(type="text", text="hi", citations=None))
    assert KEPT not in made(plain).additional_kwargs
    item = Text("hi", native=native(type="message", id="msg_1", phase="commentary"))
    assert natives(sent(made(item))) == [item.native]


def test_an_order_that_the_message_cannot_show_is_kept() -> None:
    parts = (ToolCall("add", {"a": 1}, "c1"), Text("and then"))
    assert sent(made(*parts)).parts == parts


def test_edited_text_replaces_what_was_said_and_leaves_the_rest() -> None:
    message = made(*MADE.parts)
    message.content = "Redacted."
    back = sent(message)
    assert back.parts == (THOUGHT, SEARCH, Text("Redacted."), CALL, OTHER)
    assert back.parts[2].native is None


def test_text_added_to_a_turn_of_calls_comes_after_the_thinking() -> None:
    message = made(THOUGHT, CALL)
    message.content = "Added."
    assert sent(message).parts == (THOUGHT, Text("Added."), CALL)


def test_removed_text_is_gone() -> None:
    message = made(THOUGHT, TEXT, CALL)
    message.content = ""
    assert sent(message).parts == (THOUGHT, CALL)


def test_an_edited_call_is_sent_as_edited_and_an_untouched_one_as_it_came() -> None:
    message = made(*MADE.parts)
    message.tool_calls[0] = {**message.tool_calls[0], "args": {"a": 9}}
    changed, untouched = sent(message).tool_calls
    assert (changed.arguments, changed.native) == ({"a": 9}, None)
    assert untouched.native is not None


def test_a_removed_call_is_gone_and_a_new_one_is_there() -> None:
    message = made(*MADE.parts)
    message.tool_calls = [message.tool_calls[1], {"name": "look", "args": {}, "id": "new", "type": "tool_call"}]
    assert [(c.name, c.id) for c in sent(message).tool_calls] == [("add", "c2"), ("look", "new")]


def test_broken_arguments_go_back_as_they_came() -> None:
    broken = ToolCall("add", '{"a": ', "c1")
    assert sent(made(THOUGHT, broken)).tool_calls == (broken,)


def test_merged_messages_keep_the_parts_of_both() -> None:
    first, second = made(THOUGHT, TEXT), made(Thinking("more", "sig2"), Text("Second."))
    (merged,) = merge_message_runs([first, second])
    assert isinstance(merged, AIMessage)
    kinds = [type(part) for part in sent(merged).parts]
    assert kinds.count(Thinking) == 2
    assert sent(merged).text == merged.text


def test_results_follow_their_calls() -> None:
    history = to_core([made(THOUGHT, CALL), ToolMessage("2", tool_call_id="c1")])
    assert history[1].tool_results[0].call_id == history[0].tool_calls[0].id


# -- v1 content ------------------------------------------------------------------------------------------------------


HIDDEN = Thinking("", redacted="xyz", native=native(type="redacted_thinking", data="xyz"))
SILENT = Thinking("", native=native(type="reasoning", encrypted_content="abc"))


def test_untouched_v1_content_goes_back_as_it_came() -> None:
    parts = (THOUGHT, HIDDEN, SILENT, SEARCH, TEXT, CALL)
    back = sent(made(*parts, v1=True))
    assert back.parts == parts
    assert [getattr(p, "native", None) for p in back.parts] == [getattr(p, "native", None) for p in parts]


@pytest.mark.parametrize("removed", [THOUGHT, HIDDEN, SEARCH])
def test_a_block_that_was_removed_from_v1_content_is_gone(removed: Any) -> None:
    parts = [THOUGHT, HIDDEN, SEARCH, TEXT, CALL]
    message = made(*parts, v1=True)
    message.content = [b for b in message.content if b != core_to_lc.block(removed)]
    assert list(sent(message).parts) == [part for part in parts if part is not removed]


def test_edited_reasoning_of_v1_content_has_no_signature() -> None:
    message = made(THOUGHT, TEXT, v1=True)
    message.content = [{**message.content[0], "reasoning": "Edited."}, *message.content[1:]]  # type: ignore[dict-item]
    assert sent(message).parts == (Thinking("Edited."), TEXT)


def test_the_end_that_chunks_give_to_broken_arguments_is_not_sent() -> None:
    broken = ToolCall("add", '{"a": "x', "c1")
    message = made(broken)
    message.invalid_tool_calls[0]["args"] = broken.arguments_json + '"]'
    assert sent(message).tool_calls == (broken,)
    message.invalid_tool_calls[0]["args"] = '{"b": '
    assert sent(message).tool_calls[0].arguments_json == '{"b": '
