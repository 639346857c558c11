"""Downloads of GGUF models from the Hugging Face hub, which go on where they were interrupted.

huggingface_hub knows repositories, tokens and mirrors; the bytes are fetched here, because since its version 2 a
download that is interrupted begins anew (https://github.com/huggingface/huggingface_hub/pull/4228).
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Final, TypeAlias

from unified_llm.errors import APIConnectionError, ConfigurationError, ResponseError
from unified_llm.local_models.hub import HubFile, Repository, choose_files, open_repository, refused, split_reference
from unified_llm.local_models.stores import model_folder

if TYPE_CHECKING:
    import httpx

__all__ = ["PullProgress", "pull"]

_FRUITLESS: Final = 5
"""Attempts in a row that bring nothing, before a download is given up."""


@dataclass(frozen=True, slots=True)
class PullProgress:
    """How far a download is: bytes of `file`, which is the `number`th (from 1) of `count`. `total` None: not known."""

    file: str
    received: int
    total: int | None
    number: int
    count: int


Progress: TypeAlias = Callable[[PullProgress], None]


def pull(
    reference: str,
    *,
    folder: Path | str | None = None,
    progress: Progress | None = None,
    token: str | bool | None = None,
) -> Path:
    """Download the model ``OWNER/NAME[:FILE]`` and return its (first) file.

    FILE is a file name or a part of one, such as ``Q8_0``; without it Q4_K_M is taken, or what comes nearest. All
    parts of a model in several files are fetched, below ``folder/OWNER/NAME/``. Files that are there are left alone;
    a file that came in part is continued, and checked as a whole.

    Args:
        folder: by default `stores.model_folder`, where `find_models` looks.
        progress: called as bytes arrive, in this thread; what it raises ends the download.
        token: of the hub; by default HF_TOKEN or the stored login. False sends none.

    Raises:
        ConfigurationError: no such file in the repository (the hint lists them), no room, or the same download runs.
        ModelNotFoundError, PermissionDeniedError, APIConnectionError, MissingDependencyError: see `open_repository`.
        ResponseError: what came is not the file (its checksum differs).
    """
    name, wanted = split_reference(reference)
    repository = open_repository(name, token=token)
    files = choose_files(repository, wanted)
    base = (Path(folder).expanduser() if folder is not None else model_folder()) / name
    targets = [(file, base / _safe(file.name)) for file in files]
    for number, (file, target) in enumerate(targets, start=1):
        _fetch(repository, file, target, _reporter(progress, file, number, len(files)))
    return targets[0][1]


def _safe(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise ResponseError(f"the hub named a file {name!r}, which leads out of its folder", hint="do not trust it")
    return path


def _reporter(progress: Progress | None, file: HubFile, number: int, count: int) -> Callable[[int], None]:
    def report(received: int) -> None:
        if progress is not None:
            progress(PullProgress(file.name, received, file.size, number, count))

    return report


def _fetch(repository: Repository, file: HubFile, target: Path, report: Callable[[int], None]) -> None:
    """Bring `file` to `target`: into ``target.part`` first, and whole or not at all into place."""
    if target.is_file() and (file.size is None or target.stat().st_size == file.size):
        report(target.stat().st_size)
        return
    # The part is called after the content, so that a file that has changed meanwhile is not continued.
    part = target.with_name(f"{target.name}.{(file.sha256 or repository.revision)[:12]}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    with part.open("ab") as out:
        _lock(out, target)
        _check_room(file, out.tell(), part)
        _receive_all(repository, file, out, report)
    _check_content(file, part)
    part.replace(target)


def _receive_all(repository: Repository, file: HubFile, out: IO[bytes], report: Callable[[int], None]) -> None:
    """Fetch what is missing, again and again while that brings anything."""
    import httpx

    fruitless = 0
    report(out.tell())
    with httpx.Client(follow_redirects=True, timeout=30) as client:
        while file.size is None or out.tell() < file.size:
            before = out.tell()
            try:
                _receive(client, repository, file, out, report)
                if file.size is None:
                    return
                problem = f"the connection ended after {out.tell()} of {file.size} bytes"
            except httpx.TransportError as exc:
                problem = f"{type(exc).__name__}: {exc}"
            fruitless = 0 if out.tell() > before else fruitless + 1
            if fruitless == _FRUITLESS:
                raise APIConnectionError(
                    f"{file.name} cannot be fetched: {problem}", hint="pull it again: it goes on where it stopped"
                )
            time.sleep(min(2**fruitless - 1, 8))


def _receive(
    client: httpx.Client, repository: Repository, file: HubFile, out: IO[bytes], report: Callable[[int], None]
) -> None:
    start = out.tell()
    headers = {**repository.headers, "accept-encoding": "identity"}
    if start:
        headers["range"] = f"bytes={start}-"
    with client.stream("GET", repository.url(file), headers=headers) as reply:
        if start and reply.status_code == 200:  # ranges are not served here
            out.seek(0)
            out.truncate()
        elif reply.status_code not in (200, 206):
            raise refused(repository.id, reply.status_code)
        for chunk in reply.iter_raw():  # as it comes: what is collected first is lost when the connection breaks
            out.write(chunk)
            report(out.tell())


def _check_room(file: HubFile, received: int, part: Path) -> None:
    missing = (file.size or 0) - received
    free = shutil.disk_usage(part.parent).free
    if missing > free:
        raise ConfigurationError(
            f"{file.name} needs {missing} bytes more, and {part.parent} has {free}",
            hint="make room, choose a smaller file, or set UNIFIED_LLM_MODELS to a folder on another disk",
        )


def _check_content(file: HubFile, part: Path) -> None:
    """Compare checksums where the hub tells one. What differs is deleted: continuing it would not help."""
    size = part.stat().st_size
    same = file.size is None or size == file.size
    if same and file.sha256 is not None:
        with part.open("rb") as content:
            same = hashlib.file_digest(content, "sha256").hexdigest() == file.sha256
    if not same:
        part.unlink()
        raise ResponseError(
            f"what came is not {file.name}: {size} bytes with another checksum",
            hint="pull it again; if that does not help, the hub or a proxy on the way serves a damaged file",
        )


def _lock(file: IO[bytes], target: Path) -> None:
    """Hold `file` until it is closed: two programs that append to it would spoil it. Raises `ConfigurationError`."""
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            file.seek(0, 2)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        raise ConfigurationError(
            f"{target} is being downloaded by another program", hint="wait for it, or stop it"
        ) from exc
