"""Images, sounds and documents as content parts of the OpenAI chat dialect."""

from __future__ import annotations

import base64
from typing import Any

from unified_llm.codecs.openai_draft import DIALECT, Draft
from unified_llm.codecs.stand_ins import check_file_id, check_image_type, stand_in, url_refused
from unified_llm.errors import InvalidMessageError
from unified_llm.messages import Audio, File, Image

__all__ = ["PLACEHOLDER", "media_part"]

# Stands where a part could not be sent, so that the model does not answer as if nothing had been there.
PLACEHOLDER = "[{kind} not sent: this server does not take it]"

_AUDIO_FORMATS = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
}
_TEXT_TYPES = ("text/", "application/json", "application/xml", "application/x-yaml", "application/yaml")


def media_part(part: Image | Audio | File, where: str, draft: Draft) -> dict[str, Any]:
    """The content part of some media. Its path must have been read before (`attachments.resolve`).

    What the server does not take at all is replaced by a placeholder and recorded as lost; what it takes in another
    form only is an `InvalidMessageError`, because the caller can convert it. In the history that is replaced, too.
    """
    native = part.native
    if native is not None and (native.dialect, native.provider) == (DIALECT, draft.provider):
        return dict(native.raw)
    if part.data is None and part.url is None and part.file_id is None:
        raise InvalidMessageError(f"{where}: {part.path} was not read", hint="pass the bytes: data=...")
    try:
        return _media(part, where, draft)
    except InvalidMessageError as exc:
        if not draft.past:
            raise
        draft.lose(f"{where}.{type(part).__name__.lower()}", exc.message)
        return {"type": "text", "text": stand_in(part)}


def _media(part: Image | Audio | File, where: str, draft: Draft) -> dict[str, Any]:
    if isinstance(part, Image):
        return _image(part, where, draft)
    return _audio(part, where, draft) if isinstance(part, Audio) else _file(part, where, draft)


def _missing(kind: str, where: str, draft: Draft) -> dict[str, Any]:
    draft.lose(f"{where}.{kind}", f"{draft.provider} takes no {kind} in chats")
    return {"type": "text", "text": PLACEHOLDER.format(kind=kind)}


def _data_url(data: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def _image(part: Image, where: str, draft: Draft) -> dict[str, Any]:
    profile = draft.profile
    if not profile.images:
        return _missing("image", where, draft)
    if part.data is not None:
        media_type = part.media_type or "image/png"
        check_image_type(media_type, profile.image_types, where, provider=draft.provider)
        url = _data_url(part.data, media_type)
    elif part.url is None:
        raise InvalidMessageError(f"{where}: chat completions take no image file ids", hint="pass the bytes or a URL")
    elif not profile.image_urls and not part.url.startswith("data:"):
        raise url_refused(where, provider=draft.provider)
    else:
        url = part.url
    image: dict[str, Any] = {"url": url}
    if part.detail is not None:
        image["detail"] = part.detail
    return {"type": "image_url", "image_url": image}


def _audio(part: Audio, where: str, draft: Draft) -> dict[str, Any]:
    if not draft.profile.audio:
        return _missing("audio", where, draft)
    form = _AUDIO_FORMATS.get(part.media_type or "audio/wav")
    if part.data is None or form is None:
        raise InvalidMessageError(
            f"{where}: audio must be the bytes of a WAV or MP3 file, not {part.media_type or part.url}",
            hint="convert it, and pass Audio(data=..., media_type='audio/wav')",
        )
    return {"type": "input_audio", "input_audio": {"data": base64.b64encode(part.data).decode(), "format": form}}


def _file(part: File, where: str, draft: Draft) -> dict[str, Any]:
    if part.data is not None and (part.media_type or "").startswith(_TEXT_TYPES):
        return _text_file(part, part.data, where, draft)
    if not draft.profile.files:
        return _missing("file", where, draft)
    if part.file_id is not None:
        check_file_id(part, where, provider=draft.provider, maker="OpenAI")
        return {"type": "file", "file": {"file_id": part.file_id}}
    if part.data is None:
        raise InvalidMessageError(
            f"{where}: {draft.provider} does not load files from URLs", hint="download it and pass File(data=...)"
        )
    media_type = part.media_type or "application/pdf"
    body = {"filename": part.name or "document.pdf", "file_data": _data_url(part.data, media_type)}
    return {"type": "file", "file": body}


def _text_file(part: File, data: bytes, where: str, draft: Draft) -> dict[str, Any]:
    """A text document goes into the message as text: every server reads that, none of them reads a text file part."""
    name = f' name="{part.name}"' if part.name else ""
    draft.rearrange(f"{where}.file", "the document's text is sent inside the message")
    return {"type": "text", "text": f"<document{name}>\n{data.decode('utf-8', 'replace')}\n</document>"}
