"""Messages as dictionaries: reading every usual shape (see `content_blocks`, `message_dumps`), writing OpenAI's."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from unified_llm.content_blocks import KNOWN_TYPES, data_url, parts_from_block, split_data_url, unbase64
from unified_llm.errors import InvalidMessageError
from unified_llm.marks import marked, marks_of
from unified_llm.message_dumps import dump_message, load_message
from unified_llm.message_keys import Unsent, unsent_keys
from unified_llm.messages import (
    Audio,
    File,
    Image,
    Message,
    MessageRole,
    Native,
    Opaque,
    Part,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from unified_llm.part_types import check_types
from unified_llm.responses import Adjustment

__all__ = [
    "KNOWN_TYPES",
    "data_url",
    "dump_message",
    "message_from_dict",
    "normalize_messages",
    "parts_from_block",
    "split_data_url",
    "to_openai_dict",
]

# -- reading ----------------------------------------------------------------------------------------


def normalize_messages(messages: object, notes: list[Adjustment] | None = None) -> tuple[Message, ...]:
    """Turn what callers pass (a str, a Message, a dict, or a sequence of these) into messages.

    Keys of dictionaries that no request carries (see `message_keys`) are added to `notes`.

    Raises:
        InvalidMessageError: there is none, or one of them is no message; the text gives its position.
    """
    notes = [] if notes is None else notes
    if isinstance(messages, str):
        if not messages.strip():
            raise InvalidMessageError("the prompt is empty", hint="pass some text")
        return (Message(MessageRole.USER, messages),)
    if isinstance(messages, Message):
        return (messages,)
    if isinstance(messages, Mapping):
        return (_one_message(messages, 0, notes),)
    if not isinstance(messages, Iterable) or isinstance(messages, (bytes, bytearray)):
        raise InvalidMessageError(
            f"messages is {type(messages).__name__}", hint="pass a str, a list of dictionaries, or a list of Message"
        )
    result = tuple(_one_message(m, i, notes) for i, m in enumerate(messages))
    if not result:
        raise InvalidMessageError("there are no messages", hint="pass a str, or a list with at least one message")
    return result


_PLAIN_ROLES = frozenset({"system", "user", "assistant"})
_LONGEST_KEPT = 2000


@lru_cache(maxsize=1024)
def _plain_message(role: str, text: str) -> Message:
    """A message that is one text. Kept, because a history is sent again with every turn; messages are frozen values."""
    return Message(role, (Text(text),))


@lru_cache(maxsize=1024)
def _plain_result(call_id: str, text: str) -> Message:
    return Message(MessageRole.TOOL, (ToolResult(call_id, (Text(text),)),))


@lru_cache(maxsize=1024)
def _plain_call(name: str, arguments: str, call_id: str) -> Message:
    return Message(MessageRole.ASSISTANT, (ToolCall(name, arguments, call_id),))


def _plain(value: dict[str, Any]) -> Message | None:
    """The message of a dictionary that holds one short text or one tool call, as most of a history does; else None."""
    text, role = value.get("content"), value.get("role")
    if type(role) is not str:
        return None
    if type(text) is str and 0 < len(text) <= _LONGEST_KEPT:
        if role in _PLAIN_ROLES:
            return _plain_message(role, text) if len(value) == 2 else None
        call_id = value.get("tool_call_id")
        if role == "tool" and len(value) == 3 and type(call_id) is str and call_id:
            return _plain_result(call_id, text)
    elif text is None and role == "assistant" and len(value) == 3:
        return _single_call(value.get("tool_calls"))
    return None


def _single_call(calls: object) -> Message | None:
    call = calls[0] if type(calls) is list and len(calls) == 1 else None
    if type(call) is not dict or len(call) != 3 or type(function := call.get("function")) is not dict:
        return None
    name, arguments, call_id = function.get("name"), function.get("arguments"), call.get("id")
    if type(name) is str and name and type(arguments) is str and type(call_id) is str and len(function) == 2:
        return _plain_call(name, arguments, call_id) if call_id and len(arguments) <= _LONGEST_KEPT else None
    return None


def _one_message(value: object, position: int, notes: list[Adjustment]) -> Message:
    if type(value) is dict and (message := _plain(value)) is not None:
        return message
    if isinstance(value, Message):
        return value
    if isinstance(value, (dict, Mapping)):  # dict first: asking the abstract class costs five times as much
        try:
            message, unsent = _read_message(value)
            notes += [Adjustment("dropped", f"messages[{position}].{key}", why) for key, why in unsent]
            return message
        except InvalidMessageError as exc:
            exc.message = f"messages[{position}]: {exc.message}"
            raise
    attached = getattr(value, "message", None)  # a ChatResponse put back into the history
    if isinstance(attached, Message):
        return attached
    if isinstance(value, str):
        return Message(MessageRole.USER, value)
    raise InvalidMessageError(
        f"messages[{position}] is {type(value).__name__}", hint="use dictionaries with role and content, or Message"
    )


def message_from_dict(value: Mapping[str, Any]) -> Message:
    """See `Message.from_dict`."""
    return _read_message(value)[0]


def _read_message(value: Mapping[str, Any]) -> tuple[Message, list[Unsent]]:
    """The message, and what it says that no request carries."""
    try:
        unsent = unsent_keys(value)
        message = check_types(_message_of(value))
        return (_cached(message, value, unsent) if value.get("cache_control") else message), unsent
    except InvalidMessageError:
        raise
    except (TypeError, ValueError, LookupError, AttributeError) as exc:  # a list where a text belongs, and the like
        raise InvalidMessageError(
            f"something in it has the wrong type ({type(exc).__name__}: {exc})",
            hint="messages have the shape of OpenAI's, Anthropic's, or Message.dump(); or use Message(role, content)",
        ) from exc


def _cached(message: Message, value: Mapping[str, Any], unsent: list[Unsent]) -> Message:
    """`message` with a cache breakpoint at its end, written beside the content as LiteLLM has it."""
    part = marked(message.parts[-1], value) if message.parts else None
    if part is None or marks_of(part.native).get("cache_control") != value["cache_control"]:
        unsent.append(("cache_control", "the message does not end with a part that Claude caches"))
        return message
    return Message(message.role, (*message.parts[:-1], part), name=message.name, origin=message.origin, id=message.id)


def _message_of(value: Mapping[str, Any]) -> Message:
    role = value.get("role")
    if not isinstance(role, str):
        raise InvalidMessageError("a message has no role", hint="add 'role': 'user' (or system, assistant, tool)")
    if "parts" in value:
        return load_message(value)
    content = value.get("content")
    if role == "tool" or role == "function":
        return _tool_message(value, content)
    if type(content) is str:  # what most messages are
        parts: tuple[Part, ...] = (Text(content),) if content else ()
    elif content is None:
        parts = ()
    elif isinstance(content, Sequence) and not isinstance(content, (bytes, bytearray)):
        parts = tuple(part for block in content for part in parts_from_block(block))
    else:
        raise InvalidMessageError(f"content is {type(content).__name__}", hint="content is a str or a list of parts")
    if len(value) > 2:
        parts = (*_thoughts(value), *parts, *_more_parts(value, said=bool(parts)))
    calls = value.get("tool_calls")
    if calls:
        parts += tuple(_tool_call(c) for c in calls)
    elif "function_call" in value and isinstance(value["function_call"], Mapping):
        parts += (_tool_call({"function": value["function_call"]}),)
    if role == "user" and parts and all(isinstance(p, ToolResult) for p in parts):
        role = "tool"  # Anthropic's way to send tool results
    return Message(role, parts, name=value.get("name"), id=value.get("id"))


def _thoughts(value: Mapping[str, Any]) -> list[Part]:
    """Reasoning beside the content, in the spellings of DeepSeek, OpenRouter, Ollama and LiteLLM."""
    blocks = value.get("thinking_blocks")
    if isinstance(blocks, Sequence) and not isinstance(blocks, str) and blocks:  # signed, so better than their text
        return [part for block in blocks for part in parts_from_block(block)]
    text = value.get("reasoning_content") or value.get("reasoning") or value.get("thinking")
    return [Thinking(text)] if isinstance(text, str) and text else []


def _more_parts(value: Mapping[str, Any], *, said: bool) -> list[Part]:
    """What else stands beside the content: a refusal, Ollama's images, what OpenAI-like servers want back."""
    parts: list[Part] = []
    refusal = value.get("refusal")
    if isinstance(refusal, str) and refusal and not said:
        parts.append(Text(refusal))
    for image in value.get("images") or ():
        data = split_data_url(image)[0] if isinstance(image, str) and image.startswith("data:") else None
        parts.append(Image(data=unbase64(image) if data is None else data))
    for key in ("reasoning_details", "extra_content"):
        if value.get(key):
            parts.append(Opaque(Native("openai-chat", {"type": key, key: value[key]})))
    return parts


