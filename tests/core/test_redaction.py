"""What looks like a key is masked in texts, records and reprs; what only resembles one is left as it is."""

from __future__ import annotations

import io
import logging
from collections import OrderedDict
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from testkit.wire_server import WireServer, reply
from unified_llm import (
    ChatRequest,
    ConfigurationError,
    InvalidBaseURLError,
    InvalidRequestError,
    Limits,
    Message,
    ModelConfig,
    RedactingFilter,
    ResponseError,
    UnifiedLLM,
    _json,
)
from unified_llm.errors import redact, without_keys

PLANTED = "PLANTEDwithoutaform"  # a key of no known form: only its place tells what it is


@pytest.mark.parametrize(
    "text",
    [
        "AKIAIOSFODNN7EXAMPLE",
        "ASIAIOSFODNN7EXAMPLE",
        "ABSKQmVkcm9ja0FQSUtleS1hYmNkZWZnaGlqa2w=",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl",
        "csk-abcdefghijklmn0pqrstuvwx",
        "r8_abcdefghijklmn0pqrstuvwxABCDEFGHIJKLM",
        "fw_abcdefghijklmn0pqrstuvwx",
        "tgp_v1_abcdefghijklmn0pqrstuvwx",
        "github_pat_11ABCDEFG0abcdefghijklm_nopqrstuvwx",
    ],
)
def test_keys_of_a_known_form_are_masked_wherever_they_stand(text: str) -> None:
    assert redact(text) == "[redacted]"
    assert redact(f"refused: '{text}', sorry") == "refused: '[redacted]', sorry"
    assert redact(f'{{"key":"{text}"}}') == '{"key":"[redacted]"}'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Authorization: Bearer abcdefghijklmnop", "Authorization: Bearer [redacted]"),
        ('"authorization": "Basic QWxhZGRpbjpvcGVuc2VzYW1l"', '"authorization": "Basic [redacted]"'),
        ("postgres://:secret@host/db", "postgres://[redacted]@host/db"),
        ("https://user:secret@host/", "https://[redacted]@host/"),
        ("https://token12345678@host/x", "https://[redacted]@host/x"),
    ],
)
def test_a_place_that_is_made_for_a_key_is_masked_and_what_is_around_it_stays(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "00112233-4455-6677-8899-aabbccddeeff",  # the id of a request
        "Bearer authentication is needed",
        "an Authorization header, such as Authorization: Bearer YOUR_KEY",
        "ssh://git@github.com/a/b",
        "https://someone@example.org/",
        "http://[::1]:8080/v1",
        "http://127.0.0.1:1234/v1 and me@example.org",
        "asiapacificsoutheast",
        "ASIAPACIFICSOUTHEAST",
        "r8_some_variable_of_a_register",
        "csk-configuration-of-a-keyboard",
        "eyJhbGciOiJIUzI1NiJ9",
        "lmstudio-community/Qwen3-8B-GGUF",
        "skip_prompt_caching",
    ],
)
def test_what_only_resembles_a_key_is_left_as_it_is(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    ("start", "filling", "size"),
    [
        ("token", " ", 200_000),
        ("authorization", "\n", 200_000),
        ("authorization: bearer", " ", 200_000),
        ("", "token", 200_000),
        ("", "password(", 200_000),
        ("", "secret=!", 200_000),
        ("http://", "1", 200_000),
        ("", "://a:", 200_000),
        ("://", ":", 200_000),
        ("csk-", "a", 200_000),
        ("", "csk-a-", 200_000),
        ("AKIA", "A", 200_000),
        ("", "ghp_a!", 200_000),
        ("", "eyJ-", 600_000),
        ("", "-eyJaaaaaaaa", 600_000),
        ("", "eyJaaaaaaaa.a.", 200_000),
    ],
)
def test_a_long_text_without_a_key_takes_no_more_than_its_length(start: str, filling: str, size: int) -> None:
    text = start + filling * (size // len(filling))
    assert redact(text) == text  # what reads a run again from each of its characters takes minutes or hours


def test_long_keys_are_masked_whole() -> None:
    header, claims = "eyJhbGciOi" + "A" * 9000, "eyJzdWIiOi" + "A" * 9000
    assert redact(f"a {header}.{claims}.c2ln b") == "a [redacted] b"
    assert redact("session-eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2ln") == "session-[redacted]"
    assert redact(f"token:  '{'a1' * 9000}'") == "token:  '[redacted]'"


# -- options ----------------------------------------------------------------------------------------------------------

BODY = {
    "api_key": PLANTED,
    "metadata": [{"token": PLANTED, "name": "n"}],
    "note": "sk-0123456789abcdef",
    "use_auth": True,
    "max_tokens": 5,
}


@pytest.mark.parametrize(
    "options",
    [{"extra_body": BODY}, {"extra_body": MappingProxyType(BODY)}, {"provider_options": {"openai": BODY}}, BODY],
    ids=["body", "proxy", "provider", "unknown"],
)
def test_keys_in_options_are_in_no_repr_and_are_sent_all_the_same(options: dict[str, Any]) -> None:
    config = ModelConfig(temperature=0.5, **options)
    for shown in (repr(config), repr(ChatRequest("m", (Message("user", "x"),), config))):
        assert PLANTED not in shown
        assert "sk-0123" not in shown
        assert "temperature=0.5" in shown
        assert "'use_auth': True" in shown
        assert "'name': 'n'" in shown
    assert PLANTED in str({**(config.extra_body or {}), **(config.provider_options or {}), **config.unknown})


def test_a_repr_says_what_is_set() -> None:
    assert repr(ModelConfig()) == "ModelConfig()"
    config = ModelConfig("claude:x", stop="a", extra_headers={"x-key": PLANTED}, shoe=42)
    assert repr(config) == "ModelConfig(model_name='claude:x', stop_sequences=('a',), unknown={'shoe': 42})"


@pytest.mark.parametrize("name", ["extra_headers", "extra_body", "provider_options", "timeout", "temperature"])
def test_a_value_of_the_wrong_kind_that_may_be_a_key_is_not_repeated(name: str) -> None:
    wrong: dict[str, Any] = {name: PLANTED}
    with pytest.raises(InvalidRequestError) as caught:
        ModelConfig(**wrong)
    assert caught.value.message == f"{name} is str"
    assert PLANTED not in f"{caught.value} {caught.value!r}"
    with pytest.raises(InvalidRequestError, match="temperature is str: 'hot'"):
        ModelConfig(temperature="hot")  # type: ignore[arg-type]  # what a web form sends


@pytest.mark.parametrize("name", ["timeout", "max_retries", "deadline"])
def test_a_number_of_a_client_that_may_be_a_key_is_not_repeated(name: str) -> None:
    for value, shown in ((PLANTED, "str"), ("soon", "'soon'")):
        wrong: dict[str, Any] = {name: value}
        with pytest.raises(ConfigurationError, match=f"{name} must be a .*number, and is {shown}") as caught:
            UnifiedLLM("offline", **wrong)
        assert PLANTED not in str(caught.value)


def test_a_limit_that_may_be_a_key_is_not_repeated() -> None:
    with pytest.raises(InvalidRequestError, match="must be a number, and is str") as caught:
        Limits(requests_per_minute=PLANTED)  # type: ignore[arg-type]  # the mistake
    assert PLANTED not in str(caught.value)


def test_what_stands_in_the_place_of_a_port_is_not_repeated() -> None:
    with pytest.raises(InvalidBaseURLError, match=r"base_url of gateway\.example has an impossible port") as caught:
        UnifiedLLM(base_url=f"http://gateway.example:{PLANTED}/v1", model="m").chat("x")
    assert PLANTED not in str(caught.value)


def test_shown_values_keep_their_kinds() -> None:
    assert without_keys({"a": [1, ("b", None)], "cookie": None}) == {"a": [1, ("b", None)], "cookie": None}
    assert without_keys({"tokens": {"secret": ["x", "y"]}}) == {"tokens": {"secret": ["[redacted]", "[redacted]"]}}


class Array:
    """Equal to nothing and neither true nor false, as numpy's are."""

    def __bool__(self) -> bool:
        raise ValueError("the truth of an array is ambiguous")

    __eq__ = __hash__ = None  # type: ignore[assignment]  # must not be asked for


def part_of_itself() -> dict[str, Any]:
    value: dict[str, Any] = {"token": PLANTED, "list": []}
    value["list"].append(value)
    return value


def test_any_object_can_be_shown() -> None:
    assert repr(ModelConfig(extra_body={"weights": [array := Array()]})) == (
        f"ModelConfig(extra_body={{'weights': [{array!r}]}})"
    )
    assert without_keys({"token": Array(), "secret": b"", "cookie": 0}) == {
        "token": "[redacted]",
        "secret": b"",
        "cookie": 0,
    }
    assert without_keys(part_of_itself()) == {"token": "[redacted]", "list": ["..."]}


def test_what_carries_no_key_stays_the_object_it_was() -> None:
    class Point(NamedTuple):
        x: str

    for value in (Point("a"), OrderedDict(a=[1]), ["a"], Array()):
        assert without_keys(value) is value
    assert without_keys(Point("sk-0123456789abcdef")) == ("[redacted]",)


# -- records ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What a handler with the filter writes of an application's loggers."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        logging.Formatter("%(message)s %(request)s %(api_key)s", defaults={"request": "", "api_key": ""})
    )
    handler.addFilter(RedactingFilter())
    logger = logging.getLogger("my_app")
    logger.addHandler(handler)
    yield stream
    logger.removeHandler(handler)


