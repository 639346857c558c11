"""One request as the offline server received it: what a test looks at afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

__all__ = ["Outcome", "RecordedRequest", "RequestKind", "content_text"]

RequestKind: TypeAlias = Literal["chat", "embeddings", "models", "other"]
Outcome: TypeAlias = Literal["open", "complete", "abandoned", "failed"]

_NOT_OPTIONS = ("model", "messages", "tools", "stream", "stream_options", "input")
_KINDS: dict[str, RequestKind] = {"chat/completions": "chat", "embeddings": "embeddings", "models": "models"}


@dataclass(slots=True)
class RecordedRequest:
    """A request that reached the offline server, in the OpenAI shape it was sent in.

    Attributes:
        number: 1 for the first request.
        path: such as ``chat/completions``.
        body: the decoded JSON body, exactly as sent; empty for a list of models.
        headers: the extra headers of this call (lower-case names).
        outcome: "open" while it is being answered, then "complete" (answered to the end, error statuses included),
            "failed" (cut or broken, as scripted) or "abandoned" (the caller closed the stream or was cancelled).
    """

    number: int
    path: str
    body: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    outcome: Outcome = "open"

    @property
    def kind(self) -> RequestKind:
        """chat, embeddings, models or other."""
        return _KINDS.get(self.path, "other")

    @property
    def stream(self) -> bool:
        """Whether a streamed answer was asked for."""
        return bool(self.body.get("stream"))

    @property
    def model(self) -> str | None:
        """The model id asked for."""
        return self.body.get("model")

    @property
    def messages(self) -> Sequence[Mapping[str, Any]]:
        """The messages, as dictionaries."""
        return self.body.get("messages") or ()

    @property
    def system(self) -> str | None:
        """The text of the system messages, or None when there is none."""
        texts = [content_text(m.get("content")) for m in self.messages if m.get("role") in ("system", "developer")]
        return "\n".join(texts) if texts else None

    @property
    def prompt(self) -> str:
        """The text of the last user message, or an empty text."""
        return next((content_text(m.get("content")) for m in reversed(self.messages) if m.get("role") == "user"), "")

    @property
    def tools(self) -> tuple[str, ...]:
        """Names of the tools offered."""
        return tuple(str(f.get("name")) for f in self.functions)

    @property
    def functions(self) -> list[Mapping[str, Any]]:
        """The definitions of the tools offered: name, description, parameters."""
        tools = self.body.get("tools") or ()
        return [t["function"] for t in tools if isinstance(t.get("function"), Mapping)]

    @property
    def tool_results(self) -> list[Mapping[str, Any]]:
        """The tool messages that came after the last user message."""
        results: list[Mapping[str, Any]] = []
        for message in reversed(self.messages):
            if message.get("role") == "user":
                break
            if message.get("role") == "tool":
                results.insert(0, message)
        return results

    def tool_name(self, result: Mapping[str, Any]) -> str:
        """The name of the tool that `result` is from, or ``tool`` when nothing says it."""
        for message in self.messages:
            for call in message.get("tool_calls") or ():
                if call.get("id") == result.get("tool_call_id"):
                    return str((call.get("function") or {}).get("name") or "tool")
        return str(result.get("name") or "tool")

    @property
    def texts(self) -> list[str]:
        """The texts to embed."""
        given = self.body.get("input")
        if isinstance(given, str):
            return [given]
        return list(given or ())

    @property
    def options(self) -> dict[str, Any]:
        """Everything else that was asked for: temperature, max_tokens, tool_choice..."""
        return {k: v for k, v in self.body.items() if k not in _NOT_OPTIONS}


def content_text(content: str | Sequence[Mapping[str, Any]] | None) -> str:
    """The text of a message content: itself, or its text blocks joined."""
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(str(block["text"]) for block in content if isinstance(block.get("text"), str))
