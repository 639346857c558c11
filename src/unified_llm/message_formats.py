"""Messages as dictionaries: the OpenAI chat shape, Anthropic content blocks, and our own lossless form."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from typing import Any

from unified_llm import _json
from unified_llm.errors import InvalidMessageError
from unified_llm.message_keys import Unsent, unsent_keys
from unified_llm.messages import (
    Audio,
    File,
    Image,
    Message,
    MessageRole,
    Native,
    Opaque,
    Origin,
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

_DATA_URL = re.compile(r"data:(?P<type>[^;,]*)(?:;[^;,]*?)*?(?P<b64>;base64)?,(?P<data>.*)", re.DOTALL)


def data_url(data: bytes, media_type: str) -> str:
    """``data:<media_type>;base64,...`` of some bytes."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def split_data_url(url: str) -> tuple[bytes, str]:
    """Bytes and media type of a base64 ``data:`` URL. Raises `InvalidMessageError` when it is not one."""
    match = _DATA_URL.fullmatch(url)
    if match is None or not match["b64"]:
        raise InvalidMessageError(
            "the data URL is not base64", hint="write it as data:image/png;base64,..., or pass the bytes as data="
        )
    return _unbase64(match["data"]), match["type"] or "application/octet-stream"


def _unbase64(text: object) -> bytes:
    if not isinstance(text, str):
        raise InvalidMessageError(
            f"base64 data must be text, not {type(text).__name__}", hint="raw bytes go into a part: Image(data=...)"
        )
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise InvalidMessageError(
            f"the data is not valid base64: {exc}",
            hint="pass the raw bytes instead: Image(data=open(path, 'rb').read())",
        ) from exc


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
        return check_types(_message_of(value)), unsent
    except InvalidMessageError:
        raise
    except (TypeError, ValueError, LookupError, AttributeError) as exc:  # a list where a text belongs, and the like
        raise InvalidMessageError(
            f"something in it has the wrong type ({type(exc).__name__}: {exc})",
            hint="messages have the shape of OpenAI's, Anthropic's, or Message.dump(); or use Message(role, content)",
        ) from exc


def _message_of(value: Mapping[str, Any]) -> Message:
    role = value.get("role")
    if not isinstance(role, str):
        raise InvalidMessageError("a message has no role", hint="add 'role': 'user' (or system, assistant, tool)")
    if "parts" in value:
        return _load_message(value)
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
        parts.append(Image(data=_unbase64(image) if data is None else data))
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


def parts_from_block(block: object) -> list[Part]:
    """The parts that one content block stands for: a str, a part, or a dict in the OpenAI or Anthropic shape.

    Raises:
        InvalidMessageError: its type is not known, or something in it is missing.
    """
    if isinstance(block, str):
        return [Text(block)] if block else []
    if not isinstance(block, Mapping):
        if isinstance(block, (Text, Thinking, ToolCall, ToolResult, Image, Audio, File, Opaque)):
            return [block]
        raise InvalidMessageError(f"a content part is {type(block).__name__}", hint="use a dict with a 'type'")
    kind = block.get("type")
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        raise InvalidMessageError(
            f"unknown content part type {kind!r}", hint=f"known: {', '.join(sorted(_READERS))}; or pass an Opaque part"
        )
    return [reader(block)]


def _read_text(block: Mapping[str, Any]) -> Part:
    text = block.get("text")
    if not isinstance(text, str):
        raise InvalidMessageError("a text part has no text", hint="{'type': 'text', 'text': '...'}")
    return Text(text, tuple(block.get("citations") or ()))


def _read_image_url(block: Mapping[str, Any]) -> Part:
    image = block.get("image_url")
    url = image.get("url") if isinstance(image, Mapping) else image
    if not isinstance(url, str):
        raise InvalidMessageError(
            "an image_url part has no url", hint="{'type': 'image_url', 'image_url': {'url': 'https://...'}}"
        )
    detail = image.get("detail") if isinstance(image, Mapping) else None
    if url.startswith("data:"):
        data, media_type = split_data_url(url)
        return Image(data=data, media_type=media_type, detail=detail)
    return Image(url=url, detail=detail)


def _source(block: Mapping[str, Any]) -> dict[str, Any]:
    source = block.get("source")
    if not isinstance(source, Mapping):
        raise InvalidMessageError(
            f"a {block.get('type')} part has no source",
            hint="'source': {'type': 'base64', 'media_type': 'image/png', 'data': '...'}, or type url, file, text",
        )
    match source.get("type"):
        case "base64":
            return {"data": _unbase64(source.get("data")), "media_type": source.get("media_type")}
        case "url":
            return {"url": source.get("url")}
        case "file":
            return {"file_id": source.get("file_id")}
        case "text":
            return {"data": str(source.get("data", "")).encode(), "media_type": "text/plain"}
        case other:
            raise InvalidMessageError(f"unknown source type {other!r}", hint="use base64, url, file or text")


def _read_audio(block: Mapping[str, Any]) -> Part:
    audio = block.get("input_audio") or {}
    return Audio(data=_unbase64(audio.get("data")), media_type=f"audio/{audio.get('format', 'wav')}")


