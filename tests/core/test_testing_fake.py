"""`unified_llm.testing.FakeLLM`, as an application's own tests use it."""

from __future__ import annotations

import doctest
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import unified_llm.offline.schema_examples
import unified_llm.testing.fake
from unified_llm import ConfigurationError, Message, RateLimitError, ToolResult, UnifiedLLM
from unified_llm.testing import (
    Cut,
    Failure,
    FakeLLM,
    Reply,
    ToolCall,
    embed_text,
    example_for_schema,
    replace_providers,
    scripted,
)


class Answer(BaseModel):
    """What the application under test wants."""

    city: str
    sure: bool


def assistant(llm: UnifiedLLM, question: str) -> str:
    """An application: lets the model call one tool, and returns its last word."""
    history: list[Any] = [Message("user", question)]
    while True:
        answer = llm.chat(history, model="claude:claude-sonnet-5-5", tools=[lookup])
        if not answer.tool_calls:
            return answer.text
        results = [ToolResult(c.id, lookup(**(c.arguments or {}))) for c in answer.tool_calls]
        history += [answer, Message("tool", results)]


def lookup(city: str) -> str:
    """Weather of a city."""
    return f"{city}: sunny"


def test_an_application_is_tested_through_its_real_calls() -> None:
    llm = FakeLLM(ToolCall("lookup", {"city": "Paris"}), "It is sunny.")
    assert assistant(llm, "How is Paris?") == "It is sunny."
    first, second = llm.requests
    assert (first.prompt, first.tools, first.model) == ("How is Paris?", ("lookup",), "claude-sonnet-5-5")
    assert [r["content"] for r in second.tool_results] == ["Paris: sunny"]
    llm.assert_script_used()


def test_every_provider_is_answered_by_the_fake() -> None:
    llm = FakeLLM("a", "b", "c", model="openai:gpt-5-mini", fallbacks=["claude:claude-sonnet-5-5"])
    assert llm.chat("x") == "a"
    assert llm.chat("x", model="lmstudio:qwen/qwen3-8b") == "b"
    llm.set_provider("claude")
    assert llm.chat("x") == "c"
    assert [r.model for r in llm.requests] == ["gpt-5-mini", "qwen/qwen3-8b", "echo"]
    assert llm.provider.name == "offline"


async def test_every_kind_of_call_uses_the_script() -> None:
    llm = FakeLLM("one", "two", "three", "four")
    assert llm.chat("x") == "one"
    assert await llm.chat_async("x", model="claude:any") == "two"
    assert "".join(llm.chat("x", stream=True)) == "three"
    async with llm.stream_async("x") as stream:
        assert "".join([text async for text in stream.text()]) == "four"
    assert (await llm.embed_async("some text")) == list(embed_text("some text"))
    assert [r.kind for r in llm.requests] == ["chat"] * 4 + ["embeddings"]


def test_failures_come_out_at_once_unless_retries_are_asked_for() -> None:
    llm = FakeLLM(Failure(status=429), "fine")
    with pytest.raises(RateLimitError):
        llm.chat("x")
    assert llm.chat("x") == "fine"
    patient = FakeLLM(Failure(status=429, headers={"retry-after": "0.01"}), "fine", max_retries=1)
    assert patient.chat("x") == "fine"
    assert len(patient.requests) == 2


def test_a_fallback_can_be_tested_with_one_script() -> None:
    llm = FakeLLM(Failure(status=500), "second model", fallbacks=["openai:gpt-5-mini"])
    assert llm.chat("x", model="claude:claude-sonnet-5-5") == "second model"
    assert [r.model for r in llm.requests] == ["claude-sonnet-5-5", "gpt-5-mini"]


def test_one_call_too_many_fails_the_test() -> None:
    llm = FakeLLM("only one")
    llm.chat("x")
    with pytest.raises(ConfigurationError, match="has 1 step"):
        llm.chat("y")


def test_steps_left_over_fail_the_test() -> None:
    llm = FakeLLM("used", "unused", Reply("also unused", cut=Cut()))
    llm.chat("x")
    with pytest.raises(AssertionError, match=r"2 of 3 steps were not used.*'unused'"):
        llm.assert_script_used()


def test_without_steps_the_usual_answers_come() -> None:
    llm = FakeLLM()
    assert "not a language model" in llm.chat("x")
    assert llm.chat("x", response_format=Answer).parsed == Answer(city="example city", sure=True)
    assert example_for_schema(Answer) == {"city": "example city", "sure": True}


def test_structured_answers_are_mappings_or_objects() -> None:
    llm = scripted({"city": "Oslo", "sure": False}, Answer(city="Rome", sure=True), then="repeat")
    answers = [llm.chat("x", response_format=Answer).parsed.city for _ in range(3)]
    assert answers == ["Oslo", "Rome", "Oslo"]


def test_asking_for_the_last_request_before_there_is_one_fails_the_test() -> None:
    llm = FakeLLM("x")
    with pytest.raises(AssertionError, match="never asked"):
        _ = llm.last_request
    llm.chat("Hi", system="Be kind.")
    assert llm.last_request.system == "Be kind."


def test_clients_that_the_application_makes_itself_are_answered_too() -> None:
    made_before = UnifiedLLM(provider="offline")
    with replace_providers("one", "two", "three") as provider:
        assert UnifiedLLM(provider="claude", api_key="key", max_retries=0).chat("a") == "one"
        assert UnifiedLLM(base_url="http://127.0.0.1:9/v1", model="m").chat("b") == "two"
        assert UnifiedLLM().chat("c", model="lmstudio:qwen/qwen3-8b") == "three"
        assert "not a language model" in made_before.chat("d")
    assert [(r.prompt, r.model) for r in provider.requests] == [("a", "echo"), ("b", "m"), ("c", "qwen/qwen3-8b")]
    assert UnifiedLLM(provider="offline").get_provider() == "offline"
    assert "not a language model" in UnifiedLLM(provider="offline").chat("e")


async def test_replaced_providers_answer_async_calls_and_embeddings() -> None:
    with replace_providers() as provider:
        llm = UnifiedLLM()
        assert "not a language model" in await llm.chat_async("Hi")
        assert await llm.embed_async(["text"]) == [list(embed_text("text"))]
        assert await llm.get_provider_async() == "offline"
    assert [r.kind for r in provider.requests] == ["chat", "embeddings"]


@pytest.mark.parametrize("module", [unified_llm.testing.fake, unified_llm.offline.schema_examples])
def test_the_examples_in_the_docstrings_are_true(module: Any) -> None:
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0


PLUGIN_TEST = """
import socket
import pytest
from unified_llm import ConfigurationError, UnifiedLLM
from unified_llm.testing import NetworkBlockedError

pytest_plugins = ["unified_llm.testing.pytest_plugin"]

def test_fixture(fake_llm):
    assert fake_llm("Hello").chat("Hi") == "Hello"

def test_left_over(fake_llm):
    fake_llm("never asked for")

def test_only_fakes(only_fake_providers):
    with pytest.raises(ConfigurationError, match="may not be used"):
        UnifiedLLM(provider="claude", api_key="k")

def test_no_network(no_network):
    with pytest.raises(NetworkBlockedError):
        socket.create_connection(("example.com", 80))
"""


def test_the_pytest_plugin_works_in_a_project_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "test_app.py").write_text(PLUGIN_TEST, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # other packages' plugins take seconds to load
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, env=environment)
    assert "4 passed, 1 error" in done.stdout, done.stdout + done.stderr
    assert "1 of 1 steps were not used: ('never asked for',)" in done.stdout
