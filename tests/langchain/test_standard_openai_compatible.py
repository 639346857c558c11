"""LangChain's standard tests, over a strict double of the OpenAI dialect: an unknown server, and LM Studio."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_tests.integration_tests import ChatModelIntegrationTests, EmbeddingsIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests, EmbeddingsUnitTests

from langchain_unified_llm import ChatUnifiedLLM, UnifiedLLMEmbeddings
from testkit.langchain_standard import SERDES, answers_for
from testkit.openai_double import Call, OpenAIDouble, Say

USAGE = {
    "prompt_tokens": 30,
    "completion_tokens": 12,
    "total_tokens": 42,
    "prompt_tokens_details": {"cached_tokens": 20},
    "completion_tokens_details": {"reasoning_tokens": 5},
}


class _Server:
    profile: ClassVar[str]
    double: OpenAIDouble

    @pytest.fixture(autouse=True)
    def _listen(self, request: pytest.FixtureRequest) -> Iterator[None]:
        with OpenAIDouble(self.profile) as double:
            self.double = double.script(
                [Say(calls=[Call(w.tool, w.arguments)]) if w.tool else w.text for w in answers_for(request.node.name)]
            )
            yield

    @property
    def chat_model_class(self) -> type[ChatUnifiedLLM]:
        return ChatUnifiedLLM

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": f"{self.profile}:double-1", "base_url": self.double.url}

    @property
    def embeddings_class(self) -> type[UnifiedLLMEmbeddings]:
        return UnifiedLLMEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": f"{self.profile}:double-embed-1", "base_url": self.double.url}


class _Unit(_Server):
    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        model = f"{self.profile}:double-1"
        return {"OPENAI_COMPATIBLE_BASE_URL": self.double.url}, {"model": model}, {"model": model}


class _ChatUnit(_Unit, ChatModelUnitTests):
    @pytest.mark.xfail(reason=SERDES)
    def test_serdes(self, model: Any, snapshot: Any) -> None:
        super().test_serdes(model, snapshot)


class _ChatIntegration(_Server, ChatModelIntegrationTests):
    supports_json_mode = True
    supports_image_inputs = True
    supports_image_urls = True
    supports_pdf_inputs = True
    supports_audio_inputs = True
    supports_image_tool_message = True
    supports_pdf_tool_message = True
    supports_anthropic_inputs = True
    supports_model_override = True
    model_override_value = "double-2"

    @property
    def supported_usage_metadata_details(self) -> dict[Literal["invoke", "stream"], list[Any]]:
        details = ["reasoning_output", "cache_read_input"]
        return {"invoke": details, "stream": details}

    def _answered(self, stream: bool) -> AIMessage:
        self.double.script(Say("Four.", reasoning="Let me see.", usage=USAGE))
        model = ChatUnifiedLLM(**self.chat_model_params)
        if not stream:
            return model.invoke("Two and two?")
        first, *rest = model.stream("Two and two?")
        whole: AIMessageChunk = first + rest
        return whole

    def invoke_with_reasoning_output(self, *, stream: bool = False) -> AIMessage:
        return self._answered(stream)

    def invoke_with_cache_read_input(self, *, stream: bool = False) -> AIMessage:
        return self._answered(stream)


class TestCompatibleChatUnit(_ChatUnit):
    profile = "openai-compatible"


class TestCompatibleChatIntegration(_ChatIntegration):
    profile = "openai-compatible"


class TestCompatibleEmbeddingsUnit(_Unit, EmbeddingsUnitTests):
    profile = "openai-compatible"


class TestCompatibleEmbeddingsIntegration(_Server, EmbeddingsIntegrationTests):
    profile = "openai-compatible"


class TestLMStudioChatUnit(_ChatUnit):
    profile = "lmstudio"


class TestLMStudioChatIntegration(_ChatIntegration):
    profile = "lmstudio"
    supports_image_urls = False  # it loads no images from URLs


class TestLMStudioEmbeddingsUnit(_Unit, EmbeddingsUnitTests):
    profile = "lmstudio"


class TestLMStudioEmbeddingsIntegration(_Server, EmbeddingsIntegrationTests):
    profile = "lmstudio"
