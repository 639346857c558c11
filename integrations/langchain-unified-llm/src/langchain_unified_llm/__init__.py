"""LangChain chat model, embeddings and reranking for every backend of unified-llm.

from langchain_unified_llm import ChatUnifiedLLM, UnifiedLLMEmbeddings, UnifiedLLMRerank
"""

from langchain_unified_llm import translators
from langchain_unified_llm._version import __version__
from langchain_unified_llm.chat_models import ChatUnifiedLLM
from langchain_unified_llm.embeddings import UnifiedLLMEmbeddings
from langchain_unified_llm.registration import register
from langchain_unified_llm.rerank import UnifiedLLMRerank

translators.install()

__all__ = ["ChatUnifiedLLM", "UnifiedLLMEmbeddings", "UnifiedLLMRerank", "__version__", "register"]
