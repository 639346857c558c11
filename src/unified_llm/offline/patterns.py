"""Makes a text that matches a regular expression, for the `pattern` keyword of JSON Schema.

Understood: literals, ``.``, classes such as ``[A-Z0-9_]`` and ``[^x]``, ``\\d \\w \\s`` and their opposites, groups
(also named and non-capturing), ``|``, the quantifiers ``* + ? {m} {m,} {m,n}`` (lazy or not), ``^`` and ``$``.
Not understood: look-around, back references, Unicode properties, conditions: those raise. Every text is checked with
`re.search` before it is returned, so a wrong one never gets out.
"""

from __future__ import annotations

import re
import string
from dataclasses import dataclass, field
from typing import TypeAlias, Union

from unified_llm.errors import InvalidRequestError

__all__ = ["example_for_pattern"]

_LETTERS = string.ascii_lowercase + string.ascii_uppercase
_VISIBLE = _LETTERS + string.digits + string.punctuation + " "
_CLASSES = {
    "d": string.digits,
    "w": _LETTERS + string.digits + "_",
    "s": " \t\n",
    "D": _LETTERS,
    "W": " -.,",
    "S": _LETTERS + string.digits,
}
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v", "0": "\0"}
_UNBOUNDED = 1 << 30
_MAX_RANGE = 256  # characters kept of one range such as [一-龥]
_MAX_PARTS = 100_000  # characters of one text
_TRIES = 64


@dataclass(frozen=True, slots=True)
class _Chars:
    """One character out of `options`."""

    options: str


@dataclass(frozen=True, slots=True)
class _Repeat:
    item: _Node
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class _Choice:
    """Alternatives, each a sequence."""

    branches: tuple[tuple[_Node, ...], ...]


@dataclass(frozen=True, slots=True)
class _Anchor:
    """``^`` or ``$``: matches, adds nothing."""

    sign: str


_Node: TypeAlias = Union[_Chars, _Repeat, _Choice, _Anchor]


def example_for_pattern(pattern: str, n: int = 0, *, min_length: int = 0, max_length: int | None = None) -> str:
    """Return a text in which `pattern` is found; `n` chooses among the possible ones.

    Args:
        pattern: the expression, searched anywhere in the text, as JSON Schema says.
        n: 0 for the plainest text; other numbers vary it.
        min_length, max_length: bounds in characters.

    Raises:
        InvalidRequestError: the expression uses something not understood, or no text of that length was found.
    """
    tree = _Parser(pattern).parse()
    for extra in sorted({*range(min(min_length, _TRIES) + 1), min_length}):  # turns added to every open-ended repeat
        writer = _Writer(n, extra, pattern)
        text = _padded(writer.write(tree), writer.n, pattern, min_length)
        if len(text) >= min_length and (max_length is None or len(text) <= max_length) and _found(pattern, text):
            return text
    raise _cannot(pattern, f"no text between {min_length} and {max_length or 'any'} characters was found")


