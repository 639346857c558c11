"""A streamed chat answer of llama.cpp, put together as the answer it would have given without streaming.

llama.cpp notices that a client is gone when it writes to it. An answer that is written at once is therefore computed
to its end, whoever hung up (https://github.com/ggml-org/llama.cpp/issues/24496): so all answers are streamed, and
this turns them back. The two forms are described in llama.cpp's tools/server/README.md.
"""

from __future__ import annotations

from typing import Any

from unified_llm import _json
from unified_llm.errors import StreamInterruptedError
from unified_llm.wire import SSESplitter

__all__ = ["AnswerBuilder"]

_TEXTS = ("content", "reasoning_content", "refusal")


class AnswerBuilder:
    """Feed it the body of the stream; then `answer` is the status and the JSON body of the complete answer."""

    def __init__(self) -> None:
        self._events = SSESplitter()
        self._top: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}
        self._error: dict[str, Any] | None = None
        self._complete = False

    def feed(self, chunk: bytes) -> None:
        """Add bytes of the stream, cut anywhere."""
        for event in self._events.feed(chunk):
            if event.data == b"[DONE]":
                self._complete = True
            else:
                self._add(_json.loads(event.data))

    def answer(self) -> tuple[int, bytes]:
        """The status and the body.

        Raises:
            StreamInterruptedError: the stream did not come to its end.
        """
        if self._error is not None:
            return int(self._error.get("code") or 500), _json.dumps({"error": self._error})
        if not self._complete:
            raise StreamInterruptedError(
                "llama.cpp stopped in the middle of its answer", hint="ask again; with verbose=True it says why"
            )
        choices = [self._choices[index] for index in sorted(self._choices)]
        return 200, _json.dumps({**self._top, "object": "chat.completion", "choices": choices})

    def _add(self, chunk: dict[str, Any]) -> None:
        if "error" in chunk:
            self._error = chunk["error"]
            return
        for choice in chunk.get("choices", ()):
            self._add_choice(choice)
        self._top.update((k, v) for k, v in chunk.items() if k not in ("choices", "prompt_progress"))

    def _add_choice(self, new: dict[str, Any]) -> None:
        index = new["index"]
        choice = self._choices.setdefault(
            index, {"finish_reason": None, "index": index, "message": {"role": "assistant", "content": ""}}
        )
        choice["finish_reason"] = new.get("finish_reason") or choice["finish_reason"]
        if new.get("logprobs"):
            choice.setdefault("logprobs", {"content": []})["content"] += new["logprobs"]["content"]
        delta, message = new["delta"], choice["message"]
        for name in _TEXTS:
            if delta.get(name):
                message[name] = message.get(name, "") + delta[name]
        for call in delta.get("tool_calls", ()):
            _add_call(message.setdefault("tool_calls", []), call)


def _add_call(calls: list[dict[str, Any]], delta: dict[str, Any]) -> None:
    """A call begins with its id and name; its arguments follow in pieces."""
    while len(calls) <= delta["index"]:
        calls.append({"type": "function", "function": {"name": "", "arguments": ""}})
    call, function = calls[delta["index"]], delta.get("function", {})
    if delta.get("id"):
        call["id"] = delta["id"]
    call["function"]["name"] += function.get("name") or ""
    call["function"]["arguments"] += function.get("arguments") or ""
