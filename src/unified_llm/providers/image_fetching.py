"""Images downloaded for a request, each once at most, and kept: a history is sent again with every turn."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any

from unified_llm.attachments import image_type
from unified_llm.codecs.stand_ins import last_user_turn
from unified_llm.errors import APITimeoutError, InvalidMessageError
from unified_llm.forks import renew_in_child
from unified_llm.messages import Image, Message, ToolResult
from unified_llm.providers.kept_images import KeptImages
from unified_llm.requests import ChatRequest

__all__ = ["ImageFetcher", "is_web"]

_KEPT_BYTES = 80 << 20
_KEPT_FAILURES = 256
_GONE_SECONDS = 600.0  # that long, what failed is not tried again for an earlier turn


class ImageFetcher:
    """Downloads images. `private` allows addresses of this machine and its networks. Safe to share between threads."""

    def __init__(self, provider: str, *, private: bool) -> None:
        self._provider, self._private = provider, private
        self._kept: KeptImages[str] = KeptImages(_KEPT_BYTES)
        self._gone: OrderedDict[str, float] = OrderedDict()  # what cannot be had, and until when that is believed
        self._lock = threading.Lock()
        renew_in_child(self)

    def after_fork(self) -> None:
        """See `Forkable`."""
        self._lock = threading.Lock()

    def would_download(self, request: ChatRequest) -> bool:
        """Whether there are images that `fetch` would download."""
        return next(self._missing(request, {}), None) is not None

    def fetch(self, request: ChatRequest) -> dict[str, bytes]:
        """The images that `request` names by URLs and the server does not fetch: each is downloaded once at most.

        Of earlier turns, those that cannot be had are left out, and are not asked for again in the next ten minutes.

        Raises:
            InvalidMessageError: an image of the last user turn cannot be fetched.
            APITimeoutError: the deadline of the request passed.
        """
        from unified_llm.drivers.image_download import download_image

        found: dict[str, bytes] = {}
        end = _end(request)
        for url, where, past in self._missing(request, found):
            try:
                data = download_image(url, private=self._private, seconds=_left(end))
                found[url] = self._keep(url, data)
            except (InvalidMessageError, APITimeoutError) as exc:
                self._failed(exc, url, where, past)
        return found

    async def fetch_async(self, request: ChatRequest) -> dict[str, bytes]:
        """`fetch`, without blocking the event loop."""
        from unified_llm.drivers.image_download import download_image_async

        found: dict[str, bytes] = {}
        end = _end(request)
        for url, where, past in self._missing(request, found):
            try:
                data = await download_image_async(url, private=self._private, seconds=_left(end))
                found[url] = self._keep(url, data)
            except (InvalidMessageError, APITimeoutError) as exc:
                self._failed(exc, url, where, past)
        return found

    def _missing(self, request: ChatRequest, found: dict[str, bytes]) -> Iterator[tuple[str, str, bool]]:
        """URL and place of each image to download, and whether it is of an earlier turn: those of the last turn first,
        which must be there. Puts into `found` what is kept, and yields nothing that the caller puts there.
        """
        now = last_user_turn(request.messages)
        for url, where, past in sorted(_named(request.messages, now), key=itemgetter(2)):
            if url in found:
                continue
            kept = self._kept.get(url)
            with self._lock:
                gone = past and time.monotonic() < self._gone.get(url, 0.0)
            if kept is not None:
                found[url] = kept[0]
            elif not gone:
                yield url, where, past

    def _keep(self, url: str, data: bytes) -> bytes:
        media_type = image_type(data)
        if media_type is None:
            raise InvalidMessageError(
                "what is at the URL is no image of a known format", hint="pass the address of the image file itself"
            )
        with self._lock:
            self._gone.pop(url, None)
        self._kept.put(url, data, media_type)
        return data

    def _failed(self, exc: InvalidMessageError | APITimeoutError, url: str, where: str, past: bool) -> None:
        """Take note that an image cannot be had. Raises `exc`, unless a text may stand for it."""
        exc.with_context(provider=self._provider)
        if isinstance(exc, APITimeoutError):
            raise exc  # there is no time for anything else
        with self._lock:
            self._gone[url] = time.monotonic() + _GONE_SECONDS
            while len(self._gone) > _KEPT_FAILURES:
                self._gone.popitem(last=False)
        if not past:
            exc.message = f"{where}: {exc.message}"
            raise exc


def _named(messages: Sequence[Message], now: int) -> Iterator[tuple[str, str, bool]]:
    """URL and place of each image on the web, and whether it stands before the message `now`."""
    for i, message in enumerate(messages):
        for j, part in enumerate(message.parts):
            inner = part.parts if isinstance(part, ToolResult) else (part,)
            for k, image in enumerate(inner):
                if isinstance(image, Image) and image.data is None and is_web(image.url):
                    deeper = f".parts[{k}]" if isinstance(part, ToolResult) else ""
                    yield str(image.url), f"messages[{i}].parts[{j}]{deeper}", i < now


def _end(request: ChatRequest) -> float | None:
    """When the deadline of `request` passes, by `time.monotonic`."""
    return None if request.config.deadline is None else time.monotonic() + request.config.deadline


def _left(end: float | None) -> float | None:
    """The seconds left. Raises `APITimeoutError` when there are none."""
    if end is None:
        return None
    left = end - time.monotonic()
    if left <= 0:
        raise APITimeoutError(
            "the deadline passed before the images were downloaded",
            hint="raise deadline=, or download the images and pass their bytes: Image(data=...)",
        )
    return left


def is_web(url: Any) -> bool:
    """Whether an image's URL is one that could be fetched."""
    return isinstance(url, str) and url.startswith(("http://", "https://"))
