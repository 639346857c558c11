"""Models are found in the folders of the programs that keep them, told apart by their headers, and named by people."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from testkit.tiny_gguf import TinyModel, write_tiny_gguf
from unified_llm.errors import ConfigurationError
from unified_llm.local_models import LocalModel, best_model, find_model, find_models, memory, model_folder, read_model


def write(path: Path, *, kind: str = "chat", size: int = 0, **changes: object) -> Path:
    """A model file; `size` bytes are added, so that models can be ordered by size."""
    write_tiny_gguf(path, TinyModel(kind=kind, tensors=False, context_length=4096, **changes))  # type: ignore[arg-type]
    with path.open("ab") as file:
        file.write(bytes(size))
    return path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder, and no variable that leads elsewhere."""
    folder = tmp_path / "home"
    folder.mkdir()
    for name in ("OLLAMA_MODELS", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "LLAMA_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("USERPROFILE", str(folder))
    return folder


def ids(models: list[LocalModel]) -> dict[str, str]:
    return {model.id: model.store for model in models}


def ollama_model(folder: Path, place: str, *, weights: Path, projector: Path | None = None) -> None:
    """A model in Ollama's layout: a manifest that lists blobs."""
    blobs = folder / "blobs"
    blobs.mkdir(parents=True, exist_ok=True)
    layers = []
    for kind, file in (("model", weights), ("template", None), ("projector", projector)):
        digest = f"sha256:{abs(hash((kind, place))):064x}"
        if file is not None:
            shutil.copy(file, blobs / digest.replace(":", "-"))
        if file is not None or kind == "template":
            layers.append({"mediaType": f"application/vnd.ollama.image.{kind}", "digest": digest, "size": 1})
    manifest = folder / "manifests" / place
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(json.dumps({"schemaVersion": 2, "layers": layers}), encoding="utf-8")


def hub_file(cache: Path, repository: str, revision: str, name: str, weights: Path) -> Path:
    """A file in the Hugging Face hub's layout: a snapshot of links to blobs."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    blob = folder / "blobs" / f"{revision}-{name}".replace("/", "-")
    link = folder / "snapshots" / revision / name
    for path in (blob, link):
        path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(weights, blob)
    link.symlink_to(os.path.relpath(blob, link.parent))
    return link


# -- stores ---------------------------------------------------------------------------------------------------------


def test_a_machine_without_models_has_none(home: Path) -> None:
    assert find_models() == []
    assert best_model() is None


def test_lm_studio_models_are_called_as_lm_studio_calls_them(home: Path) -> None:
    write(home / ".lmstudio/models/lmstudio-community/Qwen3-8B-GGUF/Qwen3-8B-Q4_K_M.gguf")
    write(home / ".cache/lm-studio/models/old/model/m.gguf")
    assert ids(find_models()) == {
        "lmstudio-community/Qwen3-8B-GGUF/Qwen3-8B-Q4_K_M.gguf": "lmstudio",
        "old/model/m.gguf": "lmstudio",
    }


def test_lm_studio_may_be_elsewhere_and_keep_its_models_elsewhere_again(home: Path, tmp_path: Path) -> None:
    studio, models = tmp_path / "studio", tmp_path / "big disk"
    write(studio / "models/a/b/in-home.gguf")
    write(models / "a/b/downloaded.gguf")
    (home / ".lmstudio-home-pointer").write_text(f"{studio}\n", encoding="utf-8")
    (studio / "settings.json").write_text(json.dumps({"downloadsFolder": str(models)}), encoding="utf-8")
    assert ids(find_models()).keys() == {"a/b/in-home.gguf", "a/b/downloaded.gguf"}


def test_ollama_models_are_found_through_their_manifests(home: Path, tmp_path: Path) -> None:
    weights = write(tmp_path / "w.gguf")
    folder = home / ".ollama/models"
    ollama_model(folder, "registry.ollama.ai/library/llama3.2/3b", weights=weights)
    ollama_model(folder, "registry.ollama.ai/someone/tuned/latest", weights=weights)
    ollama_model(folder, "hf.co/bartowski/Qwen-GGUF/Q4_K_M", weights=weights, projector=weights)
    (folder / "manifests/registry.ollama.ai/library/half").mkdir()
    (folder / "manifests/registry.ollama.ai/library/half/written").write_text('{"layers": [', encoding="utf-8")
    found = {model.id: model for model in find_models()}
    assert found.keys() == {"llama3.2:3b", "someone/tuned:latest", "hf.co/bartowski/Qwen-GGUF:Q4_K_M"}
    assert found["hf.co/bartowski/Qwen-GGUF:Q4_K_M"].mmproj is not None
    assert find_model("LLAMA3.2:3b").id == "llama3.2:3b"
    assert find_model("someone/tuned").id == "someone/tuned:latest"


def test_ollama_models_is_where_its_variable_says(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ollama_model(tmp_path / "o", "registry.ollama.ai/library/m/latest", weights=write(tmp_path / "w.gguf"))
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "o"))
    assert ids(find_models()) == {"m:latest": "ollama"}


@pytest.mark.parametrize("variable", [None, "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"])
def test_the_hub_cache_is_found_wherever_its_variables_put_it(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str | None
) -> None:
    below = {"HF_HOME": "hub", "XDG_CACHE_HOME": "huggingface/hub"}
    cache = tmp_path / "c" / below.get(variable or "", "") if variable else home / ".cache/huggingface/hub"
    if variable:
        monkeypatch.setenv(variable, str(tmp_path / "c"))
    hub_file(cache, "Qwen/Qwen3-0.6B-GGUF", "abc", "Qwen3-0.6B-Q8_0.gguf", write(tmp_path / "w.gguf"))
    assert ids(find_models()) == {"Qwen/Qwen3-0.6B-GGUF/Qwen3-0.6B-Q8_0.gguf": "huggingface"}


def test_of_two_revisions_in_the_hub_cache_the_current_one_counts(home: Path, tmp_path: Path) -> None:
    cache = home / ".cache/huggingface/hub"
    hub_file(cache, "o/m", "aaa", "m.gguf", write(tmp_path / "old.gguf", name="Old"))
    hub_file(cache, "o/m", "bbb", "m.gguf", write(tmp_path / "new.gguf", name="New"))
    (cache / "models--o--m/refs").mkdir()
    (cache / "models--o--m/refs/main").write_text("bbb", encoding="utf-8")
    assert [m.name for m in find_models()] == ["New"]


@pytest.mark.skipif(sys.platform != "linux", reason="the cache folder has another place there")
def test_llama_cpp_and_our_own_downloads_are_found(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(home / ".cache/llama.cpp/ggml-org_gemma.gguf")
    write(home / ".unified_llm/models/o/m/own.gguf")
    assert ids(find_models()) == {"o/m/own.gguf": "unified-llm", "ggml-org_gemma.gguf": "llama.cpp"}
    monkeypatch.setenv("UNIFIED_LLM_MODELS", str(tmp_path / "mine"))
    monkeypatch.setenv("LLAMA_CACHE", str(tmp_path / "theirs"))
    assert model_folder() == tmp_path / "mine"
    assert find_models() == []


def test_a_file_linked_into_two_stores_is_one_model(home: Path, tmp_path: Path) -> None:
    real = write(home / ".unified_llm/models/o/m/real.gguf")
    link = home / ".lmstudio/models/o/m/link.gguf"
    link.parent.mkdir(parents=True)
    link.symlink_to(real)
    assert ids(find_models()) == {"o/m/real.gguf": "unified-llm"}


def test_broken_links_and_circles_of_folders_are_passed_over(home: Path) -> None:
    folder = home / ".lmstudio/models"
    write(folder / "a/b/m.gguf")
    (folder / "a/b/gone.gguf").symlink_to(home / "nowhere.gguf")
    (folder / "a/circle").symlink_to(folder)
    (folder / "a/missing").symlink_to(home / "no folder")
    assert ids(find_models()).keys() == {"a/b/m.gguf"}


def test_the_folders_that_are_named_are_the_only_ones_looked_at(home: Path, tmp_path: Path) -> None:
    write(home / ".lmstudio/models/a/b/m.gguf")
    write(tmp_path / "mine/x.GGUF")
    assert ids(find_models([tmp_path / "mine", tmp_path / "absent"])) == {"x.GGUF": "folder"}


# -- what a file is -------------------------------------------------------------------------------------------------


def test_a_model_in_several_files_is_one_model_and_later_files_are_none(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        write(tmp_path / f"big-Q4_K_M-{number:05}-of-00003.gguf")
    write(tmp_path / "half-00001-of-00002.gguf")
    write(tmp_path / "orphan-00002-of-00002.gguf")
    big, half = find_models([tmp_path])
    assert big.path.name == "big-Q4_K_M-00001-of-00003.gguf"
    assert big.size_bytes == 3 * big.path.stat().st_size
    assert big.error is None
    assert half.error == "1 of its 2 files are missing"
    with pytest.raises(ConfigurationError, match="1 of its 2 files are missing"):
        find_model("half", [tmp_path])


def test_the_header_tells_chat_embedding_and_reranking_models_apart(tmp_path: Path) -> None:
    write(tmp_path / "chat.gguf")
    write(tmp_path / "base.gguf", chat_template=None)
    write(tmp_path / "pooled.gguf", kind="embedding")
    write(tmp_path / "nomic-embed.gguf", architecture="nomic-bert")
    write(tmp_path / "rank.gguf", kind="rerank")
    write(tmp_path / "bge-reranker-v2.gguf", architecture="bert")
    kinds = {m.path.stem: (m.kind, m.has_chat_template) for m in find_models([tmp_path])}
    assert kinds == {
        "chat": ("chat", True),
        "base": ("chat", False),
        "pooled": ("embedding", False),
        "nomic-embed": ("embedding", True),
        "rank": ("rerank", False),
        "bge-reranker-v2": ("rerank", True),
    }


def test_projectors_and_adapters_are_no_models_and_a_projector_belongs_to_its_neighbour(tmp_path: Path) -> None:
    write(tmp_path / "see/gemma.gguf")
    write(tmp_path / "see/mmproj-gemma-f16.gguf", architecture="clip")
    write(tmp_path / "lora/adapter.gguf", extra={"general.type": "adapter"})
    write(tmp_path / "clip/vision.gguf", architecture="clip")
    (model,) = find_models([tmp_path])
    assert model.mmproj == tmp_path / "see/mmproj-gemma-f16.gguf"
    with pytest.raises(ConfigurationError, match="not a model"):
        read_model(tmp_path / "clip/vision.gguf")


def test_a_model_is_described_by_its_header_and_its_name(tmp_path: Path) -> None:
    write(tmp_path / "model-IQ4_XS.gguf", name="My Model", extra={"general.size_label": "0.6B"})
    (model,) = find_models([tmp_path])
    assert (model.name, model.architecture, model.context_length) == ("My Model", "llama", 4096)
    assert (model.parameters, model.quantization, model.embedding_length) == ("0.6B", "F32", 64)


def test_files_that_cannot_be_read_are_reported_and_nothing_is_raised(tmp_path: Path) -> None:
    write(tmp_path / "good.gguf")
    (tmp_path / "page.gguf").write_bytes(b"<html>404</html>")
    (tmp_path / "empty.gguf").write_bytes(b"")
    (tmp_path / "cut.gguf").write_bytes((tmp_path / "good.gguf").read_bytes()[:500])
    errors = {m.path.stem: m.error for m in find_models([tmp_path])}
    assert errors.pop("good") is None
    assert "no GGUF file" in (errors["page"] or "")
    assert "is empty" in (errors["empty"] or "")
    assert "header" in (errors["cut"] or "")


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf", name="Before")
    assert find_models([tmp_path])[0].name == "Before"
    write(path, name="Afterwards")
    assert find_models([tmp_path])[0].name == "Afterwards"


# -- the one somebody means -----------------------------------------------------------------------------------------


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    for name in ("acme/Qwen3-8B-GGUF/Qwen3-8B-Q4_K_M.gguf", "acme/Qwen3-8B-GGUF/Qwen3-8B-Q8_0.gguf",
                 "bob/gemma-GGUF/gemma-4b.gguf"):  # fmt: skip
        write(tmp_path / "shelf" / name)
    return tmp_path / "shelf"


@pytest.mark.parametrize(
    "reference",
    [
        "bob/gemma-GGUF/gemma-4b.gguf",
        "BOB/gemma-gguf/gemma-4b",
        "gemma-4b.gguf",
        "Gemma-4B",
        "bob/gemma-GGUF",
        "gemma",
        "bob",
    ],
)
def test_a_model_is_named_by_id_file_publisher_or_a_part_of_its_name(shelf: Path, reference: str) -> None:
    assert find_model(reference, [shelf]).id == "bob/gemma-GGUF/gemma-4b.gguf"


def test_a_path_names_a_model_wherever_it_lies(shelf: Path, tmp_path: Path) -> None:
    path = shelf / "bob/gemma-GGUF/gemma-4b.gguf"
    assert find_model(str(path), [tmp_path / "elsewhere"]).path == path


def test_a_file_name_wins_over_names_it_is_a_part_of(shelf: Path) -> None:
    write(shelf / "gemma.gguf")
    assert find_model("gemma", [shelf]).id == "gemma.gguf"


def test_a_name_that_fits_several_models_is_refused_with_their_list(shelf: Path) -> None:
    with pytest.raises(ConfigurationError, match="2 models") as caught:
        find_model("qwen3", [shelf])
    assert "Qwen3-8B-Q4_K_M.gguf" in (caught.value.hint or "")
    assert "Qwen3-8B-Q8_0.gguf" in (caught.value.hint or "")
    with pytest.raises(ConfigurationError, match="2 models"):
        find_model("acme/Qwen3-8B-GGUF", [shelf])


def test_an_unknown_name_is_refused_with_what_there_is_and_how_to_get_more(shelf: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="'llama-9'") as caught:
        find_model("llama-9", [shelf])
    assert "gemma-4b.gguf" in (caught.value.hint or "")
    with pytest.raises(ConfigurationError) as caught:
        find_model("llama-9", [tmp_path / "empty"])
    assert "models pull" in (caught.value.hint or "")


# -- the one to use when nobody says --------------------------------------------------------------------------------


def test_the_default_is_the_largest_chat_model_that_leaves_half_of_the_memory(tmp_path: Path) -> None:
    write(tmp_path / "small.gguf", size=10_000)
    write(tmp_path / "fitting.gguf", size=50_000)
    write(tmp_path / "large.gguf", size=300_000)
    write(tmp_path / "base.gguf", size=90_000, chat_template=None)
    write(tmp_path / "embed.gguf", size=90_000, kind="embedding")
    (tmp_path / "broken.gguf").write_bytes(bytes(95_000))

    def chosen(memory: int) -> str | None:
        best = best_model([tmp_path], memory=memory)
        return None if best is None else best.id

    assert chosen(400_000) == "fitting.gguf"
    assert chosen(10_000_000) == "large.gguf"
    assert chosen(40_000) == "small.gguf"  # more than half, but it fits
    assert chosen(1_000) is None
    best = best_model([tmp_path], kind="embedding", memory=400_000)
    assert best is not None
    assert best.id == "embed.gguf"


def test_the_memory_of_this_machine_is_known_and_plausible() -> None:
    available = memory.available_memory()
    assert available is None or 10_000_000 < available < 100_000_000_000_000


@pytest.mark.parametrize(("limit", "expected"), [("max", None), ("1000000", 600_000), ("300000", 0)])
def test_a_container_has_what_its_limit_leaves(tmp_path: Path, limit: str, expected: int | None) -> None:
    (tmp_path / "memory.max").write_text(f"{limit}\n", encoding="ascii")
    (tmp_path / "memory.current").write_text("400000\n", encoding="ascii")
    assert memory._container(tmp_path) == expected
