"""The header of a GGUF file: what kind of model it holds, read without its tensors and without another package.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. A header is a magic number, a version, two counts
and a list of typed key-value pairs; the vocabulary is among them, so it is some megabytes long, and most of the work
here is stepping over strings.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from unified_llm.errors import ConfigurationError

__all__ = ["FILE_TYPES", "read_gguf_metadata"]

_SCALARS: Final = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_KEPT_ITEMS: Final = 64
"""Longer arrays (vocabularies, merges, scores) are stepped over; their value is their length."""

# enum llama_ftype of llama.cpp's include/llama.h
FILE_TYPES: Final[Mapping[int, str]] = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
    13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS",
    21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S",
    29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4", 39: "NVFP4",
}  # fmt: skip


def read_gguf_metadata(path: Path) -> dict[str, Any]:
    """Every key of the header of `path`. Arrays of more than 64 items are given as their length.

    Raises:
        ConfigurationError: no GGUF file, one of a version nobody reads any more, or one that ends in its header.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        magic = file.read(4)
        if magic != b"GGUF":
            what = f"no GGUF file: it begins with {magic!r}" if magic else "empty"
            raise ConfigurationError(f"{path} is {what}", hint=_OTHER_FORMATS)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Reader(data, path).metadata()


_OTHER_FORMATS = (
    "llama.cpp runs GGUF files only; most models have a repository with GGUF files: unified-llm models pull REPO"
)


class _Reader:
    def __init__(self, data: mmap.mmap, path: Path) -> None:
        self._data = data
        self._path = path
        self._at = 4

    def metadata(self) -> dict[str, Any]:
        try:
            version = self._scalar("I")
            if version not in (2, 3):
                raise self._broken(f"is GGUF version {version if version < 100 else 'of the other byte order'}")
            _tensors, pairs = self._scalar("Q"), self._scalar("Q")
            found: dict[str, Any] = {}
            for _ in range(pairs):
                key = self._string()
                found[key] = self._value(self._scalar("I"))
        except (struct.error, IndexError, OverflowError) as exc:
            raise self._broken("ends in the middle of its header") from exc
        return found

    def _scalar(self, code: str) -> Any:
        (value,) = struct.unpack_from("<" + code, self._data, self._at)
        self._at += struct.calcsize("<" + code)
        return value

    def _string(self) -> str:
        length = self._scalar("Q")
        self._at += length
        if self._at > len(self._data):
            raise IndexError(self._at)
        return self._data[self._at - length : self._at].decode("utf-8", "replace")

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            return self._array(self._scalar("I"), self._scalar("Q"))
        if kind not in _SCALARS:
            raise self._broken(f"has a value of the unknown type {kind}")
        return self._scalar(_SCALARS[kind])

    def _array(self, kind: int, count: int) -> Any:
        if count <= _KEPT_ITEMS or kind == _ARRAY:
            return [self._value(kind) for _ in range(count)]
        if kind == _STRING:
            self._skip_strings(count)
        else:
            self._at += count * struct.calcsize("<" + _SCALARS[kind])
        return count

    def _skip_strings(self, count: int) -> None:
        at, length_at, data = self._at, struct.Struct("<Q").unpack_from, self._data
        for _ in range(count):  # 150,000 turns for a usual vocabulary: 20 ms
            at += 8 + length_at(data, at)[0]
        self._at = at

    def _broken(self, what: str) -> ConfigurationError:
        return ConfigurationError(f"{self._path} {what}", hint="download it again, or delete it if it is not needed")
