"""LlamaIndex embeddings for every provider of unified-llm."""

from llama_index.embeddings.unified_llm.base import UnifiedLLMEmbedding

__all__ = ["UnifiedLLMEmbedding"]
