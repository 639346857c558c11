"""The double of the Responses API is as strict as the real one, and speaks as it does."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from testkit.responses_double import (
    Item,
    ResponsesDouble,
    call,
    custom_call,
    message,
    picture,
    refusal,
    stream_events,
    thought,
    web_search,
)
from testkit.responses_rules import response_faults

CITATION = {"type": "url_citation", "start_index": 0, "end_index": 2, "title": "T", "url": "https://example.org"}
ANSWER = [
    thought("first", "second"),
    web_search(),
    picture(b"png"),
    call("add", {"a": 1}),
    custom_call("sql", "select 1"),
    message("It rains.", "Really.", annotations=[CITATION], phase="final_answer"),
    refusal(),
]
USER = {"role": "user", "content": "Hi"}


def body(*items: Any, **fields: Any) -> dict[str, Any]:
    return {"model": "gpt-5-mini", "input": list(items) or [USER], "store": False} | fields


def test_what_it_says_fits_the_types_of_the_openai_package() -> None:
    with ResponsesDouble() as double:
        response = double._response(ANSWER, body())
    assert json.loads(Response.model_validate(response).model_dump_json(exclude_unset=True))["output"] == ANSWER
    events = TypeAdapter(ResponseStreamEvent)
    for event in stream_events(response):
        events.validate_python(event, extra="forbid" if event["type"].endswith("delta") else None)


def test_the_openai_package_reads_its_streams() -> None:
    with ResponsesDouble(api_key="k") as double, openai.OpenAI(api_key="k", base_url=double.url) as client:
        double.script([thought("hmm"), message("It rains.")])
        with client.responses.stream(model="gpt-5-mini", input="Weather?", store=False) as stream:
            final = stream.get_final_response()
    assert final.output_text == "It rains."


RS = thought("hmm")
FC = call("add", {"a": 1}, "c1")
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "1"}
MADE: dict[str, Item] = {i["id"]: i for i in (RS, FC)}
BROKEN_IMAGE = {"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,%"}
TOOL = {"type": "function", "name": "add", "parameters": {"type": "object"}, "strict": False}

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "unknown field": (body(max_tokens=5), "unknown field"),
    "chat tools": (body(tools=[{"type": "function", "function": {"name": "add"}}]), "missing"),
    "strict left out": (body(tools=[{k: v for k, v in TOOL.items() if k != "strict"}]), "strict: missing"),
    "a tiny limit": (body(max_output_tokens=5), "below minimum"),
    "no input": (body() | {"input": []}, "too short"),
    "sampling": (body(temperature=0.5), "Unsupported parameter"),
    "encrypted reasoning of a plain model": (
        body(include=["reasoning.encrypted_content"]) | {"model": "gpt-4o"},
        "Encrypted content",
    ),
    "result without its call": (body(USER, RESULT), "No tool call found"),
    "call without its result": (body(USER, FC), "No tool output"),
    "the same call twice": (body(USER, FC, RESULT, FC, RESULT), "Duplicate"),
    "an item nobody gave out": (body(USER, {**FC, "id": "fc_other"}, RESULT), "not found"),
    "an item that was changed": (body(USER, {**FC, "arguments": "{}"}, RESULT), "not as it was sent"),
    "an item in another order of keys": (body(USER, dict(reversed(FC.items())), RESULT), "not as it was sent"),
    "reasoning alone": (body(RS, USER), "required following item"),
    "json without the word": (body(text={"format": {"type": "json_object"}}), "the word 'json'"),
    "a tool that is not there": (body(tools=[TOOL], tool_choice={"type": "function", "name": "sub"}), "not found"),
    "no base64": (
        body({"role": "user", "content": [BROKEN_IMAGE]}),
        "base64",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("request_body", "words"), BAD.values(), ids=BAD.keys())
def test_it_refuses_what_the_api_refuses(request_body: dict[str, Any], words: str) -> None:
    faults = response_faults(request_body, MADE)
    assert any(words in fault for fault in faults), faults


def test_it_takes_what_is_right() -> None:
    assert response_faults(body(), {}) == []
    assert response_faults(body(USER, RS, FC, RESULT, tools=[TOOL], tool_choice="required"), MADE) == []
