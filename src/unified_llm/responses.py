"""What comes back: `ChatResponse` (a str) and `ModelInfo`; `usage` and `vectors` have the rest. Unknown is None."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

from unified_llm import _json
from unified_llm.errors import StructuredOutputError
from unified_llm.messages import Message, ToolCall
from unified_llm.usage import Adjustment, Attempt, FinishReason, Usage
from unified_llm.vectors import Embedding, Embeddings

if TYPE_CHECKING:
    from unified_llm.requests import ResponseFormat

__all__ = [
    "Adjustment",
    "Attempt",
    "Capability",
    "ChatResponse",
    "Embedding",
    "Embeddings",
    "FinishReason",
    "ModelInfo",
    "Usage",
]

Capability: TypeAlias = Literal["yes", "no", "unknown"]


@dataclass(slots=True)
class _Details:
    """The fields of a `ChatResponse` besides its text."""

    message: Message
    model: str | None = None
    provider: str | None = None
    finish_reason: FinishReason | None = None
    native_finish_reason: str | None = None
    finish_details: Mapping[str, Any] | None = None
    usage: Usage = field(default_factory=Usage)
    cost: float | Callable[[], float | None] | None = None
    adjustments: tuple[Adjustment, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    request_id: str | None = None
    response_id: str | None = None
    latency: float | None = None
    time_to_first_token: float | None = None
    response_format: ResponseFormat | None = None
    raw: Any = field(default=None, repr=False)
    headers: Mapping[str, str] | None = field(default=None, repr=False)
    cached: bool = False


class ChatResponse(str):
    """The answer. It *is* its text, so ``"x" in response``, f-strings and JSON web frameworks just work.

    Attributes:
        message: the assistant `Message`, with every part; append it to the history as it is.
        tool_calls: tuple of `ToolCall`.
        reasoning: readable thinking, or None.
        usage: `Usage`; cost: USD or None when unknown.
        model: model id that answered (the served one when the server says); provider: provider name.
        finish_reason: `FinishReason` or None; native_finish_reason: the server's word.
        finish_details: what else the server says of the end, streamed or not, by its own names: Claude's
            ``stop_details`` (why it refused) and ``container`` (of its code execution). None when it says nothing.
        adjustments: what was asked for and could not be done as asked.
        attempts: what failed before this answer (retries, fallbacks), in order.
        request_id, response_id: ids given by the server, or None.
        latency, time_to_first_token: seconds, or None.
        raw: the server's answer decoded from JSON; for a stream None.
        cached: whether it came from the client's cache: `usage` is then that of the first time, `cost` 0.
        headers: response headers of the HTTP answer (lower-case names), or None.
    """

    _d: _Details

    def __new__(cls, message: Message | str = "", **details: Any) -> Self:
        if isinstance(message, str):
            message = Message("assistant", message)
        self = super().__new__(cls, message.text)
        self._d = _Details(message, **details)
        return self

    def __getnewargs_ex__(self) -> tuple[tuple[Message], dict[str, Any]]:  # pickle and copy
        d = self._d
        return (d.message,), {n: getattr(d, n) for n in _Details.__slots__ if n != "message"} | {"cost": self.cost}

    def __getstate__(self) -> None:
        return None

    def __deepcopy__(self, memo: dict[int, Any]) -> ChatResponse:
        return self  # its parts are frozen; `raw` is never edited

    @property
    def message(self) -> Message:
        return self._d.message

    @property
    def text(self) -> str:
        """The text as a plain str."""
        return str.__str__(self)

    @property
    def content(self) -> str:
        """Same as `text`."""
        return str.__str__(self)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        return self._d.message.tool_calls

    @property
    def reasoning(self) -> str | None:
        return self._d.message.thinking

    @property
    def usage(self) -> Usage:
        return self._d.usage

    @property
    def cost(self) -> float | None:
        if callable(self._d.cost):  # looked up when somebody asks: the price list takes a second to load
            self._d.cost = self._d.cost()
        return self._d.cost

    @property
    def model(self) -> str | None:
        return self._d.model

    @property
    def provider(self) -> str | None:
        return self._d.provider

    @property
    def finish_reason(self) -> FinishReason | None:
        return self._d.finish_reason

    @property
    def native_finish_reason(self) -> str | None:
        return self._d.native_finish_reason

    @property
    def finish_details(self) -> Mapping[str, Any] | None:
        return self._d.finish_details

    @property
    def unlooked_cost(self) -> float | Callable[[], float | None] | None:
        """The cost, or what finds it: for those who count calls without waiting for a price list."""
        return self._d.cost

    @property
    def adjustments(self) -> tuple[Adjustment, ...]:
        return self._d.adjustments

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        return self._d.attempts

    @property
    def request_id(self) -> str | None:
        return self._d.request_id

    @property
    def response_id(self) -> str | None:
        return self._d.response_id

    @property
    def latency(self) -> float | None:
        return self._d.latency

    @property
    def time_to_first_token(self) -> float | None:
        return self._d.time_to_first_token

    @property
    def raw(self) -> Any:
        if isinstance(self._d.raw, bytes):  # decoded on first use: most callers never look
            self._d.raw = _json.loads(self._d.raw)
        return self._d.raw

    @property
    def headers(self) -> Mapping[str, str] | None:
        return self._d.headers

    @property
    def cached(self) -> bool:
        return self._d.cached

    @property
    def parsed(self) -> Any:
        """The structured output: an instance of the pydantic class asked for, else the decoded JSON.

        JSON is checked against the schema asked for, `format` excepted (see `schemas.parse_output`).

        Raises:
            StructuredOutputError: nothing structured was asked for, or the text does not fit what was asked for: the
                message names the place (``cities.0.name``) and the reason, `partial` is the answer.
        """
        from unified_llm.schemas import parse_output

        if self._d.response_format is None:
            raise StructuredOutputError(
                "this call asked for no structured output", hint="pass response_format= a pydantic class or JSON Schema"
            )
        return parse_output(self, self._d.response_format)

    def with_details(self, **details: Any) -> ChatResponse:
        """A copy with some fields replaced."""
        d = replace(self._d, **details)
        return ChatResponse(d.message, **{n: getattr(d, n) for n in _Details.__slots__ if n != "message"})

    def to_dict(self) -> dict[str, Any]:
        """A JSON-safe dictionary of everything but `raw` and `headers`; unknown fields are left out."""
        d = self._d
        values: dict[str, Any] = {
            "text": self.text,
            "reasoning": self.reasoning,
            "tool_calls": [{"id": c.id, "name": c.name, "arguments": c.arguments_json} for c in self.tool_calls],
            "model": d.model,
            "provider": d.provider,
            "finish_reason": d.finish_reason and d.finish_reason.value,
            "finish_details": d.finish_details and dict(d.finish_details),
            "usage": d.usage.to_dict(),
            "cost": self.cost,
            "cached": d.cached or None,
            "latency": d.latency,
            "request_id": d.request_id,
            "response_id": d.response_id,
            "adjustments": [asdict(a) for a in d.adjustments],
            "attempts": [asdict(a) for a in d.attempts],
        }
        return {k: v for k, v in values.items() if v is not None and v != [] and v != {}}


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What is known of a model. Sizes in tokens; None and "unknown" mean not known.

    Attributes:
        id: accepted verbatim as a model name by the provider that listed it.
        kind: chat, embedding, rerank, image, audio or None.
        capabilities: feature (tools, vision, audio, thinking, structured_output) to yes | no | unknown.
    """

    id: str
    provider: str
    kind: str | None = None
    name: str | None = None
    context_window: int | None = None
    max_output_tokens: int | None = None
    capabilities: Mapping[str, Capability] = field(default_factory=dict, hash=False)
    loaded: bool | None = None
    quantization: str | None = None
    size_bytes: int | None = None
    path: str | None = None
    raw: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)

    @property
    def ref(self) -> str:
        """``provider:id``, usable as `model=`."""
        return f"{self.provider}:{self.id}"

    def to_dict(self) -> dict[str, Any]:
        """The known fields, JSON-safe."""
        values = {n: getattr(self, n) for n in self.__slots__ if n not in ("raw", "capabilities")}
        values["capabilities"] = dict(self.capabilities) or None
        return {k: v for k, v in values.items() if v is not None}
