"""The core's stream events as `AIMessageChunk`s that merge into what `invoke` would have returned.

LangChain merges by adding: strings are joined, integers are summed, two different floats are an error. So model name,
finish reason, usage and everything else that is said once goes on the last chunk, and on that one alone.
"""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessageChunk
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.utils.json import parse_partial_json

from langchain_unified_llm import core_to_lc
from unified_llm.messages import Text, Thinking, ToolCall
from unified_llm.responses import ChatResponse
from unified_llm.stream import (
    CitationDelta,
    PartEnd,
    StreamEnd,
    StreamEvent,
    StreamStart,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallStart,
)

__all__ = ["ChunkWriter", "unrepairable"]


class ChunkWriter:
    """Writes the chunks of one answer, in v0 or v1 form. Every v1 block carries the index of its part."""

    __slots__ = ("_id", "_v1")

    def __init__(self, *, v1: bool) -> None:
        self._v1 = v1
        self._id: str | None = None

    def write(self, event: StreamEvent) -> ChatGenerationChunk | None:
        """The chunk for `event`, or None when it says nothing that a chunk can carry."""
        kind = type(event)
        if kind is TextDelta:
            return self._text(event)  # type: ignore[arg-type]  # told by its type, for speed
        if kind is ThinkingDelta:
            return self._thinking(event)  # type: ignore[arg-type]
        if isinstance(event, ToolCallStart):
            return self._call(event.index, name=event.name, args="", id=event.id)
        if isinstance(event, ToolCallDelta):
            return self._call(event.index, args=event.arguments)
        if isinstance(event, PartEnd):
            return self._part_end(event)
        if isinstance(event, StreamEnd):
            return self._end(event.response)
        if isinstance(event, CitationDelta) and self._v1:
            annotation = core_to_lc.annotation(event.citation)
            return self._block({"type": "text", "text": "", "annotations": [annotation]}, event.index)
        if isinstance(event, StreamStart):
            self._id = event.response_id
        return None

    def _text(self, event: TextDelta) -> ChatGenerationChunk:
        if self._v1:
            return self._block({"type": "text", "text": event.text}, event.index)
        return ChatGenerationChunk(message=AIMessageChunk(content=event.text, id=self._id))

    def _thinking(self, event: ThinkingDelta) -> ChatGenerationChunk:
        if self._v1:
            return self._block({"type": "reasoning", "reasoning": event.text}, event.index)
        extra = {"reasoning_content": event.text}
        return ChatGenerationChunk(message=AIMessageChunk(content="", additional_kwargs=extra, id=self._id))

    def _call(self, index: int, **piece: Any) -> ChatGenerationChunk:
        chunk = tool_call_chunk(index=index, **piece)
        content: Any = ""
        metadata = {}
        if self._v1:
            content = [{"type": "tool_call_chunk", **{k: v for k, v in chunk.items() if v is not None}}]
            metadata["output_version"] = "v1"
        return ChatGenerationChunk(
            message=AIMessageChunk(content=content, tool_call_chunks=[chunk], response_metadata=metadata, id=self._id)
        )

    def _broken(self, index: int, closer: str) -> ChatGenerationChunk:
        """Ends the arguments of a call that must not be run; the content, which nobody completes, stays as it came."""
        chunk = self._call(index, args=closer)
        if self._v1:
            chunk.message.content = []
        return chunk

    def _block(self, block: dict[str, Any], index: int) -> ChatGenerationChunk:
        block["index"] = index
        metadata = {"output_version": "v1"}
        return ChatGenerationChunk(message=AIMessageChunk(content=[block], response_metadata=metadata, id=self._id))

    def _part_end(self, event: PartEnd) -> ChatGenerationChunk | None:
        part = event.part
        if isinstance(part, ToolCall):
            if part.arguments is None and (closer := unrepairable(part.arguments_json)):
                return self._broken(event.index, closer)
            return None
        if self._v1 and isinstance(part, Thinking) and (part.signature or part.redacted):
            return self._block({**core_to_lc.reasoning(part), "reasoning": ""}, event.index)
        if self._v1 and not isinstance(part, (Text, Thinking)):
            return self._block(core_to_lc.block(part), event.index)
        return None

    def _end(self, response: ChatResponse) -> ChatGenerationChunk:
        metadata = core_to_lc.response_metadata(response)
        if self._v1:
            metadata["output_version"] = "v1"
        refusal = {**core_to_lc.REFUSAL, "index": len(response.message.parts)}
        content: Any = ([refusal] if core_to_lc.refused(response) else []) if self._v1 else ""
        return ChatGenerationChunk(
            message=AIMessageChunk(
                content=content,
                additional_kwargs=core_to_lc.additional_kwargs(response, v1=self._v1, streamed=True),
                response_metadata=metadata,
                usage_metadata=core_to_lc.usage_metadata(response.usage),
                id=self._id,
                chunk_position="last",
            ),
        )


_CLOSERS = ("]", "}", '"]', '"}', '""]', '""}')


def unrepairable(arguments: str) -> str:
    """Text to append to broken `arguments` so that LangChain does not mend them into a call that gets run.

    `AIMessageChunk` reads arguments with `parse_partial_json`, which completes ``{"path": "/data/ab`` (cut by the token
    limit) to a call with a wrong path. A closing bracket that matches nothing makes it give up, and the call lands in
    `invalid_tool_calls`. Empty when nothing needs to be appended.
    """
    if not _mended(arguments):
        return ""
    return next(closer for closer in _CLOSERS if not _mended(arguments + closer))


def _mended(arguments: str) -> bool:
    try:
        return isinstance(parse_partial_json(arguments), dict)
    except ValueError:
        return False
