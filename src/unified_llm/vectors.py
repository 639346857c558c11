"""What embeddings come back as: `Embedding`, a list of float, and `Embeddings`, packed float32."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

from unified_llm.usage import Adjustment, Usage

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Embedding", "Embeddings"]


class Embedding(list[float]):
    """One vector: a list of float, with the `model`, `provider` and `usage` of the call that made it."""

    model: str | None = None
    provider: str | None = None
    usage: Usage = Usage()

    @property
    def dimensions(self) -> int:
        """Length of the vector."""
        return len(self)


class Embeddings(Sequence[Embedding]):
    """Vectors in the order of the texts, kept as packed float32 until one is looked at.

    ``embeddings[i]`` is an `Embedding` (a list of float); `tolist` gives plain lists, `to_numpy` one float32 matrix
    of shape (texts, dimensions) without a copy per number. `latency` is in seconds, or None.
    """

    __slots__ = ("_cost", "adjustments", "latency", "model", "provider", "request_id", "usage", "vectors")

    def __init__(
        self,
        vectors: Sequence[array[float]],
        *,
        model: str | None = None,
        provider: str | None = None,
        usage: Usage | None = None,
        adjustments: tuple[Adjustment, ...] = (),
        request_id: str | None = None,
    ) -> None:
        self.vectors = list(vectors)
        self.model = model
        self.provider = provider
        self.usage = usage or Usage()
        self.adjustments = adjustments
        self.request_id = request_id
        self.latency: float | None = None
        self._cost: float | Callable[[], float | None] | None = None

    @property
    def cost(self) -> float | None:
        """USD, 0 for what runs on this machine, None when the price is not known."""
        if callable(self._cost):
            self._cost = self._cost()
        return self._cost

    @property
    def unlooked_cost(self) -> float | Callable[[], float | None] | None:
        """The cost, or what finds it: for those who count calls without waiting for a price list."""
        return self._cost

    def __getstate__(self) -> tuple[None, dict[str, Any]]:  # pickle and copy: what finds the cost holds the client
        return None, {name: getattr(self, name) for name in self.__slots__} | {"_cost": self.cost}

    def priced(self, cost: float | Callable[[], float | None] | None) -> Embeddings:
        """Set the cost, unless it is known already. Returns self."""
        if self._cost is None:
            self._cost = cost
        return self

    def __len__(self) -> int:
        return len(self.vectors)

    @overload
    def __getitem__(self, index: int) -> Embedding: ...
    @overload
    def __getitem__(self, index: slice) -> list[Embedding]: ...
    def __getitem__(self, index: int | slice) -> Embedding | list[Embedding]:
        if isinstance(index, slice):
            return [self._one(v) for v in self.vectors[index]]
        return self._one(self.vectors[index])

    def __iter__(self) -> Iterator[Embedding]:
        return map(self._one, self.vectors)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self.tolist() == [list(v) for v in other]

    __hash__ = None  # type: ignore[assignment]  # equal to lists, so as unhashable as they are

    def __repr__(self) -> str:
        return f"Embeddings({len(self)} x {self.dimensions or 0}, model={self.model!r}, provider={self.provider!r})"

    def _one(self, vector: array[float]) -> Embedding:
        one = Embedding(vector)
        one.model, one.provider, one.usage = self.model, self.provider, self.usage
        return one

    @property
    def dimensions(self) -> int | None:
        """Length of each vector, or None when there is none."""
        return len(self.vectors[0]) if self.vectors else None

    def tolist(self) -> list[list[float]]:
        """Plain lists of float."""
        return [v.tolist() for v in self.vectors]

    def to_numpy(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """A float32 matrix of shape (texts, dimensions).

        Raises:
            MissingDependencyError: numpy is not installed.
        """
        from unified_llm._optional import require

        numpy = require("numpy", extra="numpy", purpose="Embeddings.to_numpy()")
        matrix: np.ndarray[Any, np.dtype[np.float32]] = numpy.empty((len(self), self.dimensions or 0), "float32")
        for i, vector in enumerate(self.vectors):
            matrix[i] = numpy.frombuffer(vector, "float32")
        return matrix
