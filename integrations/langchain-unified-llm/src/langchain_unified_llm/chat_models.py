"""`ChatUnifiedLLM`: LangChain's chat model over the core client. Here are the calls; `chat_settings` has the fields."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.utils.utils import LC_ID_PREFIX
from pydantic import BaseModel, ConfigDict
from typing_extensions import override

from langchain_unified_llm.chat_settings import ChatSettings, Method
from langchain_unified_llm.errors import translated
from unified_llm.errors import InvalidRequestError

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

    from langchain_unified_llm.stream_chunks import ChunkWriter
    from langchain_unified_llm.stream_protocol import EventWriter
    from unified_llm.messages import Message
    from unified_llm.requests import ModelConfig
    from unified_llm.responses import ChatResponse
else:
    BaseTool = (
        Any  # LangChain evaluates annotations (`with_fallbacks`); to import the class costs more than all of this
    )

__all__ = ["ChatUnifiedLLM"]


class ChatUnifiedLLM(ChatSettings):
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

    model_config = ConfigDict(defer_build=False)

    # -- calls -----------------------------------------------------------------------------------------------------

    @override
    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with translated():
            response = self.core_client().chat(*self._arguments(messages, stop, kwargs))
        return self._result(response)

    @override
    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with translated():
            response = await self.core_client().chat_async(*self._arguments(messages, stop, kwargs))
        return self._result(response)

    def _arguments(
        self, messages: list[BaseMessage], stop: list[str] | None, given: Mapping[str, Any]
    ) -> tuple[list[Message], ModelConfig, Sequence[Any] | None]:
        """The core's messages, options and tools for one call."""
        from langchain_unified_llm.call_options import call_options  # what only calls need waits for the first one
        from langchain_unified_llm.lc_to_core import to_core

        config, tools = call_options(self, stop, given)
        return to_core(messages, lambda: self._vendor(config.model_name)), config, tools

    def _result(self, response: ChatResponse) -> ChatResult:
        from langchain_unified_llm import core_to_lc

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
        writer = self._chunk_writer()
        with translated(), self.core_client().stream(*self._arguments(messages, stop, kwargs)) as events:
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
        writer = self._chunk_writer()
        with translated():
            async with self.core_client().stream_async(*self._arguments(messages, stop, kwargs)) as events:
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
        with translated():
            arguments = self._arguments(messages, stop, kwargs)
            with self.core_client().stream(*arguments) as events:
                for event in events:
                    writer = writer or self._event_writer(arguments[1].model_name, run_manager)
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
        with translated():
            arguments = self._arguments(messages, stop, kwargs)
            async with self.core_client().stream_async(*arguments) as events:
                async for event in events:
                    writer = writer or self._event_writer(arguments[1].model_name, run_manager)
                    for written in writer.write(event):
                        yield written

    def _chunk_writer(self) -> ChunkWriter:
        from langchain_unified_llm.stream_chunks import ChunkWriter

        return ChunkWriter(v1=self._v1)

    def _event_writer(
        self, reference: str | None, run: CallbackManagerForLLMRun | AsyncCallbackManagerForLLMRun | None
    ) -> EventWriter:
        from langchain_unified_llm.stream_protocol import EventWriter

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
        from langchain_unified_llm.tool_binding import bind_arguments

        with translated():
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
        method: Method = "json_schema",
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
        with translated():
            bound, parser = self._structured(schema, method, strict, tools)
        from langchain_unified_llm.structured_output import with_raw

        traced = {"kwargs": {"method": method, "strict": strict}, "schema": schema}
        model = self.bind(**bound, ls_structured_output_format=traced if schema is not None else None, **kwargs)
        return with_raw(model, parser) if include_raw else model | parser

    def _structured(
        self, schema: Any, method: str, strict: bool | None, tools: Sequence[Any] | None
    ) -> tuple[dict[str, Any], Any]:
        from langchain_unified_llm import structured_output
        from langchain_unified_llm.tool_binding import bind_arguments

        if method == "json_mode":
            return {"response_format": {"type": "json_object"}}, structured_output.json_parser(schema)
        if schema is None:
            raise InvalidRequestError("a schema is needed", hint="pass a pydantic class, TypedDict or JSON Schema")
        if method == "json_schema":
            bound = bind_arguments(tools, strict=strict) if tools else {}
            bound["response_format"] = structured_output.response_format(schema, strict=strict)
            return bound, structured_output.json_parser(schema)
        if method == "function_calling":
            schema = structured_output.titled(schema)
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
        from langchain_unified_llm import structured_output  # its parsers take a while to build

        return structured_output.response_format(response_format, strict=None)
    return response_format
