"""``/v1/messages/batches``: many requests at half the price, answered within a day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import quote, urlsplit

from unified_llm import _json
from unified_llm.codecs.anthropic_messages import AnthropicMessages
from unified_llm.codecs.anthropic_objects import object_in, page_in, unusable
from unified_llm.codecs.base import CodecContext
from unified_llm.codecs.errors import error_from_body
from unified_llm.codecs.fields import text_of
from unified_llm.errors import APIError, InvalidRequestError, UnifiedLLMError
from unified_llm.requests import ChatRequest
from unified_llm.responses import Adjustment, ChatResponse
from unified_llm.wire import WireCall, WireReply

__all__ = ["Batch", "BatchCodec"]

PATH: Final = "v1/messages/batches"
HEADERS: Final = (("anthropic-version", "2026-10-21"),)
Status = Literal["in_progress", "canceling", "ended"]


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as the API sees it. Times are texts in ISO 8601.

    Attributes:
        counts: how many requests are processing, succeeded, errored, canceled, expired.
        raw: the API's own description.
        adjustments: what the requests said that was not sent, or otherwise; known to the one who created the batch.
    """

    id: str
    status: Status
    counts: Mapping[str, int] = field(default_factory=dict)
    created_at: str | None = None
    expires_at: str | None = None
    ended_at: str | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)
    adjustments: tuple[Adjustment, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether the results are there."""
        return self.status == "ended"


class BatchCodec:
    """Requests to batches and back. `messages` encodes the single requests."""

    def __init__(self, messages: AnthropicMessages) -> None:
        self._messages = messages

    def create(self, requests: Mapping[str, ChatRequest], context: CodecContext) -> WireCall:
        """The call that starts a batch. Raises `InvalidRequestError` for requests that cannot be together."""
        if not requests:
            raise InvalidRequestError("a batch needs at least one request", hint="create({'first': 'Hello'})")
        calls = {name: self._messages.encode(request, context) for name, request in requests.items()}
        headers = {call.headers for call in calls.values()}
        if len(headers) > 1:
            raise InvalidRequestError(
                "the requests of one batch need the same headers, and these differ",
                hint="sampling options and betas change them: put such requests into batches of their own",
            )
        rows = [{"custom_id": name, "params": _json.loads(call.body or b"")} for name, call in calls.items()]
        made = (a for name, call in calls.items() for a in requests[name].adjustments + call.adjustments)
        adjustments = tuple(dict.fromkeys(made))
        return WireCall(PATH, _json.dumps({"requests": rows}), headers=headers.pop(), adjustments=adjustments)

    def one(self, batch_id: str, *, cancel: bool = False) -> WireCall:
        """The call that looks at a batch, or cancels it."""
        path = f"{PATH}/{quote(batch_id, safe='')}"
        return WireCall(f"{path}/cancel", b"{}", headers=HEADERS) if cancel else WireCall(path, None, "GET", HEADERS)

    def page(self, after: str | None = None) -> WireCall:
        """The call that lists batches, newest first."""
        more = f"&after_id={quote(after, safe='')}" if after else ""
        return WireCall(f"{PATH}?limit=100{more}", None, "GET", HEADERS)

    def results(self, batch: Batch) -> WireCall:
        """The call that reads the results, a line each. Raises `InvalidRequestError` before there are any."""
        url = batch.raw.get("results_url")
        if not batch.ended or not isinstance(url, str):
            raise InvalidRequestError(
                f"batch {batch.id} has no results yet: it is {batch.status}", hint="wait(batch_id) waits for its end"
            )
        # The address is the API's own word; only its path is used, so that no other host gets the key.
        return WireCall(urlsplit(url).path.lstrip("/"), None, "GET", HEADERS, stream=True)

    def decode(self, reply: WireReply, context: CodecContext) -> Batch:
        """A batch."""
        return self._batch(object_in(reply, context, "description of a batch"), reply, context)

    def decode_page(self, reply: WireReply, context: CodecContext) -> tuple[list[Batch], str | None]:
        """The batches of a page, and where the next one begins."""
        return page_in(reply, context, "batches", lambda row: self._batch(row, reply, context))

    def _batch(self, value: Any, reply: WireReply, context: CodecContext) -> Batch:
        status = value.get("processing_status") if isinstance(value, dict) else None
        if status not in ("in_progress", "canceling", "ended") or not isinstance(value.get("id"), str):
            raise unusable(reply, context, "no description of a batch")
        return Batch(
            value["id"],
            status,
            dict(counts) if isinstance(counts := value.get("request_counts"), dict) else {},
            text_of(value.get("created_at")),
            text_of(value.get("expires_at")),
            text_of(value.get("ended_at")),
            value,
        )

    def result(
        self, line: bytes, requests: Mapping[str, ChatRequest], context: CodecContext
    ) -> tuple[str, ChatResponse | UnifiedLLMError]:
        """The name of one request, and what came of it. `requests` tells what was asked, as far as it is known.

        A line that cannot be read is an error in its place, under the name "" where it has none.
        """
        reply = WireReply(200, {}, line)
        value = _row(line)
        name = value.get("custom_id")
        name = name if isinstance(name, str) else ""
        result = value.get("result")
        if not name or not isinstance(result, dict):
            return name, unusable(reply, context, "a line that is no result of a request")
        kind = result.get("type")
        if kind == "succeeded":
            return name, self._answer(result.get("message"), requests.get(name), context)
        if kind == "errored":
            return name, error_from_body(result.get("error"), provider=context.provider, status=None, headers={})
        return name, APIError(
            f"the request {name!r} was not answered: {kind}",
            provider=context.provider,
            code=str(kind),
            hint="put it into another batch",
        )

    def _answer(self, message: Any, asked: ChatRequest | None, context: CodecContext) -> ChatResponse | UnifiedLLMError:
        model = message.get("model") if isinstance(message, dict) else None
        reply = WireReply(200, {}, _json.dumps(message))
        try:
            return self._messages.decode(reply, asked or ChatRequest(str(model or ""), ()), context)
        except UnifiedLLMError as exc:
            return exc
        except (AttributeError, KeyError, TypeError, ValueError) as exc:  # fields of other types than the API's
            error = unusable(reply, context, "a message that cannot be read")
            error.__cause__ = exc
            return error


def _row(line: bytes) -> dict[str, Any]:
    try:
        value = _json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
