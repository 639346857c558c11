"""When a server says we may come back, in seconds, from its headers.

Sources: RFC 9110 section 10.2.3 (Retry-After), OpenAI and Groq ``x-ratelimit-reset-*`` (durations such as ``6m0s``),
Anthropic ``anthropic-ratelimit-*-reset`` (RFC 3339 dates), OpenRouter ``x-ratelimit-reset`` (epoch milliseconds).
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

__all__ = ["retry_after", "retry_delay_in_body"]

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?$")
_RESET = re.compile(r"^(x-ratelimit|anthropic-ratelimit)(?P<before>-[a-z-]+)?-reset(?P<after>-[a-z-]+)?$")


def retry_after(headers: Mapping[str, str], *, limited: bool = True, now: float | None = None) -> float | None:
    """Seconds to wait, or None when the headers do not say. Header names in lower case.

    `limited` says that the answer was a rate limit: only then do the reset headers of the limits count, because
    healthy answers carry them too. `now` (epoch seconds) is the server's own Date header when it sent one.
    """
    now = _server_time(headers) if now is None else now
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    told = _moment(headers.get("retry-after"), now)
    if told is not None or not limited:
        return told
    return _reset(headers, now)


def _reset(headers: Mapping[str, str], now: float) -> float | None:
    """The wait until the exhausted limits are refilled; of limits that do not look exhausted, the shortest wait."""
    exhausted: list[float] = []
    others: list[float] = []
    for name, value in headers.items():
        match = _RESET.match(name)
        wait = _moment(value, now) if match else None
        if match is None or wait is None:
            continue
        remaining = headers.get(name.replace("-reset", "-remaining"))
        (exhausted if _number(remaining) == 0 else others).append(wait)
    return max(exhausted) if exhausted else min(others, default=None)


def _moment(value: str | None, now: float) -> float | None:
    """Seconds from now to what a header says: a number, an epoch, a duration, an HTTP or RFC 3339 date."""
    if not value:
        return None
    number = _number(value)
    if number is not None:
        return _from_number(number, now)
    duration = _duration(value.strip())
    if duration is not None:
        return duration
    date = _date(value.strip())
    return None if date is None else max(0.0, date - now)


def _from_number(number: float, now: float) -> float:
    if number > 1e12:  # epoch milliseconds
        return max(0.0, number / 1000 - now)
    return max(0.0, number - now) if number > 1e9 else number


def _number(value: str | None) -> float | None:
    try:
        number = float(value) if value is not None else -1.0
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _duration(text: str) -> float | None:
    match = _DURATION.match(text)
    if match is None or not any(match.groups()):
        return None
    days, hours, minutes, seconds, milliseconds = (float(g or 0) for g in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds + milliseconds / 1000


def _date(text: str) -> float | None:
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            date = read(text)
        except ValueError:
            continue
        if date.tzinfo is not None:
            return date.timestamp()
    return None


def _server_time(headers: Mapping[str, str]) -> float:
    """The server's clock: dates it gives are relative to it, and ours may be wrong."""
    date = _date(headers.get("date", ""))
    return time.time() if date is None else date


def retry_delay_in_body(error: Any) -> float | None:
    """Google's ``RetryInfo`` inside ``error.details`` (``"retryDelay": "34s"``), in seconds, or None."""
    details = error.get("details") if isinstance(error, Mapping) else None
    for detail in details if isinstance(details, list) else ():
        delay = detail.get("retryDelay") if isinstance(detail, Mapping) else None
        if isinstance(delay, str):
            return _duration(delay)
    return None
