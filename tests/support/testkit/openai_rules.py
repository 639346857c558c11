"""What is wrong with a request in the OpenAI dialect: its shape, by the openai SDK's own types, and its sense."""

from __future__ import annotations

import base64
import binascii
import copy
import re
from collections.abc import Iterator
from typing import Any

from openai.types.chat.completion_create_params import (
    CompletionCreateParamsNonStreaming,
    CompletionCreateParamsStreaming,
)
from openai.types.embedding_create_params import EmbeddingCreateParams

from testkit.openai_quirks import Quirks
from testkit.typed_check import check

__all__ = ["chat_faults", "embedding_faults"]

_TOKEN_FIELDS = {"max_tokens", "max_completion_tokens"}


def chat_faults(body: Any, quirks: Quirks) -> list[str]:
    """Every fault of a chat request, one sentence each."""
    if not isinstance(body, dict):
        return [f"body: {type(body).__name__} instead of an object"]
    shape = CompletionCreateParamsStreaming if body.get("stream") else CompletionCreateParamsNonStreaming
    faults = check(_without_extras(body, quirks), shape)
    if faults:
        return faults
    return [*_field_faults(body, quirks), *_tool_faults(body, quirks), *_message_faults(body["messages"], quirks)]


def _without_extras(body: dict[str, Any], quirks: Quirks) -> dict[str, Any]:
    """The request with what only this server knows taken out, so that the SDK's types fit it."""
    plain = {k: copy.deepcopy(v) for k, v in body.items() if k not in quirks.extras}
    if plain.get("tool_choice") == quirks.required_word:
        plain["tool_choice"] = "required"
    for message in plain.get("messages") or ():
        if not isinstance(message, dict):
            continue
        for name in quirks.message_extras & message.keys():
            del message[name]
        if quirks.reasoning == "content_parts" and isinstance(message.get("content"), list):
            message["content"] = [p for p in message["content"] if p.get("type") != "thinking"] or None
        for call in message.get("tool_calls") or ():
            for name in quirks.call_extras & call.keys():
                del call[name]
    return plain


def _of_model(model: str, table: tuple[tuple[str, frozenset[str]], ...]) -> frozenset[str]:
    return frozenset().union(*(fields for pattern, fields in table if re.search(pattern, model)))


def _field_faults(body: dict[str, Any], quirks: Quirks) -> Iterator[str]:
    refused = quirks.refused | _of_model(body["model"], quirks.models_refuse)
    taken = quirks.token_fields - refused | _of_model(body["model"], quirks.models_take)
    for one, other in quirks.exclusive:
        if one in body and other in body:
            yield f"body: {one} and {other} exclude each other"
    for name in sorted((refused & body.keys()) - _TOKEN_FIELDS):
        yield f"body.{name}: Unsupported parameter: '{name}' is not supported with this model"
    for name in sorted((_TOKEN_FIELDS & body.keys()) - taken):
        other = next(iter(taken))
        yield f"Unsupported parameter: '{name}' is not supported with this model. Use '{other}' instead."
    for name in _TOKEN_FIELDS & body.keys():
        if body[name] is not None and body[name] < 1:
            yield f"body.{name}: must be at least 1"
    if "top_logprobs" in body and not body.get("logprobs"):
        yield "body.top_logprobs: needs logprobs"
    if "stream_options" in body and not body.get("stream"):
        yield "body.stream_options: only allowed when stream is set"
    kind = (body.get("response_format") or {}).get("type")
    if (kind == "json_object" and not quirks.json_object) or (kind == "json_schema" and not quirks.json_schema):
        yield "'response_format.type' must be 'json_schema' or 'text'" if quirks.json_schema else f"{kind} unavailable"
    if kind == "json_object" and "json" not in str(body["messages"]).lower():
        yield "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'."


def _tool_faults(body: dict[str, Any], quirks: Quirks) -> Iterator[str]:
    tools, choice = body.get("tools"), body.get("tool_choice")
    names = [t["function"]["name"] for t in tools or () if t.get("type") == "function"]
    if tools == []:
        yield "body.tools: [] is too short"
    for name in names:
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name):
            yield f"body.tools: invalid name {name!r}"
    if len(set(names)) != len(names):
        yield "body.tools: two tools share a name"
    if choice is None and body.get("parallel_tool_calls") is None:
        return
    if not tools:
        yield "body.tool_choice: only allowed when tools are given"
    if choice is not None and quirks.tool_choice == "ignored":
        yield "body.tool_choice: this server does not read it"
    if isinstance(choice, dict):
        if quirks.tool_choice != "object":
            yield "Invalid tool_choice type: 'object'. Supported string values: none, auto, required"
        elif choice.get("function", {}).get("name") not in names:
            yield f"body.tool_choice: no tool of that name among {names}"
    elif choice == "required" and quirks.required_word != "required":
        yield f"body.tool_choice: this server says {quirks.required_word!r}"


