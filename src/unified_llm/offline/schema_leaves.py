"""Strings and numbers that fit their keywords: the leaves of `schema_examples`."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import math
import uuid
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, TypeVar

from unified_llm.offline.patterns import example_for_pattern
from unified_llm.offline.schema_merge import DeadEnd
from unified_llm.schema_check import bounds, is_multiple, matches

__all__ = ["example_number", "example_string"]

_Number = TypeVar("_Number", int, float)
_SEARCH = 200  # multiples looked at before giving up
_DAY = datetime.datetime(2025, 1, 1, 12, tzinfo=datetime.UTC)


def example_string(schema: Mapping[str, Any], name: str, n: int) -> str:
    """A string for `schema`; `name` (of the property) is part of it when nothing else says what it should be.

    Raises:
        DeadEnd: no string of that format and length.
        InvalidRequestError: the pattern is not understood.
    """
    low, high = schema.get("minLength", 0), schema.get("maxLength")
    if "format" in schema and schema["format"] in _FORMATS:
        text = _FORMATS[schema["format"]](n)
        if _length_fits(text, low, high) and ("pattern" not in schema or matches(schema["pattern"], text)):
            return text
        if "pattern" not in schema:
            raise DeadEnd(f"no {schema['format']} of that length")
    if "pattern" in schema:
        return example_for_pattern(schema["pattern"], n, min_length=low, max_length=high)
    return _words(name, n, low, high)


def _length_fits(text: str, low: int, high: int | None) -> bool:
    return low <= len(text) and (high is None or len(text) <= high)


def _words(name: str, n: int, low: int, high: int | None) -> str:
    text = f"example {name.replace('_', ' ')}" + (f" {n + 1}" if n else "")
    if high is not None and len(text) > high:
        text = _letters(n, high)
    filler = " and more"
    return text + (filler * (max(low - len(text), 0) // len(filler) + 1))[: max(low - len(text), 0)]


def _letters(n: int, length: int) -> str:
    """`n` written with letters, exactly `length` of them: short strings must differ too."""
    text = ""
    for _ in range(length):
        n, digit = divmod(n, 26)
        text += chr(ord("a") + digit)
    return text


def _date(n: int) -> datetime.datetime:
    return _DAY + datetime.timedelta(days=n % 3_000, seconds=n // 3_000)


def _uuid(n: int) -> str:
    return str(uuid.UUID(int=n % (1 << 48), version=4))


_FORMATS: dict[str, Callable[[int], str]] = {
    "date": lambda n: _date(n).date().isoformat(),
    "date-time": lambda n: _date(n).isoformat().replace("+00:00", "Z"),
    "time": lambda n: f"{n // 3600 % 24:02}:{n // 60 % 60:02}:{n % 60:02}Z",
    "duration": lambda n: f"P{n + 1}D",
    "email": lambda n: f"user{n + 1}@example.com",
    "idn-email": lambda n: f"user{n + 1}@example.com",
    "hostname": lambda n: f"host{n + 1}.example.com",
    "idn-hostname": lambda n: f"host{n + 1}.example.com",
    "ipv4": lambda n: str(ipaddress.IPv4Address("192.0.2.1") + n % 250),
    "ipv6": lambda n: str(ipaddress.IPv6Address("2001:db8::1") + n),
    "ipvanyaddress": lambda n: str(ipaddress.IPv4Address("192.0.2.1") + n % 250),
    "uri": lambda n: f"https://example.com/{n + 1}",
    "url": lambda n: f"https://example.com/{n + 1}",
    "iri": lambda n: f"https://example.com/{n + 1}",
    "uri-reference": lambda n: f"/{n + 1}",
    "iri-reference": lambda n: f"/{n + 1}",
    "uri-template": lambda n: f"https://example.com/{n + 1}/{{id}}",
    "uuid": _uuid,
    "uuid1": lambda n: str(uuid.UUID(int=n, version=1)),
    "uuid3": lambda n: str(uuid.UUID(int=n, version=3)),
    "uuid4": _uuid,
    "uuid5": lambda n: str(uuid.UUID(int=n, version=5)),
    "json-pointer": lambda n: f"/{n}",
    "relative-json-pointer": lambda n: str(n),
    "regex": lambda n: f"^{n}$",
    "byte": lambda n: base64.b64encode(f"bytes {n}".encode()).decode(),
    "base64": lambda n: base64.b64encode(f"bytes {n}".encode()).decode(),
    "base64url": lambda n: base64.urlsafe_b64encode(f"bytes {n}".encode()).decode(),
    "json-string": lambda n: str(n),
    "path": lambda n: f"example{n + 1}.txt",
    "file-path": lambda n: f"example{n + 1}.txt",
}


def example_number(schema: Mapping[str, Any], kind: str, n: int) -> int | float:
    """A number for `schema`, near 1 when the schema leaves the choice; `n` asks for the next ones.

    Raises:
        DeadEnd: there is none within the bounds.
    """
    low, low_open, high, high_open = bounds(schema)
    step = schema.get("multipleOf")
    if kind == "integer" or (step is None and _whole_fits(low, low_open, high, high_open)):
        whole = _integer(low, low_open, high, high_open, step, n)
        return whole if kind == "integer" or step is not None or n % 2 == 0 else _between(whole, high, high_open)
    if step is not None:
        return _multiple(low, low_open, high, high_open, step, n)
    return _inside(low, high, low_open, high_open, n)


def _first(low: float, is_open: bool) -> int:
    return math.floor(low) + 1 if is_open else math.ceil(low)


def _last(high: float, is_open: bool) -> int:
    return math.ceil(high) - 1 if is_open else math.floor(high)


def _whole_fits(low: float, low_open: bool, high: float, high_open: bool) -> bool:
    return math.isinf(low) or math.isinf(high) or _first(low, low_open) <= _last(high, high_open)


def _integer(low: float, low_open: bool, high: float, high_open: bool, step: float | None, n: int) -> int:
    least = None if math.isinf(low) else _first(low, low_open)
    most = None if math.isinf(high) else _last(high, high_open)
    if step is not None:
        return _whole_multiple(least, most, step, n)
    start = _clip(1, least, most)
    if most is None:
        return start + n
    bottom = least if least is not None else most - _SEARCH
    return bottom + (start - bottom + n) % (most - bottom + 1)


def _clip(value: int, least: int | None, most: int | None) -> int:
    if least is not None and most is not None and least > most:
        raise DeadEnd("minimum is larger than maximum")
    if least is not None:
        value = max(value, least)
    return value if most is None else min(value, most)


def _whole_multiple(least: int | None, most: int | None, step: float, n: int) -> int:
    """A whole number that is a multiple of `step`: of its numerator, when `step` is read as a fraction."""
    unit = Fraction(str(step)).numerator
    last = None if most is None else most // unit
    first = min(1, 1 if last is None else last) if least is None else -(-least // unit)
    return _search(first, last, n, lambda k: k * unit, step)


def _multiple(low: float, low_open: bool, high: float, high_open: bool, step: float, n: int) -> int | float:
    unit = Fraction(str(step))
    first = None if math.isinf(low) else _first_multiple(low, low_open, unit)
    last = None if math.isinf(high) else -_first_multiple(-high, high_open, unit)
    start = first if first is not None else min(1, last if last is not None else 1)
    if first is None and last is not None and last < 1:
        start = last - _SEARCH
    if start < 1 and (last is None or last >= 1):
        start = 1  # the step itself is the plainest multiple, and no float rounding can spoil it
    return _search(start, last, n, lambda k: float(k * unit), step)


def _first_multiple(low: float, is_open: bool, unit: Fraction) -> int:
    exact = Fraction(str(low)) / unit
    return math.floor(exact) + 1 if is_open else math.ceil(exact)


def _search(first: int, last: int | None, n: int, make: Callable[[int], _Number], step: float) -> _Number:
    """The `n`-th multiple from `first` to `last`, or the next one that is a multiple in floating point too."""
    count = _SEARCH + n if last is None else last - first + 1
    for turn in range(min(count, _SEARCH)):
        value = make(first + (n + turn) % count)
        if is_multiple(value, step):
            return value
    raise DeadEnd("no multiple lies within the bounds")


def _between(value: int, high: float, high_open: bool) -> float:
    half = value + 0.5
    return half if half < high or (half == high and not high_open) else float(value)


def _inside(low: float, high: float, low_open: bool, high_open: bool, n: int) -> float:
    """A float strictly between two bounds that have no whole number between them (or one of them, when allowed)."""
    if low > high or (low == high and (low_open or high_open)):
        raise DeadEnd("minimum is larger than maximum")
    value = low + (high - low) * ((n % 7) + 1) / 8
    if low < value < high:
        return value
    if not low_open:
        return low
    if not high_open:
        return high
    raise DeadEnd("there is no number between the bounds")
