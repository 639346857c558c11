"""What a test tells the offline server to answer: replies, failures, delays, cuts, one step per chat request."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, Union

from unified_llm import _json
from unified_llm.errors import ConfigurationError
from unified_llm.forks import renew_in_child
from unified_llm.messages import ToolCall
from unified_llm.offline.requests import RecordedRequest

__all__ = ["Cut", "Failure", "Outcome", "Reply", "Script", "ScriptLike", "Step", "as_script"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An error answer, or any other body that is no completion.

    Attributes:
        status: HTTP status. A 2xx with `body` shows how an unusable success is handled.
        message: the server's sentence, put into an OpenAI-style error body.
        code: the server's error code, such as ``context_length_exceeded``.
        headers: answer headers, such as ``{"retry-after": "2"}``.
        body: sent instead of the usual error body: text or bytes as they are, anything else as JSON.
        delay: seconds before the answer.
    """

    status: int = 500
    message: str = "the script says so"
    code: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    delay: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """The connection breaks in mid-answer.

    Attributes:
        after: deltas (pieces of text, thinking or arguments) delivered before; they count from the start.
        where: "event" (between two events), "inside_event" (half of the next event arrives) or "inside_character"
            (the next event that has a character of several bytes stops in the middle of it).
        clean: the body ends as if that was all, instead of a broken connection.
        error: the server sends this as an error event instead of breaking off (its status is in the event).

    An answer that is not streamed arrives as half of its JSON body, whatever `after` and `where` say.
    """

    after: int = 1
    where: Literal["event", "inside_event", "inside_character"] = "event"
    clean: bool = False
    error: Failure | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """A successful answer.

    Attributes:
        text: the text; may be empty when there are tool calls.
        thinking: reasoning that comes before it.
        tool_calls: calls after the text; ids are kept, so give one to refer to it later.
        finish_reason: the server's word; by default ``tool_calls`` or ``stop``.
        usage: the server's usage object; by default counted (see `offline.tokens`). An empty one sends none.
        delay: seconds before the first byte; chunk_delay: seconds before each delta of a stream.
        chunk_size: characters per delta of a stream; by default one token.
        read_size: bytes per read of a stream, cutting events and characters anywhere; by default one event.
        cut: break off in mid-answer.
        headers: extra answer headers; model: the model id the server says it used, by default the one asked for.
    """

    text: str = ""
    thinking: str | None = None
    tool_calls: Sequence[ToolCall] = ()
    finish_reason: str | None = None
    usage: Mapping[str, Any] | None = None
    delay: float = 0.0
    chunk_delay: float = 0.0
    chunk_size: int | None = None
    read_size: int | None = None
    cut: Cut | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    model: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.tool_calls, ToolCall):
            object.__setattr__(self, "tool_calls", (self.tool_calls,))
        for name in ("chunk_size", "read_size"):
            size = getattr(self, name)
            if size is not None and size < 1:
                raise ConfigurationError(
                    f"{name} must be at least 1, not {size!r}", hint="leave it out for the default"
                )


Outcome: TypeAlias = Union[Reply, Failure, Exception]
Step: TypeAlias = Union[
    Outcome, str, ToolCall, Sequence[ToolCall], Mapping[str, Any], Callable[[RecordedRequest], Any], Any
]
ScriptLike: TypeAlias = Union["Script", Iterable[Step], Callable[[RecordedRequest], Any], None]


class Script:
    """The steps of a script, one per chat request, in order. Safe to share between threads.

    A step is a `Reply` or a `Failure`, or short for one: a text; a `ToolCall` or a list of them; a mapping or a
    pydantic object (answered as JSON text); an exception, raised as the transport would raise it (a connection that
    is refused: ``APIConnectionError(...)``); or a function that gets the `RecordedRequest` and returns a step.

    Args:
        steps: the steps.
        then: what happens when they are used up: "error" (raise `ConfigurationError`), "echo" (the usual answers of
            the offline provider) or "repeat" (start again).
    """

    def __init__(self, steps: Iterable[Step], *, then: Literal["error", "echo", "repeat"] = "error") -> None:
        if isinstance(steps, (str, Mapping)):
            steps = [steps]
        self.steps = tuple(steps)
        if then not in ("error", "echo", "repeat"):
            raise ConfigurationError(f"then cannot be {then!r}", hint="use 'error', 'echo' or 'repeat'")
        self.then = then
        self.used = 0
        self._lock = threading.Lock()
        renew_in_child(self)

    def after_fork(self) -> None:
        """See `Forkable`."""
        self._lock = threading.Lock()

    @property
    def left(self) -> int:
        """Steps not used yet."""
        return max(len(self.steps) - self.used, 0)

    def next(self, request: RecordedRequest) -> Outcome | None:
        """The answer to `request`, or None: answer as usual.

        Raises:
            ConfigurationError: the script is used up, or a step is nothing that can be answered.
        """
        with self._lock:
            index = self.used
            if index >= len(self.steps) and (self.then != "repeat" or not self.steps):
                if self.then == "echo":
                    return None
                raise _used_up(request, len(self.steps))
            self.used += 1
        return _outcome(self.steps[index % len(self.steps)], request)


def _used_up(request: RecordedRequest, count: int) -> ConfigurationError:
    return ConfigurationError(
        f"the script has {count} step{'' if count == 1 else 's'}, and chat request {request.number} needs one more "
        f"(prompt: {request.prompt[:80]!r})",
        provider="offline",
        hint="add a step, or make it Script(steps, then='repeat') or Script(steps, then='echo')",
    )


def _outcome(step: Step, request: RecordedRequest) -> Outcome | None:
    match step:
        case Reply() | Failure() | Exception() | None:
            return step
        case str():
            return Reply(step)
        case ToolCall():
            return Reply(tool_calls=(step,))
        case Mapping():
            return Reply(_json.dumps_str(step))
    if hasattr(step, "model_dump_json") and not isinstance(step, type):
        return Reply(step.model_dump_json())
    if isinstance(step, (list, tuple)) and all(isinstance(call, ToolCall) for call in step):
        return Reply(tool_calls=tuple(step))
    if callable(step):
        return _outcome(step(request), request)
    raise ConfigurationError(
        f"a {type(step).__name__} is no step of a script",
        provider="offline",
        hint="use a text, Reply, Failure, ToolCall, a list of ToolCall, a mapping, an exception, or a function",
    )


def as_script(value: ScriptLike) -> Script | None:
    """`value` as a `Script`: an iterable becomes its steps, a function answers every request."""
    if value is None or isinstance(value, Script):
        return value
    if isinstance(value, Iterable):
        return Script(value)
    return Script([value], then="repeat")
