"""Constructing, storing, copying and tracing a model: nothing is asked, and no secret gets out."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import textwrap
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.load import dumpd, dumps, load
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_core.runnables import RunnableLambda
from pydantic import SecretStr, ValidationError

from langchain_unified_llm import ChatUnifiedLLM, UnifiedLLMEmbeddings, __version__
from testkit.openai_double import OpenAIDouble, Say
from unified_llm import ModelConfig, UnifiedLLM
from unified_llm.errors import InvalidRequestError, UnifiedLLMError
from unified_llm.testing import FakeLLM

KEY = "planted-key-4f1d2c9a"
HEADER = "planted-header-77aa31"
OPTION = "planted-option-90bb12"
FIELD = "planted-field-5e6f01"
CALL = "planted-call-c0ffee"
NAMESPACES = ["langchain_unified_llm"]


def guarded(**fields: Any) -> ChatUnifiedLLM:
    """A model with a secret in every place that can hold one."""
    return ChatUnifiedLLM(
        model="openai-compatible:m",
        base_url="http://127.0.0.1:9/v1",
        api_key=KEY,
        extra_headers={"X-Token": HEADER},
        client_options={"headers": {"X-Other": OPTION}},
        extra_body={"api_key": FIELD, "sources": [{"type": "search", "authentication": {"access_token": FIELD}}]},
        provider_options={"openai-compatible": {"note": f"Bearer {FIELD}"}},
        max_retries=0,
        **fields,
    )


# -- offline --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("model", ["claude:claude-haiku-5-5", "lmstudio:m", "local:m", "no-such-provider:m", None])
def test_constructing_describing_and_tracing_ask_nobody(model: str | None) -> None:
    llm = ChatUnifiedLLM(model=model)
    bound = llm.bind_tools([{"name": "f", "description": "", "parameters": {}}])
    assert repr(llm)
    assert repr(bound)
    assert dumps(llm)
    assert llm._llm_type.endswith("-chat")
    assert llm._get_ls_params()["ls_model_type"] == "chat"
    assert llm.connections.all() == []


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("model", ["claude:claude-haiku-5-5", "openai-compatible:m", "offline"])
def test_counting_tokens_asks_no_one_who_is_not_there(model: str) -> None:
    _counts_by_estimate(ChatUnifiedLLM(model=model))


def test_counting_tokens_of_a_server_that_does_not_run_is_an_estimate() -> None:
    _counts_by_estimate(ChatUnifiedLLM(model="lmstudio:m", base_url="http://127.0.0.1:9/v1"))


def _counts_by_estimate(llm: ChatUnifiedLLM) -> None:
    assert 1 <= llm.get_num_tokens("four words of text") <= 40
    assert llm.get_num_tokens("") == 0
    assert llm.get_num_tokens_from_messages([]) == 0


def test_the_provider_counts_where_it_can(claude_double: Any) -> None:
    llm = ChatUnifiedLLM(model="claude:claude-haiku-5-5", api_key=claude_double.key, base_url=claude_double.url)
    assert llm.get_num_tokens("How many?") > 0
    assert claude_double.requests[-1].path == "/v1/messages/count_tokens"


# -- who is asked ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [None, ["END"]])
def test_traces_are_told_what_langchain_itself_would_tell(stop: list[str] | None) -> None:
    llm = ChatUnifiedLLM(model="claude:claude-haiku-5-5", temperature=0.5, extra_body={"a": 1}, stop=["x"])
    told = llm._get_invocation_params(stop=stop, tools=[{"name": "f"}])
    assert told == BaseChatModel._get_invocation_params(llm, stop=stop, tools=[{"name": "f"}])
    assert (told["_type"], told["temperature"], told["stop"]) == ("anthropic-chat", 0.5, stop)


@pytest.mark.parametrize(
    ("fields", "kind", "vendor", "name"),
    [
        ({"model": "claude:claude-haiku-5-5"}, "anthropic-chat", "anthropic", "claude-haiku-5-5"),
        ({"model": "anthropic:claude-haiku-5-5"}, "anthropic-chat", "anthropic", "claude-haiku-5-5"),
        ({"provider": "claude", "model": "claude-haiku-5-5"}, "anthropic-chat", "anthropic", "claude-haiku-5-5"),
        ({"model": "lmstudio:qwen/qwen3-8b"}, "lmstudio-chat", "lmstudio", "qwen/qwen3-8b"),
        ({"model": "llama3:8b", "provider": "lmstudio"}, "lmstudio-chat", "lmstudio", "llama3:8b"),
        ({"model": "m", "base_url": "http://x.test"}, "openai-compatible-chat", "openai-compatible", "m"),
        ({"model": "offline"}, "offline-chat", "offline", None),
        ({"model": "local"}, "local-chat", "local", None),
        ({}, "unified-llm-chat", "unified-llm", None),
    ],
)
def test_traces_name_the_backend_that_is_asked(
    fields: dict[str, Any], kind: str, vendor: str, name: str | None
) -> None:
    llm = ChatUnifiedLLM(**fields)
    params = llm._get_ls_params()
    assert (llm._llm_type, params["ls_provider"], params.get("ls_model_name")) == (kind, vendor, name)


def test_traces_follow_the_model_of_the_call() -> None:
    params = ChatUnifiedLLM(model="lmstudio:m")._get_ls_params(model="claude:claude-haiku-5-5", temperature=0.5)
    assert (params["ls_provider"], params["ls_model_name"]) == ("anthropic", "claude-haiku-5-5")
    assert params["ls_temperature"] == 0.5


def test_what_was_detected_is_named_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNIFIED_LLM_PROVIDER", "offline")
    llm = ChatUnifiedLLM()
    message = llm.invoke("Hi")
    assert message.response_metadata["model_provider"] == llm._get_ls_params()["ls_provider"] == "offline"


def test_the_version_is_in_the_metadata_and_in_the_project_file() -> None:
    from importlib.metadata import version

    assert ChatUnifiedLLM().metadata["lc_versions"]["langchain-unified-llm"] == __version__  # type: ignore[index]
    assert version("langchain-unified-llm") == __version__


# -- parameters -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": "warm"},
        {"temperature": 3},
        {"max_tokens": "many"},
        {"top_p": -1},
        {"timeout": 0},
        {"stop": 3},
        {"max_retries": -1},
        {"on_unsupported": "cry"},
        {"base_url": "no-scheme"},
        {"base_url": f"http://user:{KEY}@x.test"},
        {"api_key": {"key": KEY}},
        {"extra_headers": {"X": [KEY]}},
        {"client": 5},
        {"provider": "nonesuch"},
        {"max_tokens": -5},
        {"top_k": -2},
        {"thinking": -3},
    ],
)
def test_wrong_values_fail_at_construction_without_showing_them(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        ChatUnifiedLLM(**fields)
    assert KEY not in str(caught.value)
    assert KEY not in repr(caught.value)


def test_an_unknown_parameter_warns_with_the_nearest_name_and_not_with_its_value() -> None:
    misspelt: dict[str, Any] = {"model": "offline", "temprature": KEY}
    with pytest.warns(UserWarning, match="'temprature'.*did you mean 'temperature'") as caught:
        ChatUnifiedLLM(**misspelt)
    assert KEY not in str([str(w.message) for w in caught])
    assert [w.filename for w in caught] == [__file__]


def test_an_unknown_argument_of_a_call_warns_and_is_not_sent() -> None:
    fake = FakeLLM("ok")
    with pytest.warns(UserWarning, match="'max_token'.*did you mean 'max_tokens'") as caught:
        ChatUnifiedLLM(client=fake).invoke("Hi", max_token=5)
    assert "max_token" not in fake.requests[-1].body
    assert [w.filename for w in caught] == [__file__]


@pytest.mark.parametrize(
    "call",
    [
        lambda llm: list(llm.stream("Hi", max_token=5)),
        lambda llm: (RunnableLambda(str) | llm.bind(max_token=5)).invoke("Hi"),
        lambda llm: list(llm.stream_events("Hi", version="v3", max_token=5)),
    ],
)
def test_a_warning_points_at_the_line_of_the_caller_however_it_calls(call: Any) -> None:
    with pytest.warns(UserWarning, match="'max_token'") as caught:
        call(ChatUnifiedLLM(client=FakeLLM("ok")))
    assert {w.filename for w in caught if "max_token" in str(w.message)} == {__file__}


@pytest.mark.parametrize("arguments", [{"model": 5}, {"stop": 5}, {"stop": [5]}, {"thinking": -3}])
async def test_wrong_values_of_a_call_are_errors_of_ours(arguments: dict[str, Any]) -> None:
    llm = ChatUnifiedLLM(model="offline")
    with pytest.raises(InvalidRequestError) as caught:
        llm.invoke("Hi", **arguments)
    assert caught.value.hint
    with pytest.raises(InvalidRequestError):
        [chunk async for chunk in llm.astream("Hi", **arguments)]


def test_every_option_reaches_the_request_and_the_call_wins_over_the_field() -> None:
    fake = FakeLLM("ok", "ok")
    llm = ChatUnifiedLLM(client=fake, temperature=0.1, max_tokens=5, top_p=0.5, seed=7, stop=["END"], user="u")
    llm.invoke("Hi")
    body = fake.requests[-1].body
    assert {k: body[k] for k in ("temperature", "top_p", "seed", "stop")} == {
        "temperature": 0.1,
        "top_p": 0.5,
        "seed": 7,
        "stop": ["END"],
    }
    llm.invoke("Hi", temperature=0.9, stop=["STOP"], max_completion_tokens=9)
    body = fake.requests[-1].body
    assert (body["temperature"], body["stop"]) == (0.9, ["STOP"])
    assert 9 in (body.get("max_tokens"), body.get("max_completion_tokens"))


@pytest.mark.parametrize(
    ("alias", "field", "value"),
    [
        ("model_name", "model", "m"),
        ("max_completion_tokens", "max_tokens", 5),
        ("stop_sequences", "stop", ["x"]),
        ("request_timeout", "timeout", 3.0),
        ("reasoning_effort", "effort", "low"),
    ],
)
def test_the_names_of_other_integrations_are_understood(alias: str, field: str, value: Any) -> None:
    assert getattr(ChatUnifiedLLM(**{alias: value}), field) == value


def test_prompt_caching_may_be_asked_for_as_middleware_does(claude_double: Any) -> None:
    llm = ChatUnifiedLLM(model="claude:claude-haiku-5-5", api_key=claude_double.key, base_url=claude_double.url)
    llm.invoke("Hi", cache_control={"type": "ephemeral", "ttl": "1h"})
    assert claude_double.last["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    with OpenAIDouble() as double:
        ChatUnifiedLLM(model="openai-compatible:m", base_url=double.url).invoke(
            "Hi", cache_control={"type": "ephemeral"}
        )
    assert "cache_control" not in str(double.requests[-1].body)


# -- secrets --------------------------------------------------------------------------------------------------------


CALLED_WITH: dict[str, Any] = {"extra_headers": {"X-Tenant": CALL}, "extra_body": {"password": CALL}}


class Trace(BaseCallbackHandler):
    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
        self.seen.append(repr((serialized, messages, kwargs)))

    def on_llm_error(self, error: BaseException, **kwargs: Any) -> None:
        self.seen.append(repr((error, str(error), kwargs)))


def test_no_secret_is_in_any_repr_dump_trace_cache_key_or_error() -> None:
    llm = guarded()
    trace = Trace()
    with pytest.raises(UnifiedLLMError) as caught:
        llm.invoke("Hi", config={"callbacks": [trace]}, **CALLED_WITH)
    texts = [
        repr(llm),
        str(llm),
        repr(llm.bind_tools([])),
        dumps(llm),
        dumps(llm.bind(stop=["x"])),
        llm.model_dump_json(exclude={"client_options", "extra_headers"}),
        repr(llm._identifying_params),
        llm.model_dump_json(),
        repr(llm._get_invocation_params(**CALLED_WITH)),
        repr(llm._get_ls_params(**CALLED_WITH)),
        llm._get_llm_string(**CALLED_WITH),
        repr(llm.core_client()),
        repr(llm.connections),
        repr(caught.value.__dict__),
        str(caught.value),
        *trace.seen,
    ]
    for text in texts:
        for secret in (KEY, HEADER, OPTION, FIELD, CALL):
            assert secret not in text


def test_the_key_is_a_secret_whatever_it_was_given_as() -> None:
    assert ChatUnifiedLLM(api_key=KEY).api_key == SecretStr(KEY) == ChatUnifiedLLM(api_key=SecretStr(KEY)).api_key


def test_headers_are_sent_nevertheless() -> None:
    with OpenAIDouble(api_key=KEY) as double:
        llm = ChatUnifiedLLM(
            model="openai-compatible:m", base_url=double.url, api_key=KEY, extra_headers={"X-Token": HEADER}
        )
        llm.invoke("Hi")
    assert double.requests[-1].headers["x-token"] == HEADER


def test_no_key_goes_to_another_provider_that_a_call_names(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with OpenAIDouble("lmstudio") as other:
        monkeypatch.setenv("LMSTUDIO_BASE_URL", other.url)
        guarded().invoke("Hi", model="lmstudio:double-1", extra_headers={"X-Own": "mine"})
    sent = f"{other.requests[-1].headers} {other.requests[-1].body}"
    assert not [secret for secret in (KEY, HEADER, OPTION, FIELD) if secret in sent]
    assert other.requests[-1].headers["x-own"] == "mine"
    assert "extra_headers of the model was given for openai-compatible and is not sent to lmstudio" in caplog.text


@pytest.mark.parametrize("bound", [False, True])
def test_headers_of_a_call_may_be_secrets_and_are_sent_whole(bound: bool) -> None:
    headers = {"X-Token": SecretStr(HEADER), "X-Plain": "plain"}
    given: dict[str, Any] = {} if bound else {"extra_headers": headers}
    with OpenAIDouble() as double:
        llm = ChatUnifiedLLM(model="openai-compatible:m", base_url=double.url)
        answerer = llm.bind(extra_headers=headers) if bound else llm
        assert HEADER not in repr(answerer)
        answerer.invoke("Hi", **given)
    sent = double.requests[-1].headers
    assert (sent["x-token"], sent["x-plain"]) == (HEADER, "plain")


def test_keys_in_the_body_are_sent_whole_and_change_the_cache_key() -> None:
    with FakeLLM("ok", "ok") as fake:
        llm = ChatUnifiedLLM(client=fake, extra_body={"search": {"api_key": FIELD, "depth": 2}})
        llm.invoke("Hi")
        assert fake.requests[-1].body["search"] == {"api_key": FIELD, "depth": 2}
        llm.invoke("Hi", extra_body={"search": {"api_key": SecretStr(CALL)}})
        assert fake.requests[-1].body["search"] == {"api_key": CALL}
        other = ChatUnifiedLLM(client=fake, extra_body={"search": {"api_key": CALL, "depth": 2}})
    assert llm._get_llm_string() != other._get_llm_string()
    assert llm._get_llm_string(extra_body={"token": "a"}) != llm._get_llm_string(extra_body={"token": "b"})
    assert llm._get_llm_string(extra_headers={"x": "a"}) != llm._get_llm_string(extra_headers={"x": "b"})


# -- storing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [ChatUnifiedLLM, UnifiedLLMEmbeddings])
def test_a_pickled_model_answers_and_has_its_key(cls: Any) -> None:
    with OpenAIDouble(api_key=KEY) as double:
        made = cls(model="openai-compatible:double-1", base_url=double.url, api_key=KEY)
        ask(made)
        back = pickle.loads(pickle.dumps(made))
        assert back.connections.all() == []
        ask(back)
    assert len(double.requests) == 2


@pytest.mark.parametrize("cls", [ChatUnifiedLLM, UnifiedLLMEmbeddings])
def test_copies_share_their_connections_and_not_their_settings(cls: Any) -> None:
    with OpenAIDouble() as double:
        made = cls(model="openai-compatible:double-1", base_url=double.url, client_options={"headers": {"a": "b"}})
        ask(made)
        for twin in (copy.copy(made), copy.deepcopy(made), made.model_copy()):
            ask(twin)
            assert twin.connections is made.connections
        assert len(made.connections.all()) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_makes_a_client_that_a_thread_of_its_parent_was_about_to_make() -> None:
    program = """
        import os, signal, threading
        from langchain_unified_llm import ChatUnifiedLLM
        llm = ChatUnifiedLLM(model="offline:echo")
        thread = threading.Thread(target=llm.connections._lock.acquire)  # and never gives it back
        thread.start()
        thread.join()
        child = os.fork()
        if child == 0:
            signal.alarm(20)  # what hangs is killed
            os._exit(0 if llm.invoke("Hi").text else 1)
        raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr


