"""The models of every usable provider, asked in parallel and kept for a while."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from unified_llm import ModelInfo, UnifiedLLM
from unified_llm.errors import APIConnectionError, UnifiedLLMError
from unified_llm.providers.registry import PROVIDER_CONFIGS
from unified_llm_mcp.hints import for_callers
from unified_llm_mcp.runs import PATIENCE
from unified_llm_mcp.settings import Settings, is_loopback

__all__ = ["NOT_RUNNING", "ModelCatalogue", "Models"]

NOT_RUNNING = "not running"
FAILURE_TTL = 2.0
"""Seconds for which a provider that could not say is not asked again."""
MOST_FAILURES = 1000

logger = logging.getLogger("unified_llm_mcp")


@dataclass(frozen=True, slots=True)
class Models:
    """Models found, and for each provider that could not say, why."""

    models: tuple[ModelInfo, ...]
    errors: dict[str, str]


class ModelCatalogue:
    """Lists of models, one per provider. A provider that answers late or not at all does not hold up the others."""

    def __init__(self, client: UnifiedLLM, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._settings = settings
        self._clock = clock
        self._refreshing: asyncio.Task[Models] | None = None
        self._known: dict[str, tuple[float, tuple[ModelInfo, ...]]] = {}
        self._failed: dict[str, tuple[float, Exception]] = {}
        self._asking: dict[str, asyncio.Task[tuple[ModelInfo, ...]]] = {}

    def cached(self) -> tuple[ModelInfo, ...]:
        """What was listed last, however old; asks nobody."""
        return tuple(model for _, models in self._known.values() for model in models)

    async def find(self, provider: str = "") -> Models:
        """The models of all usable providers, or of the one named.

        Raises:
            UnifiedLLMError: one provider was named, and it is unknown or could not say. For all providers such
                errors are in the result.
        """
        if provider:
            return Models(await self._ask(provider), {})
        names = await self.providers()
        answers = await asyncio.gather(*(self._ask_or_say_why(name) for name in names))
        models = tuple(model for answer in answers if not isinstance(answer, str) for model in answer)
        return Models(models, {n: why for n, why in zip(names, answers, strict=True) if isinstance(why, str)})

    def refresh(self) -> asyncio.Task[Models]:
        """Ask every provider in the background; one such task at a time."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self.find())
            self._refreshing.add_done_callback(_log_failure)
        return self._refreshing

    async def aclose(self) -> None:
        """Stop asking."""
        tasks = {*self._asking.values(), *([self._refreshing] if self._refreshing is not None else [])}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=PATIENCE)

    async def providers(self) -> list[str]:
        """Names of the usable providers, the client's current one first."""
        current = await self._client.get_provider_async()
        names = await asyncio.to_thread(self._client.list_providers)
        return [current, *(name for name in names if name != current)]

    async def _ask_or_say_why(self, name: str) -> tuple[ModelInfo, ...] | str:
        try:
            return await self._ask(name)
        except UnifiedLLMError as error:
            return _why(name, error)
        except TimeoutError:
            return f"did not answer within {self._settings.provider_timeout:g} s"
        except Exception:
            # A third-party provider with a bug must not take the others' models with it.
            logger.exception("provider %s failed to list its models", name)
            return "internal error; see the server's log"

    async def _ask(self, name: str) -> tuple[ModelInfo, ...]:
        known = self._known.get(name)
        if known is not None and self._clock() - known[0] < self._settings.models_ttl:
            return known[1]
        failed = self._failed.get(name)
        if failed is not None and self._clock() - failed[0] < min(FAILURE_TTL, self._settings.models_ttl):
            raise failed[1].with_traceback(None)
        if name not in self._asking:
            self._asking[name] = asyncio.create_task(self._list(name))
            self._asking[name].add_done_callback(lambda _: self._asking.pop(name, None))
        return await asyncio.shield(self._asking[name])

    async def _list(self, name: str) -> tuple[ModelInfo, ...]:
        """Ask one provider, for everybody who wants to know at the moment."""
        try:
            async with asyncio.timeout(self._settings.provider_timeout):
                models = tuple(await self._client.list_models_async(name))
        except (UnifiedLLMError, TimeoutError) as error:
            self._failed[name] = (self._clock(), error)
            if len(self._failed) > MOST_FAILURES:  # names come from callers
                self._failed.pop(next(iter(self._failed)))
            raise
        self._known[name] = (self._clock(), models)
        return models


def _why(name: str, error: UnifiedLLMError) -> str:
    """Why a provider could not be asked. That a server nobody configured does not run is no news worth a sentence."""
    config = PROVIDER_CONFIGS.get(name)
    if isinstance(error, APIConnectionError) and config is not None:
        configured = config.base_url_env is not None and os.environ.get(config.base_url_env)
        if not configured and is_loopback(urlsplit(config.base_url or "").hostname or ""):
            return NOT_RUNNING
    hint = for_callers(error.hint)
    return f"{error.message} ({hint})" if hint else error.message


def _log_failure(task: asyncio.Task[Models]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.warning("asking for models failed: %s", error)
