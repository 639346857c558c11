"""LangChain's standard tests with the offline provider: no server, no network at all."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_tests.integration_tests import ChatModelIntegrationTests, EmbeddingsIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests, EmbeddingsUnitTests

from langchain_unified_llm import ChatUnifiedLLM, UnifiedLLMEmbeddings
from testkit.langchain_standard import SERDES

pytestmark = pytest.mark.usefixtures("no_network")


class _Offline:
    @property
    def chat_model_class(self) -> type[ChatUnifiedLLM]:
        return ChatUnifiedLLM

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "offline"}

    @property
    def embeddings_class(self) -> type[UnifiedLLMEmbeddings]:
        return UnifiedLLMEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": "offline"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return {"UNIFIED_LLM_PROVIDER": "offline"}, {}, {"provider": "auto"}


class TestChatUnit(_Offline, ChatModelUnitTests):
    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "offline:offline"}

    @pytest.mark.xfail(reason=SERDES)
    def test_serdes(self, model: Any, snapshot: Any) -> None:
        super().test_serdes(model, snapshot)


class TestChatIntegration(_Offline, ChatModelIntegrationTests):
    supports_json_mode = True
    supports_image_inputs = True
    supports_image_urls = True
    supports_pdf_inputs = True
    supports_audio_inputs = True
    supports_image_tool_message = True
    supports_pdf_tool_message = True
    supports_anthropic_inputs = True
    supports_model_override = True
    model_override_value = "another-name"


class TestEmbeddingsUnit(_Offline, EmbeddingsUnitTests):
    pass


class TestEmbeddingsIntegration(_Offline, EmbeddingsIntegrationTests):
    pass