# -- messages ---------------------------------------------------------------------------------------------------------


def _message_faults(messages: list[dict[str, Any]], quirks: Quirks) -> Iterator[str]:
    if not messages:
        yield "body.messages: [] is too short"
        return
    yield from _order_faults(messages, quirks)
    yield from _call_faults(messages, quirks)
    for i, message in enumerate(messages):
        content = message.get("content")
        if message["role"] == "assistant" and content is None and not message.get("tool_calls"):
            yield f"messages[{i}]: an assistant message needs content or tool_calls"
        if content == []:
            yield f"messages[{i}].content: [] is too short"
        for part in content if isinstance(content, list) else ():
            yield from (f"messages[{i}]: {fault}" for fault in _part_faults(part, quirks))


def _order_faults(messages: list[dict[str, Any]], quirks: Quirks) -> Iterator[str]:
    roles = [m["role"] for m in messages]
    for i, role in enumerate(roles):
        if quirks.one_system and i and role in ("system", "developer"):
            yield f"messages[{i}]: System message must be at the beginning."
        if quirks.alternate and i and role == roles[i - 1] and role in ("user", "assistant"):
            yield f"messages[{i}]: Conversation roles must alternate user/assistant/user/assistant/..."
        if not quirks.user_after_tool and role == "user" and i and roles[i - 1] == "tool":
            yield f"messages[{i}]: Unexpected role 'user' after role 'tool'"


def _call_faults(messages: list[dict[str, Any]], quirks: Quirks) -> Iterator[str]:
    open_calls: dict[str, int] = {}
    for i, message in enumerate(messages):
        if message["role"] == "tool":
            if message["tool_call_id"] not in open_calls:
                yield f"messages[{i}]: a tool message must be a response to a preceding message with 'tool_calls'"
            open_calls.pop(message["tool_call_id"], None)
            continue
        if open_calls:
            yield (
                f"messages[{i}]: an assistant message with 'tool_calls' must be followed by tool messages "
                f"responding to each 'tool_call_id' (missing: {sorted(open_calls)})"
            )
        calls = message.get("tool_calls") or ()
        open_calls = {call["id"]: i for call in calls}
        if len(open_calls) != len(calls):
            yield f"messages[{i}]: two tool calls share an id"
        for call in calls:
            if not re.fullmatch(quirks.tool_ids, call["id"]):
                yield f"messages[{i}]: Tool call id was {call['id']} but must match {quirks.tool_ids}"
        if calls and quirks.needs_reasoning and quirks.needs_reasoning not in message:
            yield f"messages[{i}]: Missing `{quirks.needs_reasoning}` field in the assistant message"
    if open_calls:
        yield f"messages: tool calls without a result: {sorted(open_calls)}"


def _part_faults(part: dict[str, Any], quirks: Quirks) -> Iterator[str]:
    kind = part.get("type")
    if kind == "text" and part["text"] == "":
        yield "an empty text part"
    if kind == "image_url":
        yield from _image_faults(part["image_url"]["url"], quirks)
    if kind == "file" and not quirks.files:
        yield "file content is not supported by this server"
    if kind == "input_audio":
        yield from _base64_faults(part["input_audio"]["data"])


def _image_faults(url: str, quirks: Quirks) -> Iterator[str]:
    if not quirks.images:
        yield "unknown variant `image_url`, expected `text`"
    elif url.startswith(("http://", "https://")):
        if not quirks.image_urls:
            yield "'url' field must be a base64 encoded image."
    else:
        match = re.fullmatch(r"data:([a-z]+/[a-z0-9.+-]+);base64,(.+)", url, re.DOTALL)
        if match is None:
            yield f"{url[:40]!r} is neither an http URL nor a base64 data URL"
        elif match[1] not in quirks.image_types:
            yield f"image type {match[1]} is not one of {sorted(quirks.image_types)}"
        else:
            yield from _base64_faults(match[2])


def _base64_faults(text: str) -> Iterator[str]:
    try:
        base64.b64decode(text, validate=True)
    except binascii.Error as exc:
        yield f"not base64: {exc}"


# -- embeddings -------------------------------------------------------------------------------------------------------


def embedding_faults(body: Any, quirks: Quirks) -> list[str]:
    """Every fault of an embeddings request, one sentence each."""
    faults = check(body, EmbeddingCreateParams)
    if faults:
        return faults
    texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
    if not texts or len(texts) > 2048:
        faults.append(f"body.input: {len(texts)} inputs; between 1 and 2048 are allowed")
    if quirks.strings_only_embeddings and not all(isinstance(t, str) for t in texts):
        faults.append("'input' field must be a string or an array of strings")
    if body.get("encoding_format") == "base64" and not quirks.base64_embeddings:
        faults.append("body.encoding_format: this server does not know base64")
    if "dimensions" in body and not quirks.dimensions:
        faults.append("body.dimensions: this server does not know it")
    return faults
