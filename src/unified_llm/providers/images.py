"""Images made fit for a server before they are encoded: written in a format it takes, fetched where it fetches none."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, TypeAlias

from unified_llm.attachments import image_type
from unified_llm.codecs.stand_ins import last_user_turn
from unified_llm.drivers.image_download import MAX_BYTES, download_image
from unified_llm.errors import ConfigurationError, InvalidMessageError
from unified_llm.messages import Image, Message, Part, ToolResult
from unified_llm.pictures import can_convert, converted
from unified_llm.profiles import Profile
from unified_llm.requests import ChatRequest
from unified_llm.responses import Adjustment

__all__ = ["DownloadImages", "ImageFitter"]

DownloadImages: TypeAlias = bool | Literal["any"]
_KEPT_BYTES = 4 * MAX_BYTES


class ImageFitter:
    """Makes images fit. `download` allows fetching them by their URLs: True from the public internet, "any" all.

    Raises:
        ConfigurationError: `download` is something else.
    """

    def __init__(self, download: DownloadImages, provider: str) -> None:
        if download not in (True, False, "any"):
            raise ConfigurationError(
                f"download_images cannot be {download!r}",
                provider=provider,
                hint="use True (from the public internet), 'any' (also from this machine and its networks) or False",
            )
        self._download = download
        self._provider = provider
        self._kept: OrderedDict[str, bytes] = OrderedDict()  # a history is sent again with every turn
        self._lock = threading.Lock()

    def unfit(self, request: ChatRequest, profile: Profile) -> bool:
        """Whether `fitted` would change something, as far as can be told without looking into the images."""
        fetches = bool(self._download) and not profile.image_urls
        if not profile.images or not (profile.image_types or fetches):
            return False
        return any(
            self._is_unfit(image, profile)
            for message in request.messages
            for part in message.parts
            for image in (part.parts if type(part) is ToolResult else (part,))
            if type(image) is Image
        )

    def fitted(self, request: ChatRequest, profile: Profile) -> tuple[ChatRequest, tuple[Adjustment, ...]]:
        """`request` with images that the server takes, and what was done. What cannot be done is left to the codec.

        Raises:
            InvalidMessageError: an image of the last user turn cannot be fetched.
        """
        notes: list[Adjustment] = []
        now = last_user_turn(request.messages)
        messages = tuple(
            self._message(message, f"messages[{i}]", i < now, profile, notes)
            for i, message in enumerate(request.messages)
        )
        return replace(request, messages=messages), tuple(notes)

    def _is_unfit(self, image: Image, profile: Profile) -> bool:
        if image.data is None:
            return bool(self._download) and not profile.image_urls and _is_web(image.url)
        taken = profile.image_types
        return bool(taken) and image.media_type is not None and image.media_type not in taken and can_convert()

    def _message(self, message: Message, where: str, past: bool, profile: Profile, notes: list[Adjustment]) -> Message:
        parts = self._parts(message.parts, where, past, profile, notes)
        if all(a is b for a, b in zip(parts, message.parts, strict=True)):
            return message
        return Message(message.role, parts, name=message.name, origin=message.origin, id=message.id)

    def _parts(
        self, parts: Sequence[Part], where: str, past: bool, profile: Profile, notes: list[Adjustment]
    ) -> tuple[Part, ...]:
        return tuple(self._part(p, f"{where}.parts[{i}]", past, profile, notes) for i, p in enumerate(parts))

    def _part(self, part: Part, where: str, past: bool, profile: Profile, notes: list[Adjustment]) -> Part:
        if isinstance(part, ToolResult):
            inner = self._parts(part.parts, where, past, profile, notes)
            if all(a is b for a, b in zip(inner, part.parts, strict=True)):
                return part
            return ToolResult(part.call_id, inner, is_error=part.is_error, name=part.name, native=part.native)
        if not isinstance(part, Image) or not self._is_unfit(part, profile):
            return part
        fetched = self._fetched(part, where, past, notes) if part.data is None else part
        return self._converted(fetched, where, profile, notes)

    def _fetched(self, image: Image, where: str, past: bool, notes: list[Adjustment]) -> Image:
        url = image.url or ""
        try:
            data = self._bytes_of(url)
        except InvalidMessageError as exc:
            if past:
                return image  # the codec lets a text stand for it
            exc.message = f"{where}: {exc.message}"
            exc.with_context(provider=self._provider)
            raise
        notes.append(Adjustment("changed", where, f"{self._provider} loads no images from URLs: it was downloaded"))
        return replace(image, data=data, url=None, media_type=image_type(data))

    def _bytes_of(self, url: str) -> bytes:
        with self._lock:
            if url in self._kept:
                return self._kept[url]
        data = download_image(url, private=self._download == "any")
        if image_type(data) is None:
            raise InvalidMessageError(
                "what is at the URL is no image of a known format", hint="pass the address of the image file itself"
            )
        with self._lock:
            self._kept[url] = data
            while len(self._kept) > 1 and sum(map(len, self._kept.values())) > _KEPT_BYTES:
                self._kept.popitem(last=False)
        return data

    def _converted(self, image: Image, where: str, profile: Profile, notes: list[Adjustment]) -> Image:
        if image.data is None or not self._is_unfit(image, profile):
            return image
        found = converted(image.data, profile.image_types)
        if found is None:
            return image
        data, media_type = found
        notes.append(
            Adjustment("changed", where, f"{self._provider} takes no {image.media_type}: sent as {media_type}")
        )
        return replace(image, data=data, media_type=media_type)


def _is_web(url: Any) -> bool:
    return isinstance(url, str) and url.startswith(("http://", "https://"))
