"""What is wrong with a request to Ollama: its shape, by the types of the ollama package, its fields, and its sense.

The types of the package ignore fields they do not know, so the fields are listed here, as ``api/types.go`` has them;
the server ignores unknown ones, too, which is how an option gets lost without anybody noticing.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Any

from ollama._types import ChatRequest, EmbedRequest, Options, PullRequest, ShowRequest
from pydantic import BaseModel, ValidationError

from unified_llm.attachments import image_type

__all__ = ["chat_faults", "embed_faults", "pull_faults", "show_faults"]

_REQUEST = {"model", "stream", "options", "keep_alive"}
_CHAT = _REQUEST | {"messages", "format", "tools", "think", "truncate", "shift", "logprobs", "top_logprobs"}
_EMBED = (_REQUEST - {"stream"}) | {"input", "truncate", "dimensions"}
_MESSAGE = {
    "system": {"role", "content"},
    "user": {"role", "content", "images"},
    "assistant": {"role", "content", "thinking", "tool_calls"},
    "tool": {"role", "content", "tool_name", "tool_call_id"},
}
_OPTIONS = {
    "num_ctx": int, "num_batch": int, "num_gpu": int, "main_gpu": int, "use_mmap": bool, "num_thread": int,
    "draft_num_predict": int, "num_keep": int, "seed": int, "num_predict": int, "top_k": int, "top_p": float,
    "min_p": float, "typical_p": float, "repeat_last_n": int, "temperature": float, "repeat_penalty": float,
    "presence_penalty": float, "frequency_penalty": float, "stop": list,
}  # fmt: skip
_PROPERTY = {"type", "description", "enum", "items", "properties", "required", "anyOf"}
# Words of JSON Schema that only narrow a type: the server forgets them, and the model loses little.
_HARMLESS = {
    "title", "default", "examples", "additionalProperties", "format", "pattern", "minimum", "maximum",
    "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "minItems", "maxItems",
    "uniqueItems",
}  # fmt: skip
_LEVELS = ("low", "medium", "high", "max")


def chat_faults(body: Any) -> list[str]:
    """Every fault of a chat request, one sentence each."""
    faults = [*_fields(body, _CHAT, {"model", "messages", "stream"}), *_shape(body, ChatRequest)]
    if faults:
        return faults
    return [*_chat_sense(body), *_option_faults(body), *_tool_faults(body), *_message_faults(body["messages"])]


def embed_faults(body: Any) -> list[str]:
    """Every fault of an embedding request."""
    faults = [*_fields(body, _EMBED, {"model", "input"}), *_shape(body, EmbedRequest)]
    if not faults and not all(isinstance(text, str) for text in _listed(body["input"])):
        faults.append("invalid input type")
    return faults or [*_option_faults(body)]


def show_faults(body: Any) -> list[str]:
    """Every fault of a request to show a model."""
    return [*_fields(body, {"model", "verbose"}, {"model"}), *_shape(body, ShowRequest)]


def pull_faults(body: Any) -> list[str]:
    """Every fault of a request to download a model."""
    return [*_fields(body, {"model", "stream", "insecure"}, {"model"}), *_shape(body, PullRequest)]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _fields(body: Any, known: set[str], needed: set[str]) -> Iterator[str]:
    if not isinstance(body, dict):
        yield f"body: {type(body).__name__} instead of an object"
        return
    yield from (f"unknown field {name!r}" for name in body.keys() - known)
    yield from (f"missing field {name!r}" for name in needed - body.keys())
    yield from (f"{name}: null" for name, value in body.items() if value is None)


def _shape(body: Any, model: type[BaseModel]) -> Iterator[str]:
    try:
        model.model_validate(body, strict=False)
    except ValidationError as exc:
        yield from (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in exc.errors())


def _chat_sense(body: Mapping[str, Any]) -> Iterator[str]:
    if not isinstance(body["stream"], bool):
        yield "stream: no bool"
    think = body.get("think")
    if think is not None and not isinstance(think, bool) and think not in _LEVELS:
        yield f"invalid think value: {think!r} (must be a bool or one of {', '.join(_LEVELS)})"
    form = body.get("format")
    if isinstance(form, Mapping) and ("schema" in form or "json_schema" in form):
        yield "format: a wrapper of the OpenAI dialect, not a JSON Schema"
    if not 0 <= body.get("top_logprobs", 0) <= 20:
        yield "top_logprobs must be between 0 and 20"


def _option_faults(body: Mapping[str, Any]) -> Iterator[str]:
    options = body.get("options", {})
    yield from _shape(options, Options)
    for name, value in options.items():
        kind = _OPTIONS.get(name)
        if kind is None:
            yield f"invalid option provided: {name}"
        elif isinstance(value, bool) is not (kind is bool) or not isinstance(value, (int, kind)):
            yield f"option {name!r} must be of type {kind.__name__}"
    if "options" in body and not options:
        yield "options: empty"


# -- tools ------------------------------------------------------------------------------------------------------------


def _tool_faults(body: Mapping[str, Any]) -> Iterator[str]:
    for i, tool in enumerate(body.get("tools", [])):
        where = f"tools[{i}]"
        if tool.get("type") != "function" or tool.keys() - {"type", "function"}:
            yield f"{where}: no function tool"
            continue
        function = tool["function"]
        if function.keys() != {"name", "description", "parameters"} or not function["name"]:
            yield f"{where}.function has {sorted(function)}"
        parameters = function.get("parameters") or {}
        if parameters.get("type") != "object" or not isinstance(parameters.get("properties"), dict):
            yield f"{where}.function.parameters: templates need type and properties"
        for name, value in (parameters.get("properties") or {}).items():
            yield from _property_faults(value, f"{where}.{name}")


def _property_faults(value: Mapping[str, Any], where: str) -> Iterator[str]:
    for word in value.keys() - _PROPERTY - _HARMLESS:
        yield f"{where}: the server forgets {word!r}"
    for i, item in enumerate(value.get("anyOf") or []):
        yield from _property_faults(item, f"{where}.anyOf[{i}]")
    for name, item in (value.get("properties") or {}).items():
        yield from _property_faults(item, f"{where}.{name}")
    if isinstance(value.get("items"), Mapping):
        yield from _property_faults(value["items"], f"{where}.items")


# -- messages ---------------------------------------------------------------------------------------------------------


def _message_faults(messages: list[dict[str, Any]]) -> Iterator[str]:
    called: dict[str, str] = {}
    for i, message in enumerate(messages):
        where = f"messages[{i}]"
        role = message.get("role", "")
        yield from (f"{where}: a {role} message has no {name!r}" for name in message.keys() - _MESSAGE.get(role, set()))
        if not isinstance(message.get("content"), str):
            yield f"{where}: content is no text"
        if role == "system" and i:
            yield f"{where}: templates take one system message, the first"
        for image in message.get("images", []):
            yield from _image_faults(image, where)
        for call in message.get("tool_calls", []):
            yield from _call_faults(call, where, called)
        if role == "tool" and called.get(message.get("tool_call_id", "")) != message.get("tool_name"):
            yield f"{where}: a result of {message.get('tool_name')!r} that no call asked for"


def _image_faults(image: Any, where: str) -> Iterator[str]:
    try:
        data = base64.b64decode(image, validate=True)
    except (binascii.Error, ValueError, TypeError):
        yield f"{where}: an image that is no base64"
        return
    if image_type(data) not in ("image/png", "image/jpeg", "image/webp"):
        yield f"{where}: image: unknown format"


def _call_faults(call: Mapping[str, Any], where: str, called: dict[str, str]) -> Iterator[str]:
    function = call.get("function", {})
    if call.keys() != {"id", "function"} or function.keys() - {"name", "arguments", "index"}:
        yield f"{where}: a call has {sorted(call)} and {sorted(function)}"
    if not isinstance(function.get("arguments"), dict):
        yield f"{where}: arguments are no object"
    if call.get("id") in called:
        yield f"{where}: the call id {call.get('id')!r} repeats"
    called[str(call.get("id"))] = str(function.get("name"))
