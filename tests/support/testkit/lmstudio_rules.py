"""What LM Studio's websocket API takes and says, by the schemas that the `lmstudio` package ships (July 2025)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import lmstudio._sdk_models as schemas
import msgspec
from lmstudio._kv_config import FROM_SERVER_CONFIG

__all__ = ["inbound_faults", "outbound_faults"]

# Keys of the configuration that the server knows and the Python SDK does not:
# https://github.com/lmstudio-ai/lmstudio-js/blob/main/packages/lms-kv-config/src/schema.ts
_NEWER_KEYS = frozenset(
    "llm.prediction." + key
    for key in (
        *("seed", "toolChoice", "llama.presencePenalty", "llama.frequencyPenalty"),
        *("reasoning.enableThinking", "reasoning.budgetTokens"),
    )
)
_BOXED = frozenset(
    "llm.prediction." + key
    for key in (
        *("seed", "maxPredictedTokens", "topPSampling", "minPSampling"),
        *("llama.presencePenalty", "llama.frequencyPenalty", "reasoning.budgetTokens"),
    )
)
# Fields that newer servers send.
_NEWER_FIELDS = frozenset({"details", "isStructural", "toolCallId"})

_PARAMETERS: dict[str, str | None] = {
    "llm/predict": "PredictionChannelRequest",
    "llm/getOrLoad": "LlmChannelGetOrLoadCreationParameter",
    "llm/listLoaded": None,
    "llm/getModelInfo": "LlmRpcGetModelInfoParameter",
    "llm/unloadModel": "LlmRpcUnloadModelParameter",
    "llm/tokenize": "LlmRpcTokenizeParameter",
    "llm/countTokens": "LlmRpcCountTokensParameter",
    "llm/applyPromptTemplate": "LlmRpcApplyPromptTemplateParameter",
    "embedding/getOrLoad": "EmbeddingChannelGetOrLoadCreationParameter",
    "embedding/listLoaded": None,
    "embedding/unloadModel": "EmbeddingRpcUnloadModelParameter",
    "system/listDownloadedModels": None,
    "files/uploadFileBase64": "FilesRpcUploadFileBase64Parameter",
}
_PACKETS = {
    "llm/predict": "LlmChannelPredictToClientPacket",
    "llm/getOrLoad": "LlmChannelGetOrLoadToClientPacket",
    "embedding/getOrLoad": "EmbeddingChannelGetOrLoadToClientPacket",
}
_FRAMES: dict[str, tuple[frozenset[str], frozenset[str]]] = {  # type -> required and optional fields
    "rpcCall": (frozenset({"type", "endpoint", "callId"}), frozenset({"parameter"})),
    "channelCreate": (frozenset({"type", "endpoint", "channelId"}), frozenset({"creationParameter"})),
    "channelSend": (frozenset({"type", "channelId", "message"}), frozenset({"ackId"})),
    "keepAlive": (frozenset({"type"}), frozenset()),
}


def inbound_faults(namespace: str, frame: Any) -> list[str]:
    """What is wrong with a message of a client."""
    if not isinstance(frame, dict) or frame.get("type") not in _FRAMES:
        return [f"no frame: {frame!r}"]
    required, optional = _FRAMES[frame["type"]]
    faults = [f"{frame['type']} without {name}" for name in required - frame.keys()]
    faults += [f"{frame['type']} with {name}" for name in frame.keys() - required - optional]
    if faults:
        return faults
    if frame["type"] == "channelSend":
        return [] if frame["message"] == {"type": "cancel"} else [f"unknown message {frame['message']!r}"]
    if frame["type"] == "keepAlive":
        return []
    path = f"{namespace}/{frame['endpoint']}"
    if path not in _PARAMETERS:
        return [f"unknown endpoint {path}"]
    parameter: Any = frame.get("parameter", frame.get("creationParameter"))
    name = _PARAMETERS[path]
    if name is None:
        return [] if parameter is None else [f"{path} takes no parameter"]
    return _struct_faults(path, parameter, name) + _config_faults(parameter)


def outbound_faults(path: str, message: Mapping[str, Any]) -> list[str]:
    """What is wrong with a message of the double itself on a channel."""
    kind = str(message["type"])
    if kind == "error":
        return []
    return _struct_faults(path, message, _PACKETS[path] + kind[0].upper() + kind[1:])


def _struct_faults(where: str, value: Any, name: str) -> list[str]:
    try:
        known = msgspec.convert(value, getattr(schemas, name), strict=True)
    except (msgspec.ValidationError, AttributeError) as exc:
        return [f"{where}: {exc}"]
    return [f"{where}: unknown {path}" for path in _unknown(value, msgspec.to_builtins(known), "")]


def _unknown(value: Any, known: Any, path: str) -> list[str]:
    """Places in `value` that the schema did not take over."""
    if isinstance(value, Mapping) and isinstance(known, Mapping):
        found = []
        for key, inner in value.items():
            if key in known:
                found += _unknown(inner, known[key], f"{path}.{key}")
            elif key not in _NEWER_FIELDS and not path.endswith(".function.parameters"):  # ``$defs``, ``title``...
                found.append(f"{path}.{key}")
        return found
    if isinstance(value, list) and isinstance(known, Sequence):
        return [u for i, (a, b) in enumerate(zip(value, known, strict=True)) for u in _unknown(a, b, f"{path}[{i}]")]
    return []


def _config_faults(parameter: Mapping[str, Any]) -> list[str]:
    stack = parameter.get("predictionConfigStack") or parameter.get("loadConfigStack") or {"layers": []}
    return [
        fault
        for layer in stack["layers"]
        for field in layer["config"]["fields"]
        for fault in _field_faults(field["key"], field.get("value"))
    ]


def _field_faults(key: str, value: Any) -> list[str]:
    if key not in FROM_SERVER_CONFIG and key not in _NEWER_KEYS:
        return [f"unknown configuration key {key}"]
    if key in _BOXED and not (isinstance(value, dict) and value.keys() == {"checked", "value"}):
        return [f"{key} wants a check box: {value!r}"]
    if key == "llm.prediction.reasoning.enableThinking" and type(value) is not bool:
        return [f"{key} is a switch: {value!r}"]
    if key == "llm.prediction.tools":
        tools = [t for t in value["tools"] if isinstance(t["function"]["parameters"].get("additionalProperties"), dict)]
        return [] if tools else _struct_faults(key, value, "LlmToolUseSettingToolArray")
    if key == "llm.prediction.structured":
        return _struct_faults(key, value, "LlmStructuredPredictionSetting")
    if key == "llm.prediction.toolChoice" and value not in (
        {"type": "generic", "mode": "none"},
        {"type": "generic", "mode": "auto"},
        {"type": "generic", "mode": "required"},
    ):
        return [f"unknown tool choice {value!r}"]
    return []
