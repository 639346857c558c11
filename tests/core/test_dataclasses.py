"""The fast `dataclass` makes classes that behave as those of the standard library."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError, field
from typing import Any, ClassVar, get_type_hints

import pytest
from pydantic import TypeAdapter

import unified_llm
from unified_llm import _dataclasses


def shapes(dataclass: Any) -> list[tuple[type, list[Callable[[type], Any]]]]:
    """Classes of every shape the package has, made by `dataclass`, each with ways to make unequal objects of it."""

    @dataclass(frozen=True, slots=True)
    class Point:
        """Frozen."""

        x: int
        label: str | None = field(default=None, hash=False)
        secret: str | None = field(default=None, repr=False, compare=False)

        @property
        def doubled(self) -> int:
            return self.x * 2

    @dataclass(slots=True)
    class Event:
        """Mutable."""

        kind: ClassVar[str] = "event"
        tags: list[str] = field(default_factory=list)
        only: int = 1

    @dataclass(frozen=True, slots=True)
    class Base:
        """With a check."""

        name: str = "base"

        def __post_init__(self) -> None:
            if self.name == "bad":
                raise ValueError(self.name)

    @dataclass(frozen=True, slots=True)
    class Child(Base):
        """A child with a field more."""

        size: int = 0

    @dataclass(frozen=True, slots=True, init=False)
    class Own:
        """Its own methods."""

        value: int

        def __init__(self, text: str) -> None:
            object.__setattr__(self, "value", len(text))

        def __hash__(self) -> int:
            return 7

    @dataclass(frozen=True, slots=True, eq=False)
    class Identity:
        """Equal to itself alone."""

        mapping: dict[str, int] = field(default_factory=dict)

    @dataclass(frozen=True)
    class Loose:
        """Without slots."""

        a: int = 1

    @dataclass(slots=True)
    class Empty:
        """No field."""

    return [
        (Point, [lambda c: c(1), lambda c: c(x=1, label="a"), lambda c: c(2, "a", "s"), lambda c: c(2, "a", "other")]),
        (Event, [lambda c: c(), lambda c: c(["t"]), lambda c: c(tags=["t"], only=2)]),
        (Base, [lambda c: c(), lambda c: c("b")]),
        (Child, [lambda c: c(), lambda c: c("b", 2), lambda c: c(size=2)]),
        (Own, [lambda c: c("abc"), lambda c: c("ab")]),
        (Identity, [lambda c: c(), lambda c: c({"a": 1})]),
        (Loose, [lambda c: c(), lambda c: c(2)]),
        (Empty, [lambda c: c()]),
    ]


PAIRS = list(zip(shapes(_dataclasses.fast_dataclass), shapes(dataclasses.dataclass), strict=True))
each_shape = pytest.mark.parametrize("pair", PAIRS, ids=[ours[0].__name__ for ours, _ in PAIRS])


def result(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a call returns, or the error it raises: its class and text."""
    try:
        return function(*arguments)
    except (AttributeError, TypeError, ValueError) as exc:
        return type(exc), str(exc)


def described(cls: type, ways: list[Callable[[type], Any]]) -> Iterator[Any]:
    """Everything that can be seen of a class and its objects."""
    parameters = cls.__dataclass_params__  # type: ignore[attr-defined]
    yield [getattr(parameters, name) for name in ("init", "repr", "eq", "order", "unsafe_hash", "frozen")]
    yield [(f.name, f.type, f.repr, f.compare, f.hash, f.kw_only) for f in dataclasses.fields(cls)]
    yield str(inspect.signature(cls)), cls.__match_args__, getattr(cls, "__slots__", None)  # type: ignore[attr-defined]
    yield get_type_hints(cls.__init__), cls.__doc__  # type: ignore[misc]
    objects = [way(cls) for way in ways]
    yield [repr(one) for one in objects]
    yield [[a == b for a in objects] for b in objects]
    yield [dataclasses.asdict(one) for one in objects], [one == object() for one in objects]
    yield [result(hash, one) if cls.__name__ != "Identity" else None for one in objects]
    yield [copy.deepcopy(one) == one for one in objects], [repr(copy.copy(one)) for one in objects]
    yield [repr(result(dataclasses.replace, one)) for one in objects]
    yield result(cls, "too", "many", "arguments", "here"), result(lambda: cls(unknown=1))


