"""Whom a chat asks, told before the answer is complete and says so itself."""

from __future__ import annotations

import asyncio
import logging

from unified_llm import UnifiedLLM
from unified_llm.detection import split_model_ref
from unified_llm.errors import UnifiedLLMError

__all__ = ["provider_and_model"]

logger = logging.getLogger("unified_llm_mcp")

PATIENCE = 2.0
"""Seconds that a server gets to say which model it takes when none is named."""


async def provider_and_model(client: UnifiedLLM, ref: str, told: str | None) -> tuple[str, str]:
    """The provider and the model that a chat with the model `ref` asks; "" for what cannot be known yet.

    Args:
        ref: ``provider:model``, each of which may be missing.
        told: the model that the beginning of the answer named, which counts where `ref` names none.
    """
    provider, model = split_model_ref(ref)
    model = model or told
    try:
        async with asyncio.timeout(PATIENCE):
            provider = provider or await client.get_provider_async()
            model = model or await _default_model(client, provider)
    except (UnifiedLLMError, TimeoutError) as error:  # the answer will say, or fail for the same reason
        logger.info("whom a chat asks is not known yet: %s", error)
    return provider or "", model or ""


async def _default_model(client: UnifiedLLM, provider: str) -> str | None:
    if provider == client.current_provider and client.current_model:
        return client.current_model
    return await (await client.get_provider_async(provider)).default_model_async()
