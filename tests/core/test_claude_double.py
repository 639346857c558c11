"""The Claude double itself: it must refuse what the real API refuses, or the tests above it prove nothing."""

from __future__ import annotations

import base64
from typing import Any

import anthropic
import pytest

from testkit.claude_double import ClaudeDouble, answer, failure, thinking, tool_use
from testkit.claude_rules import KNOWN_MODELS, faults_of, sign
from testkit.typed_check import check

CALL = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "r"}
PNG = base64.b64encode(b"\x89PNG\r\n").decode()


def body(*messages: tuple[str, Any], model: str = "claude-sonnet-5-5", **fields: Any) -> dict[str, Any]:
    talk = messages or (("user", "x"),)
    return {"model": model, "max_tokens": 64, "messages": [{"role": r, "content": c} for r, c in talk]} | fields


def faults(given: dict[str, Any], version: str = "2026-10-21", **options: Any) -> str:
    return " | ".join(faults_of(given, version=version, **options))


def block(kind: str, **fields: Any) -> list[dict[str, Any]]:
    return [{"type": kind, **fields}]


def test_a_plain_request_is_accepted() -> None:
    assert faults(body()) == ""
    assert faults(body(stream=True)) == ""
    assert faults({k: v for k, v in body().items() if k != "max_tokens"}, counting=True) == ""


ODD_CALL = CALL | {"id": "a.b"}
TOOL = {"name": "f", "input_schema": {"type": "object"}}
DOCUMENT = block("document", source={"type": "url", "url": "https://x"})
WRONG_IMAGE = {"type": "base64", "media_type": "image/gif", "data": PNG}
FORGED = block("thinking", thinking="hm", signature="me")


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"model": "claude-sonnet-5-5", "messages": []}, "max_tokens: missing"),
        (body(colour="red"), "colour: unknown field"),
        (body(max_tokens="9"), "max_tokens: str instead of int"),
        (body(betas=["x"]), "sent as a header"),
        (body(temperature=1.0), "temperature: Extra inputs"),
        (body(("assistant", "x"), ("user", "y")), "not 'user'"),
        (body(("user", "x"), ("user", "y")), "follow each other"),
        (body(("user", "")), "non-empty content"),
        (body(("user", block("text", text=" "))), "non-whitespace"),
        (body(("user", block("text", text="x", colour=1))), "colour: unknown field of TextBlockParam"),
        (body(("user", block("picture"))), "content"),
        (body(("user", "x"), ("assistant", "y")), "prefill"),
        (body(("user", "x"), ("assistant", [CALL])), "without `tool_result`"),
        (body(("user", "x"), ("assistant", [CALL]), ("user", "y")), "without `tool_result`"),
        (body(("user", [RESULT])), "unexpected tool_use_id"),
        (body(("user", "x"), ("assistant", [CALL]), ("user", [*block("text", text="a"), RESULT])), "must come first"),
        (body(("user", "x"), ("assistant", [ODD_CALL]), ("user", [RESULT | {"tool_use_id": "a.b"}])), "pattern"),
        (body(("user", "x"), ("assistant", [CALL, CALL]), ("user", [RESULT])), "must be unique"),
        (body(("user", "x"), ("system", "y"), ("user", "z")), "followed by an assistant turn"),
        (body(("user", "x"), ("system", "y"), model="claude-sonnet-4-6"), "'system' is not supported"),
        (body(("user", "x"), ("assistant", DOCUMENT), ("user", "z")), "document"),
        (body(("user", block("image", source={"type": "url", "url": "http://x"}))), "HTTPS"),
        (body(("user", block("image", source=WRONG_IMAGE))), "not image/gif"),
        (body(thinking={"type": "disabled"}), "thinking.type.disabled"),
        (body(thinking={"type": "enabled", "budget_tokens": 99}, model="claude-haiku-4-5"), "1024"),
        (body(thinking={"type": "enabled", "budget_tokens": 2048}, model="claude-haiku-4-5"), "max_tokens"),
        (body(output_config={"effort": "low"}, model="claude-haiku-4-5"), "effort"),
        (body(tool_choice={"type": "any"}), "while providing tools"),
        (body(tools=[TOOL], tool_choice={"type": "any"}), "forces tool use"),
        (body(tools=[{"name": "f g", "input_schema": {"type": "object"}}]), "pattern"),
        (body(tools=[{"name": "f", "input_schema": {"type": "string"}}]), "input_schema"),
        (body(output_config={"format": {"type": "json_schema", "schema": {"type": "object"}}}), "additionalProperties"),
        (body(("user", block("text", text="x", cache_control={"type": "ephemeral"}) * 5)), "maximum of 4"),
        (body(("user", "x"), ("assistant", FORGED), ("user", "y")), "signature"),
        (body(("user", "x"), ("assistant", block("redacted_thinking", data="eA==.x")), ("user", "y")), "redacted"),
    ],
)  # fmt: skip
def test_each_rule_refuses_its_offence(given: dict[str, Any], word: str) -> None:
    assert word in faults(given)


