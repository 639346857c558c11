"""What a caller can ask for: `ModelConfig` (every option of a call) and the requests the codecs encode."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from math import inf
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from unified_llm.errors import InvalidRequestError, UnsupportedOptionError, brief, without_keys
from unified_llm.messages import Message
from unified_llm.tools import Tool, ToolChoice

if TYPE_CHECKING:
    from unified_llm.cache import ResponseCache
    from unified_llm.responses import Adjustment

__all__ = ["ChatRequest", "EmbedRequest", "ModelConfig", "ResponseFormat", "nearest", "texts"]

OnUnsupported: TypeAlias = Literal["warn", "error", "drop"]


def nearest(name: str, known: Sequence[str]) -> str:
    """Return ``did you mean 'x'?`` for the closest of `known`, or an empty text."""
    match = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean {match[0]!r}?" if match else ""


@dataclass(frozen=True, slots=True)
class ResponseFormat:
    """Structured output. `schema` None means any JSON object; `model` is the pydantic class to validate with."""

    schema: Mapping[str, Any] | None = None
    name: str = "response"
    strict: bool | None = None
    model: type | None = None

    def __hash__(self) -> int:
        return hash((self.name, self.strict, self.model))


@dataclass(frozen=True, init=False)
class ModelConfig:
    """Options of a call. None means "not sent": the server's own default applies.

    The founding contract had numbers as defaults; current Claude models refuse sampling options, so only what is
    set is sent. Unknown keywords are kept in `unknown` and handled by `on_unsupported` when a call is made, because
    applications build this from request bodies (``ModelConfig(**body)``).

    Attributes:
        model_name: model id or ``provider:model``.
        temperature, top_p, top_k, min_p, seed, presence_penalty, frequency_penalty: sampling.
        max_tokens: most output tokens; -1 and 0 mean "no limit", which is not sent.
        stop_sequences: texts that end the answer.
        tool_choice: see `tools.normalize_tool_choice`.
        parallel_tool_calls: whether several calls may come in one turn.
        response_format: pydantic class, JSON Schema, ``"json"``, or an OpenAI ``response_format`` dict.
        thinking: True (model's own way), False (off) or a token budget.
        effort: none | minimal | low | medium | high | xhigh | max.
        prompt_caching: True, False, or a lifetime such as ``"5m"`` or ``"1h"``, where the provider has it.
        logprobs: number of alternatives to report per token, or True for the chosen token only.
        user: end-user id passed to the provider.
        timeout: seconds without progress before `APITimeoutError` (first byte, between bytes; connecting takes at most
            10 of them).
        connect_timeout: most seconds to connect; first_token_timeout: most seconds until a stream says something.
        provider_options: ``{provider: {option: value}}`` sent only to that provider, as they are.
        extra_headers, extra_body: added to the HTTP request, as they are; what carries a key goes to no other provider
            than the first one that a call asks. The repr leaves the headers out, and masks keys elsewhere; a pickle has
            them in clear, because the call it is made for needs them: keep such a pickle like a key.
        label: the application's own name for the call, for hooks and totals; not sent.
        fallbacks: model references, or names of providers, asked in order when the first fails.
        max_retries: attempts after the first, per target; deadline: most seconds for everything.
        hedge_after: seconds after which a second request is sent, to the next target if there is one; the answer that
            comes first counts. Async calls of whole answers only. Worth it for slow tails; it may cost twice.
        cache: False: ask the server even when the client's cache has the answer, and keep nothing.
        on_unsupported: "warn" (default), "error" or "drop" for what the provider cannot do; always recorded.
    """

    model_name: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    top_p: float | None = None
    stop_sequences: tuple[str, ...] | None = None
    top_k: int | None = None
    min_p: float | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    response_format: Any = None
    thinking: bool | int | None = None
    effort: str | None = None
    prompt_caching: bool | str | None = None
    logprobs: bool | int | None = None
    user: str | None = None
    timeout: float | None = None
    connect_timeout: float | None = None
    first_token_timeout: float | None = None
    provider_options: Mapping[str, Mapping[str, Any]] | None = None
    extra_headers: Mapping[str, str] | None = None
    extra_body: Mapping[str, Any] | None = None
    label: str | None = None
    fallbacks: tuple[str, ...] | None = None
    max_retries: int | None = None
    deadline: float | None = None
    hedge_after: float | None = None
    on_unsupported: OnUnsupported | None = None
    cache: bool | None = None
    unknown: Mapping[str, Any] = field(default_factory=dict)

    def __init__(
        self,
        model_name: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        top_p: float | None = None,
        stop_sequences: str | Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        given = self.__dict__  # only what is set: copying and merging cost what was given, not what could be
        unknown = dict(options.pop("unknown", None) or {})
        for name, value in options.items():
            name = _ALIASES.get(name, name)
            if name not in _KNOWN:
                unknown[name] = value
            elif value is not None:
                given[name] = value
        named = (model_name, temperature, max_tokens, top_p, stop_sequences)
        given.update(pair for pair in zip(_NAMES, named, strict=False) if pair[1] is not None)
        given["unknown"] = unknown
        _check(given)

    def __repr__(self) -> str:
        hidden = () if self.unknown else ("unknown",)
        named = [n for n in _NAMES if n in self.__dict__ and n not in ("extra_headers", *hidden)]
        return f"ModelConfig({', '.join(f'{n}={without_keys(self.__dict__[n])!r}' for n in named)})"

    def merge(self, other: ModelConfig | None = None, **options: Any) -> ModelConfig:
        """Return a copy in which everything set in `other`, then in `options`, wins over this one."""
        merged = self
        if other is not None:
            merged = merged._under(other)
        options = {k: v for k, v in options.items() if v is not None}
        return merged._under(ModelConfig(**options)) if options else merged

    def _under(self, other: ModelConfig) -> ModelConfig:
        if len(self.__dict__) == 1 and not self.unknown:
            return other  # nothing is set here, as with most clients
        merged = object.__new__(ModelConfig)  # both were checked: not again, for each call
        merged.__dict__.update(self.__dict__)
        merged.__dict__.update(other.__dict__)
        merged.__dict__["unknown"] = {**self.unknown, **other.unknown}
        return merged

    def without_unknown(self) -> ModelConfig:
        """A copy without the names nobody knows."""
        copy = object.__new__(ModelConfig)
        copy.__dict__.update(self.__dict__)
        copy.__dict__["unknown"] = {}
        return copy

    def with_limits(self, timeout: float | None, deadline: float) -> ModelConfig:
        """A copy with other limits of time, in seconds; without a timeout the provider's holds."""
        copy = object.__new__(ModelConfig)
        values = copy.__dict__
        values.update(self.__dict__)
        values["timeout"], values["deadline"] = timeout, deadline
        return copy

    @classmethod
    def option_names(cls) -> tuple[str, ...]:
        """Every option name, aliases excluded."""
        return _NAMES[:-1]


_ALIASES = {
    "model": "model_name",
    "stop": "stop_sequences",
    "max_output_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "reasoning_effort": "effort",
}
_NAMES = tuple(f.name for f in fields(ModelConfig))
_KNOWN = frozenset(_NAMES)


def texts(name: str, value: object) -> tuple[str, ...]:
    """The option `name` as texts: one, or several. Raises `InvalidRequestError` for anything else."""
    if isinstance(value, str):
        return (value,)
    several = tuple(value) if isinstance(value, Iterable) else (value,)
    if not all(isinstance(text, str) for text in several):
        raise InvalidRequestError(f"{name} is no list of texts: {value!r}", hint="pass a str, or a list of str")
    return several


_NUMBER = (int, float)
_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "model_name": ((str,), "a text such as 'claude:claude-sonnet-5-5'"),
    "effort": ((str,), "a text such as 'low' or 'high'"),
    "thinking": ((bool, int), "True, False or a number of tokens"),
    "provider_options": ((Mapping,), "a dictionary such as {'claude': {'service_tier': 'auto'}}"),
    "extra_headers": ((Mapping,), "a dictionary of texts"),
    "extra_body": ((Mapping,), "a dictionary"),
    "temperature": (_NUMBER, "a number"),
    "top_p": (_NUMBER, "a number"),
    "min_p": (_NUMBER, "a number"),
    "presence_penalty": (_NUMBER, "a number"),
    "frequency_penalty": (_NUMBER, "a number"),
    "max_tokens": ((int,), "a whole number; -1 or 0: no limit"),
    "top_k": ((int,), "a whole number"),
    "seed": ((int,), "a whole number"),
    "max_retries": ((int,), "a whole number; 0: no retries"),
    "timeout": (_NUMBER, "a number of seconds"),
    "connect_timeout": (_NUMBER, "a number of seconds"),
    "first_token_timeout": (_NUMBER, "a number of seconds"),
    "deadline": (_NUMBER, "a number of seconds"),
    "hedge_after": (_NUMBER, "a number of seconds"),
    "parallel_tool_calls": ((bool,), "True or False"),
    "logprobs": ((bool, int), "True, or how many alternatives to report"),
    "prompt_caching": ((bool, str), "True, False or a lifetime such as '5m'"),
    "cache": ((bool,), "False to ask the server in any case"),
    "user": ((str,), "a text"),
    "label": ((str,), "a text"),
}
_RANGES: dict[str, tuple[float, float]] = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "min_p": (0, 1),
    "max_tokens": (-1, inf),
    "thinking": (-1, inf),  # -1: as much as the model wants, to Gemini
    "top_k": (-1, inf),  # -1 and 0: no limit, to servers of open models
    "max_retries": (0, inf),
    "timeout": (0, inf),
    "connect_timeout": (0, inf),
    "first_token_timeout": (0, inf),
    "deadline": (0, inf),
    "hedge_after": (0, inf),
}


