"""What the Claude API refuses with a 400, as far as its documentation says, so that a test server can refuse it too.

Shapes come from the request types of the `anthropic` package; the rest is from platform.claude.com: migration guide of
API version 2026-10-21, "Handle tool calls", "Mid-conversation system messages", "Structured outputs", "Preserved
thinking", "Extended thinking" and the pages of each model. This file shares no line with the code under test.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from testkit.typed_check import check

__all__ = [
    "KNOWN_MODELS",
    "VERSIONS",
    "Facts",
    "facts_of",
    "faults_of",
    "flatten",
    "prefix_hash",
    "sign",
    "sign_redacted",
]

VERSIONS = ("2023-06-01", "2026-10-21")
_KEY = b"the double's own secret"
_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_IMAGES = {"image/jpeg", "image/png", "image/gif", "image/webp"}


class Facts(NamedTuple):
    """What one model accepts."""

    sampling: bool
    thinking: tuple[str, ...]
    efforts: tuple[str, ...]
    forced_tools: bool
    inline_system: bool
    binds_thinking: bool
    max_output: int = 128_000
    context: int = 1_000_000


_FIVE = ("low", "medium", "high", "xhigh", "max")
_FOUR = ("low", "medium", "high", "max")
_MODELS: dict[str, Facts] = {
    "claude-fable-5": Facts(False, ("adaptive",), _FIVE, True, True, False),
    "claude-fable-5-1": Facts(False, ("adaptive",), _FIVE, False, True, True),
    "claude-fable-5-2": Facts(False, ("adaptive",), _FIVE, False, True, True),
    "claude-mythos-5": Facts(False, ("adaptive",), _FIVE, True, True, False),
    "claude-mythos-5-1": Facts(False, ("adaptive",), _FIVE, False, True, False),
    "claude-mythos-5-2": Facts(False, ("adaptive",), _FIVE, False, True, True),
    "claude-opus-5": Facts(False, ("adaptive", "disabled"), _FIVE, True, True, False),
    "claude-opus-5-5": Facts(False, ("adaptive",), _FIVE, False, True, True),
    "claude-sonnet-5": Facts(False, ("adaptive", "disabled"), _FIVE, True, False, False),
    "claude-sonnet-5-5": Facts(False, ("adaptive", "between_tools"), _FIVE, False, True, True),
    "claude-haiku-5-5": Facts(False, ("adaptive", "disabled"), _FIVE, True, True, True),
    "claude-opus-4-8": Facts(False, ("adaptive", "disabled"), _FIVE, True, True, False),
    "claude-opus-4-7": Facts(False, ("adaptive", "disabled"), _FIVE, True, False, False),
    "claude-opus-4-6": Facts(True, ("adaptive", "enabled", "disabled"), _FOUR, True, False, False),
    "claude-sonnet-4-6": Facts(True, ("adaptive", "enabled", "disabled"), _FOUR, True, False, False),
    "claude-opus-4-5": Facts(True, ("enabled", "disabled"), _FOUR[:3], True, False, False, 64_000, 200_000),
    "claude-sonnet-4-5": Facts(True, ("enabled", "disabled"), (), True, False, False, 64_000, 200_000),
    "claude-haiku-4-5": Facts(True, ("enabled", "disabled"), (), True, False, False, 64_000, 200_000),
}
KNOWN_MODELS = tuple(_MODELS)


def facts_of(model: str) -> Facts:
    """The facts of a model id, dated or not."""
    return _MODELS[re.sub(r"-20\d{6}$", "", model)]


def faults_of(body: Any, *, version: str, betas: tuple[str, ...] = (), counting: bool = False) -> list[str]:
    """Everything the API would refuse in `body`, the decoded JSON of ``POST /v1/messages`` (or count_tokens)."""
    if not isinstance(body, dict):
        return ["body: not a JSON object"]
    faults = _shape(body, version, betas, counting)
    if faults:
        return faults  # rules about content need a sound shape
    rules = (_sampling, _thinking, _effort, _tools, _format, _turns, _content, _tool_pairs, _signatures, _breakpoints)
    return [fault for rule in rules for fault in rule(body, version)]


def _shape(body: dict[str, Any], version: str, betas: tuple[str, ...], counting: bool) -> list[str]:
    if betas:
        from anthropic.types.beta import message_count_tokens_params, message_create_params
    else:
        from anthropic.types import message_count_tokens_params, message_create_params  # type: ignore[no-redef]
    if counting:
        kind: Any = message_count_tokens_params.MessageCountTokensParams
    elif body.get("stream"):
        kind = message_create_params.MessageCreateParamsStreaming
    else:
        kind = message_create_params.MessageCreateParamsNonStreaming
    # These three left the types with API version 2026-10-21; `_sampling` judges them. The last three travel as headers.
    plain = {k: v for k, v in body.items() if k not in ("temperature", "top_p", "top_k")}
    header_only = [
        f"body.{k}: sent as a header, not here" for k in ("betas", "workspace_id", "user_profile_id") if k in body
    ]
    return header_only + check(plain, kind)


def _sampling(body: dict[str, Any], version: str) -> Iterator[str]:
    given = [k for k in ("temperature", "top_p", "top_k") if k in body]
    for name in given:
        if version != "2023-06-01":
            yield f"{name}: Extra inputs are not permitted"
        elif not facts_of(body["model"]).sampling:
            yield f"{name} is not supported for this model"
    if "temperature" in body and not 0 <= body["temperature"] <= 1:
        yield "temperature: not in 0..1"
    if {"temperature", "top_p"} <= set(given):
        yield "`temperature` and `top_p` cannot both be specified for this model"
    thinks = body.get("thinking", {}).get("type") in ("enabled", "adaptive")
    if thinks and (body.get("temperature", 1) != 1 or "top_k" in body or body.get("top_p", 1) < 0.95):
        yield "sampling options may not be set when thinking is on"


def _thinking(body: dict[str, Any], version: str) -> Iterator[str]:
    thinking = body.get("thinking")
    if thinking is None:
        return
    accepted = facts_of(body["model"]).thinking
    if thinking["type"] not in accepted:
        yield f'"thinking.type.{thinking["type"]}" is not supported for this model'
    if thinking["type"] == "enabled":
        yield from _budget_in_tool_loop(body)
        if thinking["budget_tokens"] < 1024:
            yield "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024"
        if thinking["budget_tokens"] >= body.get("max_tokens", 1 << 60):
            yield "`max_tokens` must be greater than `thinking.budget_tokens`"
        if body.get("tool_choice", {}).get("type") in ("any", "tool"):
            yield "Thinking may not be enabled when tool_choice forces tool use"


def _budget_in_tool_loop(body: dict[str, Any]) -> Iterator[str]:
    turns = [m for m in body["messages"] if m["role"] == "assistant"]
    answers = any(b["type"] == "tool_result" for b in _blocks(body["messages"][-1]))
    if turns and answers and _blocks(turns[-1])[0]["type"] not in ("thinking", "redacted_thinking"):
        yield "Expected `thinking` or `redacted_thinking`: with thinking on, a final assistant message starts with it"


def _effort(body: dict[str, Any], version: str) -> Iterator[str]:
    effort = body.get("output_config", {}).get("effort")
    if effort is not None and effort not in facts_of(body["model"]).efforts:
        yield f"output_config.effort: {effort!r} is not supported for this model"
    off = body.get("thinking", {}).get("type") in ("disabled", "between_tools")
    if (
        off
        and effort in ("xhigh", "max")
        and body["model"].startswith(("claude-opus-5", "claude-sonnet-5-5", "claude-haiku-5-5"))
    ):
        yield f"output_config.effort: {effort!r} is not supported with thinking off"


def _tools(body: dict[str, Any], version: str) -> Iterator[str]:
    tools = body.get("tools", [])
    names = [t["name"] for t in tools if "name" in t]
    if len(set(names)) != len(names):
        yield "tools: Tool names must be unique."
    for i, tool in enumerate(tools):
        if "input_schema" in tool:
            if not _TOOL_NAME.fullmatch(tool["name"]):
                yield f"tools.{i}.custom.name: String should match pattern"
            if tool["input_schema"].get("type") != "object":
                yield f"tools.{i}.custom.input_schema.type: Field required"
            if tool.get("strict"):
                yield from _strict_schema(tool["input_schema"], f"tools.{i}.custom.input_schema")
    choice = body.get("tool_choice")
    if choice is None:
        return
    if not tools:
        yield "tool_choice: may only be specified while providing tools"
    if choice["type"] == "tool" and choice["name"] not in names:
        yield f"Tool {choice['name']!r} not found in provided tools"
    if choice["type"] in ("any", "tool") and not facts_of(body["model"]).forced_tools:
        yield "tool_choice forces tool use, which is not supported for this model"
    if body.get("max_tokens", 1) > facts_of(body["model"]).max_output:
        yield "max_tokens: above the model's limit"


def _format(body: dict[str, Any], version: str) -> Iterator[str]:
    wanted = body.get("output_config", {}).get("format")
    if wanted is not None:
        yield from _strict_schema(wanted["schema"], "output_config.format.schema")


_UNSUPPORTED = {
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "maxItems",
    "uniqueItems", "minProperties", "maxProperties", "patternProperties", "oneOf", "not", "if",
}  # fmt: skip


def _strict_schema(schema: Any, path: str) -> Iterator[str]:
    """ "Structured outputs", section "JSON Schema limitations"."""
    if not isinstance(schema, dict):
        return
    for name in sorted(_UNSUPPORTED & schema.keys()):
        yield f"{path}: For this type, property {name!r} is not supported"
    is_object = schema.get("type") == "object" or "properties" in schema
    if is_object and schema.get("additionalProperties") is not False:
        yield f"{path}: For 'object' type, 'additionalProperties' must be explicitly set to false"
    if schema.get("minItems", 0) > 1:
        yield f"{path}: minItems other than 0 and 1 is not supported"
    if not schema.keys() & {"type", "anyOf", "allOf", "enum", "const", "$ref"}:
        yield f"{path}: schema must have a 'type', 'anyOf', 'allOf', 'enum', 'const' or '$ref'"
    for key in ("properties", "$defs"):
        for name, sub in (schema.get(key) or {}).items():
            yield from _strict_schema(sub, f"{path}.{name}")
    for key in ("anyOf", "allOf"):
        for i, sub in enumerate(schema.get(key) or ()):
            yield from _strict_schema(sub, f"{path}.{key}.{i}")
    yield from _strict_schema(schema.get("items"), f"{path}.items")


def _blocks(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _turns(body: dict[str, Any], version: str) -> Iterator[str]:
    messages = body["messages"]
    if not messages:
        yield "messages: at least one message is required"
        return
    if messages[0]["role"] != "user":
        yield f"messages.0: the first message is of role {messages[0]['role']!r}, not 'user'"
    for i, (one, two) in enumerate(itertools.pairwise(messages), start=1):
        if one["role"] == two["role"]:
            yield f"messages.{i}: two turns of role {two['role']!r} follow each other"
    for i, message in enumerate(messages):
        if message["role"] == "system":
            yield from _inline_system(body, i)
    last = messages[-1]
    paused = any(b["type"] not in ("text", "thinking", "redacted_thinking", "tool_use") for b in _blocks(last))
    if last["role"] == "assistant" and not paused and facts_of(body["model"]).context > 200_000:
        yield "This model does not support assistant message prefill. The conversation must end with a user message."


def _inline_system(body: dict[str, Any], i: int) -> Iterator[str]:
    messages = body["messages"]
    if not facts_of(body["model"]).inline_system:
        yield f"messages.{i}: role 'system' is not supported on this model"
    if i and messages[i - 1]["role"] != "user":
        yield f"messages.{i}: a system message must follow a user message"
    if i + 1 < len(messages) and messages[i + 1]["role"] != "assistant":
        yield f"messages.{i}: a system message must be last or be followed by an assistant turn"
    if any(b["type"] != "text" for b in _blocks(messages[i])):
        yield f"messages.{i}: a system message holds text only"


def _content(body: dict[str, Any], version: str) -> Iterator[str]:
    system = body.get("system")
    if isinstance(system, list) and any(not b["text"].strip() for b in system):
        yield "system: text content blocks must be non-empty"
    last = _blocks(body["messages"][-1])[-1]
    if body["messages"][-1]["role"] == "assistant" and last.get("text", "") != last.get("text", "").rstrip():
        yield "messages: final assistant content cannot end with trailing whitespace"
    for i, message in enumerate(body["messages"]):
        if not message["content"]:
            yield f"messages.{i}: all messages must have non-empty content"
        for j, block in enumerate(_blocks(message)):
            yield from _block(block, message["role"], f"messages.{i}.content.{j}", version)


def _block(block: dict[str, Any], role: str, path: str, version: str) -> Iterator[str]:
    kind = block["type"]
    if kind == "text":
        if not block["text"].strip():
            yield f"{path}: text content blocks must contain non-whitespace text"
        if role == "user" and block.get("citations") and version != "2023-06-01":
            yield f"{path}: citations are not permitted on text blocks of user messages"
    if kind in ("document", "image") and role == "assistant":
        yield f"{path}: {kind} blocks are only permitted in user messages"
    if kind in ("thinking", "redacted_thinking", "tool_use") and role != "assistant":
        yield f"{path}: {kind} blocks are only permitted in assistant messages"
    if kind == "tool_result" and role != "user":
        yield f"{path}: tool_result blocks are only permitted in user messages"
    if kind in ("image", "document"):
        yield from _source(block["source"], path)
    if kind == "tool_result" and isinstance(block.get("content"), list):
        for k, inner in enumerate(block["content"]):
            yield from _block(inner, role, f"{path}.content.{k}", version)


def _source(source: dict[str, Any], path: str) -> Iterator[str]:
    if source["type"] == "base64":
        try:
            data = base64.b64decode(source["data"], validate=True)
        except binascii.Error:
            yield f"{path}.source.data: not base64"
            return
        magic = {"image/png": b"\x89PNG", "image/jpeg": b"\xff\xd8", "image/gif": b"GIF8", "image/webp": b"RIFF"}
        if not data.startswith(magic.get(source["media_type"], b"%PDF")):
            yield f"{path}.source: the data is not {source['media_type']}"
    if source["type"] == "url" and not source["url"].startswith("https://"):
        yield f"{path}.source.url: only HTTPS URLs are supported"


def _tool_pairs(body: dict[str, Any], version: str) -> Iterator[str]:
    messages = body["messages"]
    seen: set[str] = set()
    waiting: list[str] = []
    for i, message in enumerate(messages):
        blocks = _blocks(message)
        results = [b["tool_use_id"] for b in blocks if b["type"] == "tool_result"]
        if waiting and message["role"] == "user":
            for missing in set(waiting) - set(results):
                yield f"messages.{i - 1}: `tool_use` ids without `tool_result` blocks immediately after: {missing}"
        for stray in set(results) - set(waiting):
            yield f"messages.{i}: unexpected tool_use_id found in tool_result blocks: {stray}"
        if len(set(results)) != len(results):
            yield f"messages.{i}: each tool_use must have a single result"
        kinds = [b["type"] == "tool_result" for b in blocks]
        if sorted(kinds, reverse=True) != kinds:
            yield f"messages.{i}: tool_result blocks must come first"
        calls = [b["id"] for b in blocks if b["type"] == "tool_use"]
        for call in calls:
            if not _ID.fullmatch(call):
                yield f"messages.{i}: tool_use.id {call!r}: String should match pattern '^[a-zA-Z0-9_-]+$'"
            if call in seen:
                yield f"messages.{i}: `tool_use` ids must be unique: {call}"
            seen.add(call)
        waiting = calls if message["role"] != "system" else waiting
    if waiting:
        yield f"`tool_use` ids without `tool_result` blocks immediately after: {', '.join(waiting)}"


# -- signatures -----------------------------------------------------------------------------------------------------


def _mac(text: str) -> str:
    return base64.b64encode(hmac.digest(_KEY, text.encode(), "sha256")).decode()


def sign(thinking: str, prefix: str = "") -> str:
    """The signature of a thinking block; `prefix` (see `prefix_hash`) binds it to a conversation, empty to none."""
    return f"{prefix or 'unbound'}.{_mac(prefix + thinking)}"


def sign_redacted(text: str = "hidden") -> str:
    """The data of a redacted thinking block."""
    return f"{base64.b64encode(text.encode()).decode()}.{_mac(text)}"


def flatten(messages: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Every block with its role, as the API sees a conversation: turns of one role are one turn."""
    return [(m["role"], {k: v for k, v in b.items() if k != "cache_control"}) for m in messages for b in _blocks(m)]


