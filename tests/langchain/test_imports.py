"""What importing the package loads, and what waits for its first use."""

from __future__ import annotations

import subprocess
import sys

import pytest

import langchain_unified_llm

WAITING = [
    "langchain_core.tools.base",
    "langchain_unified_llm.call_options",
    "langchain_unified_llm.embeddings",
    "langchain_unified_llm.lc_to_core",
    "langchain_unified_llm.rerank",
    "langchain_unified_llm.stream_chunks",
    "langchain_unified_llm.stream_protocol",
    "langchain_unified_llm.structured_output",
    "unified_llm.client",
    "unified_llm.messages",
    "httpx",
    "anthropic",
    "openai",
    "lmstudio",
]


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_and_constructing_load_nothing_that_only_some_calls_need() -> None:
    code = (
        "import sys, langchain_core.language_models.chat_models\n"
        "before = set(sys.modules)\n"
        "from langchain_unified_llm import ChatUnifiedLLM\n"
        "ChatUnifiedLLM(model='claude:claude-haiku-5-5')\n"
        f"print(*set({WAITING!r}) & (set(sys.modules) - before))"
    )
    assert run(code) == ""


@pytest.mark.parametrize("name", langchain_unified_llm.__all__)
def test_every_public_name_is_there_and_listed(name: str) -> None:
    assert getattr(langchain_unified_llm, name) is not None
    assert name in dir(langchain_unified_llm)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'NoSuchThing'"):
        langchain_unified_llm.NoSuchThing  # noqa: B018  # the access is the test


FIRST_USES = """
import threading
from concurrent.futures import ThreadPoolExecutor
import langchain_unified_llm as package

start = threading.Barrier(12, timeout=30)

def use(i):
    start.wait()
    if i % 4 == 0:
        return "".join(c.text for c in package.ChatUnifiedLLM(model="offline").stream("Hello")) != ""
    if i % 4 == 1:
        return len(package.UnifiedLLMEmbeddings(model="offline").embed_query("Hello")) > 0
    if i % 4 == 2:
        tool = {"name": "f", "description": "d", "parameters": {}}
        bound = package.ChatUnifiedLLM(model="offline").bind_tools([tool])
        return bound.invoke("Hello").type == "ai"
    from langchain_core.documents import Document
    return len(package.UnifiedLLMRerank(model="offline").compress_documents([Document("a")], "b")) == 1

with ThreadPoolExecutor(12) as pool:
    print(all(pool.map(use, range(12))))
"""


def test_first_uses_may_come_from_many_threads_at_once() -> None:
    assert run(FIRST_USES) == "True"
