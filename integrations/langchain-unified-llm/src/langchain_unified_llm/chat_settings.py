"""The fields of the chat model, and what LangChain asks about a model without calling it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, Self, TypeAlias, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.base import LangSmithParams
from langchain_core.language_models.model_profile import ModelProfile
from langchain_core.messages import BaseMessage
from pydantic import AliasChoices, Field, SecretStr, ValidationInfo, field_serializer, field_validator, model_validator
from typing_extensions import override

from langchain_unified_llm._version import __version__
from langchain_unified_llm.connections import model_of, vendor_of, with_provider
from langchain_unified_llm.errors import translated
from langchain_unified_llm.hiding import PASSED_ON, digest, hidden, masked
from langchain_unified_llm.profiles import LiveProfile, find_model, profile_of
from langchain_unified_llm.settings import ConnectedModel
from unified_llm.errors import UnifiedLLMError

__all__ = ["FIELD_OPTIONS", "ChatSettings", "Method"]

Method: TypeAlias = Literal["json_schema", "function_calling", "json_mode"]
"""Ways to ask for structured output."""

_log = logging.getLogger("unified_llm")

# Fields of the chat model that are options of the core under the same name.
FIELD_OPTIONS = (
    "temperature",
    "max_tokens",
    "top_p",
    "top_k",
    "min_p",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "parallel_tool_calls",
    "thinking",
    "effort",
    "prompt_caching",
    "logprobs",
    "user",
    "label",
    "max_retries",
    "deadline",
    "provider_options",
    "extra_body",
    "on_unsupported",
)


class ChatSettings(ConnectedModel, BaseChatModel):
    """Base of `ChatUnifiedLLM`: everything but the calls. Abstract."""

    temperature: float | None = Field(default=None, ge=0, le=2)
    max_tokens: int | None = Field(
        default=None, validation_alias=AliasChoices("max_tokens", "max_completion_tokens", "max_output_tokens")
    )
    top_p: float | None = Field(default=None, ge=0, le=1)
    top_k: int | None = None
    min_p: float | None = Field(default=None, ge=0, le=1)
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    stop: list[str] | None = Field(default=None, validation_alias=AliasChoices("stop", "stop_sequences"))
    """Texts that end the answer."""

    thinking: bool | int | None = None
    """True, False, or a budget in tokens."""

    effort: str | None = Field(default=None, validation_alias=AliasChoices("effort", "reasoning_effort"))
    """none, minimal, low, medium, high, xhigh or max, where the model has it."""

    prompt_caching: bool | str | None = None
    """True, False, or a lifetime such as "5m" or "1h", where the provider has it."""

    parallel_tool_calls: bool | None = None
    logprobs: bool | int | None = None
    user: str | None = None
    """End-user id passed to the provider."""

    provider_options: dict[str, dict[str, Any]] | None = None
    """``{provider: {option: value}}``, sent as they are, and only to that provider. Keys in it: see `extra_body`."""

    extra_headers: dict[str, SecretStr | str] | None = Field(
        default=None, exclude=True, repr=False, validation_alias=AliasChoices("extra_headers", "default_headers")
    )
    """Added to HTTP requests, but not to those for another provider that a call names; kept as `SecretStr`."""

    extra_body: dict[str, Any] | None = None
    """Added to the body of every request, as it is. Texts that are keys, by name or look, are kept as `SecretStr`."""

    on_unsupported: Literal["warn", "error", "drop"] | None = None
    """What to do with an option that the provider does not have; it is always recorded in the response."""

    max_retries: int | None = Field(default=None, ge=0)
    """Attempts after the first on failures that may pass; None is the core's default."""

    deadline: float | None = Field(default=None, gt=0)
    """Most seconds for a whole call, retries and fallbacks included."""

    fallbacks: list[str] | None = None
    """Model references asked in order when the first fails, before anything was delivered."""

    label: str | None = None
    """Groups calls in the core's usage totals and budgets."""

    streaming: bool = False
    """Stream inside `invoke` too, so that callbacks see tokens."""

    @field_serializer("provider_options", "extra_body", when_used="json-unless-none")
    def _masked(self, value: Any) -> Any:
        return masked(value)  # pydantic before 2.11 cannot write a SecretStr inside of a dictionary

    @field_validator("max_tokens", "top_k", "thinking")
    @classmethod
    def _check_range(cls, value: int | bool | None, info: ValidationInfo) -> int | bool | None:
        if value is not None:
            from unified_llm.requests import ModelConfig

            options: dict[str, Any] = {str(info.field_name): value}
            ModelConfig(**options)  # its rules are those of the call
        return value

    @field_validator(*PASSED_ON)
    @classmethod
    def _hide_keys(cls, value: dict[str, Any] | None, info: ValidationInfo) -> dict[str, Any] | None:
        found: dict[str, Any] | None = hidden(value, info.field_name or "") if value else value
        return found

    @model_validator(mode="after")
    def _set_langchain_unified_llm_version(self) -> Self:
        self._add_version("langchain-unified-llm", __version__)
        if isinstance(self.profile, LiveProfile):
            self.profile.arm()
        return self

    @override
    def to_json(self) -> Any:
        with self._profile_asleep():
            return super().to_json()

    @override
    def __repr_args__(self) -> Any:
        with self._profile_asleep():
            return list(super().__repr_args__())

    def _profile_asleep(self) -> AbstractContextManager[None]:
        profile = self.__dict__.get("profile")
        return profile.asleep() if isinstance(profile, LiveProfile) else nullcontext()

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(state)
        if not self.profile:  # a pickle holds what was known; nothing was
            profile = LiveProfile(self._load_profile)
            profile.arm()
            self.profile = cast("ModelProfile", profile)

    @model_validator(mode="before")
    @classmethod
    def _forget_live_profile(cls, values: Any) -> Any:
        """A copy of a model (`configurable_fields`) may be another model: it looks for its own profile."""
        if isinstance(values, dict) and isinstance(values.get("profile"), LiveProfile):
            return {name: value for name, value in values.items() if name != "profile"}
        return values

    # -- what LangChain asks about a model ---------------------------------------------------------------------------

    @property
    @override
    def _llm_type(self) -> str:
        return f"{self._vendor(None) or 'unified-llm'}-chat"

    def _vendor(self, reference: str | None) -> str | None:
        name = self.provider_name(reference)
        return vendor_of(name) if name else None

    @property
    @override
    def _identifying_params(self) -> Mapping[str, Any]:
        fields = self.__dict__
        names = ("model", "provider", "base_url", "stop", *FIELD_OPTIONS)
        params = {name: fields[name] for name in names if fields[name] is not None}
        return params | {name: masked(params[name]) for name in PASSED_ON if name in params}

    @override
    def _get_invocation_params(self, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        # What LangChain's own would return, without its detour over a deprecated method, whose warning it silences by
        # swapping the filters of the whole process: a third of what this class adds to a call.
        return {**self._identifying_params, "_type": self._llm_type, "stop": stop, **_printable(kwargs)}

    @override
    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        reference = kwargs.get("model") or kwargs.get("model_name")
        if not isinstance(reference, str):
            reference = None  # what is wrong with it, the call says
        params = LangSmithParams(ls_provider=self._vendor(reference) or "unified-llm", ls_model_type="chat")
        reference = with_provider(reference or self.model, self.provider, self.base_url)
        if (name := model_of(reference)) is not None:
            params["ls_model_name"] = name
        temperature = kwargs.get("temperature", self.temperature)
        if temperature is not None:
            params["ls_temperature"] = temperature
        max_tokens = kwargs.get("max_tokens", self.max_tokens)
        if max_tokens is not None:
            params["ls_max_tokens"] = max_tokens
        if stop := stop or kwargs.get("stop") or self.stop:
            params["ls_stop"] = list(stop) if isinstance(stop, (list, tuple)) else [str(stop)]
        return params

    @override
    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        self.__dict__.pop("_serialized", None)  # LangChain keeps it, and fields may have been set since
        passed_on = [self.extra_headers, self.extra_body, self.provider_options, *map(kwargs.get, PASSED_ON)]
        backend = self._backend(kwargs.get("model") or kwargs.get("model_name"))
        return super()._get_llm_string(stop=stop, **_printable(kwargs)) + digest(passed_on, backend)

    @classmethod
    @override
    def is_lc_serializable(cls) -> bool:
        return True

    @classmethod
    @override
    def get_lc_namespace(cls) -> list[str]:
        return ["langchain_unified_llm", "chat_models"]

    @property
    @override
    def lc_secrets(self) -> dict[str, str]:
        return {"api_key": self._key_variable()}

    def _key_variable(self) -> str:
        """The environment variable that usually holds the key, for serialised models."""
        from unified_llm.providers.registry import PROVIDER_CONFIGS

        config = PROVIDER_CONFIGS.get(self.provider_name() or "")
        return config.env[0] if config and config.env else "UNIFIED_LLM_API_KEY"

    @override
    def _resolve_model_profile(self) -> Any:
        return LiveProfile(self._load_profile)

    def _load_profile(self) -> dict[str, Any]:
        try:
            info = find_model(self.core_client().list_models(self.provider_name()), self._model_id())
        except UnifiedLLMError as exc:  # a profile is a help: without a server, or a list of models, there is none
            _log.debug("no profile of %s: %s", self.model, exc)
            return {}
        return profile_of(info) if info is not None else {}

    async def aload_profile(self) -> ModelProfile:
        """The profile, asked from the server now, without blocking the event loop. `profile` has it from then on.

        Raises:
            UnifiedLLMError: the server cannot be asked, or has no list of models.
        """
        with translated():
            models = await self.core_client().list_models_async(self.provider_name())
        info = find_model(models, self._model_id())
        found = profile_of(info) if info is not None else {}
        if isinstance(self.profile, LiveProfile):
            self.profile.fill(found)
        else:
            self.profile = cast("ModelProfile", found)
        return cast("ModelProfile", found)

    def _model_id(self) -> str | None:
        return model_of(with_provider(self.model, self.provider, self.base_url))

    @override
    def get_num_tokens(self, text: str) -> int:
        """Tokens of `text`: counted by the provider where it can, else estimated. Never downloads a tokenizer."""
        from langchain_unified_llm.token_counting import count_text

        return count_text(self, text)

    @override
    def get_num_tokens_from_messages(
        self, messages: list[BaseMessage], tools: Sequence[Any] | None = None, **kwargs: Any
    ) -> int:
        """Tokens of a prompt: counted by the provider where it can, else estimated. Never downloads a tokenizer."""
        from langchain_unified_llm.token_counting import count_messages

        return count_messages(self, messages, tools, kwargs)


def _printable(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a call, without the keys in them."""
    if not any(name in arguments for name in PASSED_ON):
        return arguments
    return {k: masked(hidden(v, k)) if k in PASSED_ON else v for k, v in arguments.items()}
