"""LangChain's standard tests, over a strict double of Ollama's own API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_tests.integration_tests import ChatModelIntegrationTests, EmbeddingsIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests, EmbeddingsUnitTests

from langchain_unified_llm import ChatUnifiedLLM, UnifiedLLMEmbeddings
from testkit.langchain_standard import SERDES, answers_for
from testkit.ollama_double import Call, Model, OllamaDouble, Say

MODELS = (Model("double-1"), Model("double-2"), Model("double-embed-1", ("embedding",)))


class _Server:
    double: OllamaDouble

    @pytest.fixture(autouse=True)
    def _listen(self, request: pytest.FixtureRequest) -> Iterator[None]:
        with OllamaDouble(MODELS) as double:
            self.double = double.script(
                *(Say(calls=[Call(w.tool, w.arguments)]) if w.tool else w.text for w in answers_for(request.node.name))
            )
            yield

    @property
    def chat_model_class(self) -> type[ChatUnifiedLLM]:
        return ChatUnifiedLLM

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "ollama:double-1", "base_url": self.double.url}

    @property
    def embeddings_class(self) -> type[UnifiedLLMEmbeddings]:
        return UnifiedLLMEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": "ollama:double-embed-1", "base_url": self.double.url}


class _Unit(_Server):
    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return {"OLLAMA_BASE_URL": self.double.url}, {"model": "ollama:double-1"}, {"model": "ollama:double-1"}


class TestOllamaChatUnit(_Unit, ChatModelUnitTests):
    @pytest.mark.xfail(reason=SERDES)
    def test_serdes(self, model: Any, snapshot: Any) -> None:
        super().test_serdes(model, snapshot)


class TestOllamaChatIntegration(_Server, ChatModelIntegrationTests):
    has_tool_choice = False  # the dialect has no such field
    supports_json_mode = True
    supports_image_inputs = True
    supports_image_tool_message = True
    supports_anthropic_inputs = True
    supports_model_override = True
    model_override_value = "double-2"


class TestOllamaEmbeddingsUnit(_Unit, EmbeddingsUnitTests):
    pass


class TestOllamaEmbeddingsIntegration(_Server, EmbeddingsIntegrationTests):
    pass
