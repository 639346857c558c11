"""`ChatUnifiedLLM`: LangChain's chat model over the core client. Fields, and the methods that do the calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, Self

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.utils import LC_ID_PREFIX
from pydantic import AliasChoices, BaseModel, Field, SecretStr, model_validator
from typing_extensions import override

from langchain_unified_llm import core_to_lc, structured_output
from langchain_unified_llm._version import __version__
from langchain_unified_llm.call_options import FIELD_OPTIONS, call_options
from langchain_unified_llm.connections import vendor_of, with_provider
from langchain_unified_llm.errors import translate
from langchain_unified_llm.lc_to_core import to_core
from langchain_unified_llm.settings import ConnectedModel
from langchain_unified_llm.stream_chunks import ChunkWriter
from langchain_unified_llm.stream_protocol import EventWriter
from langchain_unified_llm.tool_binding import bind_arguments
from unified_llm.errors import InvalidRequestError, UnifiedLLMError
from unified_llm.responses import ChatResponse

__all__ = ["ChatUnifiedLLM"]


@contextmanager
def _translated() -> Iterator[None]:
    """Raise the core's errors as classes that LangChain knows too."""
    try:
        yield
    except UnifiedLLMError as exc:
        twin = translate(exc)
        if twin is exc:
            raise
        raise twin from exc


