"""`dataclass` as in the standard library, defined in a quarter of the time.

The standard library writes and compiles up to eight methods for each class when it is defined: for the values of this
package, a third of what an import took. Here `__init__` is the only one that is compiled; the others are closures over
the names of the fields, and behave as the standard ones do (a test compares the two). Type checkers see the standard
decorator.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, Field, FrozenInstanceError, fields, is_dataclass
from operator import attrgetter
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

__all__ = ["dataclass"]

T = TypeVar("T")
Method: TypeAlias = Callable[..., Any]
Fields: TypeAlias = Sequence["Field[Any]"]


def fast_dataclass(
    *, init: bool = True, eq: bool = True, frozen: bool = False, slots: bool = False
) -> Callable[[type[T]], type[T]]:
    """`dataclasses.dataclass`, for classes whose fields are all arguments of `__init__`, by position or name."""

    def made(written: type[T]) -> type[T]:
        own = set(written.__dict__)  # what is written in the class stays
        if eq and written.__dict__.get("__hash__") is None:
            own.discard("__hash__")  # Python's own None, for a class with __eq__
        inherits = any(map(is_dataclass, written.__bases__))  # children of a frozen class have to say that they are
        define: Any = dataclasses.dataclass(init=False, repr=False, eq=False, frozen=frozen and inherits, slots=slots)
        cls: Any = define(written)
        params = cls.__dataclass_params__
        params.init, params.repr, params.eq, params.frozen = init, True, eq, frozen
        for name, method in _methods(cls, init=init, eq=eq, frozen=frozen, slots=slots).items():
            if name not in own:
                _put(cls, name, method)
        return cls  # type: ignore[no-any-return]  # what the standard decorator returned

    return made


def _methods(cls: Any, *, init: bool, eq: bool, frozen: bool, slots: bool) -> dict[str, Method | None]:
    known = fields(cls)
    methods: dict[str, Method | None] = {"__repr__": _repr([f.name for f in known if f.repr])}
    if init:
        methods["__init__"] = _init(cls, known, frozen=frozen)
    if eq:
        methods["__eq__"] = _eq([f.name for f in known if f.compare])
        hashed = [f.name for f in known if (f.compare if f.hash is None else f.hash)]
        methods["__hash__"] = _hash(hashed) if frozen else None
    if frozen:
        methods |= _frozen(cls, frozenset(f.name for f in known))
    if frozen and slots:
        methods |= {"__getstate__": _getstate, "__setstate__": _setstate}
    return methods


def _put(cls: Any, name: str, method: Method | None) -> None:
    if method is not None and method not in (_getstate, _setstate):
        method.__name__, method.__qualname__, method.__module__ = name, f"{cls.__qualname__}.{name}", cls.__module__
    setattr(cls, name, method)


# -- __init__ ------------------------------------------------------------------------------------------------------


class _Factory:
    def __repr__(self) -> str:
        return "<factory>"


_FACTORY = _Factory()  # the default of an argument whose field has a `default_factory`


def _init(cls: Any, known: Fields, *, frozen: bool) -> Method:
    """`__init__`, compiled from source: it is the one method whose speed a loop over names would spoil."""
    scope: dict[str, Any] = {"_put": object.__setattr__, "_factory": _FACTORY}
    arguments, lines = ["self"], []
    for field in known:
        name = value = field.name
        if field.kw_only or not field.init:
            raise TypeError(f"{cls.__name__}.{name} is no plain argument of __init__: use dataclasses.dataclass")
        if field.default_factory is not MISSING:
            scope[f"_make_{name}"] = field.default_factory
            arguments.append(f"{name}=_factory")
            value = f"_make_{name}() if {name} is _factory else {name}"
        elif field.default is not MISSING:
            scope[f"_default_{name}"] = field.default
            arguments.append(f"{name}=_default_{name}")
        else:
            arguments.append(name)
        lines.append(f"_put(self, {name!r}, {value})" if frozen else f"self.{name} = {value}")
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    method = _compiled(cls, arguments, lines, scope)
    method.__annotations__ = {field.name: field.type for field in known} | {"return": None}
    return method


def _compiled(cls: Any, arguments: Iterable[str], lines: Iterable[str], scope: dict[str, Any]) -> Method:
    body = "".join(f"  {line}\n" for line in lines) or "  pass\n"
    source = f"def make({', '.join(scope)}):\n def __init__({', '.join(arguments)}):\n{body} return __init__"
    found: dict[str, Any] = {}
    exec(source, sys.modules[cls.__module__].__dict__, found)  # noqa: S102  # as the standard library does
    made: Method = found["make"](**scope)
    return made


# -- what is the same for all classes --------------------------------------------------------------------------------


def _repr(names: Sequence[str]) -> Method:
    def method(self: Any) -> str:
        shown = ", ".join([f"{name}={getattr(self, name)!r}" for name in names])
        return f"{type(self).__qualname__}({shown})"

    return recursive_repr()(method)


def _values(names: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    if len(names) > 1:
        return attrgetter(*names)
    return lambda self: tuple([getattr(self, name) for name in names])


def _eq(names: Sequence[str]) -> Method:
    values = _values(names)

    def method(self: Any, other: object) -> Any:
        return values(self) == values(other) if type(other) is type(self) else NotImplemented

    return method


def _hash(names: Sequence[str]) -> Method:
    values = _values(names)

    def method(self: Any) -> int:
        return hash(values(self))

    return method


def _frozen(cls: Any, names: frozenset[str]) -> dict[str, Method | None]:
    def set_attribute(self: Any, name: str, value: Any) -> None:
        if type(self) is cls or name in names:
            raise FrozenInstanceError(f"cannot assign to field {name!r}")
        super(cls, self).__setattr__(name, value)

    def delete_attribute(self: Any, name: str) -> None:
        if type(self) is cls or name in names:
            raise FrozenInstanceError(f"cannot delete field {name!r}")
        super(cls, self).__delattr__(name)

    return {"__setattr__": set_attribute, "__delattr__": delete_attribute}


def _getstate(self: Any) -> list[Any]:
    return [getattr(self, field.name) for field in fields(self)]


def _setstate(self: Any, state: Iterable[Any]) -> None:
    for field, value in zip(fields(self), state, strict=False):
        object.__setattr__(self, field.name, value)


if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    dataclass = fast_dataclass
