"""Test an application that uses a model: no key, no network, no waiting.

uv run pytest examples/09_testing_your_app.py      (or run it as a script)
"""

import sys

import pytest

from unified_llm import APIError, UnifiedLLM
from unified_llm.testing import Failure, FakeLLM, Reply, ToolCall, forbid_real_providers

# -- the application -------------------------------------------------------------------------------------------------


def classify(llm: UnifiedLLM, review: str) -> str:
    """good, bad or unclear; unclear when the model cannot be reached."""
    try:
        answer = llm.chat(f"Is this review good or bad? One word.\n\n{review}", temperature=0)
    except APIError:
        return "unclear"
    word = answer.strip(" .").lower()
    return word if word in ("good", "bad") else "unclear"


# -- its tests -------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def no_accidents():
    """Nothing in this file can reach a real provider, whatever keys this machine has."""
    with forbid_real_providers():
        yield


def test_the_answer_is_read_whatever_its_form():
    assert classify(FakeLLM("Good."), "I loved it") == "good"
    assert classify(FakeLLM("BAD"), "I left after ten minutes") == "bad"
    assert classify(FakeLLM("Well, that depends."), "Hm") == "unclear"


def test_the_review_is_sent_and_the_answer_is_not_left_to_chance():
    llm = FakeLLM("good")
    classify(llm, "I loved it")
    assert "I loved it" in llm.last_request.prompt
    assert llm.last_request.options == {"temperature": 0}


def test_a_server_that_fails_leaves_the_review_unclear():
    assert classify(FakeLLM(Failure(status=529, message="overloaded")), "I loved it") == "unclear"


def test_slow_answers_and_tool_calls_can_be_played_too():
    llm = FakeLLM(ToolCall("look_up", {"film": "Alien"}), Reply("good", thinking="They liked it.", chunk_delay=0.001))
    assert llm.chat("Review?").tool_calls[0].arguments == {"film": "Alien"}
    assert "".join(llm.chat("Review?", stream=True)) == "good"
    llm.assert_script_used()


if __name__ == "__main__":
    sys.exit(pytest.main([__file__, "-q", "-p", "no:cacheprovider"]))
