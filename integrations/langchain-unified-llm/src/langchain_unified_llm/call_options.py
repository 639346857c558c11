"""From the fields of a chat model and the keyword arguments of a call to the core's `ModelConfig` and tools."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from langchain_unified_llm.chat_settings import FIELD_OPTIONS
from langchain_unified_llm.connections import with_provider
from langchain_unified_llm.hiding import PASSED_ON, shown
from langchain_unified_llm.settings import warn_unknown
from langchain_unified_llm.tool_binding import neutral_choice, neutral_tool
from unified_llm.errors import InvalidRequestError
from unified_llm.requests import ModelConfig

if TYPE_CHECKING:
    from langchain_unified_llm.chat_settings import ChatSettings

__all__ = ["call_options"]

_log = logging.getLogger("unified_llm")

_NOT_HASHABLE = ("provider_options", "extra_body", "fallbacks", "extra_headers")
_HASHABLE = tuple(name for name in FIELD_OPTIONS if name not in _NOT_HASHABLE)
_CORE_OPTIONS = frozenset(ModelConfig.option_names())
_OTHER_NAMES = {
    "model_name": "model",
    "stop_sequences": "stop",
    "max_output_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "reasoning_effort": "effort",
}
# Arguments that LangChain, or an application that knows another integration, passes along, and that mean nothing here.
_FOR_OTHERS = frozenset(
    {
        "cache_control",
        "stop",
        "stream",
        "stream_usage",
        "stream_options",
        "strict",
        "ls_structured_output_format",
        "structured_output_format",
    }
)


def call_options(
    model: ChatSettings, stop: Sequence[str] | None, given: Mapping[str, Any]
) -> tuple[ModelConfig, Sequence[Any] | None]:
    """The options of one call (arguments of the call win over fields), and its tools.

    Raises:
        InvalidRequestError: a value that no server can take.
    """
    fields = model.__dict__
    arguments = {_OTHER_NAMES.get(name, name): value for name, value in given.items()} if given else {}
    tools = _neutral(arguments.pop("tools", None))
    asked = arguments.pop("model", None) or fields["model"]
    if not isinstance(asked, str | None):
        raise InvalidRequestError(f"model is {type(asked).__name__}", hint="pass a text such as 'provider:model'")
    reference = with_provider(asked, fields["provider"], fields["base_url"])
    stop = stop or arguments.pop("stop", None) or fields["stop"]
    if not arguments and not stop and not any(map(fields.get, _NOT_HASHABLE)):
        with suppress(TypeError):  # a field was set to something that has no hash: the core says what is wrong with it
            return _config_of_fields(reference, *map(fields.get, _HASHABLE)), tools or None
    options = {name: value for name in FIELD_OPTIONS if (value := fields[name]) is not None}
    if stop:
        options["stop_sequences"] = stop
    if model.fallbacks:
        options["fallbacks"] = tuple(model.fallbacks)
    if model.extra_headers:
        options["extra_headers"] = model.extra_headers
    if asked is not fields["model"]:
        _keep_keys_home(model, asked, options)
    if arguments:
        options |= _of_arguments(arguments)
    options |= {name: shown(options[name]) for name in PASSED_ON if name in options}
    return ModelConfig(reference, **options), tools or None


def _keep_keys_home(model: ChatSettings, asked: str | None, options: dict[str, Any]) -> None:
    """Take out of `options` what holds keys, when the call names another provider than the one they were given for."""
    own, other = model.provider_name(), model.provider_name(asked)
    if own is None or own == other:
        return
    for name in ("extra_headers", "extra_body"):
        if name in options and shown(options[name]) != options[name]:
            del options[name]
            _log.warning(
                "%s of the model was given for %s and is not sent to %s: give it to the call", name, own, other
            )


@lru_cache(maxsize=256, typed=True)  # typed: thinking=True is not a budget of one token
def _config_of_fields(reference: str | None, *values: Any) -> ModelConfig:
    """The options of a call that adds none to the fields. Most calls: it is made once for each set of them."""
    return ModelConfig(reference, **dict(zip(_HASHABLE, values, strict=True)))


def _neutral(tools: Any) -> Any:
    """The tools of a call: dictionaries, which `bind_tools` makes, are passed on; what else is a tool becomes one."""
    if not isinstance(tools, (list, tuple)):
        return tools
    return [tool if isinstance(tool, Mapping) else neutral_tool(tool) for tool in tools]


def _of_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    """The options among the arguments of a call. Warns about what nobody knows."""
    options = {name: value for name, value in arguments.items() if name in _CORE_OPTIONS}
    if "tool_choice" in arguments:
        options["tool_choice"] = neutral_choice(arguments["tool_choice"])
    if caching := arguments.get("cache_control"):
        options["prompt_caching"] = _lifetime(caching)
    unknown = [name for name in arguments if name not in _CORE_OPTIONS and name not in _FOR_OTHERS]
    if unknown:
        warn_unknown(unknown, [*_CORE_OPTIONS, *_OTHER_NAMES])
    return options


def _lifetime(cache_control: object) -> bool | str:
    """``{"type": "ephemeral", "ttl": "1h"}``, as prompt-caching middleware binds it, to the core's option."""
    ttl = cache_control.get("ttl") if isinstance(cache_control, Mapping) else None
    return ttl if isinstance(ttl, str) else True
