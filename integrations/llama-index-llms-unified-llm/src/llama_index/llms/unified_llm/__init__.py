"""LlamaIndex `LLM` for every provider of unified-llm."""

from llama_index.llms.unified_llm.base import UnifiedLLM

__all__ = ["UnifiedLLM"]
