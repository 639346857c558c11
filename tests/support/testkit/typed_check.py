"""Checks decoded JSON against the `TypedDict`s a vendor SDK ships for its requests: unknown and missing keys included.

pydantic cannot do this with those types: they say `Iterable`, which it validates lazily, and their unions hold response
models that accept any key. This walk is eager, and strict.
"""

from __future__ import annotations

import collections.abc
import functools
import types
import typing
from typing import Any

import typing_extensions as te

__all__ = ["check", "keys_of"]

_PLAIN = {str: (str,), int: (int,), float: (int, float), bool: (bool,), type(None): (type(None),)}


@functools.cache
def keys_of(typed_dict: type) -> dict[str, tuple[Any, bool]]:
    """Each key's type, and whether it is required."""
    found: dict[str, tuple[Any, bool]] = {}
    for name, hint in te.get_type_hints(typed_dict, include_extras=True).items():
        marker = _origin(hint)
        wrapped = marker is te.Required or marker is te.NotRequired
        found[name] = (te.get_args(hint)[0] if wrapped else hint, marker is te.Required)
    return found


def check(value: Any, kind: Any, path: str = "body", *, skip: tuple[Any, ...] = ()) -> list[str]:
    """What is wrong with `value` as a `kind`, one sentence per fault; empty when it fits.

    Members of a union that are in `skip`, or are pydantic models, are not accepted.
    """
    origin = _origin(kind)
    if kind is Any or kind is object:
        return []
    if isinstance(kind, te.TypeAliasType):
        return check(value, kind.__value__, path, skip=skip)
    if origin is typing.Annotated:
        return check(value, te.get_args(kind)[0], path, skip=skip)
    if origin is typing.Literal:
        return [] if value in te.get_args(kind) else [f"{path}: {value!r} is not one of {te.get_args(kind)}"]
    if origin in (typing.Union, types.UnionType):
        return _check_union(value, te.get_args(kind), path, skip)
    if te.is_typeddict(kind):
        return _check_dict(value, kind, path, skip)
    if origin is dict:
        return _check_mapping(value, te.get_args(kind), path, skip)
    if kind in _PLAIN:
        fits = isinstance(value, _PLAIN[kind]) and not (isinstance(value, bool) and kind in (int, float))
        return [] if fits else [f"{path}: {type(value).__name__} instead of {kind.__name__}"]
    if _is_sequence(origin or kind):
        return _check_list(value, te.get_args(kind), path, skip)
    return [f"{path}: {type(value).__name__} is not a {getattr(kind, '__name__', kind)}"]


def _origin(kind: Any) -> Any:
    return te.get_origin(kind)


def _is_sequence(kind: Any) -> bool:
    if getattr(kind, "__name__", "") == "SequenceNotStr":  # the SDK's own protocol
        return True
    return isinstance(kind, type) and issubclass(kind, (list, tuple, collections.abc.Iterable)) and kind is not str


def _check_list(value: Any, args: tuple[Any, ...], path: str, skip: tuple[Any, ...]) -> list[str]:
    if not isinstance(value, list):
        return [f"{path}: {type(value).__name__} instead of a list"]
    kind = args[0] if args else Any
    return [fault for i, item in enumerate(value) for fault in check(item, kind, f"{path}[{i}]", skip=skip)]


def _check_mapping(value: Any, args: tuple[Any, ...], path: str, skip: tuple[Any, ...]) -> list[str]:
    if not isinstance(value, dict):
        return [f"{path}: {type(value).__name__} instead of an object"]
    kind = args[1] if len(args) == 2 else Any
    return [fault for name, item in value.items() for fault in check(item, kind, f"{path}.{name}", skip=skip)]


def _check_dict(value: Any, kind: type, path: str, skip: tuple[Any, ...]) -> list[str]:
    if not isinstance(value, dict):
        return [f"{path}: {type(value).__name__} instead of an object"]
    keys = keys_of(kind)
    open_ended = getattr(kind, "__pydantic_config__", {}).get("extra") == "allow"
    faults = [f"{path}.{name}: missing" for name, (_, required) in keys.items() if required and name not in value]
    for name, item in value.items():
        if name in keys:
            faults += check(item, keys[name][0], f"{path}.{name}", skip=skip)
        elif not open_ended:
            faults.append(f"{path}.{name}: unknown field of {kind.__name__}")
    return faults


def _check_union(value: Any, members: tuple[Any, ...], path: str, skip: tuple[Any, ...]) -> list[str]:
    """The faults of the member that fits best: of the ones with the same `type`, where there is one."""
    allowed = [m for m in members if m not in skip and not _is_model(m)]
    if isinstance(value, dict) and isinstance(value.get("type"), str):
        tagged = [m for m in allowed if value["type"] in _tags(m)]
        allowed = tagged or allowed
    results = [check(value, member, path, skip=skip) for member in allowed]
    if not results:
        return [f"{path}: nothing fits {value!r}"]
    return min(results, key=lambda faults: (any(f.startswith(f"{path}:") for f in faults), len(faults)))


def _is_model(kind: Any) -> bool:
    if te.get_origin(kind) is typing.Annotated:
        return _is_model(te.get_args(kind)[0])
    if te.get_origin(kind) in (typing.Union, types.UnionType):
        return all(_is_model(m) for m in te.get_args(kind))
    return isinstance(kind, type) and hasattr(kind, "model_fields")


def _tags(kind: Any) -> tuple[Any, ...]:
    if te.get_origin(kind) in (typing.Union, types.UnionType):
        return tuple(tag for member in te.get_args(kind) for tag in _tags(member))
    if not te.is_typeddict(kind):
        return ()
    tag = keys_of(kind).get("type", (None, False))[0]
    return te.get_args(tag) if te.get_origin(tag) is typing.Literal else ()
