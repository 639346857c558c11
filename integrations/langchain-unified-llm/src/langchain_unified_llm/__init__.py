"""LangChain chat model, embeddings and reranking for every backend of unified-llm.

from langchain_unified_llm import ChatUnifiedLLM, UnifiedLLMEmbeddings, UnifiedLLMRerank
"""

from typing import TYPE_CHECKING, Any

from langchain_unified_llm import translators
from langchain_unified_llm._version import __version__
from langchain_unified_llm.chat_models import ChatUnifiedLLM
from langchain_unified_llm.embeddings import UnifiedLLMEmbeddings
from langchain_unified_llm.registration import register

if TYPE_CHECKING:
    from langchain_unified_llm.rerank import UnifiedLLMRerank

translators.install()

__all__ = ["ChatUnifiedLLM", "UnifiedLLMEmbeddings", "UnifiedLLMRerank", "__version__", "register"]


def __getattr__(name: str) -> Any:
    """`UnifiedLLMRerank` is imported when it is asked for: few need it, and it is a tenth of the whole import."""
    if name != "UnifiedLLMRerank":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from langchain_unified_llm.rerank import UnifiedLLMRerank

    globals()[name] = UnifiedLLMRerank  # the next look finds it without this function
    return UnifiedLLMRerank


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
