"""What is known of one model file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from unified_llm.local_models.gguf import FILE_TYPES

__all__ = ["EMBEDDING_ARCHITECTURES", "FIRST_MODEL", "LocalModel", "described"]

FIRST_MODEL: Final = "Qwen/Qwen3-0.6B-GGUF"
"""A first model that every machine can run: one file of 0.6 GB (Q8_0)."""

Kind = Literal["chat", "embedding", "rerank"]

# Encoders: they have no way to write text, whatever else their header says.
EMBEDDING_ARCHITECTURES = frozenset(
    {
        "bert", "modern-bert", "nomic-bert", "nomic-bert-moe", "neo-bert", "jina-bert-v2", "jina-bert-v3", "eurobert",
        "gemma-embedding", "llama-embed", "t5encoder",
    }
)  # fmt: skip
_NO_MODELS = frozenset({"clip", "mmproj", "adapter", "imatrix", "vocab"})
_QUANTIZATION = re.compile(r"(?<![A-Z0-9])(I?Q\d(?:_[A-Z0-9]+)*|BF16|F16|F32|MXFP4|TQ\d_0)(?![A-Z0-9])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A GGUF model on this machine. None means not known (the header is not read yet, or does not say).

    Attributes:
        id: how the store it lies in calls it; accepted as a model name.
        path: the file (of a model in several files, the first).
        store: unified-llm, lmstudio, ollama, huggingface, llama.cpp, or folder.
        size_bytes: all files of the model.
        kind: chat, embedding or rerank.
        context_length: tokens the model was trained for.
        pooling: llama.cpp's number for how token vectors become one (1 mean, 2 first, 3 last, 4 rank).
        mmproj: the file that lets the model see or hear, when exactly one lies beside it.
        error: why it cannot be used, or None. Such a model is listed, and loading it fails.
    """

    id: str
    path: Path
    store: str
    size_bytes: int
    kind: Kind | None = None
    name: str | None = None
    architecture: str | None = None
    context_length: int | None = None
    embedding_length: int | None = None
    pooling: int | None = None
    has_chat_template: bool | None = None
    quantization: str | None = None
    parameters: str | None = None
    mmproj: Path | None = None
    error: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False, hash=False)


def described(metadata: Mapping[str, Any], file_name: str) -> dict[str, Any] | None:
    """The fields of `LocalModel` that a header tells, or None when the file holds no model to talk to."""
    architecture = metadata.get("general.architecture")
    if architecture in _NO_MODELS or metadata.get("general.type") in _NO_MODELS:
        return None
    pooling = metadata.get(f"{architecture}.pooling_type")
    return {
        "kind": _kind(architecture, pooling, f"{metadata.get('general.name')} {file_name}"),
        "name": metadata.get("general.name") or None,
        "architecture": architecture,
        "context_length": metadata.get(f"{architecture}.context_length"),
        "embedding_length": metadata.get(f"{architecture}.embedding_length"),
        "pooling": pooling,
        "has_chat_template": bool(metadata.get("tokenizer.chat_template")),
        "quantization": _quantization(metadata, file_name),
        "parameters": metadata.get("general.size_label") or None,
        "metadata": metadata,
    }


def _kind(architecture: str | None, pooling: int | None, names: str) -> Kind:
    if pooling == 4 or re.search(r"re-?rank", names, re.IGNORECASE):
        return "rerank"
    if architecture in EMBEDDING_ARCHITECTURES or pooling:
        return "embedding"
    return "chat"


def _quantization(metadata: Mapping[str, Any], file_name: str) -> str | None:
    """The header's, which names only the usual ones, else the file name's."""
    known = FILE_TYPES.get(metadata.get("general.file_type", -1))
    match = _QUANTIZATION.findall(file_name)
    return known or (match[-1].upper() if match else None)
