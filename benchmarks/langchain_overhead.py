"""``python -m benchmarks.langchain_overhead``: what the LangChain chat model costs.

Three tables, all CPU time of this process, the contestants taking turns, the best of many rounds:

- over langchain-core's own floor: a model that answers from memory, against ours over a provider that does the same;
  what the core client itself costs is measured beside it and taken off, so that the rest is the adapter;
- whole calls over one loopback server in another process, next to the integrations that are installed;
- the import, on top of langchain-core's.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from benchmarks.__main__ import ROOT, environment, server
from langchain_unified_llm import ChatUnifiedLLM, UnifiedLLMEmbeddings
from unified_llm import ChatRequest, ChatResponse, LLMProvider, Message, ModelConfig, UnifiedLLM, Usage
from unified_llm.stream import Finish, PartEnd, StreamEnd, StreamEvent, StreamStart, TextDelta, UsageUpdate

DELTAS = 500
ROUNDS = 60
USAGE = Usage(10, 20)
MODEL = ModelConfig("m")
ANSWER = ChatResponse(Message("assistant", "Four."), model="m", provider="bench", finish_reason="stop", usage=USAGE)
HISTORY = [(HumanMessage, AIMessage)[i % 2](f"turn {i} of the conversation") for i in range(100)] + [HumanMessage("?")]
TEXTS = [f"text number {i}" for i in range(256)]  # of those that the server knows
SECONDS = 15.0  # most wall time for one comparison of whole calls


class Memory(LLMProvider):
    """A provider that answers at once."""

    name = "bench"

    def chat(self, request: ChatRequest) -> ChatResponse:
        return ANSWER

    def stream(self, request: ChatRequest) -> Iterator[StreamEvent]:
        yield StreamStart("m")
        for _ in range(DELTAS):
            yield TextDelta("word ")
        yield PartEnd(ANSWER.message.parts[0])
        yield UsageUpdate(USAGE)
        yield Finish(None)
        yield StreamEnd(ANSWER)


class Floor(BaseChatModel):
    """The least that a chat model can do."""

    @property
    def _llm_type(self) -> str:
        return "floor"

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage("Four."))])

    def _stream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        for _ in range(DELTAS):
            yield ChatGenerationChunk(message=AIMessageChunk(content="word "))
        yield ChatGenerationChunk(message=AIMessageChunk(content="", chunk_position="last"))


class CoreFloor(Floor):
    """The same, which asks the core client first: called from here, after all that LangChain does, it finds the caches
    of the processor cold and takes twice as long as in a loop of its own. That is not the adapter's time."""

    client: Any
    prompt: Any

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        self.client.chat(self.prompt, MODEL)
        return super()._generate(messages)


