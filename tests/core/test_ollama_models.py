"""The Ollama provider's models against a strict double: lists, what each can, loading, downloads."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from testkit.ollama_double import Model, OllamaDouble
from testkit.wire_server import CLOSE, HANG, chunked
from unified_llm.errors import ConfigurationError, ModelNotFoundError, StreamInterruptedError
from unified_llm.local_models import PullProgress
from unified_llm.providers.ollama import OllamaProvider


@pytest.fixture
def double() -> Iterator[OllamaDouble]:
    with OllamaDouble() as server:
        yield server


@pytest.fixture
def provider(double: OllamaDouble) -> Iterator[OllamaProvider]:
    found = OllamaProvider(base_url=double.url)
    yield found
    found.close()


# -- models -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("old", [False, True])
async def test_models_are_listed_with_what_they_can(double: OllamaDouble, provider: OllamaProvider, old: bool) -> None:
    double.old = old
    models = provider.list_models()
    assert models == await provider.list_models_async()
    assert [(m.id, m.kind, m.loaded, m.context_window, m.quantization) for m in models] == [
        ("tiny:latest", "chat", True, 4096, "Q4_K_M"),
        ("plain:1b", "chat", False, 8192, "Q4_K_M"),
        ("embed:latest", "embedding", False, 512, "F16"),
    ]
    assert models[0].capabilities["thinking"] == "yes"
    assert models[1].capabilities["tools"] == "no"
    assert models[0].max_output_tokens is None
    assert sum(r.path == "/api/show" for r in double.requests) == (6 if old else 0)
    await provider.aclose()


def test_a_model_that_cannot_be_shown_hides_no_other() -> None:
    models = (Model("good:1b"), Model("bad:1b", broken=True))
    with OllamaDouble(models, old=True, has_ps=False) as double:
        good, bad = OllamaProvider(base_url=double.url).list_models()
    assert (good.kind, good.loaded) == ("chat", None)
    assert (bad.kind, bad.capabilities, bad.context_window) == (None, {}, None)


async def test_a_model_is_shown_loaded_and_unloaded(double: OllamaDouble, provider: OllamaProvider) -> None:
    shown = provider.show("tiny")
    assert (shown.kind, shown.context_window, shown.quantization) == ("chat", 40960, "Q4_K_M")
    assert (shown.raw or {})["template"]
    assert shown == await provider.show_async("tiny")
    assert [m.id for m in provider.loaded_models()] == ["tiny:latest"]
    assert provider.loaded_models() == await provider.loaded_models_async()
    provider.load_model("tiny", num_ctx=8192, keep_alive=-1)
    provider.unload_model("tiny")
    await provider.load_model_async("tiny")
    await provider.unload_model_async("tiny")
    assert [(c.get("options"), c.get("keep_alive")) for c in double.chats] == [
        ({"num_ctx": 8192}, -1),
        (None, 0),
        (None, None),
        (None, 0),
    ]
    with pytest.raises(ModelNotFoundError, match="nothing"):
        provider.show("nothing")
    await provider.aclose()


def test_without_a_name_the_loaded_model_answers_else_the_newest() -> None:
    with OllamaDouble((Model("new:1b"), Model("old:1b", loaded=4096), Model("e", ("embedding",)))) as double:
        assert OllamaProvider(base_url=double.url).default_model() == "old:1b"
        double.models["old:1b"] = Model("old:1b")
        assert OllamaProvider(base_url=double.url).default_model() == "new:1b"
        double.models = {}
        with pytest.raises(ConfigurationError) as caught:
            OllamaProvider(base_url=double.url).default_model()
    assert "models pull ollama:" in (caught.value.hint or "")


# -- downloads --------------------------------------------------------------------------------------------------------

LAYERS: list[dict[str, Any]] = [
    {"status": "pulling manifest"},
    {"status": "pulling aaaaaaaaaaaa", "digest": "sha256:" + "a" * 64, "total": 200},
    {"status": "pulling aaaaaaaaaaaa", "digest": "sha256:" + "a" * 64, "total": 200, "completed": 200},
    {"status": "pulling bbbbbbbbbbbb", "digest": "sha256:" + "b" * 64, "total": 50, "completed": 50},
    {"status": "verifying sha256 digest"},
    {"status": "success"},
]


async def test_a_download_tells_how_far_it_is(double: OllamaDouble, provider: OllamaProvider) -> None:
    double.pulls.extend([LAYERS, LAYERS])
    told: list[PullProgress] = []
    model = provider.pull("new:1b", progress=told.append)
    assert (model.id, model.kind) == ("new:1b", "chat")
    a, b = "a" * 12, "b" * 12
    assert told == [PullProgress(a, 0, 200, 1, 1), PullProgress(a, 200, 200, 1, 1), PullProgress(b, 50, 50, 2, 2)]
    again: list[PullProgress] = []
    assert await provider.pull_async("new:1b", progress=again.append) == model
    assert again == told
    await provider.aclose()


async def test_a_model_that_the_registry_does_not_have_is_not_found(provider: OllamaProvider) -> None:
    for pull in (provider.pull, lambda name: asyncio.run(provider.pull_async(name))):
        with pytest.raises(ModelNotFoundError) as caught:
            await asyncio.to_thread(pull, "no-such")
        assert "ollama.com/library" in (caught.value.hint or "")
        assert caught.value.model == "no-such"


@pytest.mark.parametrize("end", [[], [CLOSE]])
def test_a_download_that_ends_early_says_so(double: OllamaDouble, provider: OllamaProvider, end: list[Any]) -> None:
    steps = chunked([b'{"status": "pulling manifest"}\n'], end=not end)
    double.pulls.append([*steps, *end])
    with pytest.raises(StreamInterruptedError) as caught:
        provider.pull("new:1b")
    assert caught.value.hint


def test_leaving_a_download_stops_it(double: OllamaDouble, provider: OllamaProvider) -> None:
    line = b'{"status":"pulling","digest":"sha256:aa","total":9,"completed":1}\n'
    double.pulls.append(chunked([line, HANG], end=False))

    def enough(now: PullProgress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        provider.pull("new:1b", progress=enough)
    assert double.requests[-1].request.wait_gone(0.5)
