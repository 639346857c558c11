"""What an application can watch: requests, responses, errors, retries, fallbacks."""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from unified_llm.costs.budget import BudgetGroup, grouped
from unified_llm.costs.prices import PriceTable
from unified_llm.errors import APITimeoutError, UnifiedLLMError
from unified_llm.flow.deadlines import DeadlineExpired, in_time
from unified_llm.preparation import approximate_tokens
from unified_llm.requests import ChatRequest, EmbedRequest
from unified_llm.responses import Adjustment, ChatResponse, Embeddings

__all__ = ["CallInfo", "HookList", "Hooks"]

logger = logging.getLogger("unified_llm")

_GATES = ("before_call", "before_attempt")


@dataclass(slots=True)
class CallInfo:
    """One call, as hooks see it. The same object is passed to every hook of the call; `state` is theirs.

    Attributes:
        operation: chat, stream or embed.
        provider, model: the target asked now (they change with a fallback); model is None for its default.
        target: key of that target: the provider's name, or ``name/0`` for the first deployment of ``name``.
        request: what is asked, but for the model; hooks must not change it.
        label: the application's own name for the call (``chat(..., label="summary")``), or None.
        attempt: 0 for the first request to this target.
        state: a place for hooks to keep things between calls to them (spans, times).
        prices: the client's price table, or None.
        expires: when the deadline of the call is, by the client's clock (`time.monotonic`), or None.
        home: the provider that the call asks first: what it passes on was given for that one.
        notes: what of it the target asked now does not get.
        over: whether hooks were told all there is: what the call still does is done for nobody.
    """

    operation: Literal["chat", "stream", "embed"]
    provider: str = ""
    model: str | None = None
    label: str | None = None
    attempt: int = 0
    state: dict[Any, Any] = field(default_factory=dict)
    target: str = ""
    request: ChatRequest | EmbedRequest | None = field(default=None, repr=False)
    prices: PriceTable | None = field(default=None, repr=False)
    expires: float | None = field(default=None, repr=False)
    over: bool = field(default=False, repr=False)
    home: str = field(default="", repr=False)
    notes: tuple[Adjustment, ...] = field(default=(), repr=False)
    _prompt: int | None = field(default=None, repr=False)

    def prompt_tokens(self) -> int:
        """About how many tokens the prompt has (see `preparation.approximate_tokens`)."""
        if self._prompt is None:
            self._prompt = 0 if self.request is None else approximate_tokens(self.request)
        return self._prompt


class Hooks(Protocol):
    """Implement any of these, sync or async; missing ones are skipped.

    A hook that raises is logged and never breaks the call, except the gates, `before_call` and `before_attempt`: what
    they raise stops the call before anything more is sent.

    A call with a deadline waits for a coroutine until then, and goes on: the coroutine runs to its end by itself, so
    that nothing it counts is lost; a gate that is late stops the call (`APITimeoutError`). A plain function is waited
    for in any case, as nothing can interrupt it. A call that is cancelled while it waits for a coroutine cancels
    that one; the hooks after it are called all the same, and their coroutines run to their end by themselves.
    """

    def before_call(self, info: CallInfo) -> Any:
        """Raise to refuse the call."""

    def before_attempt(self, info: CallInfo) -> Any:
        """A request is to be sent again, or to the target now in `info`. Raise to stop the call instead."""

    def on_request(self, info: CallInfo) -> Any:
        """A request is about to be sent, or its answer was found in the cache."""

    def on_response(self, info: CallInfo, response: ChatResponse | Embeddings) -> Any:
        """The call succeeded (for a stream: it ended)."""

    def on_partial(self, info: CallInfo, response: ChatResponse) -> Any:
        """A request broke or was left before its end; `response` is what arrived (of embeddings nothing), its usage
        estimated where not told (None for the output of which nothing arrived).

        Once per request that was sent and not refused; `on_error` follows. Also for a hedged request that lost.
        """

    def on_error(self, info: CallInfo, error: BaseException) -> Any:
        """A request failed, or was cancelled or abandoned (GeneratorExit, CancelledError)."""

    def on_retry(self, info: CallInfo, error: UnifiedLLMError, seconds: float) -> Any:
        """The same target is asked again after `seconds`."""

    def on_end(self, info: CallInfo) -> Any:
        """The call is over, well or not; once per call."""

    def on_fallback(self, info: CallInfo, error: UnifiedLLMError | None) -> Any:
        """Another target, now in `info`, is asked because of `error`."""


class _Methods(dict[str, tuple[Any, ...]]):
    """Name of a method to those of the hooks that have it, found once."""

    def __init__(self, hooks: Iterable[object]) -> None:
        super().__init__()
        self.hooks = tuple(hooks)
        self.end_always = any(
            hasattr(hook, "on_end") and not getattr(hook, "ends_in_state", False) for hook in self.hooks
        )

    def __missing__(self, name: str) -> tuple[Any, ...]:
        found = tuple(method for hook in self.hooks if (method := getattr(hook, name, None)) is not None)
        self[name] = found
        return found


