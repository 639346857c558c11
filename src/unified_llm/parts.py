"""The parts of a message: frozen values that every dialect is translated from and to.

A part that came from a server keeps its `Native` block, so that a return to the same dialect replays it unchanged;
other dialects read the portable fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, Union
from uuid import uuid4

from unified_llm import _json
from unified_llm.errors import InvalidMessageError

__all__ = [
    "Audio",
    "File",
    "Image",
    "Native",
    "Opaque",
    "Part",
    "Text",
    "Thinking",
    "ToolCall",
    "ToolResult",
    "content_parts",
    "new_id",
    "parts_from_paths",
]


def new_id(prefix: str = "call") -> str:
    """Return a new id such as ``call_5f3c...``: letters, digits and ``_``, which every dialect accepts."""
    return f"{prefix}_{uuid4().hex[:24]}"


@dataclass(frozen=True, slots=True)
class Native:
    """A part exactly as a server sent it; replayed, never edited, to the same dialect and provider only."""

    dialect: str
    raw: Mapping[str, Any]
    provider: str | None = None
    model: str | None = None

    def __hash__(self) -> int:  # a mapping has no hash of its own
        return hash((self.dialect, self.provider, self.model))


@dataclass(frozen=True, slots=True)
class Text:
    """Text. `citations` are the provider's citation objects, as received."""

    text: str
    citations: tuple[Mapping[str, Any], ...] = field(default=(), hash=False)
    native: Native | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Thinking:
    """Reasoning text. `signature` and `redacted` (encrypted data) only mean something to the server that made them."""

    text: str
    signature: str | None = field(default=None, repr=False)
    redacted: str | None = field(default=None, repr=False)
    native: Native | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True, init=False)
class ToolCall:
    """A request of the model to run a tool.

    `arguments` may be given as a mapping or as JSON text. The text is kept as it came (`arguments_json`);
    `arguments` is the decoded object, or None when the text is not a JSON object (then `parse_error` says why).
    An empty text means no arguments, as several servers send it.

    Raises:
        InvalidMessageError: the arguments hold what JSON cannot.
    """

    id: str
    name: str
    arguments_json: str
    native: Native | None = field(default=None, repr=False, compare=False)
    _parsed: tuple[dict[str, Any] | None, str | None] | None = field(default=None, repr=False, compare=False)

    def __init__(
        self,
        name: str,
        arguments: Mapping[str, Any] | str | None = None,
        id: str | None = None,
        *,
        native: Native | None = None,
    ) -> None:
        put = object.__setattr__
        put(self, "id", id or new_id())
        put(self, "name", name)
        put(self, "arguments_json", arguments if isinstance(arguments, str) else _arguments_text(name, arguments))
        put(self, "native", native)
        put(self, "_parsed", None)

    def _parse(self) -> tuple[dict[str, Any] | None, str | None]:
        if self._parsed is None:
            object.__setattr__(self, "_parsed", _parse_arguments(self.arguments_json))
        return self._parsed  # type: ignore[return-value]  # set just above

    @property
    def arguments(self) -> dict[str, Any] | None:
        """The decoded arguments, or None when they are not a JSON object. Do not modify it."""
        return self._parse()[0]

    @property
    def parse_error(self) -> str | None:
        """Why `arguments` is None, or None."""
        return self._parse()[1]


def _arguments_text(name: str, arguments: object) -> str:
    try:
        return _json.dumps_str(arguments or {})
    except TypeError as exc:
        raise InvalidMessageError(
            f"the arguments of a call of {name} cannot be JSON: {exc}",
            hint="pass a dictionary of plain values, or text",
        ) from exc


def _parse_arguments(text: str) -> tuple[dict[str, Any] | None, str | None]:
    if not text.strip():
        return {}, None
    try:
        value = _json.loads(text)
    except ValueError as exc:
        return None, f"arguments are not JSON: {exc}"
    if value is None:  # "null": a call without arguments, as some servers write it
        return {}, None
    if isinstance(value, str):  # encoded twice, a known habit of small models
        return _parse_arguments(value) if value != text else (None, "arguments are a string")
    if not isinstance(value, dict):
        return None, f"arguments are {type(value).__name__}, not an object"
    return value, None


@dataclass(frozen=True, slots=True, init=False)
class ToolResult:
    """What a tool answered to the call `call_id`. Content is text, or parts (text, images, files)."""

    call_id: str
    parts: tuple[Part, ...]
    is_error: bool = False
    name: str | None = None
    native: Native | None = field(default=None, repr=False, compare=False)

    def __init__(
        self,
        call_id: str,
        content: str | Part | Sequence[Part | str] | Mapping[str, Any] | None = None,
        *,
        is_error: bool = False,
        name: str | None = None,
        native: Native | None = None,
    ) -> None:
        put = object.__setattr__
        put(self, "call_id", call_id)
        put(self, "parts", content_parts(_json.dumps_str(content) if isinstance(content, Mapping) else content))
        put(self, "is_error", is_error)
        put(self, "name", name)
        put(self, "native", native)

    @property
    def text(self) -> str:
        """The text parts, joined."""
        return "".join(p.text for p in self.parts if isinstance(p, Text))