def test_a_handler_with_the_filter_masks_the_records_of_every_logger_below(written: io.StringIO) -> None:
    logger = logging.getLogger("my_app.module.part")
    logger.warning("key %s", "sk-0123456789abcdef")
    assert written.getvalue() == "key [redacted]  \n"


def test_fields_of_ones_own_are_masked_by_their_name_or_their_form(written: io.StringIO) -> None:
    extra = {"request": {"url": "https://h/", "token": PLANTED, "said": "sk-0123456789abcdef"}, "api_key": PLANTED}
    logging.getLogger("my_app").warning("x", extra=extra)
    expected = {"url": "https://h/", "token": "[redacted]", "said": "[redacted]"}
    assert written.getvalue() == f"x {expected} [redacted]\n"
    assert extra["api_key"] == PLANTED


class Unreadable(dict[str, str]):
    def items(self) -> Any:
        raise RuntimeError("the dictionary changed")


def nested(depth: int) -> list[Any]:
    value: list[Any] = [PLANTED]
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (part_of_itself(), "{'token': '[redacted]', 'list': ['...']}"),
        (Unreadable(token=PLANTED), "[not shown: RuntimeError]"),
        (nested(100_000), "[not shown: RecursionError]"),
    ],
    ids=["cyclic", "changing", "deep"],
)
def test_no_field_makes_a_call_to_log_fail(written: io.StringIO, value: Any, shown: str) -> None:
    logging.getLogger("my_app").warning("key %s", "sk-0123456789abcdef", extra={"request": value})
    assert written.getvalue() == f"key [redacted] {shown} \n"


