"""Texts, images and documents as content parts of the Responses API."""

from __future__ import annotations

import base64
from typing import Any

from unified_llm.codecs.openai_media import PLACEHOLDER
from unified_llm.codecs.responses_draft import DIALECT, ResponsesDraft
from unified_llm.codecs.stand_ins import check_file_id, check_image_type, stand_in, url_refused
from unified_llm.errors import InvalidMessageError
from unified_llm.messages import Audio, File, Image, Opaque, Part, Text

__all__ = ["content_part"]

_TEXT_TYPES = ("text/", "application/json", "application/xml", "application/x-yaml", "application/yaml")


def content_part(part: Part, where: str, draft: ResponsesDraft) -> dict[str, Any] | None:
    """The content part, or None for what is not sent (recorded, empty texts aside).

    Raises:
        InvalidMessageError: the server takes it in another form only, which the caller can make; in the history a
            text stands for it.
    """
    native = getattr(part, "native", None)
    if native is not None and (native.dialect, native.provider) == (DIALECT, draft.provider):
        return dict(native.raw)
    if isinstance(part, Text):
        if part.citations:
            draft.lose(f"{where}.citations", "citations go back only as the item they came in")
        return {"type": "input_text", "text": part.text} if part.text else None
    if isinstance(part, (Image, File)):
        return _media(part, where, draft)
    if isinstance(part, Audio):
        return _missing("audio", where, draft)
    kind = part.type or "opaque" if isinstance(part, Opaque) else type(part).__name__.lower()
    draft.lose(f"{where}.{kind}", "a user message cannot hold it")
    return None


def _media(part: Image | File, where: str, draft: ResponsesDraft) -> dict[str, Any]:
    try:
        return _image(part, where, draft) if isinstance(part, Image) else _file(part, where, draft)
    except InvalidMessageError as exc:
        if not draft.past or (part.path is not None and part.data is None):
            raise
        draft.lose(f"{where}.{type(part).__name__.lower()}", exc.message)
        return {"type": "input_text", "text": stand_in(part)}


def _missing(kind: str, where: str, draft: ResponsesDraft) -> dict[str, Any]:
    draft.lose(f"{where}.{kind}", f"{draft.provider} takes no {kind} in the Responses API")
    return {"type": "input_text", "text": PLACEHOLDER.format(kind=kind)}


def _data_url(data: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def _image(part: Image, where: str, draft: ResponsesDraft) -> dict[str, Any]:
    profile = draft.profile
    if not profile.images:
        return _missing("image", where, draft)
    wire: dict[str, Any] = {"type": "input_image", "detail": part.detail or "auto"}
    if part.data is not None:
        media_type = part.media_type or "image/png"
        check_image_type(media_type, profile.image_types, where, provider=draft.provider)
        return wire | {"image_url": _data_url(part.data, media_type)}
    if part.file_id is not None:
        check_file_id(part, where, provider=draft.provider, maker="OpenAI")
        return wire | {"file_id": part.file_id}
    if part.url is None:
        raise InvalidMessageError(f"{where}: {part.path} was not read", hint="pass the bytes: data=...")
    if not profile.image_urls and not part.url.startswith("data:"):
        raise url_refused(where, provider=draft.provider)
    return wire | {"image_url": part.url}


def _file(part: File, where: str, draft: ResponsesDraft) -> dict[str, Any]:
    if part.data is not None and (part.media_type or "").startswith(_TEXT_TYPES):
        name = f' name="{part.name}"' if part.name else ""
        draft.rearrange(f"{where}.file", "the document's text is sent inside the message")
        text = f"<document{name}>\n{part.data.decode('utf-8', 'replace')}\n</document>"
        return {"type": "input_text", "text": text}
    if not draft.profile.files:
        return _missing("file", where, draft)
    if part.file_id is not None:
        check_file_id(part, where, provider=draft.provider, maker="OpenAI")
        return {"type": "input_file", "file_id": part.file_id}
    if part.data is not None:
        data = _data_url(part.data, part.media_type or "application/pdf")
        return {"type": "input_file", "filename": part.name or "document.pdf", "file_data": data}
    if part.url is None:
        raise InvalidMessageError(f"{where}: {part.path} was not read", hint="pass the bytes: data=...")
    return {"type": "input_file", "file_url": part.url}
