"""`offline`: no model at all. Deterministic answers that say so, for tests and first steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unified_llm import _json
from unified_llm.codecs.base import CodecContext
from unified_llm.codecs.openai_chat import OpenAIChatCodec
from unified_llm.codecs.openai_embeddings import OpenAIEmbeddingsCodec
from unified_llm.codecs.openai_models import OpenAIModelsCodec
from unified_llm.drivers.offline import OfflineDriver
from unified_llm.offline.requests import RecordedRequest
from unified_llm.offline.script import ScriptLike
from unified_llm.offline.server import CHAT_MODEL, EMBEDDING_MODEL, OfflineServer
from unified_llm.offline.tokens import count_prompt
from unified_llm.profiles import Profile
from unified_llm.providers.base import WireProvider
from unified_llm.requests import ChatRequest

__all__ = ["OfflineProvider"]

# Everything is accepted and reaches the record, so that a test can look at it; only what cannot be made up is refused.
_PROFILE = Profile(
    "offline",
    unsupported=frozenset({"logprobs"}),
    thinking="type",
    thinking_budget_field="thinking.budget_tokens",
    reasoning_back="field",
    tool_result_images=True,
    audio=True,
    files=True,
)


class OfflineProvider(WireProvider):
    """Answers in this process, without a model and without a network. Every call costs 0.

    Without a script a chat is answered with a text that says that this is no model, how to get one, and what was
    asked; with tool calls when tools are offered and asked for (`offline.tool_choice` has the rule); with JSON when a
    schema is given. Embeddings are feature hashes: texts that share words are near each other. The same request
    always gets the same answer; sampling options change nothing, except that `seed` varies made-up values.

    Args:
        script: answers of the chat requests, in order (`unified_llm.testing.Script` says what a step may be).
        embed_script: answers of the embedding requests; steps are `Failure`, an exception, or None for the usual.
        models: the model ids that exist; by default every id is accepted.
        context_window: most prompt tokens before `ContextLengthError`; by default there is no limit.
        delay, chunk_delay: seconds before each usual answer, and before each piece of it when it is streamed.
        keep: how many requests `requests` remembers.
        timeout: seconds without progress before `APITimeoutError`; matters with delays only.
        api_key, base_url: accepted and not used, so that switching to this provider needs no other change.
    """

    name = "offline"
    cost_per_call = 0.0

    def __init__(
        self,
        *,
        script: ScriptLike = None,
        embed_script: ScriptLike = None,
        models: Sequence[str] | None = None,
        context_window: int | None = None,
        delay: float = 0.0,
        chunk_delay: float = 0.0,
        keep: int = 1000,
        timeout: float | None = None,
        api_key: Any = None,  # see the docstring
        base_url: str | None = None,
    ) -> None:
        self.server = OfflineServer(
            script=script,
            embed_script=embed_script,
            models=models,
            context_window=context_window,
            delay=delay,
            chunk_delay=chunk_delay,
            keep=keep,
        )
        super().__init__(
            context=CodecContext(self.name, _PROFILE),
            driver=OfflineDriver(self.server, timeout=timeout),
            chat=OpenAIChatCodec(),
            embeddings=OpenAIEmbeddingsCodec(),
            models=OpenAIModelsCodec(),
        )

    @property
    def requests(self) -> list[RecordedRequest]:
        """The requests so far, oldest first."""
        return list(self.server.requests)

    def default_model(self) -> str | None:
        models = self.server.models
        return CHAT_MODEL if models is None else next(iter(models), None)

    async def default_model_async(self) -> str | None:
        return self.default_model()

    def default_embedding_model(self) -> str | None:
        models = self.server.models
        return EMBEDDING_MODEL if models is None or EMBEDDING_MODEL in models else next(iter(models), None)

    def count_tokens(self, request: ChatRequest) -> int:
        """Tokens of the prompt by the rule of `offline.tokens`: what `usage.input_tokens` will say."""
        return count_prompt(_json.loads(self.chat_codec.encode(request, self.context).body or b"{}"))

    async def count_tokens_async(self, request: ChatRequest) -> int:
        return self.count_tokens(request)
