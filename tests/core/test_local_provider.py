"""The `local` provider: real GGUF models in real llama.cpp, through the façade and through the provider itself."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from testkit.local import idle, wait
from testkit.tiny_gguf import TinyModel, write_tiny_gguf
from unified_llm import (
    ConfigurationError,
    ContextLengthError,
    FinishReason,
    InvalidRequestError,
    LocalProvider,
    MissingDependencyError,
    ModelConfig,
    Progress,
    StreamEnd,
    TextDelta,
    Tool,
    ToolCallStart,
    UnifiedLLM,
    UnsupportedOptionError,
)
from unified_llm.requests import EmbedRequest

WEATHER = Tool(
    "get_weather",
    "Weather of a city",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
TIME = Tool("get_time", "Time in a city", WEATHER.parameters)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models: a chat model, a larger one without a chat template, an embedding and a reranking model."""
    folder = tmp_path_factory.mktemp("shelf")
    write_tiny_gguf(folder / "acme/Tiny-GGUF/tiny-chat-F32.gguf")
    write_tiny_gguf(folder / "acme/Base-GGUF/base.gguf", TinyModel(chat_template=None, layers=3))
    write_tiny_gguf(folder / "acme/Embed-GGUF/tiny-embed.gguf", TinyModel(kind="embedding", name="Tiny Embedding"))
    write_tiny_gguf(folder / "acme/Rank-GGUF/tiny-rank.gguf", TinyModel(kind="rerank", tensors=False))
    (folder / "broken.gguf").write_bytes(b"GGUF")
    return folder


@pytest.fixture(scope="module")
def provider(shelf: Path) -> Iterator[LocalProvider]:
    provider = LocalProvider(model_dirs=shelf, n_ctx=2048, n_threads=1)
    yield provider
    provider.close()


@pytest.fixture
def llm(provider: LocalProvider) -> UnifiedLLM:
    return UnifiedLLM(provider)


# -- chat -----------------------------------------------------------------------------------------------------------


def test_a_chat_with_the_default_model_has_text_usage_and_costs_nothing(llm: UnifiedLLM) -> None:
    response = llm.chat("Hello", ModelConfig(max_tokens=20))
    assert response.strip()
    assert response.model == "acme/Tiny-GGUF/tiny-chat-F32.gguf"
    assert response.provider == "local"
    assert response.usage.input_tokens == 22
    assert response.usage.output_tokens
    assert response.cost == 0.0
    assert response.raw["timings"]["predicted_n"] == response.usage.output_tokens


async def test_an_asynchronous_chat_says_the_same(llm: UnifiedLLM) -> None:
    config = ModelConfig(max_tokens=20, temperature=0)
    response = await llm.chat_async("Hello", config)
    assert response == llm.chat("Hello", config)
    assert response.finish_reason == FinishReason.LENGTH


def test_a_stream_says_the_same_as_the_whole_answer(llm: UnifiedLLM) -> None:
    config = ModelConfig(max_tokens=20, temperature=0)
    *events, end = llm.stream("Hello", config)
    assert isinstance(end, StreamEnd)
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == end.response == llm.chat("Hello", config)
    assert end.response.usage.output_tokens == 20
    assert end.response.time_to_first_token is not None


async def test_an_asynchronous_stream_gives_pieces(llm: UnifiedLLM) -> None:
    pieces = [chunk async for chunk in await llm.chat_async("Hello", ModelConfig(max_tokens=20), stream=True)]
    assert "".join(pieces).strip()


async def test_a_stream_tells_that_a_model_is_loaded_and_how_far_a_long_prompt_is_read(shelf: Path) -> None:
    prompt, config = "words and words " * 100, ModelConfig(max_tokens=3)
    with UnifiedLLM(LocalProvider(model_dirs=shelf, n_ctx=2048, n_threads=1, n_batch=128)) as llm:
        first = [e async for e in llm.stream_async(prompt, config) if isinstance(e, Progress)]
        second = [e for e in llm.stream(prompt[::-1], config) if isinstance(e, Progress)]
    assert first[0] == Progress("load")
    assert [e.stage for e in first[1:]] == ["prefill"] * (len(first) - 1)
    fractions = [e.fraction or 0.0 for e in first[1:]]
    assert fractions == sorted(fractions)
    assert 0.0 <= fractions[0] < 0.1
    assert fractions[-1] == 1.0
    assert len(fractions) > 5
    assert {e.stage for e in second} == {"prefill"}


