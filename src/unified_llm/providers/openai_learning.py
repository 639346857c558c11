"""What a refusal of an OpenAI-style server teaches: how to ask this model, or which models there are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from unified_llm.codecs.error_rules import HINTS
from unified_llm.errors import InvalidRequestError, ModelNotFoundError, UnsupportedOptionError
from unified_llm.profiles import Profile
from unified_llm.requests import ChatRequest, EmbedRequest
from unified_llm.responses import ModelInfo

__all__ = ["advise", "lesson", "wants_advice"]

# "Extra inputs are not permitted" is all that servers built on pydantic say; which field it was is not in the message.
_UNKNOWN_FIELD = re.compile(
    "encoding_format|base64|(extra|additional) (input|field|propert)|(unknown|unexpected|unrecognized) (field|param)",
    re.IGNORECASE,
)
_OTHER_LIMIT = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}


def wants_advice(error: ModelNotFoundError, profile: Profile) -> bool:
    """Whether the model itself is missing, as its server says, and a list would tell which there are."""
    about_model = re.search(r"\bmodel|model_not_found", f"{error.code} {error.message}", re.IGNORECASE)
    return profile.lists_models and about_model is not None and error.hint == HINTS[ModelNotFoundError]


def advise(error: ModelNotFoundError, model: str, models: Sequence[ModelInfo]) -> None:
    """Name the models there are in the hint of `error`, the likeliest first.

    There is nothing to say when the list has the model: then something else is missing.
    """
    ids = [m.id for m in models]
    if not ids or model in ids:
        return
    near = get_close_matches(model, ids, n=3, cutoff=0.5)
    named = [*near, *(i for i in ids if i not in near)][:10]
    more = "; list_models() has them all" if len(ids) > len(named) else ""
    error.hint = f"the model is retired or misspelt; current ones: {', '.join(named)}{more}"


def lesson(
    error: InvalidRequestError | ModelNotFoundError, profile: Profile, request: ChatRequest | EmbedRequest
) -> dict[str, Any]:
    """What a refusal says about the profile: fields to change, or nothing."""
    if (
        profile.builtin_tools
        and profile.dialect == "chat"
        and re.search(r"only supported in v1/responses", error.message)
    ):
        return {"dialect": "responses"}
    if error.status not in (400, 422):
        return {}
    if isinstance(request, EmbedRequest):
        return {"embedding_base64": False} if profile.embedding_base64 and _UNKNOWN_FIELD.search(error.message) else {}
    if profile.reasoning_summary and request.config.thinking and re.search(r"reasoning.summar", error.message):
        return {"reasoning_summary": False}  # organisations that are not verified get none
    if profile.encrypted_reasoning and "ncrypted content is not supported" in error.message:
        return {"encrypted_reasoning": False}
    sent = profile.max_tokens_field
    unknown = isinstance(error, UnsupportedOptionError) or _OTHER_LIMIT[sent] in error.message
    if request.config.max_tokens is not None and unknown and re.search(rf"\b{sent}\b", error.message):
        return {"max_tokens_field": _OTHER_LIMIT[sent]}
    if request.stream and profile.stream_usage and "stream_options" in error.message:
        return {"stream_usage": False}
    return {}
