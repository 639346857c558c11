"""The models of this machine: all of them, the one somebody means, and the one to use when nobody says."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from unified_llm.errors import ConfigurationError
from unified_llm.local_models.gguf import read_gguf_metadata
from unified_llm.local_models.memory import available_memory
from unified_llm.local_models.models import Kind, LocalModel, described
from unified_llm.local_models.stores import Found, stored_files

__all__ = ["best_model", "describe", "find_model", "find_models", "read_model"]

_MOST_CANDIDATES = 12


def find_models(folders: Iterable[Path | str] | None = None) -> list[LocalModel]:
    """Every GGUF model of `folders`, or of all stores of this machine (see `stores.stored_files`).

    Projectors, adapters and the later files of models in several files are no models. A model whose header cannot be
    read is listed with its `error`; nothing is raised for it.
    """
    return [model for found in stored_files(folders) if (model := describe(found)) is not None]


def read_model(path: Path | str) -> LocalModel:
    """The model in the file `path`, which may be a link.

    Raises:
        ConfigurationError: no such file, or one that is no GGUF model.
    """
    file = Path(path).expanduser()
    siblings = stored_files([file.parent]) if file.is_file() else iter(())
    found = next((f for f in siblings if f.path.name == file.name), Found(file.name, "folder", file, (file,)))
    model = describe(found)
    if model is None:
        raise ConfigurationError(
            f"{file} is a part of a model, not a model",
            hint="name the model's own file; projectors (mmproj) and adapters cannot run alone",
        )
    if model.error:
        raise ConfigurationError(
            f"{file} cannot be used: {model.error}", hint="download it again, or name another file"
        )
    return model


def _usable_or_raise(model: LocalModel) -> LocalModel:
    if model.error is None:
        return model
    raise ConfigurationError(
        f"{model.path} cannot be used: {model.error}", hint="download it again, or name another model"
    )


def describe(found: Found) -> LocalModel | None:
    """`found` with what its header tells; None when it holds no model. Headers are remembered until a file changes."""
    size, error, fields = 0, found.error, None
    try:
        size = sum(part.stat().st_size for part in found.parts)
        stat = found.path.stat()
        fields = _header(found.path, stat.st_mtime_ns, stat.st_size)
        if fields is None:
            return None
    except ConfigurationError as exc:
        error = error or exc.message
    except OSError as exc:
        error = error or f"it cannot be read ({exc.strerror})"
    return LocalModel(
        id=found.id,
        path=found.path,
        store=found.store,
        size_bytes=size,
        mmproj=found.mmproj,
        error=error,
        **(fields or {}),
    )


@functools.lru_cache(maxsize=1024)
def _header(path: Path, _changed: int, _size: int) -> dict[str, Any] | None:
    return described(read_gguf_metadata(path), path.name)


# -- the one somebody means -----------------------------------------------------------------------------------------


def find_model(reference: str, folders: Iterable[Path | str] | None = None) -> LocalModel:
    """The model `reference` means: a path, an id, a file name, ``publisher/model``, or a part of exactly one id.

    Raises:
        ConfigurationError: no such model (the hint lists some), several (it lists them), or an unusable file.
    """
    if reference.lower().endswith(".gguf") and Path(reference).expanduser().is_file():
        return read_model(reference)
    files = list(stored_files(folders))
    matches = _matches(reference, files)
    models = [model for found in matches if (model := describe(found)) is not None]
    if len(models) == 1:
        return _usable_or_raise(models[0])
    raise _ambiguous(reference, models) if models else _unknown(reference, files)


def _matches(reference: str, files: Sequence[Found]) -> list[Found]:
    """Files of the first meaning of `reference` that fits any. Case does not matter, nor does a missing ``.gguf``."""
    wanted = _key(reference)
    meanings: tuple[Callable[[Found], bool], ...] = (
        lambda f: _key(f.id) == wanted,
        lambda f: _key(f.id) == f"{wanted}:latest",
        lambda f: _key(f.path.name) == wanted,
        lambda f: _key(f.id).rpartition("/")[0] == wanted,
        lambda f: wanted in _key(f.id),
    )
    for fits in meanings:
        if matches := [found for found in files if fits(found)]:
            return matches
    return []


def _key(name: str) -> str:
    return name.strip().replace(os.sep, "/").lower().removesuffix(".gguf")


def _listed(ids: Iterable[str]) -> str:
    names = sorted(ids)
    more = len(names) - _MOST_CANDIDATES
    return ", ".join(names[:_MOST_CANDIDATES]) + (f" and {more} more" if more > 0 else "")


def _ambiguous(reference: str, models: Sequence[LocalModel]) -> ConfigurationError:
    return ConfigurationError(
        f"{reference!r} may mean {len(models)} models of this machine",
        model=reference,
        hint=f"name one of them: {_listed(m.id for m in models)}",
    )


def _unknown(reference: str, files: Sequence[Found]) -> ConfigurationError:
    hint = f"found: {_listed(f.id for f in files)}; or download one: " if files else "none was found; download one: "
    return ConfigurationError(
        f"no GGUF model on this machine is called {reference!r}",
        model=reference,
        hint=f"{hint}unified-llm models pull REPO[:FILE]",
    )


# -- the one to use when nobody says --------------------------------------------------------------------------------


def best_model(
    folders: Iterable[Path | str] | None = None, *, kind: Kind = "chat", memory: int | None = None
) -> LocalModel | None:
    """The model to use when nobody names one, or None when there is none.

    The largest whose files take at most half of the available memory (`memory`, in bytes, else what the system says):
    size is the best guess of quality, and the other half is for the context and for other programs. When all are
    larger than that, the smallest, if it fits at all. A chat model must have a chat template: a model without one
    only continues texts. Only the headers of the likeliest files are read.
    """
    memory = available_memory() if memory is None else memory
    files = sorted(stored_files(folders), key=_size, reverse=True)
    if memory is not None:
        fitting = [f for f in files if _size(f) <= memory / 2]
        files = fitting + [f for f in reversed(files) if memory / 2 < _size(f) <= memory]
    return next(_usable(files, kind), None)


def _usable(files: Iterable[Found], kind: Kind) -> Iterator[LocalModel]:
    for found in files:
        model = describe(found)
        if model and not model.error and model.kind == kind and (kind != "chat" or model.has_chat_template):
            yield model


def _size(found: Found) -> int:
    try:
        return sum(part.stat().st_size for part in found.parts)
    except OSError:  # gone since it was listed: `describe` says so
        return 0
