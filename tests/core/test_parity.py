"""Every public sync method has its async twin: same arguments, same defaults."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from unified_llm import AsyncChatStream, ChatStream, ConversationManager, LLMProvider, UnifiedLLM
from unified_llm.drivers.base import Driver
from unified_llm.providers.claude_batches import Batches
from unified_llm.providers.claude_files import Files

# Methods that do no I/O need no twin.
NO_IO: dict[type, set[str]] = {
    UnifiedLLM: {
        "set_provider",
        "configure_provider",
        "set_api_key",
        "available_providers",
        "list_providers",
        "create_message",
        "create_tool",
        "create_conversation",
        "add_hook",
    },
    ConversationManager: {
        "create_conversation",
        "get_conversation",
        "list_conversations",
        "delete_conversation",
        "clear_conversation",
    },
    LLMProvider: {"default_embedding_model", "no_default_model"},
    Driver: set(),
    Batches: set(),
    Files: set(),
}
TWIN = {"close": "aclose", "open": "open_async"}


def public_methods(cls: type) -> list[str]:
    """Names of the methods that `cls` has from this package: its own and those of its rooms."""
    rooms = [base for base in cls.__mro__ if base.__module__.partition(".")[0] == "unified_llm"]
    return [n for room in rooms for n, v in vars(room).items() if not n.startswith("_") and callable(v)]


def pairs() -> list[tuple[type, str, str]]:
    result = []
    for cls, exempt in NO_IO.items():
        for name in public_methods(cls):
            if name not in exempt and not name.endswith("_async") and name not in ("aclose", "open_async"):
                result.append((cls, name, TWIN.get(name, f"{name}_async")))
    return result


@pytest.mark.parametrize(("cls", "name", "twin"), pairs(), ids=lambda v: getattr(v, "__name__", str(v)))
def test_each_method_has_an_async_twin_with_the_same_arguments(cls: type, name: str, twin: str) -> None:
    assert hasattr(cls, twin), f"{cls.__name__}.{name} has no async twin {twin}"

    def arguments(method: Any) -> list[tuple[str, Any, Any]]:
        parameters = inspect.signature(method).parameters.values()
        return [(p.name, p.kind, p.default) for p in parameters]

    assert arguments(getattr(cls, name)) == arguments(getattr(cls, twin))


def test_the_calls_of_the_client_are_among_them() -> None:
    assert {"chat", "stream", "embed", "list_models", "count_tokens"} <= {
        n for cls, n, _ in pairs() if cls is UnifiedLLM
    }


def test_the_streams_offer_the_same() -> None:
    renamed = {"close": "aclose"}
    sync = {renamed.get(n, n) for n in public_methods(ChatStream)}
    assert sync == set(public_methods(AsyncChatStream))