def _check(given: dict[str, Any]) -> None:
    """Refuse values that no server can take; the type errors of a web form show here, not as a 400 later."""
    for name, value in tuple(given.items()):
        if name in _KINDS:
            _check_kind(name, value)
            _check_range(name, value)
        elif name in ("stop_sequences", "fallbacks"):
            given[name] = texts(name, value)
        elif name == "on_unsupported" and value not in ("warn", "error", "drop"):
            raise InvalidRequestError(f"on_unsupported cannot be {value!r}", hint="use 'warn', 'error' or 'drop'")
    if given.get("max_tokens", 1) <= 0:
        # -1 means "no limit" to LM Studio and llama.cpp and is an error elsewhere: not sending it says the same.
        del given["max_tokens"]


def _check_kind(name: str, value: object) -> None:
    kinds, what = _KINDS[name]
    if not isinstance(value, kinds) or (type(value) is bool and bool not in kinds):
        shown = f": {brief(value)}" if Mapping not in kinds and brief(value) else ""
        raise InvalidRequestError(f"{name} is {type(value).__name__}{shown}", hint=f"{name} is {what}")


def _check_range(name: str, value: Any) -> None:
    low, high = _RANGES.get(name, (None, None))
    if low is not None and high is not None and not low <= value <= high:
        limits = f"from {low:g} to {high:g}" if high < inf else f"at least {low:g}"
        raise InvalidRequestError(f"{name} cannot be {value!r}", hint=f"{name} is {_KINDS[name][1]}, {limits}")


