"""Where the programs of this machine keep their models: folders, and what the files in them are called.

Nothing here reads a model; only names, links and sizes are looked at.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Found", "home", "model_folder", "stored_files"]

_SHARD = re.compile(r"^(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Found:
    """A model file: the name its store gives it, its first part, all of its parts, and why it cannot be whole."""

    id: str
    store: str
    path: Path
    parts: tuple[Path, ...]
    mmproj: Path | None = None
    error: str | None = None


def home() -> Path | None:
    """The user's home folder, or None where there is none (some containers)."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def model_folder() -> Path:
    """Where our own downloads go: UNIFIED_LLM_MODELS, else ``~/.unified_llm/models``."""
    chosen = os.environ.get("UNIFIED_LLM_MODELS", "").strip()
    return Path(chosen).expanduser() if chosen else (home() or Path()) / ".unified_llm" / "models"


def stored_files(folders: Iterable[Path | str] | None = None) -> Iterator[Found]:
    """Model files of `folders`, or of every store of this machine; each file once, under its first name.

    Stores, in this order: our own folder, LM Studio's, Ollama's, the Hugging Face hub's cache, llama.cpp's cache.
    What cannot be read (no permission, a broken link, a half-written manifest) is passed over.
    """
    seen: set[Path] = set()
    for found in _all(folders):
        real = Path(os.path.realpath(found.path))
        if real not in seen:
            seen.add(real)
            yield found


def _all(folders: Iterable[Path | str] | None) -> Iterator[Found]:
    if folders is not None:
        for folder in folders:
            yield from _folder(Path(folder).expanduser(), "folder")
        return
    yield from _folder(model_folder(), "unified-llm")
    for folder in _lmstudio_folders():
        yield from _folder(folder, "lmstudio")
    for folder in _ollama_folders():
        yield from _ollama(folder)
    yield from _huggingface(_huggingface_folder())
    yield from _folder(_llamacpp_folder(), "llama.cpp")


# -- folders of GGUF files ------------------------------------------------------------------------------------------


def _folder(folder: Path | None, store: str, *, prefix: str = "") -> Iterator[Found]:
    """The GGUF files below `folder`, called by their path in it."""
    if folder is None:
        return
    for where, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and not _leads_up(Path(where, f)))
        paths = [Path(where, n) for n in sorted(names) if n.lower().endswith(".gguf")]
        files = {p.name: p for p in paths if p.is_file()}  # a broken link is no file
        projectors = [p for n, p in files.items() if _is_projector(n)]
        for name, path in files.items():
            if not _is_projector(name) and (whole := _parts(path, files)) is not None:
                parts, error = whole
                shown = prefix + path.relative_to(folder).as_posix()
                yield Found(shown, store, path, parts, projectors[0] if len(projectors) == 1 else None, error)


def _leads_up(path: Path) -> bool:
    """Whether a linked folder holds the place it was found in: following it would never end."""
    return path.is_symlink() and Path(os.path.realpath(path)) in Path(os.path.realpath(path.parent), "x").parents


def _is_projector(name: str) -> bool:
    return "mmproj" in name.lower()


def _parts(path: Path, files: dict[str, Path]) -> tuple[tuple[Path, ...], str | None] | None:
    """All parts of the model that begins in `path`, and what is missing; None for a later part."""
    match = _SHARD.match(path.name)
    if match is None:
        return (path,), None
    count = int(match["count"])
    wanted = [f"{match['stem']}-{n:05}-of-{count:05}.gguf" for n in range(1, count + 1)]
    if path.name.lower() != wanted[0].lower():
        return None
    parts = tuple(files[name] for name in wanted if name in files)
    return parts, None if len(parts) == count else f"{count - len(parts)} of its {count} files are missing"


# -- LM Studio ------------------------------------------------------------------------------------------------------


def _lmstudio_folders() -> list[Path]:
    """Its own folder is named by a pointer file, and its settings may name another one for models."""
    user = home()
    if user is None:
        return []
    bases = [user / ".lmstudio", user / ".cache" / "lm-studio"]
    pointed = _text(user / ".lmstudio-home-pointer").strip()
    if pointed:
        bases.insert(0, Path(pointed))
    chosen = (_json(base / "settings.json").get("downloadsFolder") for base in bases)
    return [*(Path(c) for c in chosen if isinstance(c, str) and c), *(base / "models" for base in bases)]