def _tool_message(value: Mapping[str, Any], content: Any) -> Message:
    name = value.get("name") or value.get("tool_name")
    call_id = value.get("tool_call_id") or name
    if not isinstance(call_id, str) or not call_id:
        raise InvalidMessageError("a tool message has no tool_call_id", hint="give the id of the call it answers")
    inner: Any = content
    if type(content) is not str and isinstance(content, Sequence) and not isinstance(content, str):
        inner = [part for block in content for part in parts_from_block(block)]
    result = ToolResult(call_id, inner, is_error=bool(value.get("is_error")), name=name)
    return Message(MessageRole.TOOL, result, id=value.get("id"))


def _tool_call(call: object) -> ToolCall:
    if type(call) is dict and type(function := call.get("function")) is dict:  # what nearly every call looks like
        name, text = function.get("name"), function.get("arguments")
        if type(name) is str and name and type(text) is str:
            return ToolCall(name, text, call.get("id"))
    if isinstance(call, ToolCall):
        return call
    function = call.get("function", call) if isinstance(call, (dict, Mapping)) else None
    if not isinstance(call, (dict, Mapping)) or not isinstance(function, (dict, Mapping)) or not function.get("name"):
        raise InvalidMessageError("a tool call has no function name", hint="see the OpenAI tool_calls shape")
    arguments = function.get("arguments", function.get("args"))
    if arguments is not None and not isinstance(arguments, (str, Mapping)):
        raise InvalidMessageError(f"tool call arguments are {type(arguments).__name__}", hint="use JSON text or a dict")
    return ToolCall(function["name"], arguments if arguments is not None else "", call.get("id"))


