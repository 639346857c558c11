"""A running llama.cpp server: chats in the OpenAI dialect, and what only this server can do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, TypeVar

from unified_llm import _json
from unified_llm.codecs import llamacpp_server as wire
from unified_llm.codecs.errors import has_error, unusable_body
from unified_llm.codecs.llamacpp_server import Ranked
from unified_llm.drivers.http import HTTPDriver
from unified_llm.errors import ModelNotFoundError, UnifiedLLMError, UnsupportedOptionError
from unified_llm.profiles import Profile
from unified_llm.providers.images import DownloadImages
from unified_llm.providers.openai import OpenAICompatibleProvider
from unified_llm.providers.openai_dialect import Dialect
from unified_llm.providers.openai_setup import auth_header
from unified_llm.providers.told import told
from unified_llm.requests import ChatRequest, ModelConfig
from unified_llm.responses import ChatResponse
from unified_llm.wire import WireCall, WireReply

__all__ = ["LlamaCppServerProvider"]

_Answer = TypeVar("_Answer")
# What to start the server with for a path that it answers with 404 or 501.
_SWITCHES = {
    "rerank": "start it with a reranking model and --reranking",
    "infill": "load a model made for filling in code (with FIM tokens), such as Qwen2.5-Coder",
    "slots": "start it with --slots",
    "models": "only a router, which is llama-server started without a model, loads and unloads models",
}


class LlamaCppServerProvider(OpenAICompatibleProvider):
    """A running ``llama-server``.

    Args:
        base_url: ``http://127.0.0.1:8080/v1`` by default, with or without the path; else LLAMACPP_BASE_URL.

    The other arguments are those of `OpenAICompatibleProvider`. A GBNF grammar is one of the server's own options:
    ``provider_options={"llamacpp": {"grammar": 'root ::= "yes" | "no"'}}``.

    `model` in the methods below is only needed by a router, which serves several.
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
        profile: Profile | str | None = None,
        dialect: Dialect | Literal["auto"] | None = None,
        default_model: str | None = None,
        default_embedding_model: str | None = None,
        download_images: DownloadImages = False,
        **driver_options: Any,
    ) -> None:
        super().__init__(
            name="llamacpp",
            api_key=api_key,
            base_url=base_url,
            timeout=timeout,
            headers=headers,
            transport=transport,
            profile=profile,
            dialect=dialect,
            default_model=default_model,
            default_embedding_model=default_embedding_model,
            download_images=download_images,
            **driver_options,
        )
        own_headers = {k.lower(): v for k, v in (headers or {}).items()}
        self._root = HTTPDriver(
            self.base_url.removesuffix("/v1"),
            headers=auth_header(self._key, self.context.profile) | own_headers,
            timeout=timeout,
            transport=transport,
            **driver_options,
        )

    # -- tokens -----------------------------------------------------------------------------------------------------

    def tokenize(
        self, text: str, *, add_special: bool = False, parse_special: bool = True, model: str | None = None
    ) -> list[int]:
        """Tokens of `text`. `add_special`: with the one that begins a prompt; `parse_special`: marks in it count."""
        call = wire.tokenize_call(text, add_special=add_special, parse_special=parse_special, model=model)
        return self._ask(call, wire.read_tokens, model)

    async def tokenize_async(
        self, text: str, *, add_special: bool = False, parse_special: bool = True, model: str | None = None
    ) -> list[int]:
        """`tokenize`, without blocking the event loop."""
        call = wire.tokenize_call(text, add_special=add_special, parse_special=parse_special, model=model)
        return await self._ask_async(call, wire.read_tokens, model)

    def detokenize(self, tokens: Sequence[int], *, model: str | None = None) -> str:
        """Text of `tokens`."""
        return self._ask(wire.detokenize_call(tokens, model=model), wire.read_content, model)

    async def detokenize_async(self, tokens: Sequence[int], *, model: str | None = None) -> str:
        """`detokenize`, without blocking the event loop."""
        return await self._ask_async(wire.detokenize_call(tokens, model=model), wire.read_content, model)

    def count_tokens(self, request: ChatRequest) -> int:
        """Tokens of the prompt, counted by the server: its template and tools included."""
        return self._ask(wire.count_call(request, self.context), wire.read_count, request.model)

    async def count_tokens_async(self, request: ChatRequest) -> int:
        """`count_tokens`, without blocking the event loop."""
        return await self._ask_async(wire.count_call(request, self.context), wire.read_count, request.model)

    # -- other tasks ------------------------------------------------------------------------------------------------

    def rerank(
        self, query: str, documents: Sequence[str], *, top_n: int | None = None, model: str | None = None
    ) -> list[Ranked]:
        """The documents (`top_n` of them) by how well they answer `query`, the best first.

        Raises:
            InvalidRequestError: there are no documents.
            UnsupportedOptionError: the server runs no reranking model.
        """
        call = wire.rerank_call(query, documents, top_n=top_n, model=model)
        return self._ask(call, lambda value: wire.read_ranking(value, documents), model)

    async def rerank_async(
        self, query: str, documents: Sequence[str], *, top_n: int | None = None, model: str | None = None
    ) -> list[Ranked]:
        """`rerank`, without blocking the event loop."""
        call = wire.rerank_call(query, documents, top_n=top_n, model=model)
        return await self._ask_async(call, lambda value: wire.read_ranking(value, documents), model)

    def infill(
        self,
        prefix: str,
        suffix: str,
        *,
        prompt: str = "",
        files: Mapping[str, str] | None = None,
        model: str | None = None,
        **options: Any,
    ) -> ChatResponse:
        """What belongs between `prefix` and `suffix`.

        Args:
            prompt: how it begins.
            files: name to text of other files of the project, the most relevant last.
            options: those of `ModelConfig`, such as ``max_tokens`` and ``temperature``.

        Raises:
            UnsupportedOptionError: the model has not learned to fill in.
        """
        config = ModelConfig(**options)
        call = wire.infill_call(
            prefix, suffix, prompt=prompt, files=files or {}, config=config, model=model, context=self.context
        )
        with told(self.name, model):
            return self._infilled(self._root.send(call), call)

    async def infill_async(
        self,
        prefix: str,
        suffix: str,
        *,
        prompt: str = "",
        files: Mapping[str, str] | None = None,
        model: str | None = None,
        **options: Any,
    ) -> ChatResponse:
        """`infill`, without blocking the event loop."""
        config = ModelConfig(**options)
        call = wire.infill_call(
            prefix, suffix, prompt=prompt, files=files or {}, config=config, model=model, context=self.context
        )
        with told(self.name, model):
            return self._infilled(await self._root.send_async(call), call)

    def _infilled(self, reply: WireReply, call: WireCall) -> ChatResponse:
        return self._read(reply, call, lambda value: wire.read_infill(value, reply, call, self.context))

    # -- the server -------------------------------------------------------------------------------------------------

    def props(self, *, model: str | None = None) -> dict[str, Any]:
        """Properties of the server, as it tells them: ``chat_template``, ``default_generation_settings``..."""
        return self._ask(wire.props_call(model), wire.read_object, model)

    async def props_async(self, *, model: str | None = None) -> dict[str, Any]:
        """`props`, without blocking the event loop."""
        return await self._ask_async(wire.props_call(model), wire.read_object, model)

    def slots(self, *, model: str | None = None) -> list[dict[str, Any]]:
        """State of each slot, as the server tells it: ``id``, ``n_ctx``, ``is_processing``..."""
        return self._ask(wire.slots_call(model), wire.read_list, model)

    async def slots_async(self, *, model: str | None = None) -> list[dict[str, Any]]:
        """`slots`, without blocking the event loop."""
        return await self._ask_async(wire.slots_call(model), wire.read_list, model)

    def load_model(self, model: str) -> None:
        """Have a router load `model`. Returns as soon as it has begun; `list_models` tells whether it is loaded."""
        self._ask(wire.model_call("load", model), wire.read_success, model)

    async def load_model_async(self, model: str) -> None:
        """`load_model`, without blocking the event loop."""
        await self._ask_async(wire.model_call("load", model), wire.read_success, model)

    def unload_model(self, model: str) -> None:
        """Have a router take `model` out of memory."""
        self._ask(wire.model_call("unload", model), wire.read_success, model)

    async def unload_model_async(self, model: str) -> None:
        """`unload_model`, without blocking the event loop."""
        await self._ask_async(wire.model_call("unload", model), wire.read_success, model)

    # -- asking -----------------------------------------------------------------------------------------------------

    def _ask(self, call: WireCall, read: Callable[[Any], _Answer | None], model: str | None) -> _Answer:
        with told(self.name, model):
            return self._read(self._root.send(call), call, read)

    async def _ask_async(self, call: WireCall, read: Callable[[Any], _Answer | None], model: str | None) -> _Answer:
        with told(self.name, model):
            return self._read(await self._root.send_async(call), call, read)

    def _read(self, reply: WireReply, call: WireCall, read: Callable[[Any], _Answer | None]) -> _Answer:
        """What `read` makes of the body. Raises the server's error, or `ResponseError` when it is no answer."""
        if not 200 <= reply.status < 300:
            raise self._refusal(reply, call)
        try:
            value = _json.loads(reply.body)
        except ValueError as exc:
            raise self._unusable(reply, "something that is not JSON") from exc
        if has_error(value):
            raise self._refusal(reply, call)
        answer = read(value)
        if answer is None:
            raise self._unusable(reply, f"no answer to {call.path.partition('?')[0]}")
        return answer

    def _refusal(self, reply: WireReply, call: WireCall) -> UnifiedLLMError:
        """The server's error. A path that is not there looks like a model that is not there, and is none."""
        error = self.chat_codec.error(reply.status, reply.headers, reply.body, self.context)
        path = call.path.partition("?")[0].partition("/")[0]
        if isinstance(error, UnsupportedOptionError):
            error.hint = _SWITCHES.get(path, error.hint)
        elif isinstance(error, ModelNotFoundError) and "file not found" in error.message.lower():
            return UnsupportedOptionError(
                f"this llama.cpp server has no /{call.path.partition('?')[0]}",
                provider=self.name,
                status=reply.status,
                body=error.body,
                hint=_SWITCHES.get(path, "update llama.cpp"),
            )
        return error

    def _unusable(self, reply: WireReply, why: str) -> UnifiedLLMError:
        return unusable_body(
            reply.status, reply.headers, reply.body, provider=self.name, why=why, secrets=self._secrets()
        )

    def close(self) -> None:
        """See `LLMProvider.close`."""
        super().close()
        self._root.close()

    async def aclose(self) -> None:
        """See `LLMProvider.aclose`."""
        await super().aclose()
        await self._root.aclose()