def test_sampling_belongs_to_older_models_and_the_older_version() -> None:
    assert faults(body(model="claude-haiku-4-5", temperature=0.5), "2023-06-01") == ""
    assert "not supported for this model" in faults(body(temperature=0.5), "2023-06-01")
    assert "both" in faults(body(model="claude-haiku-4-5", temperature=0.5, top_p=0.9), "2023-06-01")


def test_beta_fields_are_accepted_with_a_beta_header_only() -> None:
    given = body(context_management={"edits": []})
    assert "context_management" in faults(given)
    assert faults(given, betas=("context-management-2025-06-27",)) == ""


def test_a_signature_is_bound_to_the_words_and_to_the_conversation() -> None:
    def turn(signature: str) -> list[dict[str, Any]]:
        return block("thinking", thinking="hm", signature=signature)

    assert faults(body(("user", "x"), ("assistant", turn(sign("hm"))), ("user", "y"))) == ""
    assert "Invalid" in faults(body(("user", "x"), ("assistant", turn(sign("other"))), ("user", "y")))
    assert "bound" in faults(body(("user", "x"), ("assistant", turn(sign("hm", "0" * 16))), ("user", "y")))


def test_the_real_sdk_holds_a_conversation_with_it(claude_double: ClaudeDouble) -> None:
    tools: Any = [
        {"name": n, "input_schema": {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}}
        for n in ("search", "lookup")
    ]
    ask: dict[str, Any] = {"model": "claude-sonnet-5-5", "max_tokens": 500, "tools": tools}
    with anthropic.Anthropic(api_key=claude_double.key, base_url=claude_double.url, max_retries=0) as client:
        with client.messages.stream(
            messages=[{"role": "user", "content": "search and lookup"}], thinking={"type": "adaptive"}, **ask
        ) as stream:
            first = stream.get_final_message()
        assert [b.type for b in first.content] == ["thinking", "tool_use", "tool_use"]
        results: Any = [
            {"type": "tool_result", "tool_use_id": b.id, "content": "42"} for b in first.content if b.type == "tool_use"
        ]
        second = client.messages.create(
            messages=[
                {"role": "user", "content": "search and lookup"},
                first.to_param(),
                {"role": "user", "content": results},
            ],
            **ask,
        )
        assert second.content[0].type == "text"
        assert "42; 42" in second.content[0].text


def test_its_models_list_has_the_fields_of_the_sdk(claude_double: ClaudeDouble) -> None:
    with anthropic.Anthropic(api_key=claude_double.key, base_url=claude_double.url) as client:
        models = list(client.models.list(limit=4))
    assert [m.id for m in models] == list(KNOWN_MODELS)
    assert all(m.model_extra == {} for m in models)
    capabilities = models[0].capabilities
    assert capabilities is not None
    assert capabilities.model_fields_set == set(type(capabilities).model_fields)


def test_scripted_failures_have_the_api_shape(claude_double: ClaudeDouble) -> None:
    claude_double.script([failure(529), failure(404, "model: x")])
    with anthropic.Anthropic(api_key=claude_double.key, base_url=claude_double.url, max_retries=0) as client:
        ask: Any = {"model": "claude-opus-5-5", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
        with pytest.raises(anthropic.OverloadedError) as caught:
            client.messages.create(**ask)
        assert caught.value.type == "overloaded_error"
        with pytest.raises(anthropic.NotFoundError):
            client.messages.create(**ask)


def test_a_refused_request_is_a_violation() -> None:
    with (
        ClaudeDouble() as double,
        anthropic.Anthropic(api_key=double.key, base_url=double.url, max_retries=0) as client,
    ):
        double.script([answer(thinking("hm"), tool_use("f", {}))])
        with pytest.raises(anthropic.BadRequestError):
            client.messages.create(
                model="claude-opus-5-5", max_tokens=9, messages=[{"role": "assistant", "content": "x"}]
            )
        assert double.violations
        assert len(double.requests) == 1


def test_the_type_walk_sees_inside_unions_lists_and_optional_fields() -> None:
    from anthropic.types import ContentBlockParam, ToolChoiceParam

    assert check({"type": "text", "text": "x"}, ContentBlockParam) == []
    assert check({"type": "text", "text": 1}, ContentBlockParam) == ["body.text: int instead of str"]
    assert check({"type": "tool", "name": "f", "nam": 1}, ToolChoiceParam) == [
        "body.nam: unknown field of ToolChoiceToolParam"
    ]
    assert check({"type": "text"}, ContentBlockParam) == ["body.text: missing"]
