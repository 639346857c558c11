"""Show the model a picture: a file, bytes or a URL.

uv run python examples/08_images.py [provider:model] [picture.png]
"""

import struct
import sys
import zlib

from unified_llm import Image, Message, UnifiedLLM


def red_square(size: int = 64) -> bytes:
    """A PNG of one colour, made by hand so that this example needs no file."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    rows = (b"\0" + b"\xff\x00\x00" * size) * size
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def main(model: str | None = None, path: str | None = None) -> None:
    picture = Image(path=path) if path else Image(data=red_square(), media_type="image/png")
    with UnifiedLLM(model=model) as llm:
        print(llm.chat([Message("user", ["What colour is this picture?", picture])]))


if __name__ == "__main__":
    main(*sys.argv[1:3])
