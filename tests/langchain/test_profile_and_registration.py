"""Live profiles, `register()`, and the promises of the package itself."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from langchain.chat_models import init_chat_model
from langchain.embeddings import init_embeddings
from langchain_core.language_models.model_profile import ModelProfile
from langchain_core.load import dumps

import langchain_unified_llm
from langchain_unified_llm import ChatUnifiedLLM, UnifiedLLMEmbeddings, register
from langchain_unified_llm.profiles import find_model, profile_of
from testkit.claude_double import ClaudeDouble
from testkit.openai_double import OpenAIDouble
from unified_llm import ModelInfo
from unified_llm.errors import ConfigurationError, UnifiedLLMError
from unified_llm.providers.registry import ALIASES, PROVIDER_CONFIGS

SOURCES = sorted(Path(langchain_unified_llm.__file__).parent.glob("*.py"))


# -- profiles -------------------------------------------------------------------------------------------------------


def test_a_profile_says_what_is_known_and_nothing_else() -> None:
    info = ModelInfo(
        "m",
        "lmstudio",
        kind="chat",
        context_window=4096,
        capabilities={"tools": "yes", "vision": "no", "thinking": "unknown", "structured_output": "yes"},
    )
    assert profile_of(info) == {
        "name": "m",
        "max_input_tokens": 4096,
        "text_inputs": True,
        "text_outputs": True,
        "tool_calling": True,
        "tool_choice": True,
        "tool_call_streaming": True,
        "image_inputs": False,
        "structured_output": True,
    }
    assert set(profile_of(info)) <= set(ModelProfile.__annotations__)


def test_without_a_name_the_only_loaded_chat_model_is_meant() -> None:
    loaded, other = ModelInfo("a", "x", kind="chat", loaded=True), ModelInfo("b", "x", kind="chat", loaded=False)
    embedder = ModelInfo("e", "x", kind="embedding", loaded=True)
    assert find_model([embedder, other, loaded], None) is loaded
    assert find_model([other, ModelInfo("c", "x", kind="chat")], None) is None
    assert find_model([other, loaded], "b") is other


def test_the_first_look_asks_the_server_and_later_ones_do_not(claude_double: ClaudeDouble) -> None:
    llm = ChatUnifiedLLM(model="claude:claude-haiku-5-5", api_key=claude_double.key, base_url=claude_double.url)
    for touch in (dumps, repr, ChatUnifiedLLM._get_llm_string, ChatUnifiedLLM().__eq__, pickle.dumps, bool):
        touch(llm)  # none of these is a look into the profile
    assert claude_double.requests == []
    assert llm.profile is not None
    assert llm.profile["max_input_tokens"] > 100_000
    assert llm.profile["tool_calling"] is True
    assert llm.profile["image_inputs"] is True
    assert len(claude_double.requests) == 1


async def test_inside_an_event_loop_a_look_asks_nobody_and_aload_profile_does(claude_double: ClaudeDouble) -> None:
    llm = ChatUnifiedLLM(model="claude:claude-haiku-5-5", api_key=claude_double.key, base_url=claude_double.url)
    assert llm.profile is not None
    assert llm.profile.get("max_input_tokens") is None
    assert claude_double.requests == []
    loaded = await llm.aload_profile()
    assert llm.profile.get("max_input_tokens") == loaded["max_input_tokens"]


def test_a_server_that_is_not_there_gives_an_empty_profile() -> None:
    llm = ChatUnifiedLLM(model="openai-compatible:m", base_url="http://127.0.0.1:9")
    assert llm.profile is not None
    assert "max_input_tokens" not in llm.profile
    assert dict(llm.profile.items()) == {}


def test_a_profile_given_by_hand_is_kept() -> None:
    assert ChatUnifiedLLM(model="offline", profile={"max_input_tokens": 7}).profile == {"max_input_tokens": 7}


def test_a_copy_for_another_model_has_that_models_profile() -> None:
    models = [{"id": "a", "context_length": 10}, {"id": "b", "context_length": 20}]
    with OpenAIDouble(models=models) as double:
        first = ChatUnifiedLLM(model="openai-compatible:a", base_url=double.url)
        second = type(first)(**{**first.__dict__, "model": "openai-compatible:b"})
        names = [llm.profile and llm.profile.get("name") for llm in (first, second, pickle.loads(pickle.dumps(second)))]
    assert names == ["a", "b", "b"]


# -- register ---------------------------------------------------------------------------------------------------------


def test_langchains_factories_know_the_name_after_register(monkeypatch: pytest.MonkeyPatch) -> None:
    from langchain.chat_models import base as chat_models
    from langchain.embeddings import base as embeddings

    monkeypatch.setattr(chat_models, "_BUILTIN_PROVIDERS", dict(chat_models._BUILTIN_PROVIDERS))
    monkeypatch.setattr(embeddings, "_BUILTIN_PROVIDERS", dict(embeddings._BUILTIN_PROVIDERS))
    with pytest.raises(ValueError, match="Unable to infer"):
        init_chat_model("unified-test:offline:")
    assert register("unified-test") == ["init_chat_model", "init_embeddings"]
    llm = init_chat_model("unified-test:claude:claude-haiku-5-5", temperature=0.5)
    assert isinstance(llm, ChatUnifiedLLM)
    assert (llm.model, llm.temperature) == ("claude:claude-haiku-5-5", 0.5)
    assert isinstance(init_chat_model("offline", model_provider="unified-test"), ChatUnifiedLLM)
    embedder = init_embeddings("unified-test:offline:")
    assert isinstance(embedder, UnifiedLLMEmbeddings)
    assert embedder.embed_query("x")


@pytest.mark.parametrize("name", ["openai", "OpenAI", "azure-openai", "", " ", "a:b"])
def test_the_name_of_another_provider_is_not_taken(name: str) -> None:
    from langchain.chat_models import base

    before = dict(base._BUILTIN_PROVIDERS)
    with pytest.raises(ConfigurationError) as caught:
        register(name)
    assert caught.value.hint
    assert before == base._BUILTIN_PROVIDERS


def test_a_version_of_langchain_without_that_list_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from langchain.chat_models import base as chat_models
    from langchain.embeddings import base as embeddings

    monkeypatch.delattr(chat_models, "_BUILTIN_PROVIDERS")
    monkeypatch.setattr(embeddings, "_BUILTIN_PROVIDERS", ["not", "a", "dictionary"])
    assert register("unified-test") == []


def test_register_without_langchain_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langchain.chat_models", None)
    with pytest.raises(ImportError, match="pip install langchain") as caught:
        register()
    assert isinstance(caught.value, UnifiedLLMError)


# -- the package -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", SOURCES, ids=lambda p: p.name)
def test_no_provider_is_named_in_the_code_of_the_adapter(source: Path) -> None:
    code = re.sub(r'"""(?:.|\n)*?"""|#.*', "", source.read_text(encoding="utf-8"))
    names = {*PROVIDER_CONFIGS, *ALIASES, *(config.vendor for config in PROVIDER_CONFIGS.values() if config.vendor)}
    found = {
        name for name in names if re.search(rf"\b{re.escape(name)}\b", code.replace("_openai_", "_"), re.IGNORECASE)
    }
    assert found <= ALLOWED.get(source.name, set())


# Functions of langchain-core that are called so, and the default that a base_url alone means.
ALLOWED: dict[str, set[str]] = {"tool_binding.py": {"openai"}}


def test_everything_public_is_there() -> None:
    assert langchain_unified_llm.__all__ == [
        "ChatUnifiedLLM",
        "UnifiedLLMEmbeddings",
        "UnifiedLLMRerank",
        "__version__",
        "register",
    ]
    assert all(hasattr(langchain_unified_llm, name) for name in langchain_unified_llm.__all__)
    assert (Path(langchain_unified_llm.__file__).parent / "py.typed").exists()


def test_importing_loads_no_sdk_and_no_http_of_ours() -> None:
    code = """
import sys
import langchain_core.language_models.chat_models
before = set(sys.modules)
import langchain_unified_llm
new = {name.split(".")[0] for name in set(sys.modules) - before}
print(sorted(new & {"anthropic", "openai", "lmstudio", "xllamacpp", "httpx2", "aiohttp", "langchain", "langgraph"}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_two_instances_of_a_setting_are_equal_and_hold_no_connection() -> None:
    fields: dict[str, Any] = {"model": "offline", "temperature": 0.5}
    assert ChatUnifiedLLM(**fields) == ChatUnifiedLLM(**fields)
    assert ChatUnifiedLLM(**fields) != ChatUnifiedLLM(**(fields | {"seed": 1}))
