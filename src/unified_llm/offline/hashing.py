"""Embeddings by feature hashing: no model, no data, the same vector in every process and on every machine.

A text becomes a bag of features (words, pairs of neighbouring words, character n-grams); each feature adds its weight
to one of the dimensions, with a sign, both taken from a BLAKE2 digest (Weinberger et al. 2009, "Feature Hashing for
Large Scale Multitask Learning"). Texts that share words, or inflections of a word, end up near each other by cosine;
synonyms do not.
"""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

__all__ = ["DEFAULT_DIMENSIONS", "embed_text"]

DEFAULT_DIMENSIONS = 256

_WORD = re.compile(r"\w+")
_SHORT_WORD = 3  # "the", "of", "is", "le", "und": the words that every text has are short in most languages
_SHORT_WEIGHT = 0.25
_PAIR_WEIGHT = 0.5
_GRAM_WEIGHT = 0.3


def embed_text(text: str, dimensions: int = DEFAULT_DIMENSIONS) -> array[float]:
    """The vector of `text`: `dimensions` float32 numbers, length (L2 norm) 1."""
    sums = [0.0] * dimensions
    for feature, weight in _features(text):
        code = _code(feature)
        sums[(code >> 1) % dimensions] += weight if code & 1 else -weight
    norm = math.sqrt(sum(s * s for s in sums))
    if norm == 0.0:  # signs may cancel out when there are very few dimensions
        return array("f", [1.0] + [0.0] * (dimensions - 1))
    return array("f", [s / norm for s in sums])


def _features(text: str) -> Iterator[tuple[str, float]]:
    words = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    if not words:
        yield f"blank {text.strip()}", 1.0  # nothing but punctuation or blanks: still a vector, its own
        return
    for word, count in Counter(words).items():
        weight = 1.0 + math.log(count)  # a word said ten times is not ten times as important
        if len(word) <= _SHORT_WORD and word.isascii():
            weight *= _SHORT_WEIGHT
        yield f"word {word}", weight
        yield from ((f"gram {gram}", weight * _GRAM_WEIGHT) for gram in _grams(word))
    yield from ((f"pair {first} {second}", _PAIR_WEIGHT) for first, second in pairwise(words))


def _grams(word: str) -> Iterator[str]:
    """Runs of three and four characters, word ends marked: "cats" and "cat" share "^ca", "cat" and "^cat"."""
    marked = f"^{word}$"
    for size in (3, 4):
        for start in range(len(marked) - size + 1):
            yield marked[start : start + size]


@lru_cache(maxsize=65536)
def _code(feature: str) -> int:
    return int.from_bytes(hashlib.blake2b(feature.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
