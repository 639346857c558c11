"""Images in a format that a server does not take, written anew in one it takes. Pure, but for Pillow, an extra."""

from __future__ import annotations

import io
import logging
from collections.abc import Collection
from typing import Any

from unified_llm._optional import installed

__all__ = ["can_convert", "converted"]

_BIG = 4 << 20  # bytes of PNG from which a picture without transparency is sent as JPEG, a tenth of the size
_QUALITY = 95
_PIXELS = 64_000_000  # a quarter of a GB when decoded; the largest cameras of telephones have 50 million
_READ = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF")  # the last one where a plug-in was registered

_log = logging.getLogger("unified_llm")


def can_convert() -> bool:
    """Whether Pillow is here."""
    return installed("PIL")


def converted(data: bytes, taken: frozenset[str]) -> tuple[bytes, str] | None:
    """The image in a format of `taken`, and its media type; None where Pillow cannot read it, or write such a one.

    Of an animation it is the first picture. PNG loses nothing; JPEG is taken for what would be large, or alone.
    Only formats of pictures are read: Pillow would start other programs for some (EPS), whatever was declared.
    """
    from PIL import Image, ImageOps

    Image.init()
    known = [name for name in _READ if name in Image.OPEN]  # Pillow refuses names that it does not know
    try:
        with Image.open(io.BytesIO(data), formats=known) as opened:
            if opened.width * opened.height > min(Image.MAX_IMAGE_PIXELS or _PIXELS, _PIXELS):
                return None  # a small file that would fill the memory
            picture = ImageOps.exif_transpose(opened)  # PNG has no other way to say which side is up
            return _written(picture, taken)
    except Exception as exc:  # noqa: BLE001  # what decoders raise for damaged bytes is listed nowhere
        _log.debug("an image was not converted: %s %s", type(exc).__name__, exc)
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