def ask(made: Any) -> None:
    assert made.invoke("Hi") if isinstance(made, ChatUnifiedLLM) else made.embed_query("Hi")


def test_a_deep_copy_can_be_changed_and_works_with_locks_inside() -> None:
    llm = ChatUnifiedLLM(client=FakeLLM("ok"), stop=["a"], rate_limiter=InMemoryRateLimiter(requests_per_second=100))
    twin = copy.deepcopy(llm)
    assert twin.stop is not None
    twin.stop.append("b")
    assert llm.stop == ["a"]
    assert twin.invoke("Hi").text == "ok"


def test_a_model_round_trips_through_langchains_serialisation_with_an_allow_list() -> None:
    llm = ChatUnifiedLLM(model="claude:claude-haiku-5-5", api_key=KEY, temperature=0.5, stop=["x"], thinking=1024)
    dumped = dumpd(llm)
    assert dumped["id"] == ["langchain_unified_llm", "chat_models", "ChatUnifiedLLM"]
    assert dumped["kwargs"]["api_key"] == {"lc": 1, "type": "secret", "id": ["ANTHROPIC_API_KEY"]}
    back = load(
        dumped,
        allowed_objects=[ChatUnifiedLLM],
        valid_namespaces=NAMESPACES,
        secrets_map={"ANTHROPIC_API_KEY": KEY},
    )
    assert back == llm


