"""The embeddings dialect: batches, base64 and lists, order, and answers that do not fit."""

from __future__ import annotations

import base64
import json
from array import array
from typing import Any

import pytest

from testkit.openai_wire import body_of, context
from unified_llm.codecs.openai_embeddings import OpenAIEmbeddingsCodec
from unified_llm.errors import ContextLengthError, InvalidRequestError, ResponseError, UnsupportedOptionError
from unified_llm.profiles import Profile
from unified_llm.requests import EmbedRequest, ModelConfig
from unified_llm.responses import Embeddings, Usage
from unified_llm.wire import WireReply

CODEC = OpenAIEmbeddingsCodec()


def bodies(request: EmbedRequest, profile: str | Profile = "openai") -> list[dict[str, Any]]:
    return [body_of(call) for call in CODEC.encode(request, context(profile))]


def reply(*items: Any, usage: Any = None, **more: Any) -> WireReply:
    value = {"object": "list", "data": list(items), "model": "served", **more}
    if usage is not None:
        value["usage"] = usage
    return WireReply(200, {"x-request-id": "req_1"}, json.dumps(value).encode())


def item(index: int | None, *values: float, packed: bool = False) -> dict[str, Any]:
    vector: Any = list(values)
    if packed:
        vector = base64.b64encode(array("f", values).tobytes()).decode()
    return {"embedding": vector} if index is None else {"index": index, "embedding": vector}


def decode(texts: int, *replies: WireReply, profile: str = "openai", **options: Any) -> Embeddings:
    request = EmbedRequest("m", tuple("t" * texts), **options)
    return CODEC.decode(list(replies), request, context(profile))


def test_texts_are_sent_as_strings_and_base64_is_asked_for_unless_it_is_known_to_fail() -> None:
    request = EmbedRequest("m", ("a", "b"))
    assert bodies(request) == [{"model": "m", "input": ["a", "b"], "encoding_format": "base64"}]
    assert bodies(request, "openai-compatible") == bodies(request)
    assert bodies(request, "lmstudio") == [{"model": "m", "input": ["a", "b"]}]


def test_what_json_cannot_carry_is_an_error_of_ours() -> None:
    with pytest.raises(InvalidRequestError, match="JSON cannot carry"):
        bodies(EmbedRequest("m", ("a",), config=ModelConfig(extra_body={"x": object()})))


def test_no_texts_make_no_call_and_no_vectors() -> None:
    assert bodies(EmbedRequest("m", ())) == []
    assert decode(0).tolist() == []


def test_texts_are_split_into_batches_of_the_profiles_size() -> None:
    request = EmbedRequest("m", tuple(map(str, range(5))))
    profile = Profile("p", embedding_batch=2)
    assert [b["input"] for b in bodies(request, profile)] == [["0", "1"], ["2", "3"], ["4"]]


def test_dimensions_are_sent_where_they_are_honoured_and_recorded_elsewhere() -> None:
    request = EmbedRequest("m", ("a",), dimensions=2)
    assert bodies(request)[0]["dimensions"] == 2
    assert "dimensions" not in bodies(request, "llamacpp")[0]
    found = decode(1, reply(item(0, 1, 2, 3)), profile="llamacpp", dimensions=2)
    assert [(a.kind, a.what) for a in found.adjustments] == [("dropped", "dimensions")]


def test_a_server_that_ignores_dimensions_is_found_out() -> None:
    found = decode(1, reply(item(0, 1, 2, 3)), dimensions=2)
    assert [(a.kind, a.what) for a in found.adjustments] == [("changed", "dimensions")]
    assert decode(1, reply(item(0, 1, 2)), dimensions=2).adjustments == ()


def test_dimensions_raise_by_policy() -> None:
    request = EmbedRequest("m", ("a",), 2, ModelConfig(on_unsupported="error"))
    with pytest.raises(UnsupportedOptionError) as caught:
        bodies(request, "llamacpp")
    assert caught.value.hint


