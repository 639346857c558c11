"""The scratch pad of one Responses request: what this dialect has not, and what its server keeps."""

from __future__ import annotations

from typing import ClassVar

from unified_llm.codecs.base import CodecContext
from unified_llm.codecs.openai_draft import Draft
from unified_llm.requests import ChatRequest

__all__ = ["DIALECT", "ResponsesDraft"]

DIALECT = "openai-responses"
_CHAT_ONLY = frozenset({"seed", "stop_sequences", "presence_penalty", "frequency_penalty", "top_k", "min_p"})


class ResponsesDraft(Draft):
    """A `Draft` of the Responses dialect.

    Attributes:
        stored: whether the server keeps this call's items (``store``), so that their ids alone mean something to it.
        model: the model that is asked.
        custom: wire ids of calls of custom tools, whose results have a type of their own.
    """

    dialect: ClassVar[str] = DIALECT

    __slots__ = ("custom", "model", "stored")

    def __init__(self, request: ChatRequest, context: CodecContext) -> None:
        super().__init__(request, context)
        config = request.config
        asked = {**((config.provider_options or {}).get(context.provider) or {}), **(config.extra_body or {})}
        self.stored = asked.get("store") is True
        self.model = request.model
        self.custom: set[str] = set()

    def takes(self, option: str) -> bool:
        """Whether this API has `option`, and the server takes it; when not, the drop is recorded."""
        if option in _CHAT_ONLY:
            self.drop(option, "the Responses API has no such option")
            return False
        return super().takes(option)
