"""When a server says we may come back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unified_llm.codecs.errors import error_from_reply
from unified_llm.codecs.retry_after import retry_after, retry_delay_in_body

NOW = 1_767_225_600.0  # Thu, 01 Jan 2026 00:00:00 GMT
DATE = {"date": "Thu, 01 Jan 2026 00:00:00 GMT"}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:30 GMT"}, 30.0),
        ({"retry-after": "Wed, 31 Dec 2025 23:59:00 GMT"}, 0.0),
        ({"retry-after": "6m0s"}, 360.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "-5"}, None),
        ({"x-ratelimit-reset-requests": "6m0s"}, 360.0),
        ({"x-ratelimit-reset-tokens": "88ms"}, 0.088),
        ({"x-ratelimit-reset-requests": "1h2m3.5s"}, 3723.5),
        ({"x-ratelimit-reset": str(int(NOW * 1000) + 5000)}, 5.0),
        ({"x-ratelimit-reset": str(int(NOW) + 9)}, 9.0),
        ({"anthropic-ratelimit-requests-reset": "2026-01-01T00:00:12Z"}, 12.0),
        ({"anthropic-ratelimit-tokens-reset": "2026-01-01T01:00:00+00:00"}, 3600.0),
    ],
)
def test_every_form_is_read(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(DATE | headers) == seconds
    assert retry_after(headers, now=NOW) == seconds


def test_the_exhausted_limit_counts_and_not_the_others() -> None:
    headers = {
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "20s",
        "x-ratelimit-remaining-tokens": "999",
        "x-ratelimit-reset-tokens": "2s",
    }
    assert retry_after(headers, now=NOW) == 20.0


def test_of_limits_that_do_not_look_exhausted_the_shortest_wait_counts() -> None:
    headers = {
        "x-ratelimit-remaining-requests": "3",
        "x-ratelimit-reset-requests": "20s",
        "x-ratelimit-remaining-tokens": "100",
        "x-ratelimit-reset-tokens": "2s",
    }
    assert retry_after(headers, now=NOW) == 2.0


def test_reset_headers_count_only_for_a_rate_limit() -> None:
    headers = {"x-ratelimit-reset-requests": "20s"}
    assert error_from_reply(429, headers, b"x", provider="p").retry_after == 20.0
    assert error_from_reply(500, headers, b"x", provider="p").retry_after is None
    assert error_from_reply(503, {"retry-after": "3"}, b"x", provider="p").retry_after == 3.0


def test_the_servers_clock_counts_and_not_ours() -> None:
    skewed = {"date": "Thu, 01 Jan 2099 00:00:00 GMT", "retry-after": "Thu, 01 Jan 2099 00:00:10 GMT"}
    assert retry_after(skewed) == 10.0


@given(st.text(max_size=40), st.text(max_size=40))
def test_nonsense_never_fails_and_never_gives_a_negative_wait(first: str, second: str) -> None:
    wait = retry_after({"retry-after": first, "x-ratelimit-reset": second}, now=NOW)
    assert wait is None or wait >= 0


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        ({"details": [{"@type": "x"}, {"retryDelay": "2s"}]}, 2.0),
        ({"details": [{"retryDelay": 7}]}, None),
        ({"details": "x"}, None),
        ("x", None),
    ],
)
def test_google_writes_the_wait_into_the_body(error: object, seconds: float | None) -> None:
    assert retry_delay_in_body(error) == seconds
