"""The resources and templates that are listed. Reading them is in `resources`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unified_llm_mcp._sdk import Call

if TYPE_CHECKING:
    from unified_llm_mcp.state import ServerState

__all__ = ["JSON", "MARKDOWN", "OCTETS", "PLAIN", "TEMPLATES", "listed"]

JSON = "application/json"
MARKDOWN = "text/markdown"
OCTETS = "application/octet-stream"
PLAIN = "text/plain"
MOST_CONVERSATIONS = 50

_STATIC = [
    ("llm://providers", "providers", "Providers", "Configured providers, and whether a key is set and they answer."),
    ("llm://models", "models", "Models", "Every model that chat and embed can use."),
    ("llm://usage", "usage", "Usage", "Your calls, tokens and cost since the server started."),
]

TEMPLATES: list[dict[str, Any]] = [
    {
        "uriTemplate": "llm://models/{provider}/{+model}",
        "name": "model",
        "title": "Model",
        "description": "What is known of one model.",
        "mimeType": JSON,
    },
    {
        "uriTemplate": "llm://conversations/{conversation_id}{?chars}",
        "name": "conversation",
        "title": "Conversation",
        "description": "Transcript of a conversation, as Markdown and as JSON; chars is FIRST-LAST, from 0.",
        "mimeType": MARKDOWN,
    },
    {
        "uriTemplate": "llm://responses/{response_id}{?chars}",
        "name": "response",
        "title": "Whole answer",
        "description": "An answer that was too long for its result, or still running; chars is FIRST-LAST.",
        "mimeType": PLAIN,
    },
    {
        "uriTemplate": "llm://embeddings/{embeddings_id}{?rows}",
        "name": "embeddings",
        "title": "Embeddings",
        "description": "Vectors of an embed call, little-endian float32 row by row; rows is FIRST-LAST, from 0. "
        "What does not fit is at the next address in a second content.",
        "mimeType": OCTETS,
    },
]


def listed(state: ServerState | None, call: Call) -> list[dict[str, Any]]:
    """The resources of this caller, as the protocol writes them."""
    found = [
        {"uri": uri, "name": name, "title": title, "description": description, "mimeType": JSON}
        for uri, name, title, description in _STATIC
    ]
    if state is None:
        return found
    latest = list(state.conversations.items(call.subject))[-MOST_CONVERSATIONS:]
    found += [
        {
            "uri": f"llm://conversations/{key}",
            "name": key,
            "title": conversation.title,
            "mimeType": MARKDOWN,
        }
        for key, conversation in reversed(latest)
    ]
    return found
