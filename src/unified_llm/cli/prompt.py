"""From arguments, stdin and attached files to the user's message."""

from __future__ import annotations

import codecs
import os
import re
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

from unified_llm.attachments import image_type
from unified_llm.cli.output import Output, is_terminal
from unified_llm.errors import InvalidRequestError
from unified_llm.messages import Audio, File, Image, Message, Part, Text

__all__ = ["Attachments", "decode_text", "fenced", "piped_stdin", "readable", "user_message"]

_AUDIO = {".wav", ".mp3", ".flac", ".ogg", ".opus", ".m4a", ".aac"}
_URL = re.compile(r"(https?|data):", re.IGNORECASE)


def piped_stdin() -> bytes | None:
    """Everything piped in, or None when stdin is a terminal, closed, or a device such as /dev/null."""
    stdin = sys.stdin
    if stdin is None or stdin.closed or is_terminal(stdin):
        return None
    try:
        if stat.S_ISCHR(os.fstat(stdin.fileno()).st_mode):
            return None
    except (OSError, ValueError):  # not a real file, as in a test: its content counts
        pass
    return stdin.buffer.read()


def decode_text(data: bytes, name: str, out: Output) -> str:
    """Text of some bytes: UTF-8, or UTF-16 with its mark; a note says when bytes had to be replaced.

    Raises:
        InvalidRequestError: the bytes are not text.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace")
    if b"\0" in data:
        raise InvalidRequestError(
            f"{name} is not text", hint="attach it instead: --image - or --file - reads an attachment from stdin"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        out.note(f"note: {name} is not UTF-8 (byte {exc.start}); what could not be read is replaced")
        return data.decode("utf-8-sig", "replace")


def readable(argument: str) -> str:
    """An argument without the surrogates by which Python marks bytes outside UTF-8: no server takes them."""
    return argument.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def fenced(text: str, label: str) -> str:
    """`text` between fences longer than any inside it, under a line that says what it is."""
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{label}:\n{fence}\n{text.rstrip()}\n{fence}"


class Attachments:
    """Images and files of the next message. ``-`` stands for stdin, which can be used once.

    Text files are put into the prompt, fenced, because every model can read them so; images, sounds and documents
    become parts of their own.
    """

    def __init__(self, out: Output, images: Sequence[str] = (), files: Sequence[str] = ()) -> None:
        self._out = out
        self._stdin: bytes | None = None
        self.takes_stdin = "-" in (*images, *files)
        if [*images, *files].count("-") > 1:
            raise InvalidRequestError("stdin (-) can be attached once", hint="save it to a file first")
        if self.takes_stdin:
            self._stdin = piped_stdin()
            if not self._stdin:
                raise InvalidRequestError("nothing was piped in to attach", hint="for example: ... -i - < photo.png")
        self.parts: list[Part] = [self.image(i) for i in images] + [self.file(f) for f in files]

    def image(self, where: str) -> Part:
        """An image: path, URL, or ``-``."""
        if _URL.match(where):
            return Image(url=where)
        return Image(data=self._read(where))

    def file(self, where: str) -> Part:
        """A file of any kind: path, URL, or ``-``."""
        if _URL.match(where):
            return File(url=where)
        name = "stdin" if where == "-" else Path(where).name
        data = self._read(where)
        if image_type(data):
            return Image(data=data)
        if Path(name).suffix.lower() in _AUDIO:
            return Audio(data=data, media_type=_media_type(name))
        if data.startswith(b"%PDF-") or (b"\0" in data and not data.startswith(codecs.BOM_UTF16_LE)):
            return File(data=data, name=name, media_type=_media_type(name) or _pdf(data))
        return Text(fenced(decode_text(data, name, self._out), f"File {name}"))

    def _read(self, where: str) -> bytes:
        if where == "-":
            return self._stdin or b""
        path = Path(where).expanduser()
        try:
            return path.read_bytes()
        except OSError as exc:
            raise InvalidRequestError(
                f"cannot read {where}: {exc.strerror or exc}", hint="check the path and its permissions"
            ) from exc


def _media_type(name: str) -> str | None:
    import mimetypes

    return mimetypes.guess_type(name)[0]


def _pdf(data: bytes) -> str | None:
    return "application/pdf" if data.startswith(b"%PDF-") else None


def user_message(prompt: str, context: str | None, attached: Sequence[Part]) -> Message:
    """The user's turn: attachments first, then the prompt, then what was piped in.

    Without a prompt the piped text is the prompt.
    """
    if context and context.strip():
        prompt = f"{prompt}\n\n{fenced(context, 'Input')}" if prompt else context
    text_parts = [p for p in attached if isinstance(p, Text)]
    media = [p for p in attached if not isinstance(p, Text)]
    text = "\n\n".join([*(p.text for p in text_parts), *([prompt] if prompt else [])])
    return Message("user", [*media, *([Text(text)] if text else [])])
