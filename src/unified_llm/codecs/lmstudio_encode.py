"""A `ChatRequest` as an order for LM Studio's websocket API.

An order is what the driver needs to carry a call out, as JSON: the ``parameter`` of an endpoint, the ``model`` that has
to be loaded for it, where in the parameter its ``specifier`` goes, and the ``files`` to upload first. Messages and
tools take the way of the HTTP API first, so that both say the same of what they cannot keep.

Keys of the configuration: https://github.com/lmstudio-ai/lmstudio-js/blob/main/packages/lms-kv-config/src/schema.ts
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeAlias

from unified_llm import _json
from unified_llm.codecs.base import CodecContext
from unified_llm.codecs.calls import json_body
from unified_llm.codecs.openai_draft import Draft
from unified_llm.codecs.openai_encode import chat_body
from unified_llm.profiles import Profile
from unified_llm.requests import ChatRequest
from unified_llm.wire import WireCall

__all__ = ["CHANNEL", "RPC", "config_stack", "encode_count", "encode_predict", "encode_rpc", "fits_websocket"]

CHANNEL, RPC = "CHANNEL", "RPC"
"""How the driver carries a call out; in the place of HTTP's method."""

Wire: TypeAlias = dict[str, Any]

_PREDICTION = "llm.prediction."
# Body field -> key, and whether the server wants it behind a check box.
_KEYS: dict[str, tuple[str, bool]] = {
    "temperature": ("temperature", False),
    "top_k": ("topKSampling", False),
    "top_p": ("topPSampling", True),
    "min_p": ("minPSampling", True),
    "seed": ("seed", True),
    "max_tokens": ("maxPredictedTokens", True),
    "stop": ("stopStrings", False),
    "presence_penalty": ("llama.presencePenalty", True),
    "frequency_penalty": ("llama.frequencyPenalty", True),
}
# Options of `provider_options` that both APIs have.
_OWN_OPTIONS = ("ttl", "preset")
_READ = frozenset({"model", "messages", "tools", "tool_choice", "response_format", "stream", "stream_options", *_KEYS})


def fits_websocket(request: ChatRequest, provider: str) -> bool:
    """Whether the websocket API can be asked for everything `request` asks for; the HTTP API has more options."""
    config = request.config
    options = (config.provider_options or {}).get(provider) or {}
    return (
        config.effort is None
        and not config.logprobs
        and config.user is None
        and config.parallel_tool_calls is not False
        and not config.extra_body
        and not config.extra_headers
        and all(name in _OWN_OPTIONS or name.startswith(_PREDICTION) for name in options)
    )


def encode_predict(request: ChatRequest, context: CodecContext) -> WireCall:
    """The call that answers `request`, with every adjustment recorded in it. Raises as `encode_chat` does."""
    draft = _draft(request, context)
    order = _order(request, draft)
    return _call("llm/predict", order, request, draft)


def encode_count(request: ChatRequest, context: CodecContext) -> WireCall:
    """The call that writes the prompt of `request` as the model's template does."""
    draft = _draft(request, context)
    order = _order(request, draft)
    parameter = order["parameter"]
    tools = [f["value"]["tools"] for f in _fields(parameter["predictionConfigStack"]) if f["key"].endswith(".tools")]
    order["specifier"] = "specifier"
    order["parameter"] = {
        "history": parameter["history"],
        "predictionConfigStack": parameter["predictionConfigStack"],
        "opts": {"toolDefinitions": tools[0]} if tools else {},
    }
    return _call("llm/applyPromptTemplate", order, request, draft, method=RPC)


def encode_rpc(
    path: str, parameter: Mapping[str, Any] | None = None, *, model: str | None = None, timeout: float | None = None
) -> WireCall:
    """A remote call such as ``llm/countTokens``; with a `model`, the parameter's ``specifier`` names it, loaded."""
    order: Wire = {"parameter": parameter}
    if model is not None:
        order |= {"model": model, "specifier": "specifier"}
    return WireCall(path, json_body(order), method=RPC, timeout=timeout)


def config_stack(fields: Mapping[str, Any]) -> Wire:
    """Configuration fields the way the server reads them."""
    layer = {"layerName": "apiOverride", "config": {"fields": [{"key": k, "value": v} for k, v in fields.items()]}}
    return {"layers": [layer]}


def _call(path: str, order: Wire, request: ChatRequest, draft: Draft, *, method: str = CHANNEL) -> WireCall:
    return WireCall(
        path,
        json_body(order),
        method=method,
        stream=request.stream,
        timeout=request.config.timeout,
        adjustments=tuple(draft.adjustments),
    )


def _draft(request: ChatRequest, context: CodecContext) -> Draft:
    draft = Draft(request, context)
    draft.profile = _thinking(draft.profile)
    return draft


@lru_cache(maxsize=64)
def _thinking(profile: Profile) -> Profile:
    """`profile` with thinking, which this API can switch, and limit: `_config` reads the field."""
    return replace(profile, thinking="type", thinking_budget_field="thinking.budget_tokens")


