"""Base URLs: what is accepted, and what the refusal of the others advises."""

from __future__ import annotations

import pytest

from unified_llm.drivers.urls import Address, normalize_base_url
from unified_llm.errors import InvalidBaseURLError


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1"),
        ("http://127.0.0.1:8080/v1///", "http://127.0.0.1:8080/v1"),
        ("  https://api.openai.com/v1/ ", "https://api.openai.com/v1"),
        ("http://[::1]:1234", "http://[::1]:1234"),
        ("https://gateway.example/team/models-proxy/v1", "https://gateway.example/team/models-proxy/v1"),
        ("https://gateway.example/messages-api", "https://gateway.example/messages-api"),
    ],
)
def test_an_address_loses_its_trailing_slashes_and_nothing_else(given: str, normal: str) -> None:
    assert normalize_base_url(given) == normal


@pytest.mark.parametrize(
    ("given", "problem", "advice"),
    [
        ("localhost:1234/v1", "no scheme", "use http://localhost:1234/v1"),
        ("127.0.0.1:1234", "no scheme", "use http://127.0.0.1:1234"),
        ("api.openai.com/v1", "no scheme", "use https://api.openai.com/v1"),
        ("", "no scheme", "for example http://"),
        ("ws://127.0.0.1:1234", "scheme 'ws'", "http:// and https://"),
        ("file:///etc/passwd", "scheme 'file'", "http:// and https://"),
        ("http://", "no host", "for example http://"),
        ("http://:8080/v1", "no host", "for example http://"),
        ("http://127.0.0.1:99999/v1", "impossible port", "from 1 to 65535"),
        ("http://127.0.0.1:0/v1", "impossible port", "from 1 to 65535"),
        ("http://127.0.0.1:/v1", "impossible port", "from 1 to 65535"),
        ("http://127.0.0.1:80b/v1", "impossible port", "from 1 to 65535"),
        ("http://[::1/v1", "is no URL", "for example http://"),
        ("http://127.0.0.1/v1?key=1", "a query or a fragment", "use 'http://127.0.0.1/v1'"),
        ("http://127.0.0.1/v1#top", "a query or a fragment", "use 'http://127.0.0.1/v1'"),
        ("http://127.0.0.1/my models", "a blank", "copy the address"),
        ("http://127.0.0.1/v1\r\nx: y", "a blank or a control character", "copy the address"),
        ("http://h/v1/chat/completions", "'/chat/completions'", "use 'http://h/v1'"),
        ("http://h/v1/chat/completions/", "'/chat/completions'", "use 'http://h/v1'"),
        ("https://api.anthropic.com/v1/messages", "'/messages'", "use 'https://api.anthropic.com/v1'"),
        ("https://api.anthropic.com/v1/messages/count_tokens", "'/messages/count_tokens'", "use 'https://api.an"),
        ("http://h/v1/embeddings", "'/embeddings'", "use 'http://h/v1'"),
        ("http://h/v1/models", "'/models'", "use 'http://h/v1'"),
    ],
)
def test_an_impossible_address_is_refused_with_advice(given: str, problem: str, advice: str) -> None:
    with pytest.raises(InvalidBaseURLError) as caught:
        normalize_base_url(given)
    assert problem in caught.value.message
    assert advice in (caught.value.hint or "")
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("given", ["https://user:pa55word@h/v1", "https://pa55word@h/v1", "user:pa55word@h/v1"])
def test_credentials_in_an_address_are_refused_and_not_repeated(given: str) -> None:
    with pytest.raises(InvalidBaseURLError) as caught:
        normalize_base_url(given)
    assert "pa55word" not in str(caught.value)


def test_an_address_knows_its_parts() -> None:
    address = Address.parse("https://Bücher.example:8443/käse/v1/")
    assert (address.host, address.port, address.netloc) == ("xn--bcher-kva.example", 8443, "xn--bcher-kva.example:8443")
    assert address.target("/models") == "/k%C3%A4se/v1/models"
    assert address.origin == "https://xn--bcher-kva.example:8443"


def test_the_default_port_is_not_in_the_host_header() -> None:
    assert Address.parse("https://h/v1").netloc == "h"
    assert Address.parse("http://h:443").netloc == "h:443"
    assert Address.parse("http://[::1]:80").netloc == "[::1]"


def test_a_path_cannot_break_out_of_its_line() -> None:
    assert Address.parse("http://h").target("models/a b\r\nx: y?q=1&r=%20") == "/models/a%20b%0D%0Ax:%20y?q=1&r=%20"