# -- Ollama ---------------------------------------------------------------------------------------------------------


def _ollama_folders() -> list[Path]:
    chosen = os.environ.get("OLLAMA_MODELS", "").strip()
    if chosen:
        return [Path(chosen).expanduser()]
    user = home()
    service = Path("/usr/share/ollama/.ollama/models")  # where the Linux installer's service keeps them
    return [*([user / ".ollama" / "models"] if user else []), service]


def _ollama(folder: Path) -> Iterator[Found]:
    """A manifest ``manifests/HOST/NAMESPACE/MODEL/TAG`` lists layers, whose content is ``blobs/sha256-...``."""
    manifests = folder / "manifests"
    for where, folders, names in os.walk(manifests):
        folders.sort()
        for name in sorted(names):
            path = Path(where, name)
            layers = _json(path).get("layers")
            blobs = _blobs(layers, folder / "blobs") if isinstance(layers, list) else {}
            if "model" in blobs:
                shown = _ollama_name(path.relative_to(manifests).parts)
                yield Found(shown, "ollama", blobs["model"], (blobs["model"],), blobs.get("projector"))


def _blobs(layers: list[Any], folder: Path) -> dict[str, Path]:
    """The files of the layers by kind (``application/vnd.ollama.image.model`` is a "model")."""
    found: dict[str, Path] = {}
    for layer in layers:
        if isinstance(layer, dict) and isinstance(layer.get("digest"), str):
            path = folder / layer["digest"].replace(":", "-")
            if path.is_file():
                found.setdefault(str(layer.get("mediaType")).rpartition(".")[2], path)
    return found


def _ollama_name(parts: tuple[str, ...]) -> str:
    """``llama3.2:3b`` for Ollama's own library, ``user/model:tag`` and ``hf.co/user/model:tag`` for others."""
    *place, model, tag = parts
    if place[:1] == ["registry.ollama.ai"]:
        place = place[1:]
    if place == ["library"]:
        place = []
    return "/".join([*place, model]) + f":{tag}"


# -- Hugging Face, llama.cpp ----------------------------------------------------------------------------------------


def _huggingface_folder() -> Path | None:
    """https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables"""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(name, "").strip():
            return Path(os.environ[name]).expanduser()
    if os.environ.get("HF_HOME", "").strip():
        return Path(os.environ["HF_HOME"]).expanduser() / "hub"
    cache = _cache_folder(plain=True)
    return cache and cache / "huggingface" / "hub"


def _huggingface(folder: Path | None) -> Iterator[Found]:
    """``models--ORG--NAME/snapshots/REVISION/FILE``; of several revisions, the one ``refs/main`` names comes first."""
    for repository in sorted(folder.glob("models--*")) if folder else ():
        name = repository.name.removeprefix("models--").replace("--", "/")
        main = _text(repository / "refs" / "main").strip()
        revisions = sorted((repository / "snapshots").glob("*"), key=lambda r: (r.name != main, r.name))
        shown: set[str] = set()
        for revision in revisions:
            for found in _folder(revision, "huggingface", prefix=f"{name}/"):
                if found.id not in shown:
                    shown.add(found.id)
                    yield found


def _llamacpp_folder() -> Path | None:
    chosen = os.environ.get("LLAMA_CACHE", "").strip()
    if chosen:
        return Path(chosen).expanduser()
    cache = _cache_folder()
    return cache and cache / "llama.cpp"


def _cache_folder(*, plain: bool = False) -> Path | None:
    """The user's cache folder: the system's own place, or with `plain` the Unix one everywhere."""
    user = home()
    if not plain and sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return Path(local) if local else None
    if not plain and sys.platform == "darwin":
        return user and user / "Library" / "Caches"
    chosen = os.environ.get("XDG_CACHE_HOME", "").strip()
    return Path(chosen) if chosen else user and user / ".cache"


# -- small files ----------------------------------------------------------------------------------------------------


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):  # absent, not ours to read, or no text: then it says nothing
        return ""


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(_text(path) or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
