"""The same question to several models at once: `compare`, `compare_async`."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from unified_llm.client import Messages, UnifiedLLM
from unified_llm.errors import InvalidRequestError, redact
from unified_llm.flow.deadlines import in_time
from unified_llm.policy.numbers import check_number
from unified_llm.requests import texts
from unified_llm.responses import ChatResponse, Usage

__all__ = ["Comparison", "compare", "compare_async"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Comparison:
    """What one model did.

    Attributes:
        model: the reference that was asked, as it was given.
        response: the answer, or None.
        error: why there is none, or None: a `UnifiedLLMError`, whose `partial` has what came before it broke, or what a
            gate of the client's hooks raised.
        seconds: from the question to the end of the answer or the failure, retries included.
    """

    model: str
    response: ChatResponse | None
    error: Exception | None
    seconds: float

    @property
    def text(self) -> str | None:
        """The answer's text, or None."""
        return None if self.response is None else self.response.text

    @property
    def usage(self) -> Usage:
        """Tokens; unknown ones are None."""
        return Usage() if self.response is None else self.response.usage

    @property
    def cost(self) -> float | None:
        """USD, or None when it is not known."""
        return None if self.response is None else self.response.cost

    @property
    def time_to_first_token(self) -> float | None:
        """Seconds, or None."""
        return None if self.response is None else self.response.time_to_first_token

    @property
    def tokens_per_second(self) -> float | None:
        """Output tokens per second of the whole answer, or None."""
        tokens = self.usage.output_tokens
        return None if tokens is None or self.seconds <= 0 else tokens / self.seconds

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe; what is not known is left out."""
        values = {
            "model": self.model,
            "text": self.text,
            "seconds": round(self.seconds, 4),
            "time_to_first_token": self.time_to_first_token,
            "tokens_per_second": self.tokens_per_second,
            "usage": self.usage.to_dict() or None,
            "cost": self.cost,
            "error": None if self.error is None else _described(self.error),
        }
        return {k: v for k, v in values.items() if v is not None}


def compare(
    messages: Messages, models: Iterable[str], *, llm: UnifiedLLM | None = None, concurrency: int = 8, **options: Any
) -> list[Comparison]:
    """Ask every model the same, at once; the results in the order of `models`. What fails is a result, too.

    Args:
        messages: as for `UnifiedLLM.chat`.
        models: model references (``provider:model``) or names of deployments.
        llm: the client that asks, with its retries, limits and hooks; by default a new one. Nobody falls back on
            another model.
        concurrency: most models asked at the same time.
        options: of the calls, as for `UnifiedLLM.chat`.

    Raises:
        InvalidRequestError: there is no model to ask.
        UnknownProviderError: one of them looks like a misspelled provider; nobody is asked then.

    Ctrl-C closes the requests that are not answered yet and returns, once providers that know only blocking calls have
    answered theirs.
    """
    return _to_its_end(compare_async(messages, models, llm=llm, concurrency=concurrency, **options))


async def compare_async(
    messages: Messages, models: Iterable[str], *, llm: UnifiedLLM | None = None, concurrency: int = 8, **options: Any
) -> list[Comparison]:
    """`compare`, without blocking the event loop."""
    refs, own = _models(models, options, concurrency), llm is None
    client = llm or UnifiedLLM()
    _check(client, refs)
    places = asyncio.Semaphore(concurrency)

    async def ask(ref: str) -> Comparison:
        async with places:
            started = time.perf_counter()
            try:
                response = await client.stream_async(messages, model=ref, **options).get_response()
            except Exception as exc:  # noqa: BLE001  # a result, too
                return Comparison(ref, None, exc, time.perf_counter() - started)
            return Comparison(ref, response, None, time.perf_counter() - started)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask(ref)) for ref in refs]
        return [task.result() for task in tasks]
    finally:
        if own:
            await client.aclose()


def _to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` from sync code: on an event loop, where whatever is under way can be cancelled.

    Inside of a running loop (a notebook), in a thread of its own.
    """
    if asyncio._get_running_loop() is None:
        return asyncio.run(work)
    running: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[T]]] = []

    async def main() -> T:
        task = asyncio.ensure_future(work)
        running.append((asyncio.get_running_loop(), task))
        return await task

    try:
        return in_time(math.inf, lambda: asyncio.run(main()))
    except KeyboardInterrupt:
        for loop, task in running:
            with contextlib.suppress(RuntimeError):  # it has ended in between
                loop.call_soon_threadsafe(task.cancel)
        raise


def _described(error: Exception) -> dict[str, Any]:
    message = getattr(error, "message", None) or redact(str(error))
    return {"type": type(error).__name__, "message": message, "hint": getattr(error, "hint", None)}


def _check(client: UnifiedLLM, refs: Iterable[str]) -> None:
    for ref in refs:
        client._router.check(ref)


def _models(models: Iterable[str], options: dict[str, Any], concurrency: int) -> list[str]:
    refs = list(texts("models", models))
    if not refs:
        raise InvalidRequestError("there is no model to compare", hint="models=['claude:...', 'openai:...']")
    check_number("concurrency", concurrency, least=1, whole=True, hint="1 asks the models in turn")
    options["fallbacks"] = ()  # another model's answer would be counted as this one's
    return refs