# -- the OpenAI chat shape ---------------------------------------------------------------------------


def to_openai_dict(message: Message) -> dict[str, Any]:
    """See `Message.to_dict`."""
    if message.role is MessageRole.TOOL and (results := message.tool_results):
        first = results[0]
        return {"role": "tool", "tool_call_id": first.call_id, "content": first.text}
    value: dict[str, Any] = {"role": message.role.value}
    media = [p for p in message.parts if isinstance(p, (Image, Audio, File))]
    value["content"] = (
        [_openai_part(p) for p in message.parts if isinstance(p, (Text, Image, Audio, File))]
        if media
        else message.content
    )
    if message.tool_calls:
        value["tool_calls"] = [
            {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments_json}}
            for c in message.tool_calls
        ]
    if message.name:
        value["name"] = message.name
    return value


def _openai_part(part: Text | Image | Audio | File) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    place = data_url(part.data, part.media_type or "application/octet-stream") if part.data is not None else part.url
    if isinstance(part, Image):
        return {"type": "image_url", "image_url": {"url": place or str(part.path)}}
    if isinstance(part, Audio):
        body = base64.b64encode(part.data or b"").decode()
        return {"type": "input_audio", "input_audio": {"data": body, "format": (part.media_type or "audio/wav")[6:]}}
    return {"type": "file", "file": {"filename": part.name, "file_data": place, "file_id": part.file_id}}
