"""Values with one field of another kind than a dialect says, for tests that every such answer is an error of ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["ODD", "variants"]

ODD: list[Any] = [None, True, 0, -1, 5, 1.5, "", "odd", [], [1], ["odd"], [[]], [{}], {}, {"odd": 1}, {"text": 5}]


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of every field inside `value`."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from _places(inner, (*path, key))


def variants(value: Any) -> Iterator[tuple[str, Any]]:
    """`value` with one field replaced by each odd value, and what was done. What is not on its path is not copied."""
    for path in _places(value):
        for odd in ODD:
            yield f"{'.'.join(map(str, path))} = {odd!r}", _replaced(value, path, odd)


def _replaced(value: Any, path: tuple[Any, ...], odd: Any) -> Any:
    if not path:
        return odd
    changed = value.copy()
    changed[path[0]] = _replaced(value[path[0]], path[1:], odd)
    return changed