_MEDIA_TYPES: tuple[tuple[str, tuple[type, ...]], ...] = (
    ("data", (bytes,)),
    ("url", (str,)),
    ("path", (str, Path)),
    ("media_type", (str,)),
    ("file_id", (str,)),
)


@dataclass(frozen=True, slots=True)
class _Media:
    """Bytes, a URL, or a path that the client reads before encoding (`attachments.resolve`)."""

    data: bytes | None = field(default=None, repr=False)
    url: str | None = None
    path: str | Path | None = None
    media_type: str | None = None
    file_id: str | None = None
    native: Native | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, kinds in _MEDIA_TYPES:
            value = getattr(self, name)
            if value is not None and not isinstance(value, kinds):
                raise InvalidMessageError(
                    f"{name} of {type(self).__name__} is {type(value).__name__}",
                    hint=f"it is {' or '.join(kind.__name__ for kind in kinds)}",
                )
        if self.data is None and not self.url and self.path is None and not self.file_id and self.native is None:
            raise InvalidMessageError(
                f"{type(self).__name__} needs one of data (bytes), url, path or file_id",
                hint=f"for example {type(self).__name__}(path='photo.png')",
            )


@dataclass(frozen=True, slots=True)
class Image(_Media):
    """An image: bytes, URL (http or data), path or provider file id. `detail` is OpenAI's low | high | auto."""

    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Audio(_Media):
    """A sound: bytes, URL, path. `media_type` such as ``audio/wav``."""


@dataclass(frozen=True, slots=True)
class File(_Media):
    """A document: bytes, URL, path or provider file id. `name` is the file name shown to the model."""

    name: str | None = None


@dataclass(frozen=True, slots=True)
class Opaque:
    """A block with no neutral form (server tool use, compaction...): kept whole, replayed only where it came from."""

    native: Native

    @property
    def type(self) -> str:
        """The block's own `type`."""
        return str(self.native.raw.get("type", ""))


Part: TypeAlias = Union[Text, Thinking, ToolCall, ToolResult, Image, Audio, File, Opaque]
Content: TypeAlias = Union[str, Part, Sequence[Union[Part, str]], None]

_PART_TYPES = (Text, Thinking, ToolCall, ToolResult, Image, Audio, File, Opaque)
_EXACT_PARTS = frozenset(_PART_TYPES)
_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".avif")
_AUDIO_SUFFIXES = (".wav", ".mp3", ".flac", ".ogg", ".opus", ".m4a", ".aac")


def content_parts(content: Content) -> tuple[Part, ...]:
    """`content` as parts. Raises `InvalidMessageError` for what is none."""
    if type(content) is tuple and _EXACT_PARTS.issuperset(map(type, content)):  # what readers of other formats make
        return content
    if content is None or content == "":
        return ()
    if isinstance(content, str):
        return (Text(content),)
    if isinstance(content, _PART_TYPES):
        return (content,)
    if isinstance(content, Sequence):
        return tuple(_one_part(item) for item in content)
    raise _not_a_part(content)


def _one_part(item: Part | str) -> Part:
    if isinstance(item, str):
        return Text(item)
    if isinstance(item, _PART_TYPES):
        return item
    raise _not_a_part(item)


def _not_a_part(item: object) -> InvalidMessageError:
    return InvalidMessageError(
        f"{type(item).__name__} is not a message part",
        hint="use str, Text, Thinking, ToolCall, ToolResult, Image, Audio, File or Opaque; "
        "for dictionaries use Message.from_dict",
    )


def parts_from_paths(paths: str | Path | Iterable[str | Path]) -> tuple[Part, ...]:
    """An image, sound or file part for each path, by its suffix. Raises `InvalidMessageError` for what is no path."""
    if isinstance(paths, (str, Path)):
        return (_from_path(paths),)
    if isinstance(paths, bytes) or not isinstance(paths, Iterable):
        raise InvalidMessageError(f"file_paths is {type(paths).__name__}", hint="pass a list of paths")
    return tuple(_from_path(path) for path in paths)


def _from_path(path: str | Path) -> Part:
    if not isinstance(path, (str, Path)):
        raise InvalidMessageError(
            f"a file path is {type(path).__name__}", hint="use str or Path; bytes go in Image(...)"
        )
    name = str(path).lower()
    if name.endswith(_IMAGE_SUFFIXES):
        return Image(path=path)
    return Audio(path=path) if name.endswith(_AUDIO_SUFFIXES) else File(path=path, name=Path(path).name)
