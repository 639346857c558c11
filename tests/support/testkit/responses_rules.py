"""What is wrong with a request to the Responses API: its shape, by the openai SDK's own types, and its sense.

The sense comes from developers.openai.com: "Function calling", "Reasoning models" (encrypted reasoning items),
"Conversation state", "Structured outputs", and the error texts that people report. This file shares no line with the
code under test.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from openai.types.responses.response_create_params import (
    ResponseCreateParamsNonStreaming,
    ResponseCreateParamsStreaming,
)

from testkit.typed_check import check

__all__ = ["input_items", "reasons", "response_faults"]

_SAMPLING = ("temperature", "top_p", "top_logprobs")
_CALLS = {"function_call": "function_call_output", "custom_tool_call": "custom_tool_call_output"}


def reasons(model: str) -> bool:
    """Whether a model of that name reasons."""
    return re.match(r"o\d|gpt-[5-9](?!.*chat)", model) is not None


def input_items(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The input as items; a text stands for one user message."""
    given = body["input"]
    return [{"role": "user", "content": given}] if isinstance(given, str) else given


def response_faults(body: Any, made: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Every fault of a request, one sentence each. `made` are the items that this server gave out, by id."""
    if not isinstance(body, dict):
        return [f"body: {type(body).__name__} instead of an object"]
    shape = ResponseCreateParamsStreaming if body.get("stream") else ResponseCreateParamsNonStreaming
    faults = check(body, shape)
    if faults:
        return faults
    items = input_items(body)
    return [
        *_field_faults(body, items),
        *_tool_faults(body),
        *_content_faults(items),
        *_call_faults(items),
        *_own_faults(body, items, made),
    ]


def _field_faults(body: dict[str, Any], items: list[dict[str, Any]]) -> Iterator[str]:
    if not items and not body.get("previous_response_id"):
        yield "body.input: [] is too short"
    thinks = reasons(body["model"]) and (body.get("reasoning") or {}).get("effort") != "none"
    for name in _SAMPLING:
        if thinks and name in body:
            yield f"Unsupported parameter: '{name}' is not supported with this model."
    if not reasons(body["model"]):
        if "reasoning.encrypted_content" in (body.get("include") or ()):
            yield "Encrypted content is not supported with this model."
        if body.get("reasoning"):
            yield "Unsupported parameter: 'reasoning' is not supported with this model."
    if (limit := body.get("max_output_tokens") or 16) < 16:
        yield f"Invalid 'max_output_tokens': integer below minimum value. Expected >= 16, got {limit}."
    form = (body.get("text") or {}).get("format") or {}
    if form.get("type") == "json_object" and "json" not in json.dumps(items).lower():
        yield "Response input messages must contain the word 'json' to use 'text.format' of type 'json_object'."
    if form.get("type") == "json_schema" and not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", form["name"]):
        yield f"body.text.format.name: {form['name']!r}"


def _tool_faults(body: dict[str, Any]) -> Iterator[str]:
    tools, choice = body.get("tools"), body.get("tool_choice")
    names = [t["name"] for t in tools or () if t["type"] in ("function", "custom")]
    if tools == []:
        yield "body.tools: [] is too short"
    for name in names:
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name):
            yield f"body.tools: invalid name {name!r}"
    if len(set(names)) != len(names):
        yield "body.tools: two tools share a name"
    if (choice not in (None, "auto", "none") or body.get("parallel_tool_calls") is not None) and not tools:
        yield "body.tool_choice: only allowed when tools are given"
    if isinstance(choice, dict):
        known = names if choice["type"] in ("function", "custom") else [t["type"] for t in tools or ()]
        if choice.get("name", choice["type"]) not in known:
            yield f"Tool choice {choice} not found in 'tools' parameter."


# -- input ------------------------------------------------------------------------------------------------------------


def _content_faults(items: list[dict[str, Any]]) -> Iterator[str]:
    for i, item in enumerate(items):
        for part in (item.get("content"), item.get("output")):
            if part == []:
                yield f"input[{i}]: [] is too short"
            for piece in part if isinstance(part, list) else ():
                yield from (f"input[{i}]: {fault}" for fault in _part_faults(piece))


def _part_faults(part: dict[str, Any]) -> Iterator[str]:
    if part.get("type") == "input_image":
        if ("image_url" in part) == ("file_id" in part):
            yield "an image has either image_url or file_id"
        elif "image_url" in part and not part["image_url"].startswith("http"):
            yield from _data_faults(part["image_url"])
    if part.get("type") == "input_file":
        if len({"file_data", "file_id", "file_url"} & part.keys()) != 1:
            yield "a file has one of file_data, file_id and file_url"
        if "file_data" in part:
            yield from _data_faults(part["file_data"])
            if not part.get("filename"):
                yield "file_data needs a filename"


def _data_faults(url: str) -> Iterator[str]:
    match = re.fullmatch(r"data:[a-z]+/[a-z0-9.+-]+;base64,(.+)", url, re.DOTALL)
    if match is None:
        yield f"{url[:40]!r} is neither an http URL nor a base64 data URL"
        return
    try:
        base64.b64decode(match[1], validate=True)
    except binascii.Error as exc:
        yield f"not base64: {exc}"


def _call_faults(items: list[dict[str, Any]]) -> Iterator[str]:
    waiting: dict[str, str] = {}
    seen: set[str] = set()
    for i, item in enumerate(items):
        kind = item.get("type")
        if kind in _CALLS:
            call_id = item["call_id"]
            if not 1 <= len(call_id) <= 64:
                yield f"input[{i}].call_id: string of length {len(call_id)}"
            if call_id in seen:
                yield f"input[{i}]: Duplicate tool call id {call_id!r}"
            seen.add(call_id)
            waiting[call_id] = _CALLS[kind]
        elif kind in _CALLS.values():
            if waiting.pop(str(item.get("call_id")), None) != kind:
                yield f"No tool call found for {kind} with call_id {item.get('call_id')}."
        elif item.get("role") in ("user", "assistant") and waiting:
            yield f"No tool output found for function call {min(waiting)}."
            waiting.clear()
    if waiting:
        yield f"No tool output found for function call {min(waiting)}."


def _own_faults(
    body: dict[str, Any], items: list[dict[str, Any]], made: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    """Items that claim to be this server's own: known, unchanged, readable, and in the company they came in."""
    for i, item in enumerate(items):
        known = item.get("id")
        if known is None:
            continue
        if known not in made:
            yield f"Item with id '{known}' not found."
        elif json.dumps(made[known]) != json.dumps(item):
            yield f"input[{i}]: the item {known} is not as it was sent: {item} instead of {made[known]}"
        if item.get("type") != "reasoning":
            continue
        if not body.get("store", True) and not item.get("encrypted_content"):
            yield f"Item with id '{known}' not found. Items are not persisted when `store` is set to false."
        following = items[i + 1] if i + 1 < len(items) else {}
        if following.get("role") in ("user", "system", "developer") or not following:
            yield f"Item '{known}' of type 'reasoning' was provided without its required following item."
