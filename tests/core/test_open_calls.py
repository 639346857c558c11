"""Tool calls without a result: what a history holds after an answer was cut off, or a run was stopped."""

from __future__ import annotations

import pytest

from testkit.claude_double import ClaudeDouble
from testkit.dialects import DIALECTS, Maker, Sent, maker
from testkit.openai_double import Call, OpenAIDouble, Say
from unified_llm import Message, ModelConfig, ToolCall, ToolResult, UnifiedLLM
from unified_llm.errors import InvalidMessageError
from unified_llm.preparation import prepare_chat
from unified_llm.responses import Adjustment

CUT = '{"path": "/data/ab'
ASKED = Message("user", "asked")
ON = Message("user", "go on")


def cut(id: str = "call_1") -> ToolCall:
    return ToolCall("add", CUT, id)


def whole(id: str = "call_2") -> ToolCall:
    return ToolCall("add", {"a": 1}, id)


def result(id: str) -> Message:
    return Message("tool", ToolResult(id, "42"))


HISTORIES: dict[str, list[Message]] = {
    "a call that was cut off": [ASKED, Message("assistant", ["said", cut()]), ON],
    "a call that was cut off, at the end": [ASKED, Message("assistant", cut())],
    "one of two calls": [ASKED, Message("assistant", [cut(), whole()]), result("call_2"), ON],
    "one of two calls, at the end": [ASKED, Message("assistant", [whole(), cut()]), result("call_2")],
    "a run that was stopped": [ASKED, Message("assistant", whole()), ON],
    "two of them": [ASKED, Message("assistant", cut()), ON, Message("assistant", whole()), ON],
    "a result in a turn of the user": [
        ASKED,
        Message("assistant", [cut(), whole()]),
        Message("user", [ToolResult("call_2", "42"), "and?"]),
    ],
    "a call that was cut off before its name": [ASKED, Message("assistant", ["said", ToolCall("", "", "call_1")]), ON],
}


def sent(server: Maker, history: list[Message]) -> tuple[Sent, list[Adjustment]]:
    _, messages, notes = prepare_chat(ModelConfig(), history, None, {})
    return server.send(list(messages)), notes


@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_takes_a_history_with_calls_that_were_not_run(dialect: str, history: list[Message]) -> None:
    request, notes = sent(maker(dialect), history)
    assert request.faults == []
    assert [note.what.partition("]")[2] for note in notes] == [".tool_call"] * len(notes)
    assert notes


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_model_is_told_that_its_call_was_not_run_and_sees_what_it_wrote(dialect: str) -> None:
    request, _ = sent(maker(dialect), HISTORIES["a call that was cut off"])
    assert "This call was not run: arguments are not JSON" in request.text
    assert "/data/ab" in request.text
    request, _ = sent(maker(dialect), HISTORIES["a run that was stopped"])
    assert "This call was not run: the conversation went on without its result." in request.text


def test_results_that_are_there_are_left_as_they_are() -> None:
    _, messages, notes = prepare_chat(ModelConfig(), [ASKED, Message("assistant", whole()), result("call_2")], None, {})
    assert [m.role for m in messages] == ["user", "assistant", "tool"]
    assert notes == []


def test_a_result_that_was_forgotten_at_the_end_is_said() -> None:
    with ClaudeDouble() as double:
        llm = UnifiedLLM(model="claude:claude-haiku-5-5", api_key=double.key, base_url=double.url)
        with pytest.raises(InvalidMessageError, match="has no result") as caught:
            llm.chat([ASKED, Message("assistant", whole())])
        assert "append a tool message" in str(caught.value.hint)
        llm.close()


def test_who_wants_errors_gets_them_for_calls_that_could_have_been_run() -> None:
    strict = ModelConfig(on_unsupported="error")
    _, messages, _ = prepare_chat(strict, HISTORIES["a run that was stopped"], None, {})
    assert len(messages) == 3
    _, messages, notes = prepare_chat(strict, HISTORIES["a call that was cut off"], None, {})
    assert (len(messages), len(notes)) == (4, 1)


def test_a_conversation_goes_on_after_a_call_was_cut_off_and_the_answer_says_what_was_sent() -> None:
    with OpenAIDouble("lmstudio") as double:
        double.script(Say("", calls=[Call("add", CUT, id="call_1")], finish="length"), Say("ok"), Say("still ok"))
        with UnifiedLLM(model="lmstudio:double-1", base_url=double.url, max_retries=0) as llm:
            history = [ASKED, llm.chat("asked").message, ON]
            answer = llm.chat(history)
            again = llm.chat([*history, answer.message, ON])
    assert (str(answer), str(again)) == ("ok", "still ok")
    assert "messages[1].tool_call" in [a.what for a in answer.adjustments]
