"""Reading resources: what the server knows, for people and programs. Each caller sees only what is theirs."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

from unified_llm.errors import UnifiedLLMError
from unified_llm.messages import Message, Text
from unified_llm.providers.registry import PROVIDER_CONFIGS
from unified_llm_mcp._sdk import Call, protocol_error
from unified_llm_mcp.embed_tool import float32_bytes, rows_of_a_part
from unified_llm_mcp.failures import ToolCallError
from unified_llm_mcp.models_tool import model_entry
from unified_llm_mcp.resource_list import JSON, MARKDOWN, OCTETS, PLAIN
from unified_llm_mcp.results import MAX_RESOURCE_BYTES, fitting
from unified_llm_mcp.sendable import well_formed
from unified_llm_mcp.state import ServerState

__all__ = ["Contents", "read"]

RATE_LIMITED = -32000
"""JSON-RPC leaves the codes from -32099 to -32000 to servers."""

MOST_DIGITS = 15

Contents = list[tuple[str | bytes, str]]


async def read(state: ServerState, uri: str, call: Call) -> Contents:
    """The contents of an ``llm://`` resource.

    Raises:
        protocol error -32602: there is no such resource, or it is another caller's. -32000: too many calls a minute.
    """
    try:
        state.limits.admit(call.subject)
    except ToolCallError as error:
        raise protocol_error(error.text(), error.meta(), code=RATE_LIMITED) from error
    path, _, query = uri.removeprefix("llm://").partition("?")
    room, _, rest = path.partition("/")
    reader = _READERS.get(room if not rest else f"{room}/")
    contents = None if reader is None else await reader(state, unquote(rest), query, call)
    if contents is None:
        raise protocol_error(f"Unknown resource: {uri}", {"uri": uri})
    return contents


def _json(value: Any) -> Contents:
    return [(json.dumps(value, ensure_ascii=False, indent=1), JSON)]


async def _providers(state: ServerState, rest: str, query: str, call: Call) -> Contents:
    found = await state.models.find()
    names = await state.models.providers()
    return _json({"providers": [_provider(name, found.errors.get(name), n == 0) for n, name in enumerate(names)]})


def _provider(name: str, error: str | None, current: bool) -> dict[str, Any]:
    from unified_llm.credentials import find_key

    config = PROVIDER_CONFIGS.get(name)
    entry: dict[str, Any] = {"id": name, "default": current, "reachable": error is None}
    if config is not None:
        entry["description"] = config.description
        if config.env:
            entry |= {"key_variables": list(config.env), "key_present": find_key(name, None, config.env) is not None}
    return entry | ({"error": error} if error else {})


async def _models(state: ServerState, rest: str, query: str, call: Call) -> Contents:
    found = await state.models.find()
    return _json({"models": [model_entry(model) for model in found.models], "errors": found.errors})


async def _model(state: ServerState, rest: str, query: str, call: Call) -> Contents | None:
    provider, _, wanted = rest.partition("/")
    try:
        found = await state.models.find(provider)
    except (UnifiedLLMError, TimeoutError) as error:
        why = well_formed(f"The models of {provider} are not known: {error}")
        raise protocol_error(why, {"provider": provider}) from error
    model = next((one for one in found.models if one.id == wanted), None)
    return None if model is None else _json(model.to_dict() | {"id": model.ref})


async def _usage(state: ServerState, rest: str, query: str, call: Call) -> Contents:
    return _json(state.usage.of(call.subject))


async def _conversation(state: ServerState, rest: str, query: str, call: Call) -> Contents | None:
    conversation = state.conversations.get(call.subject, rest)
    if conversation is None:
        return None
    messages = ([Message("system", conversation.system)] if conversation.system else []) + list(conversation.messages)
    markdown = "\n\n".join(f"**{message.role}**\n\n{_markdown(message)}" for message in messages)
    as_json = json.dumps({"messages": [message.to_dict() for message in messages]}, ensure_ascii=False)
    both = markdown + as_json
    if not query and len(fitting(both, len(both), MAX_RESOURCE_BYTES)) == len(both):
        return [(markdown, MARKDOWN), (as_json, JSON)]
    return _part(markdown, MARKDOWN, f"llm://conversations/{rest}", query)


def _markdown(message: Message) -> str:
    others = [type(part).__name__ for part in message.parts if not isinstance(part, Text)]
    return message.text + "".join(f"\n\n[{name}]" for name in others if name != "Thinking")


async def _response(state: ServerState, rest: str, query: str, call: Call) -> Contents | None:
    started = state.results.get(call.subject, rest)
    return None if started is None else _part(started.run.text, PLAIN, f"llm://responses/{rest}", query)


async def _embeddings(state: ServerState, rest: str, query: str, call: Call) -> Contents | None:
    vectors = state.embeddings.get(call.subject, rest)
    if vectors is None:
        return None
    wanted = _range("rows", query, len(vectors))
    rows = wanted[: rows_of_a_part(vectors)]
    contents: Contents = [(b"".join(float32_bytes(vectors.vectors[row]) for row in rows), OCTETS)]
    if rows.stop >= wanted.stop:
        return contents
    last = {"truncated": True, "rows": len(vectors), "dimensions": vectors.dimensions}
    return contents + _json(last | {"next": f"llm://embeddings/{rest}?rows={rows.stop}-{wanted.stop - 1}"})


def _part(text: str, kind: str, uri: str, query: str) -> Contents:
    """The characters asked for, as many of them as fit into a message; and where the rest is, when there is one."""
    wanted = _range("chars", query, len(text))
    part = fitting(text[wanted.start : wanted.stop], len(wanted), MAX_RESOURCE_BYTES)
    end = wanted.start + len(part)
    if end == wanted.stop:
        return [(part, kind)]
    rest = {"truncated": True, "characters": len(text), "next": f"{uri}?chars={end}-{wanted.stop - 1}"}
    return [(part, kind), *_json(rest)]


def _range(name: str, query: str, count: int) -> range:
    """``NAME=FIRST-LAST``, both included; everything without it."""
    if not query:
        return range(count)
    first, dash, last = query.removeprefix(f"{name}=").partition("-")
    numbers = all(one.isascii() and one.isdecimal() and len(one) <= MOST_DIGITS for one in (first, last))
    if not (query.startswith(f"{name}=") and dash and numbers):
        raise protocol_error(f"Parts are asked for as ?{name}=FIRST-LAST, counted from 0", {"query": query})
    if not int(first) <= int(last) or int(first) >= count:
        raise protocol_error(f"There are no such {name}: the last of {count} is {count - 1}", {"query": query})
    return range(int(first), min(int(last) + 1, count))


Reader = Callable[[ServerState, str, str, Call], Awaitable[Contents | None]]
_READERS: dict[str, Reader] = {
    "providers": _providers,
    "models": _models,
    "models/": _model,
    "usage": _usage,
    "conversations/": _conversation,
    "responses/": _response,
    "embeddings/": _embeddings,
}
