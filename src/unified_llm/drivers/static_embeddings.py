"""Embeddings without a model server: the static word vectors that the package wordllama carries in its wheel."""

from __future__ import annotations

import logging
import threading
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from unified_llm._optional import require
from unified_llm.forks import renew_in_child

__all__ = ["DIMENSIONS", "StaticEmbedder"]

DIMENSIONS: Final = (64, 128, 256)
"""Lengths the vectors were trained for: the first 64 or 128 numbers of a vector are a vector, too (Matryoshka)."""


class StaticEmbedder:
    """A text's vector is the mean of its tokens' vectors, of length 1. The vectors are read once per process.

    The model (l2_supercat, 256 dimensions, 16 MB) lies in the wheel; nothing is downloaded. Order of words does not
    count, and a text without tokens gets the zero vector.
    """

    _lock = threading.Lock()
    _model: Any = None

    @classmethod
    def after_fork(cls) -> None:
        """See `Forkable`."""
        cls._lock = threading.Lock()

    @classmethod
    def embed(cls, texts: Sequence[str], dimensions: int = 256) -> tuple[list[array[float]], int]:
        """The vectors, packed float32, and the number of tokens they were made of.

        Raises:
            MissingDependencyError: wordllama is not installed.
        """
        model = cls._loaded()
        vectors, tokens = [], 0
        for text in texts:
            # One by one: batches are padded to their longest text, and threads of the tokenizer survive no fork.
            ids = model.tokenizer.encode(text, add_special_tokens=False).ids
            vectors.append(_mean(model.embedding, ids, dimensions))
            tokens += len(ids)
        return vectors, tokens

    @classmethod
    def _loaded(cls) -> Any:
        with cls._lock:
            if cls._model is None:
                cls._model = _load()
            return cls._model


renew_in_child(StaticEmbedder)


def _load() -> Any:
    with _logging_left_alone():
        wordllama = require("wordllama", extra="local", purpose="embedding without an embedding model")
        folder = Path(str(wordllama.__file__)).parent  # the weights are found there anyway, the tokenizer only if told
        return wordllama.WordLlama.load(cache_dir=folder, disable_download=True)


@contextmanager
def _logging_left_alone() -> Iterator[None]:
    """wordllama configures the root logger when it is imported; the logging of a program is its own business."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        yield
    finally:
        for handler in [h for h in root.handlers if h not in handlers]:
            root.removeHandler(handler)
        root.setLevel(level)


def _mean(embedding: Any, ids: Sequence[int], dimensions: int) -> array[float]:
    if not ids:
        return array("f", bytes(4 * dimensions))
    vector = embedding[ids, :dimensions].mean(axis=0)
    length = float((vector @ vector) ** 0.5)
    return array("f", (vector / length if length else vector).astype("float32").tobytes())