def _found(pattern: str, text: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except re.error as exc:
        raise _cannot(pattern, str(exc)) from exc


def _padded(text: str, n: int, pattern: str, length: int) -> str:
    """Where the pattern leaves the end open, add what is left of `n`, and what is missing."""
    if pattern.endswith("$"):
        return text
    text += str(n) if n else ""
    return text + "x" * (length - len(text))


def _cannot(pattern: str, why: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"no example for the pattern {pattern!r}: {why}",
        hint="give the schema an example: examples, default, enum or const",
    )


class _Writer:
    """Writes one text. `n` is spent digit by digit on the choices met on the way (mixed radix)."""

    def __init__(self, n: int, extra: int, pattern: str) -> None:
        self.n = n
        self.extra = extra
        self.pattern = pattern
        self.left = _MAX_PARTS

    def write(self, node: _Node) -> str:
        match node:
            case _Chars(options):
                self.left -= 1
                if self.left < 0:
                    raise _cannot(self.pattern, f"its texts are longer than {_MAX_PARTS} characters")
                return options[self._pick(len(options))]
            case _Repeat(item, low, high):
                return "".join(self.write(item) for _ in range(min(low + self.extra, high)))
            case _Choice(branches):
                return "".join(self.write(part) for part in branches[self._pick(len(branches))])
            case _Anchor():
                return ""

    def _pick(self, count: int) -> int:
        self.n, digit = divmod(self.n, count)
        return digit


@dataclass(slots=True)
class _Parser:
    """Recursive descent over the expression."""

    text: str
    at: int = field(default=0)

    def parse(self) -> _Choice:
        tree = self._choice()
        if self.at < len(self.text):
            raise _cannot(self.text, f"unexpected {self.text[self.at]!r} at position {self.at}")
        return tree

    def _next(self) -> str:
        if self.at >= len(self.text):
            raise _cannot(self.text, "it ends too early")
        self.at += 1
        return self.text[self.at - 1]

    def _peek(self) -> str:
        return self.text[self.at] if self.at < len(self.text) else ""

    def _choice(self) -> _Choice:
        branches = [self._sequence()]
        while self._peek() == "|":
            self.at += 1
            branches.append(self._sequence())
        return _Choice(tuple(branches))

    def _sequence(self) -> tuple[_Node, ...]:
        nodes: list[_Node] = []
        while self._peek() not in ("", "|", ")"):
            nodes.append(self._quantified(self._atom()))
        return tuple(nodes)

    def _quantified(self, node: _Node) -> _Node:
        while True:
            match self._peek():
                case "*":
                    low, high = 0, _UNBOUNDED
                case "+":
                    low, high = 1, _UNBOUNDED
                case "?":
                    low, high = 0, 1
                case "{" if braces := re.compile(r"\{(\d+)(,?)(\d*)\}").match(self.text, self.at):
                    low = int(braces[1])
                    high = int(braces[3]) if braces[3] else (_UNBOUNDED if braces[2] else low)
                    self.at = braces.end() - 1
                case _:
                    return node
            self.at += 1
            if self._peek() in ("?", "+"):  # lazy or possessive: the same texts match
                self.at += 1
            node = _Repeat(node, low, high)

    def _atom(self) -> _Node:
        char = self._next()
        match char:
            case "^" | "$":
                return _Anchor(char)
            case ".":
                return _Chars(_CLASSES["w"])
            case "(":
                return self._group()
            case "[":
                return _Chars(self._set())
            case "\\":
                escaped = self._escape()
                return _Anchor("b") if escaped == "" else _Chars(escaped)
            case "*" | "+" | "?":
                raise _cannot(self.text, f"nothing to repeat at position {self.at - 1}")
        return _Chars(char)

    def _group(self) -> _Node:
        if self._peek() == "?":
            named = re.compile(r"\?(?:P?<[A-Za-z_]\w*>|:)").match(self.text, self.at)
            if named is None:
                raise _cannot(self.text, "look-around, flags and conditions are not understood")
            self.at = named.end()
        inner = self._choice()
        if self._next() != ")":
            raise _cannot(self.text, "a group is not closed")
        return inner

    def _escape(self) -> str:
        char = self._next()
        if char in _CLASSES:
            return _CLASSES[char]
        if char in _CONTROLS:
            return _CONTROLS[char]
        if char == "b":  # word boundary: where the neighbours allow it, which the final check finds out
            return ""
        if code := re.compile(r"x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})").match(self.text, self.at - 1):
            self.at = code.end()
            return chr(int(code[1] or code[2], 16))
        if char.isalnum():
            raise _cannot(self.text, f"\\{char} is not understood")
        return char

    def _set(self) -> str:
        negated = self._peek() == "^"
        self.at += negated
        members: list[str] = []
        while self._peek() != "]" or not members:
            members.append(self._member())
        self.at += 1
        options = "".join(dict.fromkeys("".join(members)))
        if negated:
            options = "".join(c for c in _VISIBLE if c not in options)
        if not options:
            raise _cannot(self.text, "a class excludes every character we know")
        return options

    def _member(self) -> str:
        first = self._member_char()
        dash = self._peek() == "-" and self.text[self.at + 1 : self.at + 2] not in ("]", "")
        if len(first) != 1 or not dash:
            return first
        self.at += 1
        last = self._member_char()
        if len(last) != 1 or ord(last) < ord(first):
            raise _cannot(self.text, f"the range {first}-{last} is empty")
        return "".join(map(chr, range(ord(first), min(ord(last), ord(first) + _MAX_RANGE) + 1)))

    def _member_char(self) -> str:
        char = self._next()
        return (self._escape() or "\b") if char == "\\" else char
