"""LangChain's standard tests, over a strict double of the Claude API."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from langchain_unified_llm import ChatUnifiedLLM
from testkit.claude_double import ClaudeDouble, answer, text, thinking, tool_use
from testkit.langchain_standard import SERDES, answers_for

MODEL = "claude:claude-haiku-5-5"


class _Claude:
    double: ClaudeDouble

    @pytest.fixture(autouse=True)
    def _listen(self, claude_double: ClaudeDouble, request: pytest.FixtureRequest) -> None:
        self.double = claude_double
        claude_double.script(
            answer(tool_use(w.tool, w.arguments)) if w.tool else answer(w.text) for w in answers_for(request.node.name)
        )

    @property
    def chat_model_class(self) -> type[ChatUnifiedLLM]:
        return ChatUnifiedLLM

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": MODEL, "api_key": self.double.key, "base_url": self.double.url}


class TestUnit(_Claude, ChatModelUnitTests):
    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return {"ANTHROPIC_API_KEY": "key-of-the-environment"}, {"model": MODEL}, {"model": MODEL}

    @pytest.mark.xfail(reason=SERDES)
    def test_serdes(self, model: Any, snapshot: Any) -> None:
        super().test_serdes(model, snapshot)


class TestIntegration(_Claude, ChatModelIntegrationTests):
    supports_json_mode = True
    supports_image_inputs = True
    supports_image_urls = True
    supports_pdf_inputs = True
    supports_audio_inputs = False  # Claude takes no audio
    supports_image_tool_message = True
    supports_pdf_tool_message = True
    supports_anthropic_inputs = True
    supports_model_override = True
    model_override_value = "claude-opus-4-8"

    @property
    def supported_usage_metadata_details(self) -> dict[Literal["invoke", "stream"], list[Any]]:
        details = ["reasoning_output", "cache_read_input", "cache_creation_input"]
        return {"invoke": details, "stream": details}

    def _answered(self, stream: bool) -> AIMessage:
        usage = {"cache_creation_input_tokens": 7, "cache_read_input_tokens": 20}
        self.double.script([answer(thinking("Let me see."), text("Four."), usage=usage)])
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

    def invoke_with_cache_creation_input(self, *, stream: bool = False) -> AIMessage:
        return self._answered(stream)