def _order(request: ChatRequest, draft: Draft) -> Wire:
    body = chat_body(request, draft)
    files: list[Wire] = []
    history = _History(files, draft)
    for wire in body["messages"]:
        history.add(wire)
    parameter: Wire = {
        "history": {"messages": history.messages},
        "predictionConfigStack": config_stack(_config(body, request, draft)),
    }
    if isinstance(body.get("preset"), str):
        parameter["fuzzyPresetIdentifier"] = body["preset"]
    order: Wire = {"parameter": parameter, "model": request.model, "specifier": "modelSpecifier"}
    if isinstance(body.get("ttl"), (int, float)):
        order["ttl"] = body["ttl"]
    if files:
        order["files"] = files
    if request.config.extra_headers:
        draft.drop("extra_headers", "a websocket message has no headers: transport='http' sends them")
    return order


# -- options ----------------------------------------------------------------------------------------------------------


def _config(body: Wire, request: ChatRequest, draft: Draft) -> Wire:
    """The fields of the prediction's configuration. What has no key there is recorded as dropped."""
    fields: Wire = {}
    for name, value in body.items():
        if name in _KEYS:
            key, boxed = _KEYS[name]
            fields[_PREDICTION + key] = {"checked": True, "value": value} if boxed else value
        elif name.startswith(_PREDICTION):
            fields[name] = value
        elif name == "thinking" and request.config.thinking is not None:
            fields |= _thinking_fields(value)
        elif name not in _READ and name not in _OWN_OPTIONS and (name != "parallel_tool_calls" or value is False):
            draft.drop(_option_name(name), "LM Studio's websocket API does not have it: transport='http' sends it")
    if body.get("tools"):
        _put_tools(fields, body)
    if "response_format" in body:
        schema = body["response_format"]["json_schema"]["schema"]
        fields[_PREDICTION + "structured"] = {"type": "json", "jsonSchema": schema}
    return fields


def _thinking_fields(value: Wire) -> Wire:
    """Templates without a switch for it ignore the first; the second ends thinking that gets too long."""
    fields: Wire = {_PREDICTION + "reasoning.enableThinking": value["type"] == "enabled"}
    if "budget_tokens" in value:
        fields[_PREDICTION + "reasoning.budgetTokens"] = {"checked": True, "value": value["budget_tokens"]}
    return fields


def _option_name(field: str) -> str:
    return "effort" if field == "reasoning_effort" else field


def _put_tools(fields: Wire, body: Wire) -> None:
    """`force` is what servers of 2025 read, `toolChoice` what later ones do."""
    choice = body.get("tool_choice", "auto")
    tools: Wire = {"type": "toolArray", "tools": [_tool(t) for t in body["tools"]]}
    if choice == "required":
        tools["force"] = True
    fields[_PREDICTION + "tools"] = tools
    if "tool_choice" in body:
        fields[_PREDICTION + "toolChoice"] = {"type": "generic", "mode": choice}


def _tool(tool: Wire) -> Wire:
    function = tool.get("function")
    if not isinstance(function, dict):
        return tool  # a provider-defined tool, as it is
    parameters = {"type": "object", "properties": {}, **function["parameters"]}
    return {
        "type": "function",
        "function": {"name": function["name"], "description": function["description"], "parameters": parameters},
    }


def _fields(stack: Wire) -> list[Wire]:
    fields: list[Wire] = stack["layers"][0]["config"]["fields"]
    return fields


# -- history ----------------------------------------------------------------------------------------------------------


class _History:
    """Rewrites messages of the OpenAI dialect. Results of tools in a row become one message, as the SDK sends them."""

    __slots__ = ("_draft", "_files", "messages")

    def __init__(self, files: list[Wire], draft: Draft) -> None:
        self._files = files
        self._draft = draft
        self.messages: list[Wire] = []

    def add(self, wire: Wire) -> None:
        """Append one message."""
        role = wire["role"]
        if "name" in wire:
            self._draft.lose(f"messages.{role}.name", "LM Studio's websocket API has no names of speakers")
        if role == "tool":
            result = {"type": "toolCallResult", "content": wire["content"], "toolCallId": wire["tool_call_id"]}
            last = self.messages[-1] if self.messages else None
            if last is not None and last["role"] == "tool":
                last["content"].append(result)
            else:
                self.messages.append({"role": "tool", "content": [result]})
            return
        content = self._content(wire["content"])
        for call in wire.get("tool_calls", ()):
            content.append({"type": "toolCallRequest", "toolCallRequest": _call_request(call)})
        self.messages.append({"role": role, "content": content or [{"type": "text", "text": ""}]})

    def _content(self, content: Any) -> list[Wire]:
        if isinstance(content, str):
            return [{"type": "text", "text": content}] if content else []
        return [self._part(p) for p in content or ()]

    def _part(self, part: Wire) -> Wire:
        if part["type"] == "text":
            return {"type": "text", "text": part["text"]}
        head, _, data = part["image_url"]["url"].partition(",")
        kind = head.removeprefix("data:image/").partition(";")[0]
        self._files.append({"name": f"image-{len(self._files)}.{kind}", "contentBase64": data})
        return {"type": "file", "upload": len(self._files) - 1}


def _call_request(call: Wire) -> Wire:
    function = call["function"]
    arguments = _json.loads(function["arguments"])
    return {"type": "function", "id": call["id"], "name": function["name"], "arguments": arguments}
