"""What the LLM and the embeddings share: their settings, and the core client they create at the first call."""

from __future__ import annotations

from typing import Any, Self

from llama_index.core.bridge.pydantic import BaseModel, Field, PrivateAttr, SecretStr

import unified_llm as core

__all__ = ["SharedClient"]


class SharedClient(BaseModel):
    """Settings of a core client. Keys are in no repr, dictionary or payload; connections are in no copy or pickle."""

    api_key: SecretStr | None = Field(default=None, exclude=True, repr=False, description="Key of that provider.")
    base_url: str | None = Field(default=None, description="Address of the server.")
    timeout: float | None = Field(default=None, description="Seconds without progress.")
    client_options: dict[str, Any] = Field(
        default_factory=dict, exclude=True, repr=False, description="More keywords of unified_llm.UnifiedLLM."
    )

    _client: core.UnifiedLLM | None = PrivateAttr(default=None)

    @classmethod
    def from_client(cls, client: core.UnifiedLLM, **kwargs: Any) -> Self:
        """Use an existing core client, for example one shared with other frameworks."""
        component = cls(**kwargs)
        component._client = client
        return component

    @property
    def client(self) -> core.UnifiedLLM:
        """The core client, created on first use."""
        if self._client is None:
            self._client = core.UnifiedLLM(
                api_key=self.api_key,
                base_url=self.base_url,
                timeout=self.timeout,
                **self._models(),
                **self.client_options,
            )
        return self._client

    def _models(self) -> dict[str, Any]:
        """The model keywords of the core client."""
        return {}

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        copy = type(self)(**{name: getattr(self, name) for name in type(self).model_fields})
        copy._client = self._client
        return copy

    def __getstate__(self) -> dict[Any, Any]:
        client, self._client = self._client, None  # it holds connections; the copy makes its own
        try:
            return super().__getstate__()
        finally:
            self._client = client
