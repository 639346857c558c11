"""Ollama, over its own API; its OpenAI endpoint is one option away."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from difflib import get_close_matches
from typing import Any, ClassVar, Literal

from unified_llm import _json
from unified_llm.codecs.base import CodecContext
from unified_llm.codecs.errors import has_error, unusable_body
from unified_llm.codecs.ollama_calls import PS, TAGS, completed, load_call, pull_call, show_call
from unified_llm.codecs.ollama_chat import OllamaChatCodec
from unified_llm.codecs.ollama_embed import OllamaEmbeddingsCodec
from unified_llm.codecs.ollama_models import needs_show, read_running, read_shown, read_tags, with_running
from unified_llm.drivers.http import HTTPDriver
from unified_llm.errors import ConfigurationError, InvalidRequestError, ModelNotFoundError, UnifiedLLMError
from unified_llm.local_models import PullProgress
from unified_llm.profiles import ModelRule, Profile
from unified_llm.providers.images import DownloadImages
from unified_llm.providers.ollama_pull import PullReader
from unified_llm.providers.ollama_setup import KeepAlive, default_fields, host_variable
from unified_llm.providers.openai import OpenAICompatibleProvider
from unified_llm.providers.openai_setup import auth_header, resolve_profile
from unified_llm.providers.told import told
from unified_llm.requests import ChatRequest, EmbedRequest
from unified_llm.responses import ModelInfo
from unified_llm.wire import WireReply

__all__ = ["OllamaProvider"]

_SHOWN_AT_ONCE = 8


class OllamaProvider(OpenAICompatibleProvider):
    """A running Ollama.

    Args:
        api_key: for an Ollama that demands one (ollama.com does); else OLLAMA_API_KEY.
        base_url: ``http://127.0.0.1:11434`` by default, with or without ``/v1``; else OLLAMA_BASE_URL, else
            OLLAMA_HOST, as the ``ollama`` command reads it.
        dialect: "native" (``/api/chat``); "openai" or "chat" (``/v1/chat/completions``), which knows nothing of windows
            and loading, for servers that only imitate that one; "responses" (``/v1/responses``).
        num_ctx: tokens of the window that models are loaded with; by default the server's own (4,096 unless it was set
            otherwise). Asking for another one than a loaded model has loads it anew.
        keep_alive: how long a model stays loaded after a call: seconds, or a text such as ``"10m"``; -1 for ever.

    The other arguments are those of `OpenAICompatibleProvider`. Both options, and all others of the server, may also be
    given per call: ``provider_options={"ollama": {"num_ctx": 16384, "keep_alive": "1h"}}``.

    Without a model name the first loaded chat model answers, else the one changed last, which Ollama then loads.
    """

    serves_many_names: ClassVar[bool] = False

    def __init__(
        self,
        *,
        api_key: object = None,
        base_url: str | None = None,
        timeout: float | None = None,
        headers: Mapping[str, str] | None = None,
        transport: Literal["httpx", "aiohttp"] = "httpx",
        dialect: Literal["native", "openai", "chat", "responses"] = "native",
        num_ctx: int | None = None,
        keep_alive: KeepAlive | None = None,
        profile: Profile | str | None = None,
        default_model: str | None = None,
        default_embedding_model: str | None = None,
        download_images: DownloadImages = False,
        **driver_options: Any,
    ) -> None:
        defaults = default_fields(dialect, num_ctx, keep_alive)
        super().__init__(
            name="ollama",
            api_key=api_key,
            base_url=base_url or host_variable(),
            timeout=timeout,
            headers=headers,
            transport=transport,
            profile=None if dialect == "native" else profile,
            dialect="responses" if dialect == "responses" else "chat",
            default_model=default_model,
            default_embedding_model=default_embedding_model,
            download_images=download_images,
            **driver_options,
        )
        known = resolve_profile(profile or "ollama-native", self.name)
        self._native = HTTPDriver(
            self.base_url.removesuffix("/v1"),
            headers=auth_header(self._key, known) | {k.lower(): v for k, v in (headers or {}).items()},
            timeout=timeout,
            transport=transport,
            **driver_options,
        )
        self._errors = OllamaChatCodec(self._secrets, defaults)
        if dialect == "native":
            self.base_url = self._native.base_url
            self.driver = self._native
            self.context = CodecContext(self.name, known)
            self.chat_codec = self._errors
            self.embed_codec = OllamaEmbeddingsCodec(self._secrets, defaults)

    # -- learning ---------------------------------------------------------------------------------------------------

    def _learn(self, error: InvalidRequestError | ModelNotFoundError, request: ChatRequest | EmbedRequest) -> bool:
        """A model that cannot think refuses to be asked for it: it is asked without, and the drop recorded."""
        if "does not support thinking" not in error.message or self.driver is not self._native:
            return super()._learn(error, request)
        if request.config.on_unsupported == "error":
            return False
        pattern = f"^{re.escape(request.model.lower())}$"
        rule = ModelRule(pattern, unsupported=frozenset({"thinking", "effort"}))
        self.context = replace(self.context, profile=self.context.profile.with_rule(rule))
        return True

    def _kind_of(self, request: ChatRequest) -> tuple[str, bool]:
        config = request.config
        return request.model, config.thinking is not None or config.effort is not None

    # -- models that are not there -----------------------------------------------------------------------------------

    def _name_models(self, error: ModelNotFoundError, model: str) -> None:
        """The hint tells how to get the model; what is installed, which costs one request, comes before it."""
        if self.driver is not self._native:
            super()._name_models(error, model)
            return
        with suppress(UnifiedLLMError):  # the error at hand matters more
            self._name_installed(error, model, self._native.send(TAGS))

    async def _name_models_async(self, error: ModelNotFoundError, model: str) -> None:
        if self.driver is not self._native:
            await super()._name_models_async(error, model)
            return
        with suppress(UnifiedLLMError):
            self._name_installed(error, model, await self._native.send_async(TAGS))

    def _name_installed(self, error: ModelNotFoundError, model: str, reply: WireReply) -> None:
        ids = [m.id for m in self._tags(reply)]
        near = get_close_matches(model, ids, n=3, cutoff=0.5)
        named = [*near, *(i for i in ids if i not in near)][:10]
        more = " and more" if len(ids) > len(named) else ""
        error.hint = f"installed: {', '.join(named) or 'none'}{more}; {error.hint}"

    # -- models -----------------------------------------------------------------------------------------------------

    def list_models(self) -> list[ModelInfo]:
        """The models on disk: kind, window, capabilities, quantisation, and whether they are loaded."""
        with told(self.name):
            reply = self._native.send(TAGS)
            if self._imitated(reply):
                return super().list_models()
            models = self._tags(reply)
            shown = {m.id: self._native.send(show_call(m.id)) for m in models if needs_show(m)}
            return completed(models, shown, self._native.send(PS))

    async def list_models_async(self) -> list[ModelInfo]:
        """`list_models`, without blocking the event loop."""
        with told(self.name):
            reply = await self._native.send_async(TAGS)
            if self._imitated(reply):
                return await super().list_models_async()
            models = self._tags(reply)
            shown = await self._show_all([m.id for m in models if needs_show(m)])
            return completed(models, shown, await self._native.send_async(PS))

    async def _show_all(self, ids: Iterable[str]) -> dict[str, WireReply]:
        line = asyncio.Semaphore(_SHOWN_AT_ONCE)

        async def one(model: str) -> tuple[str, WireReply]:
            async with line:
                return model, await self._native.send_async(show_call(model))

        return dict(await asyncio.gather(*map(one, ids)))

    def show(self, model: str) -> ModelInfo:
        """What Ollama knows of `model`; ``raw`` has its template, parameters and licence.

        Raises:
            ModelNotFoundError: it is not on disk.
        """
        with told(self.name, model):
            return self._shown(model, self._native.send(show_call(model)))

    async def show_async(self, model: str) -> ModelInfo:
        """`show`, without blocking the event loop."""
        with told(self.name, model):
            return self._shown(model, await self._native.send_async(show_call(model)))

    def loaded_models(self) -> list[ModelInfo]:
        """The models in memory; ``raw`` has ``size_vram`` (bytes) and ``expires_at``."""
        with told(self.name):
            return self._running(self._native.send(PS))

    async def loaded_models_async(self) -> list[ModelInfo]:
        """`loaded_models`, without blocking the event loop."""
        with told(self.name):
            return self._running(await self._native.send_async(PS))

    def load_model(self, model: str, *, num_ctx: int | None = None, keep_alive: KeepAlive | None = None) -> None:
        """Load `model` into memory, so that the first answer need not wait for it."""
        with told(self.name, model):
            self._value(self._native.send(load_call(model, num_ctx, keep_alive)))

    async def load_model_async(
        self, model: str, *, num_ctx: int | None = None, keep_alive: KeepAlive | None = None
    ) -> None:
        """`load_model`, without blocking the event loop."""
        with told(self.name, model):
            self._value(await self._native.send_async(load_call(model, num_ctx, keep_alive)))

    def unload_model(self, model: str) -> None:
        """Take `model` out of memory."""
        self.load_model(model, keep_alive=0)

    async def unload_model_async(self, model: str) -> None:
        """`unload_model`, without blocking the event loop."""
        await self.load_model_async(model, keep_alive=0)

    # -- downloads --------------------------------------------------------------------------------------------------

    def pull(self, model: str, *, progress: Callable[[PullProgress], None] | None = None) -> ModelInfo:
        """Let the server download `model` from its registry, and return what it is.

        Leaving it (Ctrl-C, an error in `progress`) stops the download; the next one goes on where it stopped.

        Raises:
            ModelNotFoundError: the registry has no such model.
            StreamInterruptedError: the connection ended before the download did.
        """
        with told(self.name, model):
            reader = PullReader(self.name, self._secrets)
            with self._native.open(pull_call(model)) as reply:
                if reply.status != 200:
                    raise self._refused(WireReply(reply.status, reply.headers, reply.read()))
                for chunk in reply:
                    for now in reader.feed(chunk):
                        if progress is not None:
                            progress(now)
            reader.close()
        return self.show(model)

    async def pull_async(self, model: str, *, progress: Callable[[PullProgress], None] | None = None) -> ModelInfo:
        """`pull`, without blocking the event loop. `progress` is called in it."""
        with told(self.name, model):
            reader = PullReader(self.name, self._secrets)
            async with self._native.open_async(pull_call(model)) as reply:
                if reply.status != 200:
                    raise self._refused(WireReply(reply.status, reply.headers, await reply.read()))
                async for chunk in reply:
                    for now in reader.feed(chunk):
                        if progress is not None:
                            progress(now)
            reader.close()
        return await self.show_async(model)

    # -- reading ----------------------------------------------------------------------------------------------------

    def _refused(self, reply: WireReply) -> UnifiedLLMError:
        return self._errors.error(reply.status, reply.headers, reply.body, self.context)

    def _value(self, reply: WireReply) -> Any:
        """The decoded body. Raises its error, whatever the status."""
        if reply.status != 200:
            raise self._refused(reply)
        try:
            value = _json.loads(reply.body)
        except ValueError as exc:
            raise self._unusable(reply, "something that is not JSON") from exc
        if has_error(value):
            raise self._refused(reply)
        return value

    def _imitated(self, reply: WireReply) -> bool:
        """Whether this is a server that has the OpenAI endpoint of Ollama alone."""
        return reply.status == 404 and self.driver is not self._native

    def _tags(self, reply: WireReply) -> list[ModelInfo]:
        models = read_tags(self._value(reply), self.name)
        if models is None:
            raise self._unusable(reply, "no list of models")
        return models

    def _shown(self, model: str, reply: WireReply) -> ModelInfo:
        info = read_shown(self._value(reply), model, self.name)
        if info is None:
            raise self._unusable(reply, "no description of a model")
        return info

    def _running(self, reply: WireReply) -> list[ModelInfo]:
        models = read_tags(self._value(reply), self.name)
        running = read_running(_json.loads(reply.body))
        if models is None or running is None:
            raise self._unusable(reply, "no list of models")
        return [with_running(m, running) for m in models]

    def _unusable(self, reply: WireReply, why: str) -> UnifiedLLMError:
        return unusable_body(
            reply.status, reply.headers, reply.body, provider=self.name, why=why, secrets=self._secrets()
        )

    def _choose(self, models: Sequence[ModelInfo]) -> str:
        """Ollama loads models when they are asked for, so one that is not loaded will do."""
        chats = sorted((m for m in models if m.kind in (None, "chat")), key=lambda m: m.loaded is not True)
        if chats:
            return chats[0].id
        raise ConfigurationError(
            f"Ollama at {self.base_url} has no chat model",
            provider=self.name,
            hint="download one: unified-llm models pull ollama:llama3.2",
        )

    def close(self) -> None:
        """See `LLMProvider.close`."""
        super().close()
        self._native.close()

    async def aclose(self) -> None:
        """See `LLMProvider.aclose`."""
        await super().aclose()
        await self._native.aclose()
