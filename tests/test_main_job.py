"""The main job: one LangChain chain, one LlamaIndex query and one MCP client script, run unchanged by every backend.

Only the model reference differs. Claude's dialect (through the anthropic SDK) and OpenAI's are answered by a real
llama.cpp server, `local` by llama.cpp inside this process, `offline` by no model at all.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from testkit.llama import LlamaServer


@dataclass(frozen=True)
class Backend:
    """A model reference and one for embeddings; everything else comes from the environment."""

    model: str
    embed_model: str
    provider: str


Make = Callable[[], Backend]


@pytest.fixture(params=["claude", "openai-compatible", "local", "offline"])
def backend(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    llama_server: LlamaServer,
    tiny_chat_gguf: Path,
) -> Backend:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "not-checked-by-llama.cpp")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", llama_server.url)
    monkeypatch.setenv("OPENAI_COMPATIBLE_BASE_URL", llama_server.v1_url)
    provider: str = request.param
    model = {"claude": "tiny-chat", "openai-compatible": "tiny-chat", "local": str(tiny_chat_gguf), "offline": ""}
    embed_model = "offline:" if provider == "offline" else "local:"
    return Backend(f"{provider}:{model[provider]}", embed_model, provider)


# -- the LangChain chain ------------------------------------------------------------------------------------------


def langchain_job(model: str) -> tuple[str, str, int]:
    """``prompt | llm | parser``: the answer, the streamed answer, the tokens used."""
    from langchain_core.output_parsers import StrOutputParser
    from langchain_core.prompts import ChatPromptTemplate

    from langchain_unified_llm import ChatUnifiedLLM

    llm = ChatUnifiedLLM(model=model, max_tokens=12, temperature=0)
    chain = ChatPromptTemplate.from_messages([("system", "Be brief."), ("human", "{question}")]) | llm
    message = chain.invoke({"question": "What is rain?"})
    streamed = "".join((chain | StrOutputParser()).stream({"question": "What is rain?"}))
    usage = message.usage_metadata
    assert usage is not None
    return str(message.text), streamed, usage["total_tokens"]


def test_the_langchain_chain_runs_on_every_backend(backend: Backend) -> None:
    answer, streamed, tokens = langchain_job(backend.model)
    assert answer
    assert streamed == answer
    assert tokens > 0


async def langchain_async_job(model: str, embed_model: str) -> tuple[str, list[list[float]]]:
    from langchain_unified_llm import ChatUnifiedLLM, UnifiedLLMEmbeddings

    llm = ChatUnifiedLLM(model=model, max_tokens=12, temperature=0)
    pieces = [chunk.text async for chunk in llm.astream("What is rain?")]
    vectors = await UnifiedLLMEmbeddings(model=embed_model).aembed_documents(["rain", "snow"])
    return "".join(pieces), vectors


async def test_langchain_async_streaming_and_embeddings_run_on_every_backend(backend: Backend) -> None:
    text, vectors = await langchain_async_job(backend.model, backend.embed_model)
    assert text
    assert len(vectors) == 2
    assert len(vectors[0]) == len(vectors[1]) > 1


# -- the LlamaIndex query -----------------------------------------------------------------------------------------


def llama_index_job(model: str, embed_model: str) -> tuple[str, list[str]]:
    """A vector index and a query: the answer, and the texts it was given."""
    from llama_index.core import Document, VectorStoreIndex

    from llama_index.embeddings.unified_llm import UnifiedLLMEmbedding
    from llama_index.llms.unified_llm import UnifiedLLM

    documents = [Document(text="Rain is water that falls from clouds."), Document(text="Cats sleep most of the day.")]
    index = VectorStoreIndex.from_documents(documents, embed_model=UnifiedLLMEmbedding(embed_model))
    llm = UnifiedLLM(model, max_tokens=12, temperature=0, context_window=2048)
    result = index.as_query_engine(llm=llm, similarity_top_k=1).query("What is rain, the water from clouds?")
    return str(result), [node.text for node in result.source_nodes]


def test_the_llama_index_query_runs_on_every_backend(backend: Backend) -> None:
    answer, sources = llama_index_job(backend.model, backend.embed_model)
    assert answer
    assert sources == ["Rain is water that falls from clouds."]


# -- the MCP client script ----------------------------------------------------------------------------------------


async def mcp_job(model: str, embed_model: str) -> tuple[set[str], str, str, int]:
    """A client over stdio: the tools, the answer of `chat`, who gave it, and the dimensions `embed` returns."""
    import mcp

    server = mcp.StdioServerParameters(
        command=sys.executable,
        args=["-m", "unified_llm_mcp"],
        env={**os.environ},
    )
    async with mcp.Client(server) as client:
        tools = {tool.name for tool in (await client.list_tools()).tools}
        chat = await client.call_tool("chat", {"prompt": "What is rain?", "model": model, "max_tokens": 12})
        embed = await client.call_tool("embed", {"texts": ["rain"], "model": embed_model})
    assert not chat.is_error, chat.content
    assert not embed.is_error, embed.content
    answer, vectors = chat.structured_content, embed.structured_content
    assert answer is not None
    assert vectors is not None
    return tools, answer["text"], answer["provider"], vectors["dimensions"]


async def test_the_mcp_client_script_runs_on_every_backend(backend: Backend) -> None:
    tools, text, provider, dimensions = await mcp_job(backend.model, backend.embed_model)
    assert {"chat", "embed", "list_models"} <= tools
    assert text
    assert provider == backend.provider
    assert dimensions > 1
