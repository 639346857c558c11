"""`UnifiedLLM`: a LlamaIndex function-calling LLM over the core client. It translates and holds no policy."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Sequence
from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
    ToolCallBlock,
)
from llama_index.core.bridge.pydantic import Field
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.llms.utils import parse_partial_json
from llama_index.core.program.streaming_utils import process_streaming_content_incremental

import unified_llm as core
from llama_index.llms.unified_llm.from_core import StreamAssembler, from_core_response
from llama_index.llms.unified_llm.shared import SharedClient
from llama_index.llms.unified_llm.to_core import to_core_messages
from unified_llm.schemas import normalize_response_format

if TYPE_CHECKING:
    from llama_index.core.prompts.base import PromptTemplate
    from llama_index.core.tools.types import BaseTool
    from pydantic import BaseModel

__all__ = ["UnifiedLLM"]

# Neither number is invented for the model: they only size prompts until somebody says better (`context_window=`).
UNKNOWN_CONTEXT_WINDOW = 8192
MOST_OUTPUT = 4096


class UnifiedLLM(FunctionCallingLLM, SharedClient):
    """Any model behind one class: ``"claude:claude-sonnet-5-5"``, ``"lmstudio:qwen/qwen3-8b"``, ``"local:"``.

    Making one needs no key, package or network: the core client is created at the first call. Share a client with
    `from_client`. Errors are the core's (`unified_llm.UnifiedLLMError` and its subclasses), unwrapped.
    """

    model: str | None = Field(default=None, description="Model id or provider:model; None detects what is available.")
    temperature: float | None = Field(default=None, description="Sent only when set.")
    max_tokens: int | None = Field(default=None, description="Most output tokens.")
    context_window: int | None = Field(default=None, description="Tokens; used to size prompts.")
    is_function_calling_model: bool = Field(default=True, description="Whether agents may use native tool calls.")
    additional_kwargs: dict[str, Any] = Field(default_factory=dict, description="More options of every call.")

    def __init__(self, model: str | None = None, **kwargs: Any) -> None:
        super().__init__(model=model, **kwargs)

    @classmethod
    def class_name(cls) -> str:
        """Name LlamaIndex stores with serialised components."""
        return "UnifiedLLM"

    def _models(self) -> dict[str, Any]:
        return {"model": self.model}

    @property
    def metadata(self) -> LLMMetadata:
        """Sizes for prompts. Never asks the network."""
        window = self.context_window or UNKNOWN_CONTEXT_WINDOW
        output = self.max_tokens or min(MOST_OUTPUT, window // 4)
        return LLMMetadata(
            context_window=window,
            num_output=max(1, min(output, window // 2 - 1)),
            is_chat_model=True,
            is_function_calling_model=self.is_function_calling_model,
            model_name=self.model or "auto",
        )

    # -- chat ---------------------------------------------------------------------------------------------------

    def _options(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        own = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        options = {k: v for k, v in own.items() if v is not None} | self.additional_kwargs | kwargs
        options.pop("formatted", None)  # a hint of LlamaIndex about prompts, not an option of the model
        return options

    def _chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return from_core_response(self.client.chat(to_core_messages(messages), **self._options(kwargs)))

    async def _achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        response = await self.client.chat_async(to_core_messages(messages), **self._options(kwargs))
        return from_core_response(response)

    def _stream(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Generator[ChatResponse, None, None]:
        assembler = StreamAssembler()
        with self.client.stream(to_core_messages(messages), **self._options(kwargs)) as events:
            for event in events:
                response = assembler.add(event)
                if response is not None:
                    yield response

    async def _astream(self, messages: Sequence[ChatMessage], **kwargs: Any) -> AsyncGenerator[ChatResponse, None]:
        assembler = StreamAssembler()
        async with self.client.stream_async(to_core_messages(messages), **self._options(kwargs)) as events:
            async for event in events:
                response = assembler.add(event)
                if response is not None:
                    yield response

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answer a conversation. `kwargs` are options of `unified_llm.ModelConfig`, and ``tools=``."""
        return self._chat(messages, **kwargs)

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """`chat`, without blocking the event loop."""
        return await self._achat(messages, **kwargs)

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """Responses that grow; the last one carries the usage. Closing the generator closes the request."""
        return self._stream(messages, **kwargs)

    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        """`stream_chat`, without blocking the event loop."""
        return self._astream(messages, **kwargs)

    # -- completion: the same, undecorated underneath so that usage is counted once -------------------------------

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Answer a prompt."""
        return _completion(self._chat(_as_chat(prompt), **kwargs))

    @llm_completion_callback()
    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """`complete`, without blocking the event loop."""
        return _completion(await self._achat(_as_chat(prompt), **kwargs))

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        """Completions that grow."""
        return (_completion(response) for response in self._stream(_as_chat(prompt), **kwargs))

    @llm_completion_callback()
    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseAsyncGen:
        """`stream_complete`, without blocking the event loop."""
        return _completions(self._astream(_as_chat(prompt), **kwargs))

    # -- tools --------------------------------------------------------------------------------------------------

    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        tool_choice: Any = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        messages = list(chat_history or [])  # the caller's list stays as it is
        if user_msg is not None:
            messages.append(
                user_msg if isinstance(user_msg, ChatMessage) else ChatMessage(role=MessageRole.USER, content=user_msg)
            )
        prepared: dict[str, Any] = {"messages": messages, **kwargs}
        if tools:
            prepared["tools"] = [t.metadata.to_openai_tool(skip_length_check=True) for t in tools]
            prepared["tool_choice"] = tool_choice or ("required" if tool_required else None)
            prepared["parallel_tool_calls"] = None if allow_parallel_tool_calls else False
        return prepared

    def _validate_chat_with_tools_response(
        self,
        response: ChatResponse,
        tools: Sequence[BaseTool],
        allow_parallel_tool_calls: bool = False,
        **kwargs: Any,
    ) -> ChatResponse:
        """Keep the first call when only one was allowed: not every server obeys."""
        calls = [b for b in response.message.blocks if isinstance(b, ToolCallBlock)]
        if not allow_parallel_tool_calls and len(calls) > 1:
            dropped = calls[1:]
            response.message.blocks = [b for b in response.message.blocks if b not in dropped]
            response.message.additional_kwargs["tool_calls"] = response.message.additional_kwargs["tool_calls"][:1]
        return response

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        """The calls of a response; of an unfinished stream, with the arguments that can be read so far.

        Raises:
            ValueError: there is none and `error_on_no_tool_call` is true.
        """
        calls = [b for b in response.message.blocks if isinstance(b, ToolCallBlock)]
        if not calls and error_on_no_tool_call:
            raise ValueError("the model called no tool")
        return [
            ToolSelection(tool_id=b.tool_call_id or "", tool_name=b.tool_name, tool_kwargs=_arguments(b.tool_kwargs))
            for b in calls
        ]

    # -- structured output: the provider's own, through chat, so that events and usage are those of chat ----------

    def structured_predict(
        self,
        output_cls: type[BaseModel],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Any:
        """An instance of `output_cls`.

        Raises:
            unified_llm.StructuredOutputError: the answer does not fit the class; `.partial` has the text.
        """
        messages = self._extend_messages(prompt.format_messages(**prompt_args))
        response = self.chat(messages, response_format=output_cls, **(llm_kwargs or {}))
        return _parsed(response, output_cls)

    async def astructured_predict(
        self,
        output_cls: type[BaseModel],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Any:
        """`structured_predict`, without blocking the event loop."""
        messages = self._extend_messages(prompt.format_messages(**prompt_args))
        response = await self.achat(messages, response_format=output_cls, **(llm_kwargs or {}))
        return _parsed(response, output_cls)

    def _structured_stream_call(
        self,
        output_cls: type[BaseModel],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Generator[Any, None, None]:
        messages = self._extend_messages(prompt.format_messages(**prompt_args))
        current: Any = None
        for response in self.stream_chat(messages, response_format=output_cls, **(llm_kwargs or {})):
            current = process_streaming_content_incremental(response, output_cls, current)
            yield current

    async def _structured_astream_call(
        self,
        output_cls: type[BaseModel],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> AsyncGenerator[Any, None]:
        messages = self._extend_messages(prompt.format_messages(**prompt_args))

        async def objects() -> AsyncGenerator[Any, None]:
            current: Any = None
            stream = await self.astream_chat(messages, response_format=output_cls, **(llm_kwargs or {}))
            async for response in stream:
                current = process_streaming_content_incremental(response, output_cls, current)
                yield current

        return objects()


def _as_chat(prompt: str) -> list[ChatMessage]:
    return [ChatMessage(role=MessageRole.USER, content=prompt)]


def _completion(response: ChatResponse) -> CompletionResponse:
    return CompletionResponse(
        text=response.message.content or "",
        delta=response.delta,
        raw=response.raw,
        additional_kwargs=response.additional_kwargs,
    )


async def _completions(stream: AsyncGenerator[ChatResponse, None]) -> CompletionResponseAsyncGen:
    try:
        async for response in stream:
            yield _completion(response)
    finally:
        await stream.aclose()


def _arguments(kwargs: dict[str, Any] | str) -> dict[str, Any]:
    if isinstance(kwargs, dict):
        return kwargs
    try:
        value = parse_partial_json(kwargs) if kwargs.strip() else {}
    except ValueError:
        return {}  # asked on every chunk of a stream: arguments that cannot be read yet are none yet
    return value if isinstance(value, dict) else {}


def _parsed(response: ChatResponse, output_cls: type[BaseModel]) -> Any:
    text = response.message.content or ""
    return core.ChatResponse(text, response_format=normalize_response_format(output_cls)).parsed
