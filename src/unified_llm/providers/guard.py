"""Which providers may be used in this process: all of them, unless a test says otherwise.

`unified_llm.testing.forbid_real_providers` adds a rule here; the registry and the router ask before every use. One
list for the whole process on purpose: a test must also hold back the threads it starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from unified_llm.errors import ConfigurationError

__all__ = ["only_providers", "require_allowed"]

_rules: list[Callable[[str], bool]] = []


@contextmanager
def only_providers(allowed: Callable[[str], bool]) -> Iterator[None]:
    """Within, a provider may only be used when ``allowed(name)``; the innermost rule counts."""
    _rules.append(allowed)
    try:
        yield
    finally:
        _rules.remove(allowed)


def require_allowed(name: str) -> None:
    """Raise `ConfigurationError` when the provider called `name` may not be used now."""
    if _rules and not _rules[-1](name):
        raise ConfigurationError(
            f"the provider {name!r} may not be used here",
            provider=name,
            hint="a test forbids real providers: use unified_llm.testing.FakeLLM, or "
            f"forbid_real_providers(allow=[{name!r}])",
        )
