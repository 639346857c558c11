"""What differs between servers and model families, as data. A new OpenAI-compatible server is a row here.

Sources are in the rows; "unknown" cells keep the default, which is what the OpenAI documentation says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

__all__ = ["Profile"]

ToolChoiceForm: TypeAlias = Literal["object", "filter", "none"]
JSONForm: TypeAlias = Literal["json_schema", "json_object", "prompt"]


@dataclass(frozen=True, slots=True)
class Profile:
    """How one server differs from the dialect's documentation.

    Attributes:
        max_tokens_field: name of the output limit in chat requests.
        tool_choice: a named tool is sent as an "object", or by sending only that tool with "required" ("filter"),
            or not at all ("none", recorded).
        json_object: whether ``response_format: json_object`` is accepted; else a ``{"type": "object"}`` schema is sent.
        structured: how a JSON Schema is sent.
        reasoning_field: name under which reasoning is sent back with an assistant turn, or None: never.
        image_urls: whether http image URLs are accepted (else they must be bytes).
        stream_usage: whether ``stream_options.include_usage`` is understood.
        embedding_base64: whether ``encoding_format: base64`` is understood.
        embedding_dimensions: whether ``dimensions`` is honoured.
        embedding_batch: most texts per embeddings call.
        unsupported: options that are dropped and recorded.
        system_role: role of system messages.
        think_tags: whether ``<think>`` blocks inside text are split into thinking.
    """

    name: str = "openai"
    max_tokens_field: str = "max_tokens"
    tool_choice: ToolChoiceForm = "object"
    json_object: bool = True
    structured: JSONForm = "json_schema"
    reasoning_field: str | None = None
    image_urls: bool = True
    stream_usage: bool = True
    embedding_base64: bool = True
    embedding_dimensions: bool = True
    embedding_batch: int = 2048
    unsupported: frozenset[str] = field(default_factory=frozenset)
    system_role: str = "system"
    think_tags: bool = False
