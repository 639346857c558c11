"""lollms, and lollms-webui, its predecessor: the OpenAI dialect with their habits, and what they have besides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, TypeVar

from unified_llm import _json
from unified_llm.codecs.base import CodecContext
from unified_llm.codecs.errors import has_error, unusable_body
from unified_llm.codecs.lollms import LollmsChatCodec, LollmsWebUIChatCodec, LollmsWebUIEmbeddingsCodec
from unified_llm.codecs.lollms_generate import LollmsGenerateCodec
from unified_llm.codecs.openai_models import read_models
from unified_llm.drivers.http import HTTPDriver
from unified_llm.errors import ConfigurationError, UnifiedLLMError
from unified_llm.profiles import Profile
from unified_llm.providers.images import DownloadImages
from unified_llm.providers.openai import OpenAICompatibleProvider
from unified_llm.providers.openai_setup import auth_header, resolve_profile
from unified_llm.providers.told import told
from unified_llm.responses import ModelInfo
from unified_llm.wire import WireCall, WireReply

__all__ = ["LollmsProvider", "LollmsWebUIProvider"]

_Answer = TypeVar("_Answer")


class _Lollms(OpenAICompatibleProvider):
    """What both have: a chat codec that knows their habits, and calls whose answer is a JSON value."""

    serves_many_names: ClassVar[bool] = False
    _row: ClassVar[str]
    _dialects: ClassVar[tuple[str, ...]] = ("openai", "chat")

    def __init__(
        self,
        *,
        api_key: object = None,
        base_url: str | None = None,
        timeout: float | None = None,
        headers: Mapping[str, str] | None = None,
        transport: Literal["httpx", "aiohttp"] = "httpx",
        profile: Profile | str | None = None,
        dialect: str = "openai",
        default_model: str | None = None,
        default_embedding_model: str | None = None,
        download_images: DownloadImages = False,
        **driver_options: Any,
    ) -> None:
        if dialect not in self._dialects:
            raise ConfigurationError(
                f"unknown dialect {dialect!r}", provider=self._row, hint=f"use one of {', '.join(self._dialects)}"
            )
        super().__init__(
            name=self._row,
            api_key=api_key,
            base_url=base_url,
            timeout=timeout,
            headers=headers,
            transport=transport,
            profile=profile,
            dialect="chat",
            default_model=default_model,
            default_embedding_model=default_embedding_model,
            download_images=download_images,
            **driver_options,
        )
        self.chat_codec = LollmsChatCodec(self._secrets)
        own = auth_header(self._key, self.context.profile) | {k.lower(): v for k, v in (headers or {}).items()}
        self._root = HTTPDriver(
            self.base_url.removesuffix("/v1"), headers=own, timeout=timeout, transport=transport, **driver_options
        )
        self._settle(dialect, profile)

    def _settle(self, dialect: str, profile: Profile | str | None) -> None:
        """What one of the two does otherwise."""

    def _read(self, reply: WireReply, read: Callable[[Any], _Answer | None], what: str) -> _Answer:
        """What `read` makes of the body. Raises its error, whatever the status, or `ResponseError`."""
        self._check(reply)
        try:
            value = _json.loads(reply.body)
        except ValueError:
            value = None
        if has_error(value):
            raise self.chat_codec.error(reply.status, reply.headers, reply.body, self.context)
        answer = read(value)
        if answer is None:
            raise self._unusable(reply, f"no {what}")
        return answer

    def _unusable(self, reply: WireReply, why: str) -> UnifiedLLMError:
        return unusable_body(
            reply.status, reply.headers, reply.body, provider=self.name, why=why, secrets=self._secrets()
        )


class LollmsProvider(_Lollms):
    """A running lollms.

    Args:
        api_key: a key of its user, ``lollms_...``; else LOLLMS_API_KEY. A server may be set to need none.
        base_url: ``http://127.0.0.1:9642/v1`` by default, with or without the path; else LOLLMS_BASE_URL.

    The other arguments are those of `OpenAICompatibleProvider`.

    Its OpenAI service has to be switched on by an administrator. Models are called ``binding/model``; a personality is
    one of its options: ``provider_options={"lollms": {"personality": "..."}}``.
    """

    _row = "lollms"

    def tokenize(self, text: str, *, model: str) -> list[int]:
        """Tokens of `text`. Raises `ResponseError` where the binding of `model` only counts them."""
        with told(self.name, model):
            return self._read(self.driver.send(_post("tokenize", text=text, model=model)), _tokens, "list of tokens")

    async def tokenize_async(self, text: str, *, model: str) -> list[int]:
        """`tokenize`, without blocking the event loop."""
        with told(self.name, model):
            reply = await self.driver.send_async(_post("tokenize", text=text, model=model))
            return self._read(reply, _tokens, "list of tokens")

    def detokenize(self, tokens: Sequence[int], *, model: str) -> str:
        """Text of `tokens`."""
        with told(self.name, model):
            call = _post("detokenize", tokens=list(tokens), model=model)
            return self._read(self.driver.send(call), _field("text", str), "text")

    async def detokenize_async(self, tokens: Sequence[int], *, model: str) -> str:
        """`detokenize`, without blocking the event loop."""
        with told(self.name, model):
            call = _post("detokenize", tokens=list(tokens), model=model)
            return self._read(await self.driver.send_async(call), _field("text", str), "text")

    def context_size(self, model: str) -> int:
        """Tokens of the window of `model`."""
        with told(self.name, model):
            reply = self.driver.send(_post("context_size", model=model))
            return self._read(reply, _field("context_size", int), "size of the window")

    async def context_size_async(self, model: str) -> int:
        """`context_size`, without blocking the event loop."""
        with told(self.name, model):
            reply = await self.driver.send_async(_post("context_size", model=model))
            return self._read(reply, _field("context_size", int), "size of the window")

    def personalities(self) -> list[dict[str, Any]]:
        """The personalities that may be used, as the server tells them: ``id``, ``name``, ``category``..."""
        with told(self.name):
            return self._read(self.driver.send(_PERSONALITIES), _entries, "list of personalities")

    async def personalities_async(self) -> list[dict[str, Any]]:
        """`personalities`, without blocking the event loop."""
        with told(self.name):
            reply = await self.driver.send_async(_PERSONALITIES)
            return self._read(reply, _entries, "list of personalities")


class LollmsWebUIProvider(_Lollms):
    """A running lollms-webui.

    Args:
        base_url: ``http://127.0.0.1:9600`` by default, with or without ``/v1``; else LOLLMS_WEBUI_BASE_URL.
        dialect: "openai" (``/v1/chat/completions``), or "native" (``/lollms_generate``), which takes images, a seed,
            ``top_k`` and ``top_p``, and in streams the model that is asked for; it tells no usage.

    The other arguments are those of `OpenAICompatibleProvider`.

    In the OpenAI dialect it answers with the model of its settings, whatever a request says; `list_models` tells which
    one that is.
    """

    _row = "lollms-webui"

    _dialects = ("openai", "chat", "native")
    _chats: LollmsWebUIChatCodec

    def _settle(self, dialect: str, profile: Profile | str | None) -> None:
        self.driver = self._root
        self.base_url = self._root.base_url
        self._chats = LollmsWebUIChatCodec(self._secrets)
        self.chat_codec = self._chats
        if dialect == "native":
            self.context = CodecContext(self.name, resolve_profile(profile or "lollms-generate", self.name))
            self.chat_codec = LollmsGenerateCodec(self._secrets)
        self.embed_codec = LollmsWebUIEmbeddingsCodec(self._secrets)

    def list_models(self) -> list[ModelInfo]:
        """The models of the chosen binding; `loaded` is the one that answers."""
        with told(self.name):
            listed = self.driver.send(_LIST)
            return self._listed(listed, self.driver.send(_ACTIVE))

    async def list_models_async(self) -> list[ModelInfo]:
        """`list_models`, without blocking the event loop."""
        with told(self.name):
            listed = await self.driver.send_async(_LIST)
            return self._listed(listed, await self.driver.send_async(_ACTIVE))

    def _listed(self, listed: WireReply, active: WireReply) -> list[ModelInfo]:
        models = self._read(listed, lambda value: read_models(value, self.name), "list of models")
        self._chats.active = _active(active) or self._chats.active
        return [_with_state(m, self._chats.active) for m in models]

    def default_embedding_model(self) -> str | None:
        """A name for the only one there is: the vectoriser of its settings."""
        return self._default_embedding_model or "vectorizer"

    def tokenize(self, text: str) -> list[int]:
        """Tokens of `text`."""
        with told(self.name):
            reply = self.driver.send(_post("lollms_tokenize", prompt=text, return_named=False))
            return self._read(reply, _tokens, "list of tokens")

    async def tokenize_async(self, text: str) -> list[int]:
        """`tokenize`, without blocking the event loop."""
        with told(self.name):
            reply = await self.driver.send_async(_post("lollms_tokenize", prompt=text, return_named=False))
            return self._read(reply, _tokens, "list of tokens")

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Text of `tokens`."""
        with told(self.name):
            reply = self.driver.send(_post("lollms_detokenize", tokens=list(tokens), return_named=False))
            return self._read(reply, _text, "text")

    async def detokenize_async(self, tokens: Sequence[int]) -> str:
        """`detokenize`, without blocking the event loop."""
        with told(self.name):
            reply = await self.driver.send_async(_post("lollms_detokenize", tokens=list(tokens), return_named=False))
            return self._read(reply, _text, "text")