@each_shape
def test_a_class_and_its_objects_look_as_those_of_the_standard_decorator(pair: Any) -> None:
    ours, standard = pair
    for mine, theirs in zip(described(*ours), described(*standard), strict=True):
        assert mine == theirs


@each_shape
def test_fields_are_frozen_where_they_should_be(pair: Any) -> None:
    (ours, ways), (standard, _) = pair
    for name in [f.name for f in dataclasses.fields(ours)]:
        mine, theirs = ways[0](ours), ways[0](standard)
        assert result(setattr, mine, name, 5) == result(setattr, theirs, name, 5)
        assert result(delattr, mine, name) == result(delattr, theirs, name)
        assert result(repr, mine) == result(repr, theirs)


def test_a_frozen_object_takes_no_other_attribute_either() -> None:
    with pytest.raises(FrozenInstanceError):
        unified_llm.Text("a").other = 1  # type: ignore[attr-defined]
    with pytest.raises(FrozenInstanceError):
        del unified_llm.Image(url="http://x/y.png").url


def test_a_child_that_is_no_dataclass_keeps_what_it_inherits_and_may_have_more() -> None:
    class Named(unified_llm.Text):
        def __init__(self, text: str) -> None:
            super().__init__(text)
            self.note = "free"

    named = Named("a")
    with pytest.raises(FrozenInstanceError):
        named.text = "b"  # type: ignore[misc]
    assert (named.note, named.text, named == Named("a"), named == unified_llm.Text("a")) == ("free", "a", True, False)


def test_a_frozen_child_may_be_declared_with_the_standard_decorator() -> None:
    @dataclasses.dataclass(frozen=True, slots=True)
    class Priced(unified_llm.Usage):
        usd: float = 0.0

    assert Priced(1, 2, usd=0.5) == Priced(1, 2, usd=0.5) != Priced(1, 2)
    assert copy.copy(Priced(1, 2, usd=0.5)).usd == 0.5
    with pytest.raises(TypeError, match="non-frozen"):
        dataclasses.dataclass(type("Loose", (unified_llm.Usage,), {}))


def test_a_value_inside_itself_is_shown_once() -> None:
    @_dataclasses.fast_dataclass(slots=True)
    class Node:
        """A node."""

        children: list[Any] = field(default_factory=list)

    node = Node()
    node.children.append(node)
    assert repr(node).endswith(".Node(children=[...])")


def test_a_field_that_init_does_not_take_by_position_is_refused() -> None:
    with pytest.raises(TypeError, match="no plain argument"):

        @_dataclasses.fast_dataclass()
        class Wrong:
            """Wrong."""

            late: int = field(default=1, kw_only=True)


VALUES = [
    unified_llm.Text("a", ({"url": "x"},), unified_llm.Native("openai", {"type": "text"})),
    unified_llm.Image(data=b"1", media_type="image/png", detail="low"),
    unified_llm.ToolCall("f", {"a": 1}, "id"),
    unified_llm.Message("user", "hello", origin=unified_llm.Origin("p", "d", "m", paused=True)),
    unified_llm.Usage(1, 2, native={"n": 1}),
    unified_llm.ModelConfig("m", temperature=0.5),
    unified_llm.TextDelta("a", 3),
    unified_llm.StreamStart("m"),
    unified_llm.Tool("t", "d", {"type": "object"}),
    unified_llm.ToolChoice("tool", "t"),
    unified_llm.ResponseFormat({"type": "object"}),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_values_survive_a_pickle(value: Any, protocol: int) -> None:
    back = pickle.loads(pickle.dumps(value, protocol))
    assert repr(back) == repr(value)
    assert [getattr(back, f.name) for f in dataclasses.fields(value)] == [
        getattr(value, f.name) for f in dataclasses.fields(value)
    ]


def test_pydantic_reads_and_writes_the_values() -> None:
    adapter = TypeAdapter(unified_llm.Usage)
    usage = adapter.validate_python({"input_tokens": "3", "output_tokens": 4})
    assert (usage, adapter.dump_python(usage)["input_tokens"]) == (unified_llm.Usage(3, 4), 3)
    with pytest.raises(ValueError, match="needs one of data"):
        TypeAdapter(unified_llm.Image).validate_python({})


def test_values_match_by_position() -> None:
    match unified_llm.TextDelta("a", 3):
        case unified_llm.TextDelta(text, index):
            assert (text, index) == ("a", 3)