def test_a_stop_sequence_ends_the_answer_before_it(llm: UnifiedLLM) -> None:
    whole = llm.chat("Hello", ModelConfig(max_tokens=40, temperature=0))
    stop = whole[5:8]
    response = llm.chat("Hello", ModelConfig(max_tokens=40, temperature=0, stop_sequences=[stop]))
    assert response == whole[: whole.index(stop)]
    assert response.finish_reason in (FinishReason.STOP, FinishReason.STOP_SEQUENCE)


class Person(BaseModel):
    name: str
    age: int
    tags: list[str]


@pytest.mark.parametrize("temperature", [0, 0.8])
def test_structured_output_is_enforced_by_the_engine(llm: UnifiedLLM, temperature: float) -> None:
    config = ModelConfig(response_format=Person, max_tokens=300, temperature=temperature)
    response = llm.chat("Who is it?", config)
    assert isinstance(response.parsed, Person)


def test_a_grammar_in_the_extra_body_is_enforced(llm: UnifiedLLM) -> None:
    grammar = 'root ::= ("yes" | "no") "!"'
    assert llm.chat("Is it?", ModelConfig(extra_body={"grammar": grammar})) in ("yes!", "no!")


def test_a_tool_is_called_and_its_result_answered(llm: UnifiedLLM) -> None:
    config = ModelConfig(max_tokens=200)
    first = llm.chat("Weather in Nice?", config, tools=[WEATHER, TIME])
    assert first.finish_reason == FinishReason.TOOL_CALLS
    (call,) = first.tool_calls
    assert call.name in ("get_weather", "get_time")
    assert isinstance(dict(call.arguments or {})["city"], str)
    history: list[Any] = [
        {"role": "user", "content": "Weather in Nice?"},
        first.message,
        {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
    ]
    assert llm.chat(history, config, tools=[WEATHER, TIME]).strip()


def test_a_named_tool_is_the_one_that_is_called(llm: UnifiedLLM) -> None:
    for name in ("get_time", "get_weather"):
        config = ModelConfig(max_tokens=200, tool_choice=name)
        (call,) = llm.chat("Nice?", config, tools=[WEATHER, TIME]).tool_calls
        assert call.name == name


def test_a_tool_call_is_streamed(llm: UnifiedLLM) -> None:
    *events, end = llm.stream("Weather?", ModelConfig(max_tokens=200), tools=[WEATHER])
    assert [e.name for e in events if isinstance(e, ToolCallStart)] == ["get_weather"]
    assert isinstance(end, StreamEnd)
    assert dict(end.response.tool_calls[0].arguments or {}).keys() == {"city"}


def test_a_prompt_over_the_window_is_a_context_error(llm: UnifiedLLM) -> None:
    with pytest.raises(ContextLengthError) as caught:
        llm.chat("x" * 5000)
    assert caught.value.provider == "local"
    assert caught.value.hint


def test_tokens_are_counted_by_the_models_own_tokenizer(llm: UnifiedLLM) -> None:
    assert llm.count_tokens("Hello") == llm.chat("Hello", ModelConfig(max_tokens=1)).usage.input_tokens


def test_closing_a_stream_stops_the_generation(llm: UnifiedLLM, provider: LocalProvider) -> None:
    model = provider.driver.loaded("acme/Tiny-GGUF/tiny-chat-F32.gguf")
    stream = llm.chat("Hello", ModelConfig(temperature=0), stream=True)
    assert next(iter(stream))
    assert not idle(model)
    stream.close()
    assert wait(lambda: idle(model), 0.5)


# -- models ---------------------------------------------------------------------------------------------------------


def test_making_a_provider_reads_nothing_and_loads_nothing(tmp_path: Path) -> None:
    provider = LocalProvider(model_dirs=tmp_path / "absent", api_key="unused", base_url="http://unused")
    assert provider.default_model() is None
    provider.close()


def test_models_are_listed_with_what_their_headers_say(provider: LocalProvider, shelf: Path) -> None:
    models = {m.id: m for m in provider.list_models()}
    tiny = models.pop("acme/Tiny-GGUF/tiny-chat-F32.gguf")
    assert (tiny.kind, tiny.name, tiny.context_window, tiny.quantization) == ("chat", "Tiny Chat", 32768, "F32")
    assert tiny.capabilities == {"structured_output": "yes", "tools": "yes", "thinking": "unknown", "vision": "no"}
    assert tiny.path == str(shelf / "acme/Tiny-GGUF/tiny-chat-F32.gguf")
    assert models["broken.gguf"].raw is not None
    assert "header" in models["broken.gguf"].raw["error"]
    kinds = {name: m.kind for name, m in models.items()}
    assert kinds == {
        "acme/Base-GGUF/base.gguf": "chat",
        "acme/Embed-GGUF/tiny-embed.gguf": "embedding",
        "acme/Rank-GGUF/tiny-rank.gguf": "rerank",
        "broken.gguf": None,
        "wordllama": "embedding",
    }


def test_a_model_that_cannot_do_what_is_asked_says_so(llm: UnifiedLLM) -> None:
    with pytest.raises(InvalidRequestError, match="embedding model"):
        llm.chat("Hello", ModelConfig("tiny-embed"))
    with pytest.raises(InvalidRequestError, match="reranking model"):
        llm.embed("Hello", "tiny-rank")


def test_an_unknown_model_lists_the_known_ones(llm: UnifiedLLM) -> None:
    with pytest.raises(ConfigurationError, match="no-such-model") as caught:
        llm.chat("Hello", ModelConfig("no-such-model"))
    assert "tiny-chat-F32.gguf" in (caught.value.hint or "")


def test_more_context_than_the_model_was_trained_for_is_refused(shelf: Path) -> None:
    provider = LocalProvider(model_dirs=[shelf], n_ctx=100_000)
    with pytest.raises(ConfigurationError, match="32768"):
        UnifiedLLM(provider).chat("Hello")


def test_an_option_that_does_not_exist_is_refused() -> None:
    from unified_llm.providers.registry import create_provider

    with pytest.raises(ConfigurationError, match="n_layers"):
        create_provider("local", n_layers=3)


def test_a_reference_by_path_needs_no_folder(tiny_chat_gguf: Path) -> None:
    with UnifiedLLM(model=f"local:{tiny_chat_gguf}") as llm:
        assert llm.chat("Hello", ModelConfig(max_tokens=5)).model == "tiny-chat.gguf"


def test_without_a_key_and_without_a_server_a_model_on_this_machine_answers(
    shelf: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LMSTUDIO_BASE_URL", "http://127.0.0.1:9/v1")  # where nobody listens
    monkeypatch.setenv("UNIFIED_LLM_MODELS", str(shelf))
    with UnifiedLLM() as llm:
        assert llm.get_provider() == "local"
        assert llm.chat("Hello", ModelConfig(max_tokens=5)).strip()


# -- embeddings -----------------------------------------------------------------------------------------------------


def test_a_gguf_embedding_model_embeds_in_order_and_in_batches(llm: UnifiedLLM) -> None:
    texts = [f"text number {n}" for n in range(70)]
    vectors = llm.embed(texts, "tiny-embed")
    assert (len(vectors), vectors.dimensions, vectors.provider) == (70, 64, "local")
    assert list(vectors[69]) == pytest.approx(list(llm.embed(texts[69], "tiny-embed")), abs=1e-4)
    assert vectors.usage.input_tokens


async def test_a_text_that_is_too_long_to_embed_is_a_context_error(llm: UnifiedLLM) -> None:
    with pytest.raises(ContextLengthError):
        await llm.embed_async("x" * 5000, "tiny-embed")


def test_without_a_name_texts_are_embedded_by_meaning_without_a_model_file(llm: UnifiedLLM) -> None:
    cat, kitten, tax = llm.embed(["my cat sleeps", "a kitten is sleeping", "income tax law"]).tolist()

    def likeness(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True))

    assert len(cat) == 256
    assert likeness(cat, cat) == pytest.approx(1, abs=1e-5)
    assert likeness(cat, kitten) > likeness(cat, tax) + 0.2


async def test_the_asynchronous_vectors_are_the_same(llm: UnifiedLLM) -> None:
    assert await llm.embed_async("Hello world") == llm.embed("Hello world")


def test_static_vectors_are_those_of_wordllama(llm: UnifiedLLM) -> None:
    texts = ["Hello world", "Größe 漢字", "a" * 3000]
    ours = llm.embed(texts).tolist()
    code = """
        import json, sys, wordllama, pathlib
        model = wordllama.WordLlama.load(cache_dir=pathlib.Path(wordllama.__file__).parent, disable_download=True)
        print(json.dumps(model.embed(json.loads(sys.argv[1]), norm=True).tolist()))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), json.dumps(texts)], capture_output=True, text=True, check=True
    )
    for our, their in zip(ours, json.loads(done.stdout), strict=True):
        assert our == pytest.approx(their, abs=1e-4)


def test_a_text_without_tokens_is_the_zero_vector(provider: LocalProvider) -> None:
    assert provider.embed(EmbedRequest("wordllama", ("",))).tolist() == [[0.0] * 256]


def test_shorter_vectors_are_those_the_model_was_trained_for(llm: UnifiedLLM) -> None:
    short = llm.embed("hello", dimensions=64)
    assert short.dimensions == 64
    assert sum(x * x for x in short) == pytest.approx(1, abs=1e-5)
    odd = llm.embed(["hello"], dimensions=100)
    assert (odd.dimensions, odd.adjustments[0].what) == (256, "dimensions")
    request = EmbedRequest("wordllama", ("hello",), 100, ModelConfig(on_unsupported="error"))
    with pytest.raises(UnsupportedOptionError):
        LocalProvider().embed(request)


def test_embedding_leaves_logging_and_warnings_alone() -> None:
    code = (
        "import logging, unified_llm\n"
        "print(unified_llm.UnifiedLLM('local').embed('hello').dimensions)\n"
        "assert logging.getLogger().handlers == [] and logging.getLogger().level == logging.WARNING"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("256\n", "", 0)
    assert logging.getLogger("wordllama").level == logging.NOTSET


def test_without_wordllama_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from unified_llm.drivers.static_embeddings import StaticEmbedder

    monkeypatch.setattr(StaticEmbedder, "_model", None)
    monkeypatch.setitem(sys.modules, "wordllama", None)
    with pytest.raises(MissingDependencyError) as caught:
        UnifiedLLM(LocalProvider(model_dirs=tmp_path)).embed("hello")
    assert "unified-llm[local]" in (caught.value.hint or "")


@pytest.mark.parametrize("model", [None, "tiny-chat-F32"])
async def test_without_the_engine_the_error_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, shelf: Path, tmp_path: Path, model: str | None
) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    for folder in (tmp_path, shelf):
        llm = UnifiedLLM(LocalProvider(model_dirs=folder), model=model)
        with pytest.raises(MissingDependencyError, match="xllamacpp") as caught:
            llm.chat("hello")
        assert "unified-llm[local]" in (caught.value.hint or "")
        assert caught.value.provider == "local"
        with pytest.raises(MissingDependencyError, match="xllamacpp"):
            await llm.chat_async("hello")


@pytest.mark.parametrize("model", [None, "qwen3"])
async def test_without_a_model_the_error_says_how_to_get_one(tmp_path: Path, model: str | None) -> None:
    llm = UnifiedLLM(LocalProvider(model_dirs=tmp_path), model=model)
    with pytest.raises(ConfigurationError) as caught:
        llm.chat("hello")
    assert "unified-llm models pull " in (caught.value.hint or "")
    assert caught.value.provider == "local"
    with pytest.raises(ConfigurationError, match="GGUF"):
        await llm.chat_async("hello")


def test_without_wordllama_an_embedding_model_on_this_machine_is_used(
    monkeypatch: pytest.MonkeyPatch, shelf: Path
) -> None:
    monkeypatch.setitem(sys.modules, "wordllama", None)
    assert LocalProvider(model_dirs=shelf).default_embedding_model() == "acme/Embed-GGUF/tiny-embed.gguf"


def test_two_thousand_texts_take_a_moment(provider: LocalProvider) -> None:
    texts = tuple(f"a short text about thing number {n}" for n in range(2000))
    assert len(provider.embed(EmbedRequest("wordllama", texts))) == 2000
