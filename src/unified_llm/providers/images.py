"""Images made fit for a server before they are encoded: written in a format it takes, fetched where it fetches none."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

from unified_llm.attachments import image_type
from unified_llm.errors import ConfigurationError
from unified_llm.messages import Image, Message, Part, ToolResult
from unified_llm.pictures import can_convert, converted
from unified_llm.profiles import Profile
from unified_llm.providers.image_fetching import ImageFetcher, is_web
from unified_llm.providers.kept_images import KeptImages
from unified_llm.requests import ChatRequest
from unified_llm.responses import Adjustment

__all__ = ["DownloadImages", "ImageFitter"]

DownloadImages: TypeAlias = bool | Literal["any"]
_KEPT_BYTES = 32 << 20  # of what was converted
_NOTHING: Mapping[str, bytes] = {}


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
        self._kept: KeptImages[tuple[bytes, frozenset[str]]] = KeptImages(_KEPT_BYTES)
        self.fetcher = ImageFetcher(provider, private=download == "any")

    def unfit(self, request: ChatRequest, profile: Profile) -> bool:
        """Whether `fitted` would change something, as far as can be told without looking into the images."""
        fetches = self._fetches(profile)
        if not profile.images or not (profile.image_types or fetches):
            return False
        return any(
            self._is_unfit(image, profile)
            for message in request.messages
            for part in message.parts
            for image in (part.parts if type(part) is ToolResult else (part,))
            if type(image) is Image
        )

    def fitted(
        self, request: ChatRequest, profile: Profile, fetched: Mapping[str, bytes] = _NOTHING
    ) -> tuple[ChatRequest, tuple[Adjustment, ...]]:
        """`request` with images that the server takes, and what was done. What cannot be done is left to the codec.

        `fetched` is what `fetch` gave.
        """
        notes: list[Adjustment] = []
        messages = tuple(
            self._message(message, f"messages[{i}]", profile, fetched, notes)
            for i, message in enumerate(request.messages)
        )
        return replace(request, messages=messages), tuple(notes)

    # -- fitting ----------------------------------------------------------------------------------------------------

    def to_fetch(self, request: ChatRequest, profile: Profile) -> bool:
        """Whether `fetch` would download something."""
        return self._fetches(profile) and self.fetcher.would_download(request)

    def fetch(self, request: ChatRequest, profile: Profile) -> dict[str, bytes]:
        """What `fitted` needs of the web. See `ImageFetcher.fetch`."""
        return self.fetcher.fetch(request) if self._fetches(profile) else {}

    async def fetch_async(self, request: ChatRequest, profile: Profile) -> dict[str, bytes]:
        """`fetch`, without blocking the event loop."""
        return await self.fetcher.fetch_async(request) if self._fetches(profile) else {}

    def _fetches(self, profile: Profile) -> bool:
        return bool(self._download) and profile.images and not profile.image_urls

    def _is_unfit(self, image: Image, profile: Profile) -> bool:
        if image.data is None:
            return self._fetches(profile) and is_web(image.url)
        taken = profile.image_types
        return bool(taken) and image.media_type is not None and image.media_type not in taken and can_convert()

    def _message(
        self, message: Message, where: str, profile: Profile, fetched: Mapping[str, bytes], notes: list[Adjustment]
    ) -> Message:
        parts = self._parts(message.parts, where, profile, fetched, notes)
        if all(a is b for a, b in zip(parts, message.parts, strict=True)):
            return message
        return Message(message.role, parts, name=message.name, origin=message.origin, id=message.id)

    def _parts(
        self,
        parts: Sequence[Part],
        where: str,
        profile: Profile,
        fetched: Mapping[str, bytes],
        notes: list[Adjustment],
    ) -> tuple[Part, ...]:
        return tuple(self._part(p, f"{where}.parts[{i}]", profile, fetched, notes) for i, p in enumerate(parts))

    def _part(
        self, part: Part, where: str, profile: Profile, fetched: Mapping[str, bytes], notes: list[Adjustment]
    ) -> Part:
        if isinstance(part, ToolResult):
            inner = self._parts(part.parts, where, profile, fetched, notes)
            if all(a is b for a, b in zip(inner, part.parts, strict=True)):
                return part
            return ToolResult(part.call_id, inner, is_error=part.is_error, name=part.name, native=part.native)
        if not isinstance(part, Image) or not self._is_unfit(part, profile):
            return part
        held = self._downloaded(part, where, fetched, notes) if part.data is None else part
        return self._converted(held, where, profile, notes)

    def _downloaded(self, image: Image, where: str, fetched: Mapping[str, bytes], notes: list[Adjustment]) -> Image:
        data = fetched.get(image.url or "")
        if data is None:
            return image  # the codec lets a text stand for it
        notes.append(Adjustment("changed", where, f"{self._provider} loads no images from URLs: it was downloaded"))
        return replace(image, data=data, url=None, media_type=image_type(data))

    def _converted(self, image: Image, where: str, profile: Profile, notes: list[Adjustment]) -> Image:
        if image.data is None or not self._is_unfit(image, profile):
            return image
        found = self._written(image.data, profile.image_types)
        if found is None:
            return image
        data, media_type = found
        notes.append(
            Adjustment("changed", where, f"{self._provider} takes no {image.media_type}: sent as {media_type}")
        )
        return replace(image, data=data, media_type=media_type)

    def _written(self, data: bytes, taken: frozenset[str]) -> tuple[bytes, str] | None:
        """What `converted` gives, once for each image that fits into what is kept."""
        key = (hashlib.sha256(data).digest(), taken)
        kept = self._kept.get(key)
        if kept is not None:
            return kept
        found = converted(data, taken)
        if found is not None:
            self._kept.put(key, *found)
        return found
