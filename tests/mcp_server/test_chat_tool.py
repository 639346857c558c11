"""The tool chat, through the official client in memory, on both protocol eras."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from testkit.mcp_clients import ERAS, MCPError, in_memory
from testkit.probe_provider import ProbeProvider
from testkit.wire_server import HANG, WireServer, sse
from unified_llm import Adjustment, ChatRequest, ChatResponse, UnifiedLLM
from unified_llm.errors import MissingCredentialError, RateLimitError, ServerError
from unified_llm_mcp import ModelServer, Settings, answer_data, build_server

pytestmark = pytest.mark.parametrize("era", ERAS)


def serve(provider: ProbeProvider, **settings: object) -> ModelServer:
    return build_server(UnifiedLLM(provider=provider), Settings(**settings))  # type: ignore[arg-type]


async def test_the_answer_is_in_content_and_in_structured_content(era: str) -> None:
    async with in_memory(serve(ProbeProvider()), era) as client:
        result = await client.call("chat", prompt="Hi")
    assert result.text == "Hello, world"
    assert result.structured == {
        "status": "complete",
        "text": "Hello, world",
        "model": "talker",
        "provider": "probe",
        "finish_reason": "stop",
        "usage": {"input_tokens": 5, "output_tokens": 3, "cost_known": False},
        "latency_ms": 250,
    }


async def test_every_argument_reaches_the_provider(era: str) -> None:
    provider = ProbeProvider('{"a": 1}')
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    async with in_memory(serve(provider), era) as client:
        result = await client.call(
            "chat",
            prompt="now",
            model="probe:other/model:7b",
            system="be brief",
            messages=[{"role": "user", "content": "before"}, {"role": "assistant", "content": "yes"}],
            response_schema=schema,
            max_tokens=7,
            temperature=0.5,
        )
    (request,) = provider.requests
    assert request.model == "other/model:7b"
    assert [(m.role, m.text) for m in request.messages] == [
        ("system", "be brief"),
        ("user", "before"),
        ("assistant", "yes"),
        ("user", "now"),
    ]
    assert (request.config.max_tokens, request.config.temperature) == (7, 0.5)
    assert request.response_format is not None
    assert request.response_format.schema == schema
    assert result.structured["data"] == {"a": 1}


async def test_calls_run_in_parallel_and_listing_works_meanwhile(era: str) -> None:
    provider = ProbeProvider()
    provider.gate = asyncio.Event()
    async with in_memory(serve(provider), era) as client, asyncio.TaskGroup() as group:
        calls = [group.create_task(client.call("chat", prompt=str(n))) for n in range(32)]
        await provider.wait_open(32)
        assert len(await client.tools()) == 4
        provider.gate.set()
    assert provider.most_open == 32
    assert {call.result().text for call in calls} == {"Hello, world"}


async def test_cancelling_a_call_closes_the_upstream_stream(era: str) -> None:
    provider = ProbeProvider()
    provider.gate = asyncio.Event()
    async with in_memory(serve(provider), era) as client:
        call = asyncio.create_task(client.call("chat", prompt="long"))
        await provider.wait_open(1)
        await client.cancel(call)
        await provider.wait_open(0, seconds=0.5)
        with pytest.raises(asyncio.CancelledError):
            await call
        assert (provider.open_now, provider.closed_early) == (0, 1)
        provider.gate = None
        assert (await client.call("chat", prompt="next")).text == "Hello, world"


async def test_a_typo_in_an_argument_is_refused_with_the_right_name(era: str) -> None:
    provider = ProbeProvider()
    async with in_memory(serve(provider), era) as client:
        result = await client.call("chat", prompt="x", max_token=5)
    assert result.error["category"] == "invalid_arguments"
    assert "unknown argument 'max_token', did you mean 'max_tokens'?" in result.text
    assert provider.requests == []


async def test_a_wrong_value_is_refused_and_says_where(era: str) -> None:
    async with in_memory(serve(ProbeProvider()), era) as client:
        result = await client.call("chat", prompt="", messages=[{"role": "tool", "content": "x"}], temperature=3)
    assert result.error["category"] == "invalid_arguments"
    for where in ("prompt:", "messages.0.role:", "temperature:"):
        assert where in result.text


@pytest.mark.parametrize("name", ["max_tokens", "temperature"])
async def test_true_is_no_number(era: str, name: str) -> None:
    provider = ProbeProvider()
    async with in_memory(serve(provider), era) as client:
        wrong: dict[str, Any] = {name: True}
        result = await client.call("chat", prompt="x", **wrong)
        other = await client.call("get_response", response_id="x", wait_s=True)
        assert not (await client.call("chat", prompt="x", max_tokens="5")).is_error  # as some clients send numbers
    assert result.error["category"] == other.error["category"] == "invalid_arguments"
    assert f"{name}: Input should be a number, not true or false" in result.text
    assert len(provider.requests) == 1


async def test_lists_sent_as_json_text_are_read(era: str) -> None:
    provider = ProbeProvider()
    async with in_memory(serve(provider), era) as client:
        await client.call("chat", prompt="b", messages='[{"role": "user", "content": "a"}]')
    assert [m.text for m in provider.requests[0].messages] == ["a", "b"]


@pytest.mark.parametrize("given", ["nobody", '{"role": "user"}', "[" * 100_000 + "]" * 100_000])
async def test_text_that_is_no_list_is_a_wrong_argument(era: str, given: str) -> None:
    async with in_memory(serve(ProbeProvider()), era) as client:
        result = await client.call("chat", prompt="b", messages=given)
    assert result.error["category"] == "invalid_arguments"
    assert "messages: Input should be a valid list" in result.text


async def test_an_unknown_tool_is_a_protocol_error(era: str) -> None:
    async with in_memory(serve(ProbeProvider()), era) as client:
        with pytest.raises(MCPError) as raised:
            await client.session.call_tool("chatt", {"prompt": "x"})
    assert raised.value.error.code == -32602


async def test_an_error_of_the_provider_says_what_happened_and_what_to_do(era: str) -> None:
    provider = ProbeProvider("Half an ans")
    provider.error = RateLimitError("slow down", status=429, retry_after=12.0, provider="probe", hint="wait")
    async with in_memory(serve(provider), era) as client:
        result = await client.call("chat", prompt="x")
    assert result.error == {
        "category": "rate_limit",
        "retryable": True,
        "hint": "wait",
        "provider": "probe",
        "status": 429,
        "retry_after_s": 12.0,
    }
    assert "after 12 s" in result.text
    assert "Half an ans" in result.text


async def test_a_missing_key_names_the_variable_and_the_server_still_starts(era: str) -> None:
    server = build_server(UnifiedLLM(), Settings(model="openai:gpt-5-mini"))
    async with in_memory(server, era) as client:
        assert len(await client.tools()) == 4
        result = await client.call("chat", prompt="x")
    assert result.error["category"] == "missing_credential"
    assert "OPENAI_API_KEY" in result.text


async def test_no_key_reaches_the_caller(era: str) -> None:
    provider = ProbeProvider()
    provider.error = MissingCredentialError("refused sk-ant-REDACTED", hint="api_key=sk-ant-REDACTED")
    async with in_memory(serve(provider), era) as client:
        result = await client.call("chat", prompt="x")
    assert "sk-ant" not in str(result.wire)


async def test_a_bug_of_a_provider_leaks_nothing(era: str, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(ProbeProvider):
        def _response(self, request: ChatRequest) -> ChatResponse:
            raise ZeroDivisionError("secret detail")

    async with in_memory(serve(Broken()), era) as client:
        result = await client.call("chat", prompt="x")
    assert result.error["category"] == "internal"
    assert "secret detail" not in str(result.wire)
    assert "ZeroDivisionError" in caplog.text


async def test_what_the_provider_changed_is_told(era: str) -> None:
    provider = ProbeProvider()
    provider.adjustments = (Adjustment("dropped", "temperature", "this model refuses it"),)
    async with in_memory(serve(provider, max_tokens=100), era) as client:
        result = await client.call("chat", prompt="x", max_tokens=500)
    assert provider.requests[0].config.max_tokens == 100
    assert result.structured["adjustments"] == [
        "max_tokens changed: this server allows 100",
        "temperature dropped: this model refuses it",
    ]


async def test_only_the_tools_allowed_are_offered_and_callable(era: str) -> None:
    async with in_memory(serve(ProbeProvider(), tools=("embed", "list_models")), era) as client:
        assert [tool["name"] for tool in await client.tools()] == ["embed", "list_models"]
        with pytest.raises(MCPError):
            await client.session.call_tool("chat", {"prompt": "x"})


def nested(depth: int) -> dict[str, object]:
    schema: dict[str, object] = {"type": "object"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"x": schema}}
    return schema


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "array"}, "type object"),
        ({}, "type object"),
        ({"type": "object", "properties": {"x": {"$ref": "http://169.254.169.254/x"}}}, "another document"),
        ({"type": "object", "properties": {"x": {"items": [{"$ref": "file:///etc/passwd"}]}}}, "another document"),
        (nested(20), "deeper"),
        ({"type": "object", "description": "x" * 70_000}, "larger"),
    ],
)
async def test_a_schema_that_is_too_much_or_looks_elsewhere_is_refused(
    era: str, schema: dict[str, object], said: str
) -> None:
    provider = ProbeProvider()
    async with in_memory(serve(provider), era) as client:
        result = await client.call("chat", prompt="x", response_schema=schema)
    assert result.error["category"] == "invalid_arguments"
    assert said in result.text
    assert provider.requests == []


async def test_an_answer_that_does_not_follow_the_schema_is_an_error_that_shows_it(era: str) -> None:
    async with in_memory(serve(ProbeProvider("I would rather not")), era) as client:
        result = await client.call("chat", prompt="x", response_schema={"type": "object"})
    assert result.error["category"] == "structured_output"
    assert "I would rather not" in result.text
    assert result.text.count("again") == 1


async def test_an_answer_that_is_no_object_does_not_fit_the_argument_that_asked_for_one(era: str) -> None:
    async with in_memory(serve(ProbeProvider("[1]")), era) as client:
        result = await client.call("chat", prompt="x", response_schema={"type": "object"})
    assert result.error["category"] == "structured_output"
    assert "response_schema: the whole answer" in result.text


def about(**keywords: object) -> dict[str, object]:
    return {"type": "object", "properties": {"v": keywords}, "required": ["v"]}


BRANCHING: dict[str, object] = {
    **about(**{"$ref": "#/$defs/n0"}),
    "$defs": {f"n{i}": {"anyOf": [{"$ref": f"#/$defs/n{i + 1}"}] * 4} for i in range(15)} | {"n15": {"type": "array"}},
}


@pytest.mark.parametrize("schema", [about(pattern="^(a+)+$"), BRANCHING], ids=["pattern", "references"])
async def test_a_schema_that_takes_for_ever_to_check_holds_up_nobody_and_loses_no_answer(
    era: str, schema: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_data, "SECONDS", 1.5)
    answer = json.dumps({"v": "a" * 40 + "!"})
    server = serve(ProbeProvider(answer))
    async with in_memory(server, era) as client, asyncio.timeout(30):
        call = asyncio.create_task(client.call("chat", prompt="x", response_schema=schema))
        loop, slowest = asyncio.get_running_loop(), 0.0
        while not call.done():
            before = loop.time()
            await client.session.list_tools()
            await asyncio.sleep(0.01)
            slowest = max(slowest, loop.time() - before)
        result = await call
    assert slowest < 1.0
    assert result.structured["data"] == json.loads(answer)
    assert "longer than" in result.structured["adjustments"][0]


async def test_an_answer_is_checked_against_patterns_and_references(era: str) -> None:
    schema = {**about(**{"$ref": "#/$defs/code"}), "$defs": {"code": {"type": "string", "pattern": "^[a-z]{3}$"}}}
    async with in_memory(serve(ProbeProvider('{"v": "abc"}')), era) as client:
        fits = await client.call("chat", prompt="x", response_schema=schema)
    async with in_memory(serve(ProbeProvider('{"v": "ABC"}')), era) as client:
        fails = await client.call("chat", prompt="x", response_schema=schema)
    assert fits.structured["data"] == {"v": "abc"}
    assert "adjustments" not in fits.structured
    assert fails.error["category"] == "structured_output"
    assert "v does not match the pattern" in fails.text
    assert '{"v": "ABC"}' in fails.text


@pytest.mark.parametrize("schema", [about(type="nonsense"), about(pattern="(("), about(**{"$ref": "#/nowhere"})])
async def test_data_that_could_not_be_checked_says_so(era: str, schema: dict[str, object]) -> None:
    async with in_memory(serve(ProbeProvider('{"v": "x"}')), era) as client:
        result = await client.call("chat", prompt="x", response_schema=schema)
    assert result.structured["data"] == {"v": "x"}
    assert "not checked" in result.structured["adjustments"][0]


async def test_a_number_that_json_does_not_have_is_an_error_and_not_null(era: str) -> None:
    async with in_memory(serve(ProbeProvider('{"v": NaN}')), era) as client:
        result = await client.call("chat", prompt="x", response_schema={"type": "object"})
    assert result.error["category"] == "structured_output"
    assert "NaN" in result.text


@pytest.mark.parametrize(
    "schema", [about(format="uuid", pattern="^([0-9a-f-]+)+!$"), about(type="array", minItems=10**9)]
)
async def test_the_stand_in_makes_no_examples_without_end(era: str, schema: dict[str, object]) -> None:
    async with in_memory(build_server(UnifiedLLM(model="offline:")), era) as client, asyncio.timeout(20):
        result = await client.call("chat", prompt="x", response_schema=schema)
    assert result.error["category"] == "invalid_arguments"
    assert "stand-in" in result.text


async def test_the_models_that_failed_before_the_one_that_answered_are_named(era: str) -> None:
    class Broken(ProbeProvider):
        name = "broken"

    broken = Broken()
    broken.error = ServerError("down", hint="x")
    broken.pieces = ()
    client_of_two = UnifiedLLM(provider=broken, model="broken:one", fallbacks=["offline:"], max_retries=0)
    async with in_memory(build_server(client_of_two), era) as client:
        result = await client.call("chat", prompt="x", model="broken:one")
    assert result.structured["provider"] == "offline"
    assert result.structured["fallback_from"] == ["broken:one"]


async def test_a_running_chat_names_provider_and_model_apart_as_a_complete_one_does(era: str) -> None:
    with WireServer(sse([HANG])) as backend:
        client_of_one = UnifiedLLM(provider="openai-compatible", base_url=f"{backend.url}/v1")
        async with in_memory(build_server(client_of_one, Settings(max_wait=0.05)), era) as client:
            result = await client.call("chat", prompt="x", model="openai-compatible:org/talker")
        await client_of_one.aclose()
    assert (result.structured["provider"], result.structured["model"]) == ("openai-compatible", "org/talker")


async def test_a_running_chat_names_provider_and_model_though_the_call_named_none(era: str) -> None:
    provider = ProbeProvider()
    provider.gate = asyncio.Event()
    async with in_memory(serve(provider, max_wait=0.05), era) as client:
        running = await client.call("chat", prompt="x")
        stopped = await client.call("get_response", response_id=running.structured["response_id"], cancel=True)
    for result, status in ((running, "running"), (stopped, "cancelled")):
        assert result.structured["status"] == status
        assert (result.structured["provider"], result.structured["model"]) == ("probe", "talker")


async def test_a_chat_whose_server_has_not_said_which_model_it_takes_names_none(
    era: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unified_llm_mcp.asked.PATIENCE", 0.05)
    with WireServer([HANG]) as backend:
        client_of_one = UnifiedLLM(provider="openai-compatible", base_url=f"{backend.url}/v1")
        async with in_memory(build_server(client_of_one, Settings(max_wait=0.05)), era) as client:
            result = await client.call("chat", prompt="x")
            assert result.structured["status"] == "running"
            await client.call("get_response", response_id=result.structured["response_id"], cancel=True)
        await client_of_one.aclose()
    assert (result.structured["provider"], result.structured["model"]) == ("openai-compatible", "")


async def test_an_answer_that_does_not_say_whose_it_is_is_a_result_all_the_same(era: str) -> None:
    class Silent(ProbeProvider):
        def _response(self, request: ChatRequest) -> ChatResponse:
            return ChatResponse("Hello")

    async with in_memory(serve(Silent()), era) as client:
        unnamed = await client.call("chat", prompt="x")
        named = await client.call("chat", prompt="x", model="talker")
    assert (unnamed.structured["provider"], unnamed.structured["model"]) == ("", "")
    assert named.structured["model"] == "talker"


async def test_a_chat_always_says_who_was_asked(era: str) -> None:
    async with in_memory(serve(ProbeProvider()), era) as client:
        schemas = {tool["name"]: tool["outputSchema"] for tool in await client.tools()}
    for name in ("chat", "get_response"):
        assert schemas[name]["required"] == ["status", "text", "model", "provider"]


async def test_lists_given_as_json_text_may_hold_half_a_character(era: str) -> None:
    provider = ProbeProvider()
    async with in_memory(serve(provider), era) as client:
        path = await client.call("chat", prompt="x", attachments=r'["/a\ud83d"]')
        turns = await client.call("chat", prompt="x", messages=r'[{"role": "user", "content": "a\ud83d"}]')
    assert path.error["category"] == "attachment"
    assert turns.text == "Hello, world"
    assert provider.requests[0].messages[0].text == "a\ufffd"
