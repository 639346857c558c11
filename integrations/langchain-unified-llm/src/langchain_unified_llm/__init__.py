"""LangChain chat model, embeddings and reranking for every backend of unified-llm.

from langchain_unified_llm import ChatUnifiedLLM, UnifiedLLMEmbeddings, UnifiedLLMRerank
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from langchain_unified_llm import translators
from langchain_unified_llm._version import __version__
from langchain_unified_llm.chat_models import ChatUnifiedLLM
from langchain_unified_llm.registration import register

if TYPE_CHECKING:
    from langchain_unified_llm.embeddings import UnifiedLLMEmbeddings
    from langchain_unified_llm.rerank import UnifiedLLMRerank

translators.install()

__all__ = ["ChatUnifiedLLM", "UnifiedLLMEmbeddings", "UnifiedLLMRerank", "__version__", "register"]


_HOMES = {"UnifiedLLMEmbeddings": "embeddings", "UnifiedLLMRerank": "rerank"}


def __getattr__(name: str) -> Any:
    """What not everybody needs is imported when it is asked for: building a pydantic class takes its time."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found  # the next look finds it without this function
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
