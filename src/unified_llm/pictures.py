"""Images in a format that a server does not take, written anew in one it takes. Pure, but for Pillow, an extra."""

from __future__ import annotations

import io
from collections.abc import Collection
from functools import lru_cache
from typing import Any

from unified_llm._optional import installed

__all__ = ["can_convert", "converted"]

_BIG = 4 << 20  # bytes of PNG from which a picture without transparency is sent as JPEG, a tenth of the size
_QUALITY = 95
_PIXELS = 100_000_000


def can_convert() -> bool:
    """Whether Pillow is here."""
    return installed("PIL")


@lru_cache(maxsize=16)  # a history is sent again with every turn
def converted(data: bytes, taken: frozenset[str]) -> tuple[bytes, str] | None:
    """The image in a format of `taken`, and its media type; None where Pillow cannot read it, or write such a one.

    Of an animation it is the first picture. PNG loses nothing; JPEG is taken for what would be large, or alone.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(data)) as opened:
            if opened.width * opened.height > (Image.MAX_IMAGE_PIXELS or _PIXELS):
                return None  # a small file that would fill the memory
            picture = ImageOps.exif_transpose(opened)  # PNG has no other way to say which side is up
            return _written(picture, taken)
    except (OSError, ValueError, SyntaxError, Warning, Image.DecompressionBombError):
        return None  # the codec says what the server takes


def _written(picture: Any, taken: Collection[str]) -> tuple[bytes, str] | None:
    clear = "A" in picture.mode or "transparency" in picture.info
    if "image/png" in taken:
        plain = picture.convert("RGBA" if clear else "RGB") if picture.mode not in ("RGB", "RGBA", "L") else picture
        data = _saved(plain, "PNG")
        if len(data) < _BIG or clear or "image/jpeg" not in taken:
            return data, "image/png"
    return (_saved(picture.convert("RGB"), "JPEG", quality=_QUALITY), "image/jpeg") if "image/jpeg" in taken else None


def _saved(picture: Any, form: str, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, form, **options)
    return out.getvalue()
