"""The progress of a download by Ollama: lines of JSON with a status, and bytes per layer of the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from unified_llm import _json
from unified_llm.codecs.errors import has_error, unusable_body
from unified_llm.codecs.fields import count_of
from unified_llm.codecs.ollama_reading import streamed_failure
from unified_llm.errors import ModelNotFoundError, StreamInterruptedError, UnifiedLLMError
from unified_llm.local_models import PullProgress
from unified_llm.wire import LineSplitter

__all__ = ["PullReader"]


class PullReader:
    """Bytes of ``/api/pull`` in, progress out. Raises the error that a line carries."""

    def __init__(self, provider: str, secrets: Callable[[], Sequence[str]]) -> None:
        self._provider = provider
        self._secrets = secrets
        self._lines = LineSplitter()
        self._layers: list[str] = []
        self._status = ""

    def feed(self, chunk: bytes) -> Iterator[PullProgress]:
        """The progress told by `chunk`."""
        for line in self._lines.feed(chunk):
            yield from self._take(line)

    def close(self) -> None:
        """Raise `StreamInterruptedError` unless the last word was success."""
        for line in self._lines.close():
            list(self._take(line))
        if self._status != "success":
            raise StreamInterruptedError(
                f"the download ended while {self._provider} said {self._status or 'nothing'!r}",
                provider=self._provider,
                hint="try again: what has come is kept, and the download goes on where it stopped",
            )

    def _take(self, line: bytes) -> Iterator[PullProgress]:
        try:
            value = _json.loads(line)
        except ValueError as exc:
            raise self._nonsense(line) from exc
        if has_error(value):
            raise self._failure(value)
        if not isinstance(value, dict) or not isinstance(value.get("status"), str):
            raise self._nonsense(line)
        self._status = value["status"]
        if isinstance(value.get("digest"), str):
            yield self._progress(value)

    def _progress(self, value: dict[str, Any]) -> PullProgress:
        """Layers are told one after the other, so that their number is only known at the end."""
        layer = value["digest"].removeprefix("sha256:")[:12]
        if layer not in self._layers:
            self._layers.append(layer)
        total = count_of(value.get("total"))
        return PullProgress(
            file=layer,
            received=count_of(value.get("completed")) or 0,
            total=total or None,
            number=self._layers.index(layer) + 1,
            count=len(self._layers),
        )

    def _failure(self, value: dict[str, Any]) -> UnifiedLLMError:
        error = streamed_failure(value, {}, provider=self._provider, secrets=self._secrets())
        if "file does not exist" not in error.message:
            return error
        return ModelNotFoundError(
            f"the registry has no such model ({error.message})",
            provider=self._provider,
            status=200,
            body=error.body,
            hint="check the name and the tag: https://ollama.com/library; hf.co/OWNER/NAME takes GGUF repositories",
        )

    def _nonsense(self, line: bytes) -> UnifiedLLMError:
        return unusable_body(
            200, {}, line, provider=self._provider, why="a line without a status", secrets=self._secrets()
        )
