"""`local`: GGUF models found on this machine, run by llama.cpp; nothing to start, nothing leaves the machine."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal, cast

from unified_llm import _json
from unified_llm._optional import installed
from unified_llm.codecs.base import CodecContext
from unified_llm.codecs.openai_chat import OpenAIChatCodec
from unified_llm.codecs.openai_embeddings import OpenAIEmbeddingsCodec
from unified_llm.drivers.llamacpp import EngineOptions, EngineSpec, LlamaCppDriver
from unified_llm.drivers.llamacpp_engine import no_engine
from unified_llm.drivers.static_embeddings import DIMENSIONS, StaticEmbedder
from unified_llm.errors import (
    ConfigurationError,
    InvalidRequestError,
    UnifiedLLMError,
    UnsupportedOptionError,
)
from unified_llm.local_models import FIRST_MODEL, LocalModel, best_model, find_model, find_models
from unified_llm.profiles import PROFILES
from unified_llm.providers.base import WireProvider
from unified_llm.requests import ChatRequest, EmbedRequest
from unified_llm.responses import Adjustment, Capability, Embeddings, ModelInfo, Usage
from unified_llm.stream import Progress, StreamEvent

__all__ = ["WORDLLAMA", "LocalProvider"]

WORDLLAMA: Final = "wordllama"
"""Name of the embedding model that needs no file: see `StaticEmbedder`."""

_PROFILE = replace(
    PROFILES["llamacpp"],
    name="local",
    base_path="",
    image_urls=False,  # the model's process fetches nothing
    embedding_batch=32,  # a call that was given up is computed to the end of its batch
)
_CONTEXT: Final = {"chat": 8192, "embedding": 2048}
_MEAN_POOLING: Final = 1
_EMBEDDING_PARALLEL: Final = 4


class LocalProvider(WireProvider):
    """Chats and embeddings of GGUF models on this machine. Every call costs 0.

    A model is named by its path, its file name, ``publisher/model``, or a part of its name that fits no other one;
    `list_models` gives the full names. It is found in the folders of LM Studio, Ollama, the Hugging Face hub,
    llama.cpp, and our own (where ``unified-llm models pull`` puts what it downloads), and loaded by the first call,
    in a process of its own: see `LlamaCppDriver`. Nothing is read when the provider is made.

    Embeddings are made by the GGUF embedding model named in the call, or, when none is, by ``wordllama``, a small
    static model that comes with the extra ``local``.

    Args:
        model_dirs: folders to look for models in, instead of the ones above.
        timeout: seconds without progress, 600 by default. Loading a model does not count.
        default_model, default_embedding_model: used when a call names none; by default `best_model` chooses the chat
            model: the largest that takes at most half of the free memory.
        n_ctx, parallel, n_gpu_layers, n_threads, n_batch, chat_template, verbose: see `EngineOptions`.
        api_key, base_url: accepted and not used, so that switching to this provider needs no other change.

    Raises:
        ConfigurationError: an option that cannot be used.
    """

    name = "local"
    cost_per_call = 0.0
    driver: LlamaCppDriver

    def __init__(
        self,
        *,
        api_key: Any = None,  # see the docstring
        base_url: str | None = None,
        timeout: float | None = None,
        model_dirs: str | Path | Iterable[str | Path] | None = None,
        default_model: str | None = None,
        default_embedding_model: str | None = None,
        n_ctx: int | None = None,
        parallel: int = 1,
        n_gpu_layers: int | None = None,
        n_threads: int | None = None,
        n_batch: int = 512,
        chat_template: str | None = None,
        verbose: bool = False,
    ) -> None:
        self._folders = _folders(model_dirs)
        self._default_model = default_model
        self._default_embedding_model = default_embedding_model
        self._options = EngineOptions(n_ctx, parallel, n_gpu_layers, n_threads, n_batch, chat_template, verbose)
        super().__init__(
            context=CodecContext("local", _PROFILE),
            driver=LlamaCppDriver(self._locate, timeout=timeout),
            chat=OpenAIChatCodec(),
            embeddings=OpenAIEmbeddingsCodec(),
        )

    def __repr__(self) -> str:
        return f"LocalProvider(model_dirs={[str(f) for f in self._folders] if self._folders else None})"

    # -- models -----------------------------------------------------------------------------------------------------

    def default_model(self) -> str | None:
        """The configured one, else the one `best_model` chooses (and stays with), else None."""
        if self._default_model is None and (best := best_model(self._folders)) is not None:
            self._default_model = best.id
        return self._default_model

    def no_default_model(self) -> UnifiedLLMError:
        """See `LLMProvider.no_default_model`: the engine is missing, or a model for it."""
        if not installed("xllamacpp"):
            return no_engine()
        return ConfigurationError(
            "no GGUF chat model that this machine can run was found on it",
            provider="local",
            hint=f"download one, for example: unified-llm models pull {FIRST_MODEL}  (0.6 GB); "
            "`unified-llm models list --provider local` shows what was found",
        )

    def default_embedding_model(self) -> str | None:
        """The configured one, else wordllama's; without that package, the best GGUF embedding model there is."""
        if self._default_embedding_model is None and not installed("wordllama"):
            best = best_model(self._folders, kind="embedding")
            if best is not None:
                self._default_embedding_model = best.id
        return self._default_embedding_model or WORDLLAMA

    def list_models(self) -> list[ModelInfo]:
        """The GGUF models found, and wordllama when it is installed. An unusable file has ``raw["error"]``."""
        models = [_info(model) for model in find_models(self._folders)]
        if installed("wordllama"):
            models.append(ModelInfo(WORDLLAMA, "local", "embedding", "wordllama l2_supercat", size_bytes=16_384_096))
        return models

    def _locate(self, name: str, kind: Literal["chat", "embedding"]) -> EngineSpec:
        """What to load for a call. Raises `ConfigurationError` or `InvalidRequestError`."""
        if not installed("xllamacpp"):
            raise no_engine()
        model = find_model(name, self._folders)
        if model.kind == "rerank" or (kind == "chat" and model.kind != "chat"):
            raise InvalidRequestError(
                f"{model.id} is {'an embedding' if model.kind == 'embedding' else 'a reranking'} model: "
                f"it cannot {'chat' if kind == 'chat' else 'embed'}",
                hint=f"name a {kind} model; `unified-llm models list --provider local` shows what each one is",
            )
        pooling = (model.pooling or _MEAN_POOLING) if kind == "embedding" else None
        return EngineSpec(model.path.resolve(), kind, self._run(model, kind), model.id, pooling, model.mmproj)

    def _run(self, model: LocalModel, kind: Literal["chat", "embedding"]) -> EngineOptions:
        """The options of the provider, with what they leave open."""
        options, trained = self._options, model.context_length
        if trained and (options.n_ctx or 0) > trained:
            raise ConfigurationError(
                f"{model.id} was trained for {trained} tokens of context, not for {options.n_ctx}",
                hint=f"n_ctx can be {trained} at most",
            )
        n_ctx = options.n_ctx or min(trained or _CONTEXT[kind], _CONTEXT[kind])
        if kind == "chat":
            return replace(options, n_ctx=n_ctx)
        # A text to embed has to fit into one batch.
        return replace(options, n_ctx=n_ctx, n_batch=n_ctx, parallel=max(options.parallel, _EMBEDDING_PARALLEL))

    # -- streams ----------------------------------------------------------------------------------------------------

    def stream(self, request: ChatRequest) -> Iterator[StreamEvent]:
        """See `LLMProvider.stream`. A model that has to be loaded first says so with a `Progress` event."""
        if not self.driver.is_loaded(request.model):
            yield Progress("load")
        yield from super().stream(request)

    async def stream_async(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        """`stream`, without blocking the event loop."""
        if not self.driver.is_loaded(request.model):
            yield Progress("load")
        events = cast("AsyncGenerator[StreamEvent, None]", super().stream_async(request))  # a generator, to be closed
        async with aclosing(events):
            async for event in events:
                yield event

    # -- tokens -----------------------------------------------------------------------------------------------------

    def count_tokens(self, request: ChatRequest) -> int:
        """Tokens of the prompt, chat template and tools included, counted by the model's own tokenizer."""
        call = self.chat_codec.encode(request, self.context)
        reply = self.driver.send(replace(call, path=f"{call.path}/input_tokens", stream=False))
        self._check(reply)
        return int(_json.loads(reply.body)["input_tokens"])

    # -- embeddings -------------------------------------------------------------------------------------------------

    def embed(self, request: EmbedRequest) -> Embeddings:
        """Vectors of `request.texts`, in order. Raises `ContextLengthError` for a text that is too long."""
        return self._static(request) if request.model == WORDLLAMA else super().embed(request)

    async def embed_async(self, request: EmbedRequest) -> Embeddings:
        """`embed`, without blocking the event loop."""
        if request.model != WORDLLAMA:
            return await super().embed_async(request)
        return await asyncio.to_thread(self._static, request)

    def _static(self, request: EmbedRequest) -> Embeddings:
        dimensions = request.dimensions or DIMENSIONS[-1]
        adjustments: tuple[Adjustment, ...] = ()
        if dimensions not in DIMENSIONS:
            dimensions, adjustments = DIMENSIONS[-1], (_no_such_length(request),)
        vectors, tokens = StaticEmbedder.embed(request.texts, dimensions)
        return Embeddings(
            vectors, model=WORDLLAMA, provider="local", usage=Usage(input_tokens=tokens), adjustments=adjustments
        )


def _folders(given: str | Path | Iterable[str | Path] | None) -> tuple[Path, ...] | None:
    if given is None:
        return None
    each = (given,) if isinstance(given, (str, os.PathLike)) else given
    return tuple(Path(folder).expanduser() for folder in each)


def _no_such_length(request: EmbedRequest) -> Adjustment:
    reason = f"wordllama has vectors of {', '.join(map(str, DIMENSIONS))} dimensions"
    if request.config.on_unsupported == "error":
        raise UnsupportedOptionError(reason, provider="local", model=WORDLLAMA, hint="ask for one of them")
    return Adjustment("dropped", "dimensions", reason)


def _info(model: LocalModel) -> ModelInfo:
    if model.error:
        return ModelInfo(
            model.id, "local", name=f"cannot be used: {model.error}", path=str(model.path), raw={"error": model.error}
        )
    return ModelInfo(
        id=model.id,
        provider="local",
        kind=model.kind,
        name=model.name,
        context_window=model.context_length,
        capabilities=_capabilities(model) if model.kind == "chat" else {},
        quantization=model.quantization,
        size_bytes=model.size_bytes,
        path=str(model.path),
        raw={"store": model.store, "architecture": model.architecture, "parameters": model.parameters},
    )


def _capabilities(model: LocalModel) -> dict[str, Capability]:
    """What the engine enforces for every model, and what the chat template says of this one."""
    template = str(model.metadata.get("tokenizer.chat_template") or "")
    return {
        "structured_output": "yes",
        "tools": "yes" if "tools" in template else "unknown",
        "thinking": "yes" if "<think>" in template or "enable_thinking" in template else "unknown",
        "vision": "yes" if model.mmproj else "no",
    }
