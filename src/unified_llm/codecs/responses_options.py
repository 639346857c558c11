"""Options, tools and structured output as body fields of the Responses API.

What both dialects of OpenAI have in common is decided once, in `openai_options` and `openai_tools`, by a profile that
names the fields of this one; what remains here is the difference in shape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeAlias

from unified_llm.codecs.openai_options import put_options
from unified_llm.codecs.openai_tools import json_instruction, json_schema, put_tools, says_json
from unified_llm.codecs.responses_draft import ResponsesDraft
from unified_llm.profiles import Profile
from unified_llm.requests import ModelConfig, ResponseFormat
from unified_llm.tools import Tool, ToolChoice

__all__ = ["ENCRYPTED", "as_responses", "put_call_options", "put_call_tools", "put_format"]

Body: TypeAlias = dict[str, Any]
ENCRYPTED = "reasoning.encrypted_content"
_LOGPROBS = "message.output_text.logprobs"


@lru_cache(maxsize=256)
def as_responses(profile: Profile) -> Profile:
    """`profile` with the field names of this dialect: thinking is an effort everywhere, without a token budget."""
    return replace(
        profile,
        max_tokens_field="max_output_tokens",
        thinking="effort",
        thinking_on=profile.thinking_on or "medium",
        thinking_budget_field=None,
        effort_field="reasoning.effort",
        tool_id_length=None,
        tool_id_limit=64,
        prompt_caching="automatic" if profile.prompt_caching == "cache_prompt" else profile.prompt_caching,
    )


def put_call_options(body: Body, config: ModelConfig, draft: ResponsesDraft) -> None:
    """Add every option that is set and understood; the others are recorded, or raise, by policy."""
    put_options(body, config, draft, has_tools="tools" in body)
    if body.get("max_output_tokens", draft.profile.responses_limit) < draft.profile.responses_limit:
        body["max_output_tokens"] = draft.profile.responses_limit
        draft.change(
            "max_tokens", f"the Responses API of {draft.provider} takes no limit below {body['max_output_tokens']}"
        )
    if body.pop("logprobs", None):
        body.setdefault("include", []).append(_LOGPROBS)
    if config.thinking and draft.profile.encrypted_reasoning and "thinking" not in draft.refused:
        _put_summary(body, draft)


def _put_summary(body: Body, draft: ResponsesDraft) -> None:
    """Ask for a summary, without which the thinking of OpenAI's models stays invisible."""
    if draft.profile.reasoning_summary:
        body.setdefault("reasoning", {})["summary"] = "auto"
    else:
        draft.change("thinking", f"{draft.provider} refuses to show a summary of it")


def put_call_tools(body: Body, tools: Sequence[Tool], choice: ToolChoice | None, draft: ResponsesDraft) -> None:
    """Add ``tools`` and ``tool_choice``. Raises `InvalidRequestError` when a tool is demanded that was not given."""
    put_tools(body, tools, choice, draft)
    if "tools" in body:
        body["tools"] = [_flat(t) for t in body["tools"]]
    if isinstance(body.get("tool_choice"), dict):
        name = body["tool_choice"]["function"]["name"]
        body["tool_choice"] = _forced(next(t for t in tools if t.name == name))


def _flat(tool: Mapping[str, Any]) -> Body:
    """A chat tool in the flat form. ``strict`` is always said: left out, this API would turn it on."""
    function = tool.get("function")
    if tool.get("type") != "function" or not isinstance(function, Mapping):
        return dict(tool)  # a built-in one
    return {"type": "function", "strict": False, **function}


def _forced(tool: Tool) -> Body:
    native = tool.native
    if native is None or native.get("type") == "function":
        return {"type": "function", "name": tool.name}
    more = {k: native[k] for k in _NAMES.get(native["type"], ()) if k in native}
    return {"type": native["type"], **more}


_NAMES = {"custom": ("name",), "mcp": ("server_label",)}


def put_format(body: Body, wanted: ResponseFormat, draft: ResponsesDraft) -> None:
    """Ask for JSON in the strongest way the server has."""
    profile = draft.profile
    if not profile.responses_format:
        _instruct(body, wanted, f"{draft.provider} ignores it here: it is asked for in the prompt instead", draft)
    elif body.get("tools") and body.get("tool_choice") != "none" and not profile.format_with_tools:
        _instruct(body, wanted, f"{draft.provider} would call no tool: it is asked for in the prompt instead", draft)
    elif wanted.schema is not None or not profile.json_object:
        body["text"] = {"format": {"type": "json_schema", **json_schema(wanted, draft)}}
    else:
        body["text"] = {"format": {"type": "json_object"}}
        if not says_json([i for i in body["input"] if "role" in i]):  # a 400 otherwise
            draft.rearrange("response_format", "the instruction to answer with JSON was added to the prompt")
            _add_instruction(body, wanted, draft)


def _instruct(body: Body, wanted: ResponseFormat, reason: str, draft: ResponsesDraft) -> None:
    draft.change("response_format", reason)
    _add_instruction(body, wanted, draft)


def _add_instruction(body: Body, wanted: ResponseFormat, draft: ResponsesDraft) -> None:
    items, text = body["input"], json_instruction(wanted)
    if items and items[0].get("role") in ("system", "developer"):
        items[0] = {**items[0], "content": f"{items[0]['content']}\n\n{text}"}
    else:
        items.insert(0, {"type": "message", "role": draft.profile.system_role, "content": text})
