"""What ``unified-llm models pull`` does: a download with a progress bar, and what to do with the model then."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from unified_llm.cli.exits import ExitCode
from unified_llm.cli.failures import Leave
from unified_llm.cli.output import Output, is_terminal
from unified_llm.client import UnifiedLLM
from unified_llm.detection import split_model_ref
from unified_llm.local_models import LocalModel, PullProgress, find_models, model_folder, pull, read_model
from unified_llm.responses import ModelInfo

__all__ = ["pull_model"]


def pull_model(reference: str, out: Output) -> None:
    """Download `reference`; what came of it goes to stdout, the progress to stderr.

    ``ollama:NAME`` asks a running Ollama to download NAME from its registry; everything else is a repository of
    Hugging Face, and the file is kept here.

    Raises:
        UnifiedLLMError: see `unified_llm.local_models.pull` and `OllamaProvider.pull`.
        Leave: interrupted, with exit code 130. What has come is kept.
    """
    provider, name = split_model_ref(reference)
    with _interruptible(out), _progress(out) as report:
        if provider == "ollama" and name:
            _tell_ollama(_pull_by_ollama(name, report), out)
        else:
            _tell_local(pull(reference, progress=report), out)


@contextmanager
def _interruptible(out: Output) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        if out.json:
            out.data({"error": {"type": "KeyboardInterrupt", "message": "interrupted", "exit_code": 130}}, compact=True)
        out.note("interrupted; the same command goes on where it stopped")
        raise Leave(ExitCode.INTERRUPTED) from None


def _pull_by_ollama(name: str, report: Callable[[PullProgress], None]) -> ModelInfo:
    with UnifiedLLM("offline") as llm:  # another provider is asked, with the settings that a client reads
        return llm.get_provider("ollama").pull(name, progress=report)


def _tell_ollama(model: ModelInfo, out: Output) -> None:
    if out.json:
        out.data({"ref": model.ref, "kind": model.kind})
        return
    out.line(model.ref)
    out.note(f'next: unified-llm {_verb(model.kind)} --model {model.ref} "Hello"')


def _tell_local(path: Path, out: Output) -> None:
    model = _as_listed(path)
    if out.json:
        out.data({"path": str(path), "ref": f"local:{model.id}", "size_bytes": model.size_bytes, "kind": model.kind})
        return
    out.line(str(path))
    out.note(f'next: unified-llm {_verb(model.kind)} --model local:{model.id} "Hello"')


def _verb(kind: str | None) -> str:
    return "embed" if kind == "embedding" else "chat"


def _as_listed(path: Path) -> LocalModel:
    """The model under the name that `models list` gives it."""
    return next((m for m in find_models([model_folder()]) if m.path == path), None) or read_model(path)


@contextmanager
def _progress(out: Output) -> Iterator[Callable[[PullProgress], None]]:
    if out.json or not is_terminal(sys.stderr):
        yield _steps(out)
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(file=sys.stderr)) as bars:
        tasks: dict[str, object] = {}

        def report(now: PullProgress) -> None:
            if now.file not in tasks:
                part = f" ({now.number} of {now.count})" if now.count > 1 else ""
                tasks[now.file] = bars.add_task(f"{now.file}{part}", total=now.total)
            bars.update(tasks[now.file], completed=now.received)  # type: ignore[arg-type]  # its own id, given back

        yield report


def _steps(out: Output) -> Callable[[PullProgress], None]:
    """Where a bar cannot move: one line at the start of each file, and one every tenth of it."""
    last: dict[str, int] = {}

    def report(now: PullProgress) -> None:
        tenth = 10 * now.received // now.total if now.total else 0
        if tenth > last.get(now.file, -1):
            last[now.file] = tenth
            total = f" of {now.total / 1e6:.1f} MB" if now.total else ""
            out.note(f"{now.file}: {now.received / 1e6:.1f}{total or ' MB'}")

    return report