_PERSONALITIES = WireCall("personalities", method="GET")
_LIST = WireCall("list_models", method="GET")
_ACTIVE = WireCall("get_active_model", method="GET")


def _post(path: str, **body: Any) -> WireCall:
    return WireCall(path, _json.dumps(body))


def _field(name: str, kind: type[_Answer]) -> Callable[[Any], _Answer | None]:
    """Reads one field of an object, if it is of that type."""

    def read(value: Any) -> _Answer | None:
        found = value.get(name) if isinstance(value, Mapping) else None
        return found if type(found) is kind else None

    return read


def _entries(value: Any) -> list[dict[str, Any]] | None:
    """The objects of a list, which is in the field ``data``."""
    listed = value.get("data") if isinstance(value, Mapping) else None
    return listed if isinstance(listed, list) and all(isinstance(one, dict) for one in listed) else None


def _tokens(value: Any) -> list[int] | None:
    """A list of tokens, alone or in the field that the version has for it."""
    if isinstance(value, Mapping):
        value = value.get("tokens", value.get("raw_tokens"))
    return value if isinstance(value, list) and all(type(t) is int for t in value) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _active(reply: WireReply) -> str | None:
    """The model that answers, or None when the server does not say: older ones do not have this call."""
    try:
        value = _json.loads(reply.body) if reply.status == 200 else None
    except ValueError:
        return None
    return _field("model", str)(value)


def _with_state(model: ModelInfo, active: str | None) -> ModelInfo:
    return model if active is None else replace(model, loaded=model.id == active)