def prefix_hash(body: Mapping[str, Any], blocks: list[tuple[str, dict[str, Any]]]) -> str:
    """What a preserved thinking block is bound to: system, tools, and every earlier block."""
    system = body.get("system") or []
    system = [{"type": "text", "text": system}] if isinstance(system, str) else system
    text = json.dumps([system, body.get("tools") or [], blocks], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _signatures(body: dict[str, Any], version: str) -> Iterator[str]:
    blocks = flatten(body["messages"])
    binds = facts_of(body["model"]).binds_thinking
    for i, (_, block) in enumerate(blocks):
        if block["type"] == "thinking":
            bound, _, mac = block["signature"].partition(".")
            prefix = "" if bound == "unbound" else bound
            if mac != _mac(prefix + block["thinking"]):
                yield "Invalid `signature` in `thinking` block"
            elif binds and prefix and prefix != prefix_hash(body, blocks[:i]):
                yield "Invalid `thinking` block. The block is bound to a different conversation."
        if block["type"] == "redacted_thinking":
            text, _, mac = block["data"].partition(".")
            if mac != _mac(base64.b64decode(text).decode()):
                yield "Invalid `data` in `redacted_thinking` block"


def _breakpoints(body: dict[str, Any], version: str) -> Iterator[str]:
    def count(node: Any) -> int:
        if isinstance(node, dict):
            return ("cache_control" in node) + sum(count(v) for v in node.values())
        return sum(count(v) for v in node) if isinstance(node, list) else 0

    if (total := count(body)) > 4:
        yield f"A maximum of 4 blocks with cache_control may be provided. Found {total}."
