"""`register`: make ``init_chat_model("unified:...")`` and ``init_embeddings("unified:...")`` work.

LangChain has no entry point for providers outside its own list: the list is a private dictionary. So this is done on
request only, and where a version of LangChain has no such dictionary nothing is touched.
"""

from __future__ import annotations

from typing import Any

from langchain_unified_llm.errors import translate
from unified_llm.errors import ConfigurationError, MissingDependencyError

__all__ = ["register"]

_PACKAGE = "langchain_unified_llm"


def register(name: str = "unified") -> list[str]:
    """Make a provider name known to LangChain's factories, for this process.

    Afterwards ``init_chat_model("unified:claude:claude-sonnet-5-5")`` is a `ChatUnifiedLLM`, and so is every place that
    takes such a string (``create_agent``...); ``init_embeddings("unified:local:")`` is a `UnifiedLLMEmbeddings`.

    Returns:
        The functions that know the name now: ``["init_chat_model", "init_embeddings"]``, or fewer where this version of
        LangChain keeps its providers elsewhere; pass instances there.

    Raises:
        MissingDependencyError (an ImportError): the package `langchain` is not installed.
        ConfigurationError: `name` is empty or has a colon, or is that of another provider of LangChain's.
    """
    try:
        from langchain.chat_models import base as chat_models
        from langchain.embeddings import base as embeddings
    except ImportError as exc:
        missing = MissingDependencyError("register() needs the package 'langchain'", hint="pip install langchain")
        raise translate(missing) from exc
    # init_chat_model looks the name up as it was written before the colon, or with "_" for "-" as model_provider=.
    names = {name.lower(), name.lower().replace("-", "_")}
    places = {
        "init_chat_model": (chat_models, "ChatUnifiedLLM"),
        "init_embeddings": (embeddings, "UnifiedLLMEmbeddings"),
    }
    for module, _ in places.values():
        _check_free(module, name, names)
    return [function for function, (module, cls) in places.items() if _add(module, names, cls)]


def _check_free(module: Any, name: str, names: set[str]) -> None:
    providers = getattr(module, "_BUILTIN_PROVIDERS", None)
    taken = [n for n in names if isinstance(providers, dict) and n in providers and providers[n][0] != _PACKAGE]
    if taken or not name.strip() or ":" in name:
        why = f"{taken[0]!r} is another provider of LangChain's" if taken else f"{name!r} cannot be a provider's name"
        raise translate(ConfigurationError(why, hint="take a name of your own, such as 'unified'"))


def _add(module: Any, names: set[str], cls: str) -> bool:
    providers = getattr(module, "_BUILTIN_PROVIDERS", None)
    if not isinstance(providers, dict):
        return False
    providers.update(dict.fromkeys(names, (_PACKAGE, cls, _construct)))
    return True


def _construct(cls: Any, model: str = "", **options: Any) -> Any:
    return cls(model=model or None, **options)