class EventFloor(Floor):
    """The same with the native event hook."""

    def _stream_chat_model_events(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[Any]:
        yield {"event": "message-start", "role": "ai", "id": "x"}
        yield {"event": "content-block-start", "index": 0, "content": {"type": "text", "text": ""}}
        for _ in range(DELTAS):
            yield {"event": "content-block-delta", "index": 0, "delta": {"type": "text-delta", "text": "word "}}
        yield {"event": "content-block-finish", "index": 0, "content": {"type": "text", "text": "word " * DELTAS}}
        yield {"event": "message-finish"}


def best(
    contestants: dict[str, Callable[[], Any]], rounds: int = ROUNDS, seconds: float = float("inf")
) -> dict[str, float]:
    """Least CPU microseconds of each contestant, the turns interleaved; no new round after so many seconds."""
    least = dict.fromkeys(contestants, float("inf"))
    for function in contestants.values():
        function()
    gc.collect()
    gc.disable()
    end = time.monotonic() + seconds
    for _ in range(rounds):
        if time.monotonic() > end:
            break
        for name, function in contestants.items():
            started = time.process_time()
            function()
            least[name] = min(least[name], (time.process_time() - started) * 1e6)
    gc.enable()
    return least


def consume(stream: Any) -> None:
    for _ in stream:
        pass


def row(what: str, value: float, goal: str) -> None:
    print(f"  {what:<52}{value:>10.1f} us   goal {goal}")


def over_the_floor() -> None:
    """The adapter, without any I/O."""
    print("\nOver langchain-core's floor (the core client's own time taken off)")
    client = UnifiedLLM(Memory(), model="m")
    llm, floor, events = ChatUnifiedLLM(client=client, model="m"), Floor(), EventFloor()
    plain = [HumanMessage("?")]
    core = [Message("user", "?")]
    with_core = CoreFloor(client=client, prompt=core)
    with_core_history = CoreFloor(client=client, prompt=[Message("user", str(m.content)) for m in HISTORY])
    one = best(
        {
            "floor": lambda: [floor.invoke(plain) for _ in range(20)],
            "ours": lambda: [llm.invoke(plain) for _ in range(20)],
            "with core": lambda: [with_core.invoke(plain) for _ in range(20)],
            "ours history": lambda: [llm.invoke(HISTORY) for _ in range(20)],
            "with core history": lambda: [with_core_history.invoke(HISTORY) for _ in range(20)],
        }
    )
    short = (one["ours"] - one["with core"]) / 20
    long = (one["ours history"] - one["with core history"]) / 20
    row("invoke, floor", one["floor"] / 20, "-")
    row("invoke, floor and the core client", one["with core"] / 20, "-")
    row("invoke, adapter", short, "30")
    row("each message of a history", (long - short) / 100, "1")
    flow = best(
        {
            "floor": lambda: consume(floor.stream(plain)),
            "ours": lambda: consume(llm.stream(plain)),
            "core": lambda: consume(client.stream(core)),
            "event floor": lambda: consume(events.stream_events(plain, version="v3")),
            "events": lambda: consume(llm.stream_events(plain, version="v3")),
        },
        ROUNDS // 3,
    )
    row("a chunk, floor", flow["floor"] / DELTAS, "-")
    row("a chunk, adapter", (flow["ours"] - flow["floor"] - flow["core"]) / DELTAS, "4")
    row("a native event, whole, without the core", (flow["events"] - flow["core"]) / DELTAS, "6")
    row("a native event, floor", flow["event floor"] / DELTAS, "-")


def peers(address: str) -> dict[str, tuple[Any, Any]]:
    """Chat model and embeddings of each integration that is installed, all asking the same server."""
    key: Any = "sk-bench"
    found: dict[str, tuple[Any, Any]] = {
        "ours, OpenAI dialect": (
            ChatUnifiedLLM(model="openai-compatible:m", base_url=f"{address}/v1", api_key=key, max_retries=0),
            UnifiedLLMEmbeddings(model="openai:m", base_url=f"{address}/v1", api_key=key),
        ),
        "ours, Claude": (ChatUnifiedLLM(model="claude:claude-haiku-5-5", base_url=address, api_key=key), None),
    }
    if importlib.util.find_spec("langchain_openai"):
        from langchain_openai import ChatOpenAI, OpenAIEmbeddings

        options: dict[str, Any] = {"model": "m", "base_url": f"{address}/v1", "api_key": key, "max_retries": 0}
        found["ChatOpenAI"] = (
            ChatOpenAI(**options),
            OpenAIEmbeddings(**options, check_embedding_ctx_length=False, chunk_size=2048),
        )
    if importlib.util.find_spec("langchain_anthropic"):
        from langchain_anthropic import ChatAnthropic

        options = {"model": "claude-haiku-5-5", "base_url": address, "api_key": key, "max_tokens": 100}
        found["ChatAnthropic"] = (ChatAnthropic(**options), None)
    if importlib.util.find_spec("langchain_litellm"):
        os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else it looks for prices on the internet
        from langchain_litellm import ChatLiteLLM, LiteLLMEmbeddings  # type: ignore[import-not-found,unused-ignore]

        options = {"model": "openai/m", "api_base": f"{address}/v1", "api_key": key}
        found["ChatLiteLLM"] = (ChatLiteLLM(**options), LiteLLMEmbeddings(**options))
    return found


@contextmanager
def short_server() -> Iterator[str]:
    """A server whose streams have eight deltas."""
    code = "import asyncio; from benchmarks import payloads, server; del payloads.WORDS[8:]; asyncio.run(server.main())"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(), cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


CASES: Sequence[tuple[str, int, Callable[[Any, Any], Any]]] = [
    ("invoke", 0, lambda chat, _: chat.invoke("?")),
    ("invoke, 101 messages", 0, lambda chat, _: chat.invoke(HISTORY)),
    ("stream of 2,000", 0, lambda chat, _: consume(chat.stream("?"))),
    ("256 embeddings", 1, lambda _, embedder: embedder.embed_documents(TEXTS)),
]


def whole_calls() -> None:
    """Client CPU of a call, server in another process."""
    print("\nWhole calls over loopback, CPU of the client; goal: below the SDKs' own, a third of ChatLiteLLM")
    with server() as address:
        for case in CASES:
            compare(*case, peers(address))
    with short_server() as address:
        compare("stream of 8", 0, lambda chat, _: consume(chat.stream("?")), peers(address))


def compare(name: str, needed: int, call: Callable[[Any, Any], Any], known: dict[str, tuple[Any, Any]]) -> None:
    """One table: each contestant's CPU, and how often it holds ours."""
    contestants: dict[str, Callable[[], Any]] = {
        who: partial(call, *pair) for who, pair in known.items() if pair[needed] is not None
    }
    found = best(contestants, ROUNDS // 2, SECONDS)
    ours = next(iter(found.values()))
    for who, value in found.items():
        print(f"  {name:<24}{who:<24}{value:>10.0f} us{value / ours:>8.1f} x")


def imports() -> None:
    """CPU and memory of the import, on top of langchain-core's."""
    code = (
        "import time; import langchain_core.language_models.chat_models, langchain_core.embeddings;"
        "rss = lambda: int(open('/proc/self/statm').read().split()[1]) * 4096;"  # ru_maxrss would be the parent's
        "m = rss(); t = time.process_time();"
        "import langchain_unified_llm;"
        "print(time.process_time() - t, rss() - m)"
    )
    runs = []
    for _ in range(10):
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
        runs.append([float(x) for x in done.stdout.split()])
    print("\nImport, on top of langchain-core")
    cpu, memory = min(r[0] for r in runs) * 1e3, min(r[1] for r in runs) / 2**20
    print(f"  CPU {cpu:.0f} ms (goal 60), memory {memory:.1f} MB (goal 15)")


def main() -> None:
    """Print the three tables."""
    warnings.simplefilter("ignore")
    over_the_floor()
    whole_calls()
    imports()


if __name__ == "__main__":
    main()