def unknown_option(name: str, *, provider: str | None = None) -> UnsupportedOptionError:
    """The error for an option name nobody knows, with the nearest known one."""
    return UnsupportedOptionError(
        f"unknown option {name!r}",
        provider=provider,
        hint=" ".join(filter(None, (_guess(name), "server-specific fields go in extra_body={...}"))),
    )


def why_unknown(name: str) -> str:
    """Why an option name nobody knows is dropped, with the nearest known one."""
    guess = _guess(name)
    return f"no option of that name{'; ' + guess if guess else ''}"


def _guess(name: str) -> str:
    return nearest(name, [*ModelConfig.option_names(), *_ALIASES])


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A chat call, resolved: what the codecs encode. `config.model_name` is already split into `model`.

    `cache` is looked into first, by providers that encode their requests (`WireProvider`). `adjustments` tells what
    the caller's messages said that no request carries.
    """

    model: str
    messages: tuple[Message, ...]
    config: ModelConfig = field(default_factory=ModelConfig)
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    response_format: ResponseFormat | None = None
    stream: bool = False
    cache: ResponseCache | None = None
    adjustments: tuple[Adjustment, ...] = ()

    def for_model(
        self, model: str, *, config: ModelConfig | None = None, cache: ResponseCache | None = None
    ) -> ChatRequest:
        """The same request for another model, with other options or a cache if they are given."""
        return ChatRequest(
            model,
            self.messages,
            self.config if config is None else config,
            self.tools,
            self.tool_choice,
            self.response_format,
            self.stream,
            self.cache if cache is None else cache,
            self.adjustments,
        )


@dataclass(frozen=True, slots=True)
class EmbedRequest:
    """An embedding call: `texts` in order; `dimensions` asks for shorter vectors where the model can."""

    model: str
    texts: tuple[str, ...]
    dimensions: int | None = None
    config: ModelConfig = field(default_factory=ModelConfig)
