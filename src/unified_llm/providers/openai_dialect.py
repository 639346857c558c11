"""Which dialect a request to an OpenAI-style server takes: chat completions, or the Responses API.

Chat completions is what every server has, and it stays the choice wherever nothing speaks against it. OpenAI's own
service is asked by the Responses API for models that reason, because chat completions forget the reasoning between
tool calls, and everywhere for what only that API has. What only chat completions has goes there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

from unified_llm.errors import ConfigurationError
from unified_llm.messages import Audio
from unified_llm.profiles import Profile
from unified_llm.requests import ChatRequest, ModelConfig

__all__ = ["Dialect", "check_dialect", "choose_dialect", "has_choice", "is_own_address"]

Dialect: TypeAlias = Literal["chat", "responses"]

# Options that chat completions has and the Responses API has not.
_CHAT_OPTIONS = ("seed", "stop_sequences", "presence_penalty", "frequency_penalty")
# Body fields of one of the two, as somebody may give them in `provider_options` or `extra_body`.
_CHAT_FIELDS = frozenset(
    {
        "audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs", "max_completion_tokens",
        "max_tokens", "messages", "modalities", "n", "prediction", "presence_penalty", "reasoning_effort",
        "response_format", "seed", "stop", "verbosity", "web_search_options",
    }
)  # fmt: skip
_RESPONSES_FIELDS = frozenset(
    {
        "background", "context_management", "conversation", "include", "input", "instructions", "max_output_tokens",
        "max_tool_calls", "previous_response_id", "prompt", "reasoning", "text", "truncation",
    }
)  # fmt: skip
_UNMISTAKABLE = frozenset({"conversation", "previous_response_id"})  # not so "reasoning", which proxies have in chats
_CHAT_TOOLS = frozenset({"function", "custom"})


def check_dialect(value: object, provider: str) -> Dialect | None:
    """The value of the provider's option `dialect`; None (or "auto") leaves the choice to each request."""
    if value in (None, "auto"):
        return None
    if value == "chat" or value == "responses":
        return value
    raise ConfigurationError(
        f"unknown dialect {value!r}",
        provider=provider,
        hint="use 'chat' (chat completions), 'responses' (Responses API) or 'auto'",
    )


def has_choice(profile: Profile) -> bool:
    """Whether some request to a server of this profile may take the Responses API without being told to."""
    return profile.builtin_tools or profile.dialect != "chat" or any("dialect" in r.changes for r in profile.models)


def is_own_address(url: str, own: str | None) -> bool:
    """Whether `url` is the service's own address or one of its regions, rather than a proxy of somebody else's."""
    host, home = urlsplit(url).hostname or "", urlsplit(own or "").hostname
    return home is not None and (host == home or host.endswith(f".{home}"))


def choose_dialect(request: ChatRequest, profile: Profile, provider: str, *, own_address: bool) -> Dialect:
    """The dialect of `request`, by what it asks for, then by the profile of its model.

    Asked for in the words of one of them (built-in tools; ``previous_response_id``; ``n``, ``seed``, sound...), it
    takes that one. Otherwise it takes the profile's, if the address is the service's own: a proxy may not have both.
    """
    given = _given_fields(request.config, provider)
    words = _RESPONSES_FIELDS if own_address else _UNMISTAKABLE
    if profile.builtin_tools and (given.keys() & words or _has_builtin(request, given.get("tools"))):
        return "responses"
    model = profile.for_model(request.model)
    if model.dialect == "chat" or not own_address or given.keys() & _CHAT_FIELDS or _needs_chat(request, model):
        return "chat"
    return "responses"


def _given_fields(config: ModelConfig, provider: str) -> Mapping[str, Any]:
    return {**((config.provider_options or {}).get(provider) or {}), **(config.extra_body or {})}


def _has_builtin(request: ChatRequest, more: Any) -> bool:
    natives: Iterable[Any] = (t.native for t in request.tools if t.native is not None)
    kinds = [
        t.get("type") for t in (*natives, *(more if isinstance(more, (list, tuple)) else ())) if isinstance(t, Mapping)
    ]
    return any(isinstance(kind, str) and kind not in _CHAT_TOOLS for kind in kinds)


def _needs_chat(request: ChatRequest, profile: Profile) -> bool:
    """Whether something is asked for that the model takes in chat completions alone."""
    config = request.config
    if any(getattr(config, name) is not None and name not in profile.unsupported for name in _CHAT_OPTIONS):
        return True
    return any(type(part) is Audio for message in request.messages for part in message.parts)
