"""Loading and unloading models over LM Studio's own HTTP API (0.4 and later), where its websockets cannot be used.

https://lmstudio.ai/docs/developer/rest/load
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from unified_llm import _json
from unified_llm.codecs.fields import count_of, text_of
from unified_llm.codecs.openai_models import read_models
from unified_llm.drivers.http import HTTPDriver
from unified_llm.errors import ResponseError, UnsupportedOptionError
from unified_llm.responses import ModelInfo
from unified_llm.wire import WireCall, WireReply

__all__ = ["LMStudioHTTPCalls"]

_LIST = WireCall("api/v1/models", method="GET")
_KINDS = {"llm": "chat", "embedding": "embedding"}


class LMStudioHTTPCalls:
    """Each call with its async twin. `check` raises what the status of a reply stands for."""

    def __init__(self, driver: HTTPDriver, check: Callable[[WireReply], None], provider: str) -> None:
        self._driver = driver
        self._check = check
        self._provider = provider

    def load(
        self, model: str, *, ttl: float | None, context_length: int | None, config: Any, timeout: float | None
    ) -> ModelInfo:
        """The model, loaded unless it is in memory. Raises `UnsupportedOptionError` for `ttl` and `config`."""
        self._refuse(ttl, config)
        known = self._in_memory(model, self._checked(self._driver.send(_LIST)))
        if known is not None:
            return known
        reply = self._driver.send(_load_call(model, context_length, timeout))
        return self._loaded(model, self._checked(reply))

    async def load_async(
        self,
        model: str,
        *,
        ttl: float | None,
        context_length: int | None,
        config: Any,
        timeout: float | None,  # noqa: ASYNC109  # between bytes, not in total
    ) -> ModelInfo:
        """`load`, without blocking the event loop."""
        self._refuse(ttl, config)
        known = self._in_memory(model, self._checked(await self._driver.send_async(_LIST)))
        if known is not None:
            return known
        reply = await self._driver.send_async(_load_call(model, context_length, timeout))
        return self._loaded(model, self._checked(reply))

    def unload(self, model: str) -> None:
        """Free the memory of an instance, named by its id or by its model."""
        listed = self._checked(self._driver.send(_LIST))
        for instance in self._named(model, listed):
            self._checked(self._driver.send(_unload_call(instance)))

    async def unload_async(self, model: str) -> None:
        """`unload`, without blocking the event loop."""
        listed = self._checked(await self._driver.send_async(_LIST))
        for instance in self._named(model, listed):
            self._checked(await self._driver.send_async(_unload_call(instance)))

    def loaded(self) -> list[ModelInfo]:
        """The instances in memory."""
        return self._running(self._checked(self._driver.send(_LIST)))

    async def loaded_async(self) -> list[ModelInfo]:
        """`loaded`, without blocking the event loop."""
        return self._running(self._checked(await self._driver.send_async(_LIST)))

    def _refuse(self, ttl: float | None, config: Any) -> None:
        given = [name for name, value in (("ttl", ttl), ("config", config)) if value]
        if given:
            raise UnsupportedOptionError(
                f"LM Studio's HTTP API loads models without {given[0]}",
                provider=self._provider,
                hint="leave it out; the package lmstudio has it, where LM Studio is reached without TLS or a proxy",
            )

    def _checked(self, reply: WireReply) -> Any:
        """The decoded body. Raises what the status stands for, or `ResponseError`."""
        self._check(reply)
        try:
            value = _json.loads(reply.body)
        except ValueError:
            value = None
        if not isinstance(value, dict) or value.get("error"):
            raise ResponseError(
                "LM Studio's HTTP API has no such call here",
                provider=self._provider,
                hint="loading over HTTP needs LM Studio 0.4 or later",
                body=value,
            )
        return value

    def _in_memory(self, model: str, listed: Any) -> ModelInfo | None:
        instances = self._named(model, listed)
        return next((m for m in self._running(listed) if m.id in instances), None)

    def _running(self, listed: Any) -> list[ModelInfo]:
        """Each instance in memory, under its own id."""
        models = [m for m in read_models(listed, self._provider) or () if m.loaded]
        return [replace(m, id=instance) for m in models for instance in _instance_ids(m)]

    def _named(self, name: str, listed: Any) -> list[str]:
        """The ids of the instances that `name` stands for; the name itself where none is known: the server says so."""
        running = self._running(listed)
        exact = [m.id for m in running if m.id == name]
        return exact or [m.id for m in running if m.raw and m.raw.get("key") == name] or [name]

    def _loaded(self, model: str, body: Mapping[str, Any]) -> ModelInfo:
        config = body.get("load_config")
        window = config.get("context_length") if isinstance(config, Mapping) else None
        instance = text_of(body.get("instance_id"))
        if instance is None and body.get("status") != "loaded":
            raise ResponseError(
                f"LM Studio did not say whether {model} was loaded",
                provider=self._provider,
                hint="loaded_models() tells what is in memory; see LM Studio's log",
                body=body,
            )
        return ModelInfo(
            id=instance or model,
            provider=self._provider,
            kind=_KINDS.get(str(body.get("type"))),
            context_window=count_of(window),
            loaded=body.get("status") == "loaded",
            raw=body,
        )


def _instance_ids(model: ModelInfo) -> list[str]:
    running = (model.raw or {}).get("loaded_instances")
    ids = [one.get("id") for one in running if isinstance(one, Mapping)] if isinstance(running, list) else []
    return [one for one in ids if isinstance(one, str)] or [model.id]


def _load_call(model: str, context_length: int | None, timeout: float | None) -> WireCall:
    body: dict[str, Any] = {"model": model, "echo_load_config": True}
    if context_length is not None:
        body["context_length"] = context_length
    return WireCall("api/v1/models/load", _json.dumps(body), timeout=timeout)


def _unload_call(model: str) -> WireCall:
    return WireCall("api/v1/models/unload", _json.dumps({"instance_id": model}))
