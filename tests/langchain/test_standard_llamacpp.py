"""LangChain's standard tests on a real engine: a llama.cpp server with a tiny model, chat and embeddings.

The model speaks nonsense: what needs a sensible choice of a tool is tested over the doubles.
"""

from __future__ import annotations

from typing import Any

import pytest
from langchain_tests.integration_tests import ChatModelIntegrationTests, EmbeddingsIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests, EmbeddingsUnitTests

from langchain_unified_llm import ChatUnifiedLLM, UnifiedLLMEmbeddings
from testkit.langchain_standard import SERDES
from testkit.llama import LlamaServer


class _Engine:
    server: LlamaServer
    embedding_server: LlamaServer

    @pytest.fixture(autouse=True)
    def _ask(self, llama_server: LlamaServer, llama_embedding_server: LlamaServer) -> None:
        self.server, self.embedding_server = llama_server, llama_embedding_server

    @property
    def chat_model_class(self) -> type[ChatUnifiedLLM]:
        return ChatUnifiedLLM

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": f"llamacpp:{self.server.model}", "base_url": self.server.url}

    @property
    def embeddings_class(self) -> type[UnifiedLLMEmbeddings]:
        return UnifiedLLMEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": f"llamacpp:{self.embedding_server.model}", "base_url": self.embedding_server.url}


class TestLlamaCppChatUnit(_Engine, ChatModelUnitTests):
    has_tool_calling = False

    @pytest.mark.xfail(reason=SERDES)
    def test_serdes(self, model: Any, snapshot: Any) -> None:
        super().test_serdes(model, snapshot)


class TestLlamaCppChatIntegration(_Engine, ChatModelIntegrationTests):
    has_tool_calling = False
    supports_anthropic_inputs = True
    supports_model_override = True

    @property
    def chat_model_params(self) -> dict[str, Any]:
        # Enough for the texts of a schema to come to an end, and the same nonsense each time.
        return {**super().chat_model_params, "max_tokens": 400, "temperature": 0, "seed": 1}

    @property
    def model_override_value(self) -> str:
        return self.server.model


class TestLlamaCppEmbeddingsUnit(_Engine, EmbeddingsUnitTests):
    pass


class TestLlamaCppEmbeddingsIntegration(_Engine, EmbeddingsIntegrationTests):
    pass
