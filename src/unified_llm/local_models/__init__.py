"""GGUF models on this machine: found in the folders of the programs that keep them, described, and downloaded."""

from __future__ import annotations

from unified_llm.local_models.discovery import best_model, find_model, find_models, read_model
from unified_llm.local_models.download import PullProgress, pull
from unified_llm.local_models.gguf import read_gguf_metadata
from unified_llm.local_models.models import FIRST_MODEL, LocalModel
from unified_llm.local_models.stores import model_folder

__all__ = [
    "FIRST_MODEL",
    "LocalModel",
    "PullProgress",
    "best_model",
    "find_model",
    "find_models",
    "model_folder",
    "pull",
    "read_gguf_metadata",
    "read_model",
]
