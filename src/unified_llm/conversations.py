"""Conversations that keep their history across calls and providers. The transcript is ours: any provider can go on."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unified_llm.chat_stream import AsyncTextStream, TextStream
from unified_llm.errors import InvalidRequestError
from unified_llm.forks import renew_in_child
from unified_llm.messages import Message, MessageRole, Part, ToolCall, ToolResult, new_id
from unified_llm.requests import ModelConfig
from unified_llm.responses import ChatResponse

if TYPE_CHECKING:
    from unified_llm.client import UnifiedLLM
    from unified_llm.tools import ToolLike

__all__ = ["Conversation", "ConversationManager"]


class Conversation:
    """A history with an id and its options. Append-only, but for `clear_messages`."""

    def __init__(self, id: str | None = None, *, model_config: ModelConfig | None = None) -> None:
        self.id = id or new_id("conv")
        self.model_config = model_config
        self._messages: list[Message] = []
        self._lock = threading.Lock()
        renew_in_child(self)

    def after_fork(self) -> None:
        """See `Forkable`: a turn that another thread of the parent has goes on there alone."""
        self._lock = threading.Lock()

    @property
    def messages(self) -> list[Message]:
        """A copy of the history."""
        return list(self._messages)

    def get_messages(self) -> list[Message]:
        """Same as `messages`."""
        return self.messages

    def add(self, message: Message) -> None:
        """Append a message as it is."""
        self._messages.append(message)

    def add_system_message(self, content: str) -> None:
        """Append a system message."""
        self.add(Message(MessageRole.SYSTEM, content))

    def add_user_message(self, content: str, file_paths: Iterable[str | Path] | None = None) -> None:
        """Append a user message, with files."""
        self.add(Message(MessageRole.USER, content, file_paths))

    def add_assistant_message(self, content: str | ChatResponse | Message) -> None:
        """Append an assistant message; a `ChatResponse` brings all its parts."""
        if isinstance(content, ChatResponse):
            self.add(content.message)
        else:
            self.add(content if isinstance(content, Message) else Message(MessageRole.ASSISTANT, content))

    def add_tool_call(self, name: str, arguments: Mapping[str, Any] | str, id: str | None = None) -> str:
        """Append a tool call of the assistant; returns its id."""
        call = ToolCall(name, arguments, id)
        self.add(Message(MessageRole.ASSISTANT, call))
        return call.id

    def add_tool_result(self, id: str, content: str | Mapping[str, Any], *, is_error: bool = False) -> None:
        """Append the result of the tool call `id`."""
        self.add(Message(MessageRole.TOOL, ToolResult(id, content, is_error=is_error)))

    def clear_messages(self, keep_system: bool = True) -> None:
        """Forget the history; system messages stay unless `keep_system` is False."""
        self._messages = [m for m in self._messages if keep_system and m.role is MessageRole.SYSTEM]

    def replace_all(self, messages: Sequence[Message]) -> None:
        """Put another history in place (after a failed turn, for example)."""
        self._messages = list(messages)

    def turn(self) -> AbstractContextManager[bool]:
        """Held while a message is being answered: two turns of one conversation do not mix."""
        return self._lock


class ConversationManager:
    """Creates conversations and sends messages in them.

    The whole history is sent with every call; servers reuse the part they have seen (prefix cache). Switching the
    client's provider between two messages is fine. A failed call leaves the conversation as it was before.
    """

    def __init__(self, llm: UnifiedLLM) -> None:
        self._llm = llm
        self._conversations: dict[str, Conversation] = {}

    def create_conversation(
        self, model_config: ModelConfig | None = None, system_message: str | None = None
    ) -> Conversation:
        """Start a conversation."""
        conversation = Conversation(model_config=model_config)
        if system_message:
            conversation.add_system_message(system_message)
        self._conversations[conversation.id] = conversation
        return conversation

    def get_conversation(self, conversation_id: str) -> Conversation:
        """The conversation of that id. Raises `InvalidRequestError` (a ValueError) when there is none."""
        try:
            return self._conversations[conversation_id]
        except KeyError:
            raise InvalidRequestError(
                f"no conversation has the id {conversation_id!r}", hint="create one with create_conversation()"
            ) from None

    def list_conversations(self) -> list[Conversation]:
        """Every conversation, oldest first."""
        return list(self._conversations.values())

    def delete_conversation(self, conversation_id: str) -> bool:
        """Forget a conversation; False when there was none."""
        return self._conversations.pop(conversation_id, None) is not None

    def clear_conversation(self, conversation_id: str, keep_system: bool = True) -> None:
        """Empty a conversation; system messages stay unless `keep_system` is False."""
        self.get_conversation(conversation_id).clear_messages(keep_system)

    def send_message(
        self,
        conversation_id: str,
        message: str | Message | Sequence[Part | str],
        file_paths: Iterable[str | Path] | None = None,
        model_config: ModelConfig | None = None,
        tools: Iterable[ToolLike] | None = None,
        stream: bool = False,
    ) -> ChatResponse | TextStream:
        """Add a user message, answer it, and keep the answer. With ``stream=True`` the answer is kept at its end."""
        conversation = self.get_conversation(conversation_id)
        added, config = _user(message, file_paths), self._config(conversation, model_config)
        if stream:
            return _KeptTextStream(self._llm, conversation, added, config, tools)
        return self._answer(conversation, added, config, tools)

    def execute_tool(
        self,
        conversation_id: str,
        tool_name: str,
        arguments: Mapping[str, Any] | str,
        tool_result: str | Mapping[str, Any] | Callable[..., Any],
        *,
        model_config: ModelConfig | None = None,
        tools: Iterable[ToolLike] | None = None,
    ) -> ChatResponse:
        """Add a tool's result (or call the function and add what it returns), and let the model go on.

        The result answers the model's pending call of that name; without one, the call is added too.
        """
        conversation = self.get_conversation(conversation_id)
        call, added = _call_to_answer(conversation.messages, tool_name, arguments)
        value = tool_result(**(call.arguments or {})) if callable(tool_result) else tool_result
        added.append(_result_message(call, value))
        return self._answer(conversation, added, self._config(conversation, model_config), tools)

    async def execute_tool_async(
        self,
        conversation_id: str,
        tool_name: str,
        arguments: Mapping[str, Any] | str,
        tool_result: str | Mapping[str, Any] | Callable[..., Any],
        *,
        model_config: ModelConfig | None = None,
        tools: Iterable[ToolLike] | None = None,
    ) -> ChatResponse:
        """`execute_tool`, without blocking the event loop; the function may be a coroutine function."""
        conversation = self.get_conversation(conversation_id)
        call, added = _call_to_answer(conversation.messages, tool_name, arguments)
        value = tool_result(**(call.arguments or {})) if callable(tool_result) else tool_result
        added.append(_result_message(call, await value if inspect.isawaitable(value) else value))
        return await self._answer_async(conversation, added, self._config(conversation, model_config), tools)

    def _answer(
        self,
        conversation: Conversation,
        added: list[Message],
        config: ModelConfig,
        tools: Iterable[ToolLike] | None,
    ) -> ChatResponse:
        with conversation.turn():
            response = self._llm.chat([*conversation.messages, *added], config, tools)
            _keep(conversation, added, response)
        return response

    @staticmethod
    def _config(conversation: Conversation, config: ModelConfig | None) -> ModelConfig:
        return (conversation.model_config or ModelConfig()).merge(config)

    async def send_message_async(
        self,
        conversation_id: str,
        message: str | Message | Sequence[Part | str],
        file_paths: Iterable[str | Path] | None = None,
        model_config: ModelConfig | None = None,
        tools: Iterable[ToolLike] | None = None,
        stream: bool = False,
    ) -> ChatResponse | AsyncTextStream:
        """`send_message`, without blocking the event loop."""
        conversation = self.get_conversation(conversation_id)
        added, config = _user(message, file_paths), self._config(conversation, model_config)
        if stream:
            return _KeptAsyncTextStream(self._llm, conversation, added, config, tools)
        return await self._answer_async(conversation, added, config, tools)

    async def _answer_async(
        self,
        conversation: Conversation,
        added: list[Message],
        config: ModelConfig,
        tools: Iterable[ToolLike] | None,
    ) -> ChatResponse:
        response = await self._llm.chat_async([*conversation.messages, *added], config, tools)
        _keep(conversation, added, response)
        return response


def _user(message: str | Message | Sequence[Part | str], files: Iterable[str | Path] | None) -> list[Message]:
    if isinstance(message, Message):
        return [message]
    return [Message(MessageRole.USER, message, files)]


def _call_to_answer(
    messages: Sequence[Message], name: str, arguments: Mapping[str, Any] | str
) -> tuple[ToolCall, list[Message]]:
    """The pending call of that name, or a new one with the message that has to be added for it."""
    answered = {r.call_id for m in messages for r in m.tool_results}
    for call in (c for m in messages for c in m.tool_calls):
        if call.name == name and call.id not in answered:
            return call, []
    call = ToolCall(name, arguments)
    return call, [Message(MessageRole.ASSISTANT, call)]


def _result_message(call: ToolCall, value: Any) -> Message:
    content = value if isinstance(value, (str, Mapping)) else str(value)
    return Message(MessageRole.TOOL, ToolResult(call.id, content, name=call.name))


class _KeptTextStream(TextStream):
    """A text stream that adds the turn to its conversation once the whole answer has arrived."""

    def __init__(
        self,
        llm: UnifiedLLM,
        conversation: Conversation,
        added: list[Message],
        config: ModelConfig,
        tools: Iterable[ToolLike] | None,
    ) -> None:
        super().__init__(llm.stream([*conversation.messages, *added], config, tools))
        self._conversation, self._added = conversation, added

    def __next__(self) -> Any:
        try:
            return super().__next__()
        except StopIteration:
            _keep(self._conversation, self._added, self.response)
            self._added = []
            raise


class _KeptAsyncTextStream(AsyncTextStream):
    """The asynchronous twin of `_KeptTextStream`."""

    def __init__(
        self,
        llm: UnifiedLLM,
        conversation: Conversation,
        added: list[Message],
        config: ModelConfig,
        tools: Iterable[ToolLike] | None,
    ) -> None:
        super().__init__(llm.stream_async([*conversation.messages, *added], config, tools))
        self._conversation, self._added = conversation, added

    async def __anext__(self) -> Any:
        try:
            return await super().__anext__()
        except StopAsyncIteration:
            _keep(self._conversation, self._added, self.response)
            self._added = []
            raise


def _keep(conversation: Conversation, added: list[Message], response: ChatResponse | None) -> None:
    if added and response is not None:
        for message in (*added, response.message):
            conversation.add(message)
