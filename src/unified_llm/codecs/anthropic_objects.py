"""What Claude's batches and files have in common: objects, and lists of them in pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from unified_llm import _json
from unified_llm.codecs.base import CodecContext
from unified_llm.codecs.errors import unusable_body
from unified_llm.errors import ResponseError
from unified_llm.wire import WireReply

__all__ = ["Pages", "object_in", "page_in", "unusable"]

_One = TypeVar("_One")


class Pages(Generic[_One]):
    """A list while it comes. There is `more` as long as a page names the next one, which begins `after` an id."""

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._seen: set[str] = set()
        self.found: list[_One] = []
        self.after: str | None = None
        self.more = True

    def add(self, page: tuple[list[_One], str | None]) -> None:
        """Add a page, and what it says of the next one. Raises `ResponseError` for one that was there before."""
        found, after = page
        if after in self._seen:
            raise ResponseError(
                "the list has no end: the next page is one that was there before",
                provider=self._provider,
                hint="look at one entry by its id; the server does not page as this dialect says",
            )
        self.found += found
        self.after, self.more = after, after is not None
        if after is not None:
            self._seen.add(after)


def object_in(reply: WireReply, context: CodecContext, what: str) -> dict[str, Any]:
    """The JSON object that a reply holds. Raises `ResponseError`: there is no `what` in it."""
    try:
        value = _json.loads(reply.body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise unusable(reply, context, f"no {what}")
    return value


def page_in(
    reply: WireReply, context: CodecContext, what: str, read: Callable[[Any], _One]
) -> tuple[list[_One], str | None]:
    """What `read` makes of each entry of a page, and where the next page begins. Raises `ResponseError`."""
    value = object_in(reply, context, f"list of {what}")
    rows, more, after = value.get("data"), value.get("has_more"), value.get("last_id")
    if not isinstance(rows, list):
        raise unusable(reply, context, f"no list of {what}")
    if more and not isinstance(after, str):
        raise unusable(reply, context, "a page that does not say where the next one begins")
    return [read(row) for row in rows], after if more else None


def unusable(reply: WireReply, context: CodecContext, why: str) -> ResponseError:
    """The error (not raised) of a success that cannot be read."""
    return unusable_body(reply.status, reply.headers, reply.body, provider=context.provider, why=why)
