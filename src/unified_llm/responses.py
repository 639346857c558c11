"""What comes back: `ChatResponse` (a str), `Usage`, `Embedding(s)`, `ModelInfo`. Unknown is None, never 0."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, overload

from unified_llm import _json
from unified_llm.errors import StructuredOutputError
from unified_llm.messages import Message, ToolCall

if TYPE_CHECKING:
    import numpy as np

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


class FinishReason(StrEnum):
    """Why generation ended, in one vocabulary; `ChatResponse.native_finish_reason` keeps the server's word."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    STOP_SEQUENCE = "stop_sequence"
    CONTENT_FILTER = "content_filter"
    REFUSAL = "refusal"
    PAUSE = "pause"
    CONTEXT_OVERFLOW = "context_overflow"
    CANCELLED = "cancelled"
    ERROR = "error"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Adjustment:
    """Something asked for that was not done as asked. Nothing is changed or dropped without one of these.

    Attributes:
        kind: "dropped" (not sent), "changed" (sent differently), "lost" (part of the history that could not be kept).
        what: the option or part, such as ``temperature`` or ``messages[3].thinking``.
        reason: why, in one sentence.
    """

    kind: Literal["dropped", "changed", "lost"]
    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """A call that failed before the one that answered (or before the error was raised).

    `error` is the class name, `reason` its message, without secrets.
    """

    provider: str
    model: str | None
    error: str
    reason: str
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call. None means the server did not say.

    `input_tokens` is the whole prompt, cached tokens included (providers that count them apart are summed);
    `output_tokens` includes `reasoning_tokens`. `native` is the server's own usage object.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    native: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)

    @property
    def total_tokens(self) -> int | None:
        """Input plus output, or None when either is unknown."""
        if self.input_tokens is None or self.output_tokens is None:
            return None
        return self.input_tokens + self.output_tokens

    def to_dict(self) -> dict[str, int]:
        """The known figures only, `total_tokens` included."""
        figures = asdict(self) | {"total_tokens": self.total_tokens}
        return {k: v for k, v in figures.items() if isinstance(v, int)}

    def __add__(self, other: Usage) -> Usage:
        def add(a: int | None, b: int | None) -> int | None:
            return b if a is None else a if b is None else a + b

        return Usage(
            add(self.input_tokens, other.input_tokens),
            add(self.output_tokens, other.output_tokens),
            add(self.cache_read_tokens, other.cache_read_tokens),
            add(self.cache_write_tokens, other.cache_write_tokens),
            add(self.reasoning_tokens, other.reasoning_tokens),
        )


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


class Embedding(list[float]):
    """One vector: a list of float, with the `model`, `provider` and `usage` of the call that made it."""

    model: str | None = None
    provider: str | None = None
    usage: Usage = Usage()

    @property
    def dimensions(self) -> int:
        """Length of the vector."""
        return len(self)


class Embeddings(Sequence[Embedding]):
    """Vectors in the order of the texts, kept as packed float32 until one is looked at.

    ``embeddings[i]`` is an `Embedding` (a list of float); `tolist` gives plain lists, `to_numpy` one float32 matrix
    of shape (texts, dimensions) without a copy per number. `latency` is in seconds, or None.
    """

    __slots__ = ("_cost", "adjustments", "latency", "model", "provider", "request_id", "usage", "vectors")

    def __init__(
        self,
        vectors: Sequence[array[float]],
        *,
        model: str | None = None,
        provider: str | None = None,
        usage: Usage | None = None,
        adjustments: tuple[Adjustment, ...] = (),
        request_id: str | None = None,
    ) -> None:
        self.vectors = list(vectors)
        self.model = model
        self.provider = provider
        self.usage = usage or Usage()
        self.adjustments = adjustments
        self.request_id = request_id
        self.latency: float | None = None
        self._cost: float | Callable[[], float | None] | None = None

    @property
    def cost(self) -> float | None:
        """USD, 0 for what runs on this machine, None when the price is not known."""
        if callable(self._cost):
            self._cost = self._cost()
        return self._cost

    @property
    def unlooked_cost(self) -> float | Callable[[], float | None] | None:
        """The cost, or what finds it: for those who count calls without waiting for a price list."""
        return self._cost

    def __getstate__(self) -> tuple[None, dict[str, Any]]:  # pickle and copy: what finds the cost holds the client
        return None, {name: getattr(self, name) for name in self.__slots__} | {"_cost": self.cost}

    def priced(self, cost: float | Callable[[], float | None] | None) -> Embeddings:
        """Set the cost, unless it is known already. Returns self."""
        if self._cost is None:
            self._cost = cost
        return self

    def __len__(self) -> int:
        return len(self.vectors)

    @overload
    def __getitem__(self, index: int) -> Embedding: ...
    @overload
    def __getitem__(self, index: slice) -> list[Embedding]: ...
    def __getitem__(self, index: int | slice) -> Embedding | list[Embedding]:
        if isinstance(index, slice):
            return [self._one(v) for v in self.vectors[index]]
        return self._one(self.vectors[index])

    def __iter__(self) -> Iterator[Embedding]:
        return map(self._one, self.vectors)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self.tolist() == [list(v) for v in other]

    __hash__ = None  # type: ignore[assignment]  # equal to lists, so as unhashable as they are

    def __repr__(self) -> str:
        return f"Embeddings({len(self)} x {self.dimensions or 0}, model={self.model!r}, provider={self.provider!r})"

    def _one(self, vector: array[float]) -> Embedding:
        one = Embedding(vector)
        one.model, one.provider, one.usage = self.model, self.provider, self.usage
        return one

    @property
    def dimensions(self) -> int | None:
        """Length of each vector, or None when there is none."""
        return len(self.vectors[0]) if self.vectors else None

    def tolist(self) -> list[list[float]]:
        """Plain lists of float."""
        return [v.tolist() for v in self.vectors]

    def to_numpy(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """A float32 matrix of shape (texts, dimensions).

        Raises:
            MissingDependencyError: numpy is not installed.
        """
        from unified_llm._optional import require

        numpy = require("numpy", extra="numpy", purpose="Embeddings.to_numpy()")
        matrix: np.ndarray[Any, np.dtype[np.float32]] = numpy.empty((len(self), self.dimensions or 0), "float32")
        for i, vector in enumerate(self.vectors):
            matrix[i] = numpy.frombuffer(vector, "float32")
        return matrix


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