def _read_file(block: Mapping[str, Any]) -> Part:
    file = block.get("file", block)
    name, content = file.get("filename"), file.get("file_data")
    if isinstance(content, str):
        data, media_type = split_data_url(content) if content.startswith("data:") else (_unbase64(content), None)
        return File(data=data, media_type=media_type, name=name)
    return File(file_id=file.get("file_id"), name=name)


def _read_tool_use(block: Mapping[str, Any]) -> Part:
    name, given = block.get("name"), block.get("input") or {}
    if not isinstance(name, str) or not name:
        raise InvalidMessageError("a tool_use part has no name", hint="name the tool that is called")
    if not isinstance(given, (Mapping, str)):
        raise InvalidMessageError(f"the input of a tool_use part is {type(given).__name__}", hint="use a dictionary")
    return ToolCall(name, given, block.get("id"))


def _read_tool_result(block: Mapping[str, Any]) -> Part:
    content, call_id = block.get("content"), block.get("tool_use_id")
    if not isinstance(call_id, str) or not call_id:
        raise InvalidMessageError("a tool_result part has no tool_use_id", hint="give the id of the call it answers")
    if isinstance(content, Sequence) and not isinstance(content, str):
        content = [part for inner in content for part in parts_from_block(inner)]
    return ToolResult(call_id, content, is_error=bool(block.get("is_error")))


def _read_thinking(block: Mapping[str, Any]) -> Part:
    return Thinking(block.get("thinking") or "", block.get("signature"))


_READERS: dict[str, Callable[[Mapping[str, Any]], Part]] = {
    "text": _read_text,
    "input_text": _read_text,
    "output_text": _read_text,
    "image_url": _read_image_url,
    "image": lambda b: Image(**_source(b)),
    "document": lambda b: File(**_source(b), name=b.get("title")),
    "input_audio": _read_audio,
    "file": _read_file,
    "tool_use": _read_tool_use,
    "tool_result": _read_tool_result,
    "thinking": _read_thinking,
    "redacted_thinking": lambda b: Thinking("", redacted=b.get("data")),
    "refusal": lambda b: Text(str(b.get("refusal", ""))),
}

KNOWN_TYPES = frozenset(_READERS)
"""The block types that `parts_from_block` reads."""


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


# -- our own lossless form --------------------------------------------------------------------------

_KINDS: dict[str, type[Any]] = {
    "text": Text,
    "thinking": Thinking,
    "tool_call": ToolCall,
    "tool_result": ToolResult,
    "image": Image,
    "audio": Audio,
    "file": File,
    "opaque": Opaque,
}
_KIND_OF = {cls: kind for kind, cls in _KINDS.items()}


def dump_message(message: Message) -> dict[str, Any]:
    """See `Message.dump`."""
    value: dict[str, Any] = {"role": message.role.value, "parts": [_dump_part(p) for p in message.parts]}
    if message.origin is not None:
        value["origin"] = {n: getattr(message.origin, n) for n in Origin.__slots__}
    return value | {k: v for k in ("name", "id") if (v := getattr(message, k)) is not None}


def _dump_part(part: Part) -> dict[str, Any]:
    value: dict[str, Any] = {"type": _KIND_OF[type(part)]}
    for f in fields(part):
        item = getattr(part, f.name)
        if f.name.startswith("_") or item is None or item == () or item is False:
            continue
        value[f.name] = _dump_value(f.name, item)
    return value


def _dump_value(name: str, item: Any) -> Any:
    if isinstance(item, Native):
        return {f.name: v for f in fields(item) if (v := getattr(item, f.name)) is not None}
    if isinstance(item, bytes):
        return base64.b64encode(item).decode()
    if name == "parts":
        return [_dump_part(p) for p in item]
    if name == "citations":
        return [dict(c) for c in item]
    return str(item) if name == "path" else item


def _load_message(value: Mapping[str, Any]) -> Message:
    origin = value.get("origin")
    try:
        return Message(
            value["role"],
            tuple(_load_part(p) for p in value["parts"]),
            name=value.get("name"),
            id=value.get("id"),
            origin=Origin(**origin) if origin else None,
        )
    except (KeyError, TypeError) as exc:
        raise InvalidMessageError(f"not a dumped message: {exc}", hint="pass what Message.dump() returned") from exc


def _load_part(value: Mapping[str, Any]) -> Part:
    given = dict(value)
    cls = _KINDS[given.pop("type")]
    if "native" in given:
        given["native"] = Native(**given["native"])
    if isinstance(given.get("data"), str):
        given["data"] = _unbase64(given["data"])
    if "citations" in given:
        given["citations"] = tuple(given["citations"])
    if cls is ToolCall:
        return ToolCall(given["name"], given["arguments_json"], given["id"], native=given.get("native"))
    if cls is ToolResult:
        given["content"] = [_load_part(p) for p in given.pop("parts", ())]
    part: Part = cls(**given)
    return part


def dumps_messages(messages: Iterable[Message]) -> str:
    """JSON text of a whole history, lossless."""
    return _json.dumps_str([dump_message(m) for m in messages])
