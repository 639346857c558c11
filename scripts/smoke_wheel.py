"""Try an installed wheel from an empty folder: ``python smoke_wheel.py bare|full``. Fails on the first surprise."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path


def command(*arguments: str) -> str:
    """Output of the installed console script. Raises `CalledProcessError` when it fails."""
    script = Path(sys.executable).with_name("unified-llm")
    done = subprocess.run([script, *arguments], check=True, capture_output=True, text=True)  # noqa: S603  # ours
    return done.stdout


def bare() -> None:
    """No extras: the client works, and absent packages say what to install."""
    from unified_llm import MissingDependencyError, UnifiedLLM

    for module in ("anthropic", "xllamacpp", "wordllama", "aiohttp", "langchain_core"):
        if importlib.util.find_spec(module) is not None:
            raise SystemExit(f"{module} is installed: this environment is not bare")
    if "not a language model" not in UnifiedLLM("offline").chat("Hello"):
        raise SystemExit("the offline provider does not say what it is")
    for make, extra in (
        (lambda: UnifiedLLM("claude", api_key="not-a-key-1").chat("x"), "claude"),
        (lambda: UnifiedLLM("local").embed("x"), "local"),
        (lambda: UnifiedLLM("local").chat("x"), "local"),
    ):
        try:
            make()
        except MissingDependencyError as exc:
            if f"unified-llm[{extra}]" not in str(exc):
                raise SystemExit(f"the error does not name the extra: {exc}") from exc
        else:
            raise SystemExit(f"extra {extra} was not missed")
    if "offline" not in command("doctor"):
        raise SystemExit("doctor does not say what would be used")
    if not command("chat", "Hello").strip():
        raise SystemExit("chat printed nothing")


def full() -> None:
    """Extras and members: everything can be imported and answers."""
    import asyncio

    from langchain_unified_llm import ChatUnifiedLLM
    from llama_index.llms.unified_llm import UnifiedLLM as LlamaIndexLLM
    from unified_llm import UnifiedLLM

    if not ChatUnifiedLLM(model="offline:").invoke("Hello").text:
        raise SystemExit("the LangChain model said nothing")
    if not LlamaIndexLLM("offline:").complete("Hello").text:
        raise SystemExit("the LlamaIndex model said nothing")
    if UnifiedLLM("local").embed(["rain", "snow"]).dimensions is None:
        raise SystemExit("local embeddings do not work")
    if not asyncio.run(UnifiedLLM("offline").chat_async("Hello")):
        raise SystemExit("async chat said nothing")
    if "--model" not in command("mcp", "--help"):
        raise SystemExit("`unified-llm mcp` does not reach the MCP server")


if __name__ == "__main__":
    {"bare": bare, "full": full}[sys.argv[1]]()
    print(f"{sys.argv[1]}: ok")