def test_extra_fields_headers_and_timeout_travel_with_every_batch() -> None:
    config = ModelConfig(
        user="u", extra_body={"input_type": "query"}, extra_headers={"X-A": "1"}, timeout=2,
        provider_options={"openai": {"priority": 1}},
    )  # fmt: skip
    (call,) = CODEC.encode(EmbedRequest("m", ("a",), config=config), context())
    body = body_of(call)
    assert (body["user"], body["input_type"], body["priority"]) == ("u", "query", 1)
    assert (call.headers, call.timeout) == ((("x-a", "1"),), 2)


@pytest.mark.parametrize("packed", [True, False])
def test_vectors_come_back_in_the_order_of_the_texts_as_packed_floats(packed: bool) -> None:
    items = [item(i, i, 0.5, packed=packed) for i in (2, 0, 1)]
    found = decode(3, reply(*items, usage={"prompt_tokens": 7, "total_tokens": 7}))
    assert found.tolist() == [[0, 0.5], [1, 0.5], [2, 0.5]]
    assert all(isinstance(v, array) and v.typecode == "f" for v in found.vectors)
    assert found.usage.input_tokens == 7
    assert (found.model, found.provider, found.request_id) == ("served", "openai", "req_1")


def test_a_missing_index_means_the_order_given() -> None:
    assert decode(2, reply(item(None, 1), item(None, 2))).tolist() == [[1], [2]]


def test_an_index_given_as_text_counts() -> None:
    second, first = ({"index": place, "embedding": [value]} for place, value in (("1", 2.0), ("0", 1.0)))
    assert decode(2, reply(second, first)).tolist() == [[1.0], [2.0]]


def test_batches_are_joined_and_their_usage_summed() -> None:
    first = reply(item(0, 1), item(1, 2), usage={"prompt_tokens": 3})
    second = reply(item(0, 3), usage={"prompt_tokens": 4})
    found = decode(3, first, second)
    assert found.tolist() == [[1], [2], [3]]
    assert found.usage.input_tokens == 7


def test_usage_that_is_not_told_is_unknown() -> None:
    assert decode(1, reply(item(0, 1))).usage == Usage()


def test_one_level_of_nesting_is_taken_off() -> None:
    assert decode(1, reply({"index": 0, "embedding": [[1.0, 2.0]]})).tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize(
    ("texts", "answer", "says"),
    [
        (2, reply(item(0, 1)), "1 vectors for 2 texts"),
        (1, reply(item(0, 1), item(1, 2)), "2 vectors for 1 texts"),
        (2, reply(item(0, 1), item(0, 2)), "indices"),
        (2, reply(item(0, 1), item(5, 2)), "indices"),
        (2, reply(item(0, 1), item(1, 2, 3)), "different lengths"),
        (1, reply({"index": 0, "embedding": "!!!"}), "vector"),
        (1, reply({"index": 0, "embedding": ["a"]}), "vector"),
        (1, reply({"index": 0, "embedding": None}), "vector"),
        (1, reply({"index": 0}), "vector"),
        (1, reply("x"), "vector"),
        (1, WireReply(200, {}, b"<html>"), "HTML"),
        (1, WireReply(200, {}, b"{"), "not JSON"),
        (1, WireReply(200, {}, b'{"data": 1}'), "no list"),
        (1, WireReply(200, {}, b"[]"), "no list"),
    ],
)
def test_an_answer_that_does_not_fit_is_a_response_error_that_says_why(
    texts: int, answer: WireReply, says: str
) -> None:
    with pytest.raises(ResponseError, match=says) as caught:
        decode(texts, answer)
    assert caught.value.hint


def test_an_error_inside_a_success_is_that_error() -> None:
    body = b'{"error": "input (600 tokens) is too large to process. increase the physical batch size"}'
    with pytest.raises(ContextLengthError):
        decode(1, WireReply(200, {}, body))
