"""Two ways through an SDK client, same bytes either way: its request pipeline, or its parts without the pipeline.

`direct` takes what the SDK resolved (address, credential, headers, HTTP client with its proxies and TLS) and sends a
prepared request; it costs half of the pipeline, which copies options through pydantic models, merges a dozen headers
and parses the URL three times for each call. `pipeline` is ``client.post``; it is needed where the SDK itself acts on
each request: middleware, and credentials that are fetched and refreshed (profiles, workload identity).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from unified_llm import _json
from unified_llm.errors import ConfigurationError
from unified_llm.wire import WireCall

__all__ = ["Route", "direct", "pipeline", "timeout_of"]

Route: TypeAlias = Callable[[WireCall, bool], Any]
"""``route(call, stream)`` gives the response, or of an async client a coroutine of it."""

_MOST_KEPT = 64
_CONNECT_SECONDS = 10.0


def timeout_of(httpx2: Any, seconds: float) -> Any:
    """The HTTP library's timeout for `seconds` without progress. Raises `ConfigurationError` for what is none."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds > 0:
        raise ConfigurationError(
            f"timeout must be a positive number of seconds or None, not {seconds!r}",
            hint="it counts the seconds without progress: connecting, first byte, between bytes",
        )
    return httpx2.Timeout(seconds, connect=min(seconds, _CONNECT_SECONDS))


def direct(httpx2: Any, client: Any, http: Any) -> Route:
    """A route over `http`, the HTTP client that `client` was made with."""
    base = str(client.base_url).rstrip("/")
    defaults = _folded(httpx2.Headers(), client.default_headers)
    urls: dict[str, Any] = {}
    headers: dict[tuple[tuple[str, str], ...], Any] = {}

    def prepare(call: WireCall) -> Any:
        url = urls.get(call.path)
        if url is None:
            url = _keep(urls, call.path, httpx2.URL(f"{base}/{call.path}"))
        sent = headers.get(call.headers)
        if sent is None:
            sent = _keep(headers, call.headers, _folded(httpx2.Headers(defaults), dict(call.headers)))
        # The limits that the SDK's client does not know are for our transport.
        extensions: dict[str, Any] = {"connect": call.connect, "first": call.first, "total": call.total}
        if call.timeout is not None:
            extensions["timeout"] = timeout_of(httpx2, call.timeout).as_dict()
        return httpx2.Request(call.method, url, headers=sent, content=call.body, extensions=extensions)

    def route(call: WireCall, stream: bool) -> Any:
        return http.send(prepare(call), stream=True)  # who reads the body knows what to say when it is cut short

    return route


def _folded(headers: Any, more: dict[str, Any]) -> Any:
    """`headers` with `more` over them, whatever the case of the names; what is no text (the SDK's Omit) removes one."""
    for name, value in more.items():
        if isinstance(value, str):
            headers[name] = value
        else:
            headers.pop(name, None)
    return headers


def _keep(kept: dict[Any, Any], key: Any, value: Any) -> Any:
    if len(kept) >= _MOST_KEPT:
        kept.clear()
    kept[key] = value
    return value


def pipeline(httpx2: Any, client: Any, stream_class: Any, *, platform: str = "anthropic") -> Route:
    """A route over ``client.get`` and ``client.post``.

    The clients of other platforms rewrite the path and the body, so they see the body as an object.
    """

    def route(call: WireCall, stream: bool) -> Any:
        options: dict[str, Any] = {"headers": dict(call.headers)}
        if call.timeout is not None:
            options["timeout"] = timeout_of(httpx2, call.timeout)
        if call.method == "GET":
            return client.get(call.path, cast_to=httpx2.Response, options=options)
        if call.method == "DELETE":
            return client.delete(call.path, cast_to=httpx2.Response, options=options)
        extra = {"stream": True, "stream_cls": stream_class} if stream else {}
        if platform != "anthropic":
            body = _json.loads(call.body or b"{}")
            if platform in ("bedrock", "vertex"):  # their clients would write the newest version, whatever was encoded
                body["anthropic_version"] = options["headers"]["anthropic-version"]
            return client.post(f"/{call.path}", cast_to=httpx2.Response, body=body, options=options, **extra)
        return client.post(call.path, cast_to=httpx2.Response, content=call.body or b"", options=options, **extra)

    return route
