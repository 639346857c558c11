"""`FakeLLM`: a `UnifiedLLM` whose answers a test writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Literal

from unified_llm.client import UnifiedLLM
from unified_llm.detection import split_model_ref
from unified_llm.offline.requests import RecordedRequest
from unified_llm.offline.script import Script, ScriptLike, Step
from unified_llm.providers.base import LLMProvider
from unified_llm.providers.offline import OfflineProvider
from unified_llm.routing import Router

__all__ = ["FakeLLM", "replace_providers", "scripted"]


class _OneProvider(Router):
    """Gives the same provider whatever is named: a test double stands in for all of them."""

    def _choose(self, provider: str | LLMProvider | type[LLMProvider], options: dict[str, Any]) -> None:
        _, self.model = split_model_ref(self.model)
        super()._choose(provider, options)

    def provider(self, name: str | None = None) -> LLMProvider:
        return super().provider("offline")

    async def provider_async(self, name: str | None = None) -> LLMProvider:
        return super().provider("offline")


class FakeLLM(UnifiedLLM):
    """A client that answers with `steps`, in order, and remembers what it was asked.

    A step is a text, a `ToolCall` (or a list of them), a mapping or pydantic object (answered as JSON), a `Reply` for
    details (thinking, usage, delays, cuts), a `Failure` (an error status), an exception (the connection fails), or
    a function from the `RecordedRequest` to a step.

    Every model reference is answered here, also ``claude:...``: no provider but this one is ever made.

    Args:
        steps: answers of the chat requests. None at all: the usual answers of the offline provider.
        then: what follows the last step: "error" (`ConfigurationError`, so that a call too much fails the test),
            "echo" (the usual answers) or "repeat" (the steps again).
        embed_script: answers of embedding requests, as for `OfflineProvider`.
        models, context_window, delay, chunk_delay: as for `OfflineProvider`.
        options: as for `UnifiedLLM`. `max_retries` is 0 unless given, so that a `Failure` comes out at once.

    >>> llm = FakeLLM("Hello!", {"city": "Paris"})
    >>> str(llm.chat("Hi"))
    'Hello!'
    >>> str(llm.chat("Where?", model="claude:claude-sonnet-5-5"))
    '{"city":"Paris"}'
    >>> [request.prompt for request in llm.requests]
    ['Hi', 'Where?']
    """

    _router_type = _OneProvider

    def __init__(
        self,
        *steps: Step,
        then: Literal["error", "echo", "repeat"] = "error",
        embed_script: ScriptLike = None,
        **options: Any,
    ) -> None:
        self.script = Script(steps, then=then if steps else "echo")
        options.setdefault("max_retries", 0)
        super().__init__(provider="offline", script=self.script, embed_script=embed_script, **options)

    @property
    def provider(self) -> OfflineProvider:
        """The provider that answers."""
        provider = self._router.provider()
        assert isinstance(provider, OfflineProvider)  # noqa: S101  # `_OneProvider` knows no other
        return provider

    @property
    def requests(self) -> list[RecordedRequest]:
        """Everything that was asked so far, oldest first (`kind` tells chats from embeddings)."""
        return self.provider.requests

    @property
    def last_request(self) -> RecordedRequest:
        """The latest request.

        Raises:
            AssertionError: there was none.
        """
        requests = self.requests
        if not requests:
            raise AssertionError("the FakeLLM was never asked anything")
        return requests[-1]

    def assert_script_used(self) -> None:
        """Raise AssertionError when steps are left: the application made fewer calls than the test expected."""
        if self.script.left:
            unused = self.script.steps[self.script.used :]
            raise AssertionError(f"{self.script.left} of {len(self.script.steps)} steps were not used: {unused!r}")


@contextmanager
def replace_providers(
    *steps: Step,
    then: Literal["error", "echo", "repeat"] = "error",
    embed_script: ScriptLike = None,
    **options: Any,
) -> Iterator[OfflineProvider]:
    """Within, every `UnifiedLLM` that is made is answered by `steps`, whatever provider it names.

    For applications that make their own clients. Clients made before keep their providers (see
    `forbid_real_providers`), and each client keeps its own settings: with its default `max_retries`, a `Failure`
    that may pass is tried again and takes further steps.

    Args:
        steps, then: as for `FakeLLM`.
        embed_script, options: as for `OfflineProvider`.

    Returns:
        The provider that answers; its `requests` are what was asked.

    >>> with replace_providers("Hello!") as provider:
    ...     answer = UnifiedLLM(model="claude:claude-sonnet-5-5").chat("Hi")
    >>> str(answer), provider.requests[0].model
    ('Hello!', 'claude-sonnet-5-5')
    """
    script = Script(steps, then=then if steps else "echo")
    provider = OfflineProvider(script=script, embed_script=embed_script, **options)
    saved = UnifiedLLM._router_type
    UnifiedLLM._router_type = type("_Replaced", (_ReplacedRouter,), {"stand_in": provider})
    try:
        yield provider
    finally:
        UnifiedLLM._router_type = saved


class _ReplacedRouter(Router):
    """Gives `stand_in` whatever is named, and detects nothing."""

    stand_in: ClassVar[LLMProvider]

    def current_name(self) -> str:
        return self._current or "offline"

    def provider(self, name: str | None = None) -> LLMProvider:
        return self.stand_in

    async def provider_async(self, name: str | None = None) -> LLMProvider:
        return self.stand_in


def scripted(*steps: Step, then: Literal["error", "echo", "repeat"] = "error", **options: Any) -> FakeLLM:
    """``FakeLLM(*steps, ...)``, for those who like to read ``llm = scripted("Hello!")``."""
    return FakeLLM(*steps, then=then, **options)
