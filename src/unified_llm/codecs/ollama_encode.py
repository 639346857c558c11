"""A `ChatRequest` as a call of ``/api/chat``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from unified_llm.codecs.base import CodecContext
from unified_llm.codecs.calls import chat_call
from unified_llm.codecs.ollama_messages import OllamaDraft, encode_messages
from unified_llm.codecs.ollama_tools import fit_tools
from unified_llm.codecs.openai_encode import overlay
from unified_llm.codecs.openai_options import BUDGET_EFFORTS, nearest_effort, put_unknown
from unified_llm.codecs.openai_tools import put_response_format, put_tools
from unified_llm.requests import ChatRequest, ModelConfig, ResponseFormat
from unified_llm.wire import WireCall

__all__ = ["OPTIONS", "chat_body", "encode_chat", "own_fields"]

Body: TypeAlias = dict[str, Any]

OPTIONS: Final = frozenset(
    {
        "num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread", "draft_num_predict", "num_keep",
        "seed", "num_predict", "top_k", "top_p", "min_p", "typical_p", "repeat_last_n", "temperature", "repeat_penalty",
        "presence_penalty", "frequency_penalty", "stop",
    }
)  # fmt: skip
"""Names that belong into the object ``options`` (the struct `Options` of the server); it ignores unknown ones."""

_SAMPLING = ("temperature", "top_p", "top_k", "min_p", "seed", "presence_penalty", "frequency_penalty")


def encode_chat(request: ChatRequest, context: CodecContext, defaults: Mapping[str, Any]) -> WireCall:
    """The call to send, with every adjustment recorded in it. `defaults` are body fields of the provider.

    Raises:
        InvalidRequestError: something that cannot be sent, or with `on_unsupported="error"` not as asked.
    """
    draft = OllamaDraft(request, context)
    body = chat_body(request, draft, defaults)
    return chat_call("api/chat", body, request, draft.adjustments)


def chat_body(request: ChatRequest, draft: OllamaDraft, defaults: Mapping[str, Any]) -> Body:
    """The JSON body of the call.

    ``truncate`` is off: else a prompt that is too long loses its oldest messages without a word, and the window is
    4,096 tokens unless ``num_ctx`` asks for more.
    """
    config = request.config
    messages = encode_messages(request.messages, draft)
    body: Body = {"model": request.model, "messages": messages, "stream": request.stream, "truncate": False}
    if request.tools or request.tool_choice is not None:
        put_tools(body, request.tools, request.tool_choice, draft)
        fit_tools(body.get("tools", []), draft)
    overlay(body, defaults)
    overlay(body, {"options": _options(config, draft)})
    _put_fields(body, config, draft)
    if request.response_format is not None:
        _put_format(body, request.response_format, draft)
    overlay(body, own_fields((config.provider_options or {}).get(draft.provider)))
    overlay(body, config.extra_body)
    if not body["options"]:
        del body["options"]
    return body


def own_fields(given: Mapping[str, Any] | None) -> Body:
    """`provider_options` as body fields: names of model options may be given without the object around them."""
    given = given or {}
    options = {k: v for k, v in given.items() if k in OPTIONS}
    body = {k: v for k, v in given.items() if k not in OPTIONS}
    return body | {"options": {**options, **(body.get("options") or {})}} if options else body


def _options(config: ModelConfig, draft: OllamaDraft) -> Body:
    options: Body = {}
    for name in _SAMPLING:
        value = getattr(config, name)
        if value is not None and draft.takes(name):
            options[name] = value
    if config.max_tokens is not None:
        options["num_predict"] = config.max_tokens
    if config.stop_sequences:
        options["stop"] = list(config.stop_sequences)
    return options


def _put_fields(body: Body, config: ModelConfig, draft: OllamaDraft) -> None:
    """What stands beside ``options``; what Ollama does not have is recorded, or raises, by policy."""
    if config.logprobs:
        body["logprobs"] = True
        if config.logprobs is not True:
            body["top_logprobs"] = config.logprobs
    for name in ("user", "parallel_tool_calls"):
        if getattr(config, name) is not None:
            draft.takes(name)
    if config.prompt_caching is not None:
        draft.drop("prompt_caching", f"{draft.provider} gives no control over it")
    think = _think(config, draft)
    if think is not None:
        body["think"] = think
    for name in config.unknown:
        put_unknown(name, config, draft)


def _think(config: ModelConfig, draft: OllamaDraft) -> bool | str | None:
    """``think``: true, false or a level; None leaves the choice to the model.

    https://docs.ollama.com/capabilities/thinking: gpt-oss takes levels only, and does not stop thinking.
    """
    thinking, effort, levels = config.thinking, config.effort, draft.profile.efforts
    if thinking is None and effort is None:
        return None
    if draft.thinks and not _takes_thinking(config, draft):
        return None
    if not draft.thinks or (thinking is not None and not thinking):
        if "none" in levels:
            return False
        draft.drop("thinking", f"this model of {draft.provider} has no way to switch it off")
        return None
    if effort is None and thinking is not True and thinking is not None:
        effort = next((name for limit, name in BUDGET_EFFORTS if thinking <= limit), "high")
        draft.change("thinking", f"{draft.provider} has no token budget: it is sent as the level {effort!r}")
    if effort is None:
        return draft.profile.thinking_on or True
    if effort not in levels:
        level = nearest_effort(effort, tuple(name for name in levels if name != "none"))
        draft.change("effort", f"{draft.provider} does not know {effort!r}: {level!r} is sent")
        return level
    return effort


def _takes_thinking(config: ModelConfig, draft: OllamaDraft) -> bool:
    """Whether the model can think at all, as far as it is known; else what was asked for is recorded as dropped."""
    asked = [name for name in ("thinking", "effort") if getattr(config, name) is not None]
    taken = [draft.takes(name) for name in asked]  # each is recorded
    return all(taken)


def _put_format(body: Body, wanted: ResponseFormat, draft: OllamaDraft) -> None:
    """``format``: the schema itself, or "json". The rules are those of the OpenAI dialect, the field is not."""
    put_response_format(body, wanted, draft)
    sent = body.pop("response_format", None)
    if sent is not None:
        body["format"] = sent["json_schema"]["schema"] if sent["type"] == "json_schema" else "json"