def test_a_text_that_cannot_be_made_leaves_the_rest_masked() -> None:
    class Mute:
        def __str__(self) -> str:
            raise AttributeError("no text")

    record = logging.makeLogRecord({"msg": "%s", "args": (Mute(),), "api_key": PLANTED, "vector": (array := Array())})
    assert RedactingFilter().filter(record)
    assert record.__dict__["api_key"] == "[redacted]"
    assert record.__dict__["vector"] is array


# -- what an error carries along --------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", ['{"a": ', b'{"a": ', "[1,]", b"\xff"])
def test_json_that_cannot_be_read_is_not_in_the_exception(data: str | bytes) -> None:
    with pytest.raises(_json.JSONDecodeError, match="line 1 column") as caught:
        _json.loads(data)
    error: BaseException | None = caught.value
    while error is not None:
        assert not getattr(error, "doc", "")
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("provider", ["openai", "claude", "ollama", "lmstudio", "lollms"])
def test_an_unusable_answer_that_repeats_the_key_is_not_carried_along(provider: str) -> None:
    answer = reply(200, f'{{"you sent": "{PLANTED}"'.encode(), {"content-type": "application/json"})
    with WireServer(answer) as server:
        llm = UnifiedLLM(provider, base_url=server.url, api_key=PLANTED, model="m", max_retries=0)
        with pytest.raises(ResponseError) as caught:
            llm.chat("x")
    error: BaseException | None = caught.value
    while error is not None:
        assert PLANTED not in f"{error!r} {vars(error)} {getattr(error, 'doc', '')}"
        error = error.__cause__ or error.__context__
