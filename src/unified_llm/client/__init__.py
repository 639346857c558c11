"""`UnifiedLLM`: the façade. Resolves the model, reads attachments, hands the request to a provider. Sync and async."""

from __future__ import annotations

from unified_llm.client.base import Messages, Tools
from unified_llm.client.facade import UnifiedLLM

__all__ = ["Messages", "Tools", "UnifiedLLM"]
