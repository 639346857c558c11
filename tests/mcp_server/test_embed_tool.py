"""The tool embed: exact vectors in the smallest fitting form."""

from __future__ import annotations

import base64
import json
from array import array

import pytest

from testkit.mcp_clients import ERAS, in_memory
from testkit.probe_provider import ProbeProvider
from unified_llm import UnifiedLLM
from unified_llm_mcp import ModelServer, build_server

pytestmark = pytest.mark.parametrize("era", ERAS)


def serve(provider: ProbeProvider) -> ModelServer:
    return build_server(UnifiedLLM(provider=provider))


def floats(encoded: str) -> list[float]:
    return list(array("f", base64.b64decode(encoded)))


async def test_few_numbers_come_as_floats_that_are_the_same_float32(era: str) -> None:
    async with in_memory(serve(ProbeProvider()), era) as client:
        result = await client.call("embed", texts=["a", "b"])
    assert result.structured == {
        "model": "org/embedder",
        "provider": "probe",
        "dimensions": 3,
        "count": 2,
        "encoding": "float",
        "embeddings": [[0.1, 0.1, 0.1], [0.2, 0.2, 0.2]],
        "usage": {"input_tokens": 2},
    }
    assert json.loads(result.text) == result.structured["embeddings"]


async def test_many_numbers_come_as_base64_and_a_summary_as_text(era: str) -> None:
    async with in_memory(serve(ProbeProvider(dimensions=1536)), era) as client:
        result = await client.call("embed", texts=["a"] * 16)
    assert result.structured["encoding"] == "base64"
    assert floats(result.structured["embeddings_base64"][1]) == list(array("f", [0.2] * 1536))
    assert len(json.dumps(result.wire)) < 16 * 8300
    assert result.text == (
        "16 vectors of 1536 numbers from org/embedder, in structuredContent.embeddings_base64 (little-endian float32)."
    )


async def test_more_than_fits_becomes_a_resource(era: str) -> None:
    async with in_memory(serve(ProbeProvider(dimensions=1536)), era) as client:
        result = await client.call("embed", texts=["a"] * 500)
    assert result.structured["encoding"] == "resource"
    link = result.wire["content"][1]
    assert (link["type"], link["uri"]) == ("resource_link", result.structured["resource_uri"])
    assert len(json.dumps(result.wire)) < 2000


async def test_floats_that_would_flood_are_refused_when_asked_for(era: str) -> None:
    async with in_memory(serve(ProbeProvider(dimensions=1536)), era) as client:
        result = await client.call("embed", texts=["a"] * 500, encoding="float")
    assert result.error["category"] == "result_too_large"
    assert "encoding 'auto'" in result.text


async def test_model_and_dimensions_reach_the_provider(era: str) -> None:
    provider = ProbeProvider()
    async with in_memory(serve(provider), era) as client:
        result = await client.call("embed", texts=["a"], model="probe:other", dimensions=5)
    assert (provider.embed_requests[0].model, provider.embed_requests[0].dimensions) == ("other", 5)
    assert result.structured["dimensions"] == 5


async def test_no_texts_and_too_many_texts_are_refused(era: str) -> None:
    async with in_memory(serve(ProbeProvider()), era) as client:
        for texts in ([], ["a"] * 2049):
            result = await client.call("embed", texts=texts)
            assert result.error["category"] == "invalid_arguments"


async def test_an_empty_text_is_refused_by_its_position(era: str) -> None:
    async with in_memory(serve(ProbeProvider()), era) as client:
        result = await client.call("embed", texts=["a", " "])
    assert result.error["category"] == "invalid_request"
    assert "texts[1]" in result.text
