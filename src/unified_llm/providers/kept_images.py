"""Images kept between calls, up to so many bytes: a history is sent again with every turn."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from unified_llm.forks import renew_in_child

__all__ = ["KeptImages"]

K = TypeVar("K", bound=Hashable)


class KeptImages(Generic[K]):
    """Images with their media types. Beyond `limit` bytes those go that were not asked for the longest time.

    Safe to share between threads.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._images: OrderedDict[K, tuple[bytes, str]] = OrderedDict()
        self._lock = threading.Lock()
        renew_in_child(self)

    def after_fork(self) -> None:
        """See `Forkable`."""
        self._lock = threading.Lock()

    def get(self, key: K) -> tuple[bytes, str] | None:
        """The image and its media type, or None."""
        with self._lock:
            found = self._images.get(key)
            if found is not None:
                self._images.move_to_end(key)
            return found

    def put(self, key: K, data: bytes, media_type: str) -> None:
        """Keep an image; one that is larger than the limit is not."""
        with self._lock:
            if (old := self._images.pop(key, None)) is not None:
                self._size -= len(old[0])
            if len(data) > self._limit:
                return
            self._images[key] = (data, media_type)
            self._size += len(data)
            while self._size > self._limit:
                _, (dropped, _) = self._images.popitem(last=False)
                self._size -= len(dropped)
