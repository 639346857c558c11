"""Every error of the core has a twin that is LangChain's too, with everything it knew."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from langchain_core import exceptions as lc
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.outputs import LLMResult
from pydantic import ValidationError

from langchain_unified_llm import ChatUnifiedLLM
from langchain_unified_llm import errors as ours
from langchain_unified_llm.errors import translate
from unified_llm import errors as core
from unified_llm.testing import Cut, Failure, FakeLLM, Reply

CLASSES = [getattr(core, name) for name in core.__all__ if isinstance(getattr(core, name), type)]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_class_of_the_core_has_a_twin_of_its_own(cls: type[core.UnifiedLLMError]) -> None:
    error = cls("no", hint="do this", provider="claude", model="m", status=418, request_id="r", headers={"a": "b"})
    twin = translate(error)
    assert isinstance(twin, cls)
    assert isinstance(twin, lc.ModelError)
    assert type(twin).__module__ == ours.__name__
    assert str(twin) == str(error)
    assert (twin.hint, twin.provider, twin.request_id) == ("do this", "claude", "r")
    assert twin.is_retryable is error.retryable
    assert translate(twin) is twin


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_twins_survive_pickling(cls: type[core.UnifiedLLMError]) -> None:
    twin = translate(cls("no", hint="do this", status=418))
    back = pickle.loads(pickle.dumps(twin))
    assert type(back) is type(twin)
    assert back.__dict__ == twin.__dict__


def test_an_error_class_of_somebody_else_gets_a_twin_when_it_is_met() -> None:
    class QuotaError(core.RateLimitError):
        pass

    twin = translate(QuotaError("no", retry_after=3.0))
    assert isinstance(twin, QuotaError)
    assert isinstance(twin, lc.ModelRateLimitError)
    assert (twin.is_retryable, twin.retry_after) == (True, 3.0)
    assert type(translate(QuotaError("again"))) is type(twin)


@pytest.mark.parametrize(
    ("status", "code", "cls", "retryable"),
    [
        (400, None, lc.ModelInvalidRequestError, False),
        (401, None, lc.ModelAuthenticationError, False),
        (403, None, lc.ModelPermissionDeniedError, False),
        (404, None, lc.ModelNotFoundError, False),
        (429, None, lc.ModelRateLimitError, True),
        (500, None, lc.ModelAPIError, True),
        (503, None, lc.ModelAPIError, True),
        (400, "context_length_exceeded", lc.ContextOverflowError, False),
    ],
)
@pytest.mark.parametrize("how", ["invoke", "stream", "events", "ainvoke", "astream", "aevents"])
async def test_answers_that_are_errors_raise_the_right_class(
    status: int, code: str | None, cls: type[Exception], retryable: bool, how: str
) -> None:
    fake = FakeLLM(Failure(status=status, message="no such luck", code=code))
    error = await raised_by(ChatUnifiedLLM(client=fake, max_retries=0), how)
    assert isinstance(error, cls)
    assert isinstance(error, core.UnifiedLLMError)
    assert error.is_retryable is retryable  # type: ignore[attr-defined]
    assert error.status == status


async def raised_by(llm: ChatUnifiedLLM, how: str) -> BaseException:
    with pytest.raises(core.UnifiedLLMError) as caught:
        await run(llm, how)
    return caught.value


async def run(llm: ChatUnifiedLLM, how: str) -> Any:
    match how:
        case "invoke":
            return llm.invoke("Hi")
        case "stream":
            return list(llm.stream("Hi"))
        case "events":
            return llm.stream_events("Hi", version="v3").output
        case "ainvoke":
            return await llm.ainvoke("Hi")
        case "astream":
            return [chunk async for chunk in llm.astream("Hi")]
        case _:
            return await (await llm.astream_events("Hi", version="v3")).output


@pytest.mark.parametrize("how", ["stream", "events", "astream", "aevents"])
async def test_a_dropped_stream_is_an_error_that_has_what_came_before(how: str) -> None:
    fake = FakeLLM(Reply("One two three four five", cut=Cut(after=3)))
    error = await raised_by(ChatUnifiedLLM(client=fake, max_retries=0), how)
    assert isinstance(error, core.StreamInterruptedError)
    assert isinstance(error, lc.ModelConnectionError)
    assert error.partial is not None
    assert "One two three four five".startswith(str(error.partial))


class Watch(BaseCallbackHandler):
    def __init__(self) -> None:
        self.responses: list[LLMResult] = []

    def on_llm_error(self, error: BaseException, **kwargs: Any) -> None:
        self.responses.append(kwargs["response"])


def test_the_trace_of_a_failed_call_has_status_headers_body_and_request_id() -> None:
    fake = FakeLLM(Failure(status=429, message="slow down", headers={"x-request-id": "req_9"}))
    watch = Watch()
    with pytest.raises(lc.ModelRateLimitError):
        ChatUnifiedLLM(client=fake, max_retries=0).invoke("Hi", config={"callbacks": [watch]})
    message = watch.responses[0].generations[0][0].message  # type: ignore[union-attr]
    assert message.response_metadata["status_code"] == 429
    assert message.response_metadata["request_id"] == "req_9"
    assert "slow down" in str(message.response_metadata["body"])
    assert message.response_metadata["headers"]["x-request-id"] == "req_9"


def test_a_missing_key_names_the_variable_and_is_an_authentication_error_that_is_not_retried() -> None:
    with pytest.raises(lc.ModelAuthenticationError, match="ANTHROPIC_API_KEY") as caught:
        ChatUnifiedLLM(model="claude:claude-haiku-5-5").invoke("Hi")
    assert isinstance(caught.value, ValueError)
    assert caught.value.is_retryable is False


def test_an_unknown_provider_is_named_with_the_nearest_known_one() -> None:
    with pytest.raises(lc.ModelNotFoundError, match="claude"):
        ChatUnifiedLLM(model="cluade:m").invoke("Hi")
    with pytest.raises(ValidationError, match="did you mean 'claude'"):
        ChatUnifiedLLM(provider="cluade", model="m")


def test_a_server_that_is_not_there_is_a_connection_error() -> None:
    llm = ChatUnifiedLLM(model="openai-compatible:m", base_url="http://127.0.0.1:9", max_retries=0)
    with pytest.raises(lc.ModelConnectionError) as caught:
        llm.invoke("Hi")
    assert isinstance(caught.value, ConnectionError)


def test_the_retries_asked_for_are_made_and_no_more() -> None:
    fake = FakeLLM(Failure(status=503, headers={"retry-after": "0"}), Failure(status=503, headers={"retry-after": "0"}))
    with pytest.raises(lc.ModelAPIError):
        ChatUnifiedLLM(client=fake, max_retries=1).invoke("Hi")
    assert [r.path for r in fake.requests if "chat" in r.path] == ["chat/completions"] * 2