class HookList:
    """Calls every hook that has a method; knows beforehand which methods anybody has.

    A hook whose `on_end` matters only while it has something in `info.state`, under itself, says so with a true
    `ends_in_state`: most calls have nothing there at their end.
    """

    def __init__(self, hooks: Iterable[object] = (), *, clock: Callable[[], float] = time.monotonic) -> None:
        self._methods = _Methods(grouped(hooks))
        self._clock = clock
        self._going_on: set[asyncio.Future[Any]] = set()

    def add(self, hook: object) -> None:
        """Add a hook object. The others stay as they are: they have calls in flight."""
        if any(isinstance(known, BudgetGroup) and known.has(hook) for known in self._methods.hooks):
            return
        self._methods = _Methods([*self._methods.hooks, *grouped([hook])])

    def call(self, name: str, info: CallInfo, *args: Any) -> None:
        """Call a hook method of everybody from sync code; coroutines are run to their end."""
        if info.over:
            return
        given = (info, *args)
        for method in self._methods[name]:
            try:
                result = method(*given)
                if result is not None and inspect.isawaitable(result):
                    _run(result, self._left(info))
            except Exception as exc:  # noqa: BLE001  # somebody else's code must not break the call
                self._tell(name, method, info, exc)

    async def call_async(self, name: str, info: CallInfo, *args: Any) -> None:
        """`call` from async code. What is cancelled within has called all hooks, unless it is the gate."""
        if info.over:
            return
        given = (info, *args)
        methods = iter(self._methods[name])
        for method in methods:
            try:
                result = method(*given)
                if result is not None and inspect.isawaitable(result):
                    await self._wait(name, result, self._left(info))
            except asyncio.CancelledError:
                if name not in _GATES:
                    logger.warning("the hook %s of %s was cancelled", name, getattr(method, "__qualname__", method))
                    self._call_the_rest(name, methods, info, *args)
                raise
            except Exception as exc:  # noqa: BLE001  # as above
                self._tell(name, method, info, exc)

    def ends(self, info: CallInfo) -> bool:
        """Whether somebody wants to hear that the call is over (`on_end`)."""
        return bool(info.state) or self._methods.end_always

    def _left(self, info: CallInfo) -> float | None:
        return None if info.expires is None else max(0.0, info.expires - self._clock())

    def _call_the_rest(self, name: str, methods: Iterable[Any], info: CallInfo, *args: Any) -> None:
        """Call the hooks that come after one at which the call was cancelled; their coroutines go on by themselves."""
        for method in methods:
            try:
                result = method(info, *args)
                if result is not None and inspect.isawaitable(result):
                    self._let_go_on(name, asyncio.ensure_future(result))
            except Exception as exc:  # noqa: BLE001  # as above
                self._tell(name, method, info, exc)

    async def _wait(self, name: str, result: Awaitable[Any], seconds: float | None) -> None:
        """Wait for a coroutine, at most so long. Raises `DeadlineExpired`; it then goes on, unless it is the gate."""
        if seconds is None:
            await result
            return
        task = asyncio.ensure_future(result)
        try:
            await asyncio.wait((task,), timeout=seconds)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if not task.done():
            self._let_go_on(name, task)
            raise DeadlineExpired
        task.result()

    def _let_go_on(self, name: str, task: asyncio.Future[Any]) -> None:
        """A coroutine for which nobody waits any more runs to its end, unless it is the gate."""
        self._going_on.add(task)  # the loop itself keeps tasks only weakly
        if name in _GATES:
            task.add_done_callback(self._going_on.discard)
            task.cancel()
        else:
            task.add_done_callback(self._gone_on)

    def _gone_on(self, task: asyncio.Future[Any]) -> None:
        self._going_on.discard(task)
        if task.cancelled():
            logger.error("a hook that went on after its call was cancelled: its event loop ended")
        elif (failure := task.exception()) is not None:
            logger.error("a hook that went on after its call raised %s", type(failure).__name__)

    def _tell(self, name: str, method: Any, info: CallInfo, exc: Exception) -> None:
        """Raise what the gate raised; log what others did."""
        called = getattr(method, "__qualname__", method)
        if isinstance(exc, DeadlineExpired):
            if name in _GATES:
                raise APITimeoutError(
                    f"the deadline passed while {called} decided whether the call may be made",
                    hint="raise deadline=, or see why this hook takes so long",
                ) from exc
            logger.warning("the hook %s of %s is not done at the deadline: the call goes on without it", name, called)
        elif name in _GATES:
            raise exc
        else:
            logger.error("the hook %s of %s raised %s", name, called, type(exc).__name__)


def _run(awaitable: Awaitable[Any], seconds: float | None) -> None:
    """Run a coroutine from sync code, also inside a running loop (a notebook): there, in a thread of its own.

    Raises:
        DeadlineExpired: it takes longer; it then goes on in its thread.
    """

    async def main() -> None:
        await awaitable

    if seconds is None and asyncio._get_running_loop() is None:
        asyncio.run(main())
    else:
        in_time(math.inf if seconds is None else seconds, lambda: asyncio.run(main()), daemon=False)