def test_langchain_loads_no_class_outside_its_own_list() -> None:
    with pytest.raises(ValueError, match="not allowed"):
        load(dumpd(ChatUnifiedLLM(model="offline")), valid_namespaces=NAMESPACES, allowed_objects="all")


# -- cache keys -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "offline:b"},
        {"temperature": 0.5},
        {"max_tokens": 7},
        {"thinking": True},
        {"effort": "low"},
        {"seed": 1},
        {"stop": ["x"]},
        {"base_url": "http://other.test"},
        {"extra_body": {"a": 1}},
        {"extra_headers": {"a": "1"}},
        {"client_options": {"a": "1"}},
        {"config_path": "elsewhere.toml"},
        {"provider_options": {"offline": {"a": 1}}},
        {"output_version": "v1"},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_every_setting_that_may_change_an_answer_changes_the_cache_key(fields: dict[str, Any]) -> None:
    base: dict[str, Any] = {"model": "offline:a", "provider": "offline"}
    key = ChatUnifiedLLM(**base)._get_llm_string()
    assert ChatUnifiedLLM(**(base | fields))._get_llm_string() != key
    assert ChatUnifiedLLM(**base)._get_llm_string() == key


def test_the_server_behind_a_client_or_the_environment_is_in_the_cache_key(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = InMemoryCache()
    with OpenAIDouble() as one, OpenAIDouble() as other:
        one.script(Say("one"), Say("one"))
        other.script(Say("other"), Say("other"))
        given, set_up = [], []
        for double in (one, other):
            client = UnifiedLLM(provider="openai-compatible", model="m", base_url=double.url)
            given.append(ChatUnifiedLLM(client=client, cache=cache).invoke("Hi").text)
            client.close()
            monkeypatch.setenv("OPENAI_COMPATIBLE_BASE_URL", double.url)
            llm = ChatUnifiedLLM(model="openai-compatible:m", cache=cache)
            set_up.append(llm.invoke("Hello").text)
    assert given == set_up == ["one", "other"]


def test_clients_of_different_models_or_options_do_not_share_answers() -> None:
    keys = set()
    for options in ({"model": "a"}, {"model": "b"}, {"config": ModelConfig(temperature=0.5)}):
        with UnifiedLLM(provider="offline", **options) as client:
            keys.add(ChatUnifiedLLM(client=client)._get_llm_string())
    assert len(keys) == 3


def test_a_field_that_is_set_later_changes_the_cache_key() -> None:
    llm = ChatUnifiedLLM(model="offline", stop=["a"])
    before = llm._get_llm_string()
    llm.temperature = 0.5
    after = llm._get_llm_string()
    assert llm.stop is not None
    llm.stop.append("b")
    assert len({before, after, llm._get_llm_string()}) == 3


def test_a_cached_answer_is_returned_without_asking() -> None:
    fake = FakeLLM("first", "second")
    llm = ChatUnifiedLLM(client=fake, cache=InMemoryCache())
    assert [llm.invoke("Hi").text for _ in range(2)] == ["first", "first"]
    assert llm.invoke("Hi", temperature=0.5).text == "second"