class ChatUnifiedLLM(ConnectedModel, BaseChatModel):
    """A chat model of any provider that unified-llm reaches; one string chooses it.

    Example:
        ```python
        from langchain_unified_llm import ChatUnifiedLLM

        llm = ChatUnifiedLLM(model="claude:claude-sonnet-5-5")  # or "lmstudio:qwen/qwen3-8b", "local", "offline"
        llm.invoke("Hello")
        ```

    Every call takes the fields below as arguments too (``llm.invoke(messages, temperature=0)``), and ``model=`` may
    name another provider; keys stay with the provider they were given for. Errors derive both from
    `unified_llm.UnifiedLLMError` and from `langchain_core.exceptions.ModelError`.
    """

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
    """``{provider: {option: value}}``, sent as they are, and only to that provider."""

    extra_headers: dict[str, SecretStr] | None = Field(
        default=None, exclude=True, repr=False, validation_alias=AliasChoices("extra_headers", "default_headers")
    )
    """Added to every HTTP request."""

    extra_body: dict[str, Any] | None = None
    """Added to the body of every request, as it is."""

    on_unsupported: Literal["warn", "error", "drop"] | None = None
    """What to do with an option that the provider does not have; it is always recorded in the response."""

    max_retries: int | None = Field(default=None, ge=0)
    streaming: bool = False
    """Stream inside `invoke` too, so that callbacks see tokens."""

    @model_validator(mode="after")
    def _set_langchain_unified_llm_version(self) -> Self:
        self._add_version("langchain-unified-llm", __version__)
        return self

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
        return {name: fields[name] for name in names if fields[name] is not None}

    @override
    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        reference = kwargs.get("model") or kwargs.get("model_name")
        params = LangSmithParams(ls_provider=self._vendor(reference) or "unified-llm", ls_model_type="chat")
        reference = with_provider(reference or self.model, self.provider, self.base_url)
        if (name := _without_provider(reference)) is not None:
            params["ls_model_name"] = name
        temperature = kwargs.get("temperature", self.temperature)
        if temperature is not None:
            params["ls_temperature"] = temperature
        max_tokens = kwargs.get("max_tokens", self.max_tokens)
        if max_tokens is not None:
            params["ls_max_tokens"] = max_tokens
        if stop := stop or kwargs.get("stop") or self.stop:
            params["ls_stop"] = list(stop)
        return params

    @override
    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        return super()._get_llm_string(stop=stop, **kwargs) + self._hidden_settings()

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

    # -- calls -----------------------------------------------------------------------------------------------------

    @override
    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with _translated():
            config, tools = call_options(self, stop, kwargs)
            response = self.core_client().chat(to_core(messages), config, tools)
        return self._result(response)

    @override
    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with _translated():
            config, tools = call_options(self, stop, kwargs)
            response = await self.core_client().chat_async(to_core(messages), config, tools)
        return self._result(response)

    def _result(self, response: ChatResponse) -> ChatResult:
        message = core_to_lc.message(response, v1=self._v1)
        return ChatResult(generations=[ChatGeneration(message=message)])

    @property
    def _v1(self) -> bool:
        return self.output_version == "v1"

    @override
    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        writer = ChunkWriter(v1=self._v1)
        with _translated():
            config, tools = call_options(self, stop, kwargs)
            with self.core_client().stream(to_core(messages), config, tools) as events:
                for event in events:
                    chunk = writer.write(event)
                    if chunk is not None:
                        if run_manager:
                            run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                        yield chunk

    @override
    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        writer = ChunkWriter(v1=self._v1)
        with _translated():
            config, tools = call_options(self, stop, kwargs)
            async with self.core_client().stream_async(to_core(messages), config, tools) as events:
                async for event in events:
                    chunk = writer.write(event)
                    if chunk is not None:
                        if run_manager:
                            await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                        yield chunk

    def _stream_chat_model_events(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[dict[str, Any]]:
        """Protocol events (``stream_events(version="v3")``, LangGraph's v3 streams) without the detour over chunks."""
        writer = None
        with _translated():
            config, tools = call_options(self, stop, kwargs)
            with self.core_client().stream(to_core(messages), config, tools) as events:
                for event in events:
                    writer = writer or self._event_writer(config.model_name, run_manager)
                    yield from writer.write(event)

    async def _astream_chat_model_events(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[dict[str, Any]]:
        """`_stream_chat_model_events`, without blocking the event loop."""
        writer = None
        with _translated():
            config, tools = call_options(self, stop, kwargs)
            async with self.core_client().stream_async(to_core(messages), config, tools) as events:
                async for event in events:
                    writer = writer or self._event_writer(config.model_name, run_manager)
                    for written in writer.write(event):
                        yield written

    def _event_writer(
        self, reference: str | None, run: CallbackManagerForLLMRun | AsyncCallbackManagerForLLMRun | None
    ) -> EventWriter:
        # Made at the first event: an "auto" provider is known from then on.
        return EventWriter(self._vendor(reference), f"{LC_ID_PREFIX}-{run.run_id}" if run else None)

    # -- tools and structured output -----------------------------------------------------------------------------------

    @override
    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | dict[str, Any] | bool | None = None,
        strict: bool | None = None,
        parallel_tool_calls: bool | None = None,
        response_format: Any = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Bind tools to the model.

        Args:
            tools: tools, functions, pydantic classes, TypedDicts, and dictionaries in the OpenAI, Anthropic or JSON
                Schema shape; provider-defined tools as their dictionary.
            tool_choice: "auto", "none", "any" or "required" or True, a tool's name, or the OpenAI or Anthropic
                dictionary.
            strict: ask for arguments that follow the schema exactly, where the provider can.
            parallel_tool_calls: whether one answer may have several calls.
            response_format: a schema that the final answer has to follow.

        Raises:
            InvalidRequestError (a ValueError): something is no tool, or the choice names none of them.
        """
        with _translated():
            bound = bind_arguments(tools, tool_choice=tool_choice, strict=strict)
            if response_format is not None:
                bound["response_format"] = _format(response_format)
        if parallel_tool_calls is not None:
            bound["parallel_tool_calls"] = parallel_tool_calls
        return self.bind(**bound, **kwargs)

    @override
    def with_structured_output(
        self,
        schema: dict[str, Any] | type | None = None,
        *,
        method: structured_output.Method = "json_schema",
        include_raw: bool = False,
        strict: bool | None = None,
        tools: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
        """A runnable whose answers follow `schema`.

        Args:
            schema: pydantic class (instances come back), TypedDict, JSON Schema or function description
                (dictionaries come back).
            method: "json_schema" (the provider's structured output), "function_calling" (one forced tool call) or
                "json_mode" (any JSON; say in the prompt which).
            include_raw: return ``{"raw", "parsed", "parsing_error"}`` instead of raising what parsing raises.
            strict: ask for exact adherence, where the provider can.
            tools: tools that the model may call as well (method "json_schema").

        Raises:
            InvalidRequestError (a ValueError): the schema or method is not understood. When called, the runnable
                raises an `OutputParserException` for an answer that is cut off, does not fit, or has no call, and a
                `ModelRefusedError` for a refusal.
        """
        with _translated():
            bound, parser = self._structured(schema, method, strict, tools)
        traced = {"kwargs": {"method": method, "strict": strict}, "schema": schema}
        model = self.bind(**bound, ls_structured_output_format=traced if schema is not None else None, **kwargs)
        return structured_output.with_raw(model, parser) if include_raw else model | parser

    def _structured(
        self, schema: Any, method: str, strict: bool | None, tools: Sequence[Any] | None
    ) -> tuple[dict[str, Any], Any]:
        if method == "json_mode":
            return {"response_format": {"type": "json_object"}}, structured_output.json_parser(schema)
        if schema is None:
            raise InvalidRequestError("a schema is needed", hint="pass a pydantic class, TypedDict or JSON Schema")
        if method == "json_schema":
            bound = bind_arguments(tools, strict=strict) if tools else {}
            bound["response_format"] = structured_output.response_format(schema, strict=strict)
            return bound, structured_output.json_parser(schema)
        if method == "function_calling":
            bound = bind_arguments([schema], tool_choice="required", strict=strict)
            return {**bound, "parallel_tool_calls": False}, structured_output.tool_parser(schema)
        raise InvalidRequestError(
            f"method {method!r} is not understood", hint="use 'json_schema', 'function_calling' or 'json_mode'"
        )


def _format(response_format: Any) -> Any:
    """`response_format` as a JSON-safe dictionary where it can be one."""
    if isinstance(response_format, Mapping) and "type" in response_format:
        return dict(response_format)
    if isinstance(response_format, (type, Mapping)):
        return structured_output.response_format(response_format, strict=None)
    return response_format


def _without_provider(reference: str | None) -> str | None:
    if reference is None:
        return None
    from unified_llm.detection import split_model_ref

    _, model = split_model_ref(reference)
    return model
