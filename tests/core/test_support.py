"""The table of docs/support.md is true: a test for each yes, and every no is told to whoever asks for it."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from testkit.claude_double import ClaudeDouble
from testkit.claude_double import answer as claude_answer
from testkit.claude_double import text as claude_text
from testkit.claude_double import thinking as claude_thinking
from testkit.claude_double import tool_use as claude_tool_use
from testkit.ollama_double import OllamaDouble
from testkit.openai_double import Call, OpenAIDouble, Say
from testkit.openai_quirks import Quirks
from testkit.openai_services import QUIRKS
from testkit.openai_wire import ADD, MUL, PNG, SCHEMA
from testkit.responses_double import ResponsesDouble, message, thought
from unified_llm import PROVIDER_CONFIGS, UnifiedLLM, UnsupportedOptionError
from unified_llm.errors import UnifiedLLMError
from unified_llm.messages import Audio, File, Image, Message, Part, ToolResult
from unified_llm.stream import TextDelta

ROOT = Path(__file__).parents[2]
PDF = b"%PDF-1.4 nearly"
WAV = b"RIFF\0\0\0\0WAVEfmt "


def support() -> ModuleType:
    """docs/support.py, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("docs_support", ROOT / "docs" / "support.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TABLE = support()
PROVIDERS = tuple(PROVIDER_CONFIGS)  # those of the package, before any test registers its own
# A server of which no more is known than that it speaks the dialect: it takes what any of its kind takes.
_ALL: dict[str, Any] = {
    f.name: frozenset().union(*(getattr(q, f.name) for q in QUIRKS.values()))
    for f in fields(Quirks)
    if f.name in ("extras", "message_extras", "call_extras")
}
ANY = {**_ALL, "reasoning": "reasoning_content", "files": True}


@dataclass
class Server:
    """A provider and the double of its server; `say` scripts the next answer, `sent` is the text of what was sent."""

    llm: UnifiedLLM
    say: Callable[[Say], object]
    sent: Callable[[], str]


@contextmanager
def serving(name: str) -> Iterator[Server]:
    with ExitStack() as stack:
        if name == "claude":
            claude = stack.enter_context(ClaudeDouble())
            llm = UnifiedLLM(provider=name, api_key=claude.key, base_url=claude.url, model="claude-haiku-5-5")
            server = Server(llm, lambda say: claude.script([_claude(say)]), lambda: json.dumps(claude.last))
            stack.callback(lambda: _clean(claude.violations))
        elif name == "ollama":
            ollama = stack.enter_context(OllamaDouble())
            llm = UnifiedLLM(provider=name, base_url=ollama.url, model="tiny", embed_model="ollama:embed")
            server = Server(llm, ollama.script, lambda: json.dumps(ollama.requests[-1].body))
        else:
            double = stack.enter_context(OpenAIDouble(name) if name in QUIRKS else OpenAIDouble("openai", **_any(name)))
            options: dict[str, Any] = {"transport": "http"} if name == "lmstudio" else {}
            key = "k" if PROVIDER_CONFIGS[name].needs_key else None
            llm = UnifiedLLM(
                provider=name,
                api_key=key,
                base_url=double.url,
                model="m",
                embed_model=f"{name}:double-embed-1",
                **options,
            )
            server = Server(llm, double.script, lambda: json.dumps(double.requests[-1].body))
        yield stack.enter_context(_closing(server))


@contextmanager
def _closing(server: Server) -> Iterator[Server]:
    with server.llm:
        yield server


def _any(name: str) -> dict[str, Any]:
    return {**ANY, "token_fields": frozenset({"max_tokens", "max_completion_tokens"})}


def _clean(violations: list[str]) -> None:
    assert violations == []


def _claude(say: Say) -> Any:
    blocks = [claude_thinking(say.reasoning)] if say.reasoning else []
    blocks += [claude_text(say.text)] if say.text else []
    return claude_answer(*blocks, *(claude_tool_use(c.name, c.arguments) for c in say.calls))  # type: ignore[arg-type]


def cells(feature: str, said: str) -> list[str]:
    """The providers whose cell is `said`; for "yes" only those whose proof is here."""
    here = [p for p in PROVIDERS if TABLE.answer(p, feature) == said]
    return [p for p in here if said != "yes" or TABLE.proof(p, feature).startswith("tests/core/test_support.py")]


def proving(feature: str) -> pytest.MarkDecorator:
    """Run a test for every provider whose yes it proves."""
    return pytest.mark.parametrize("name", cells(feature, "yes"))


# -- each yes ---------------------------------------------------------------------------------------------------------


@proving("chat")
def test_chat(name: str) -> None:
    with serving(name) as server:
        server.say(Say("It rains."))
        response = server.llm.chat("Weather?")
    assert response == "It rains."
    assert response.adjustments == ()


@proving("stream")
def test_stream(name: str) -> None:
    with serving(name) as server:
        server.say(Say("It rains cats and dogs."))
        texts = [e.text for e in server.llm.stream("Weather?") if isinstance(e, TextDelta)]
    assert "".join(texts) == "It rains cats and dogs."
    assert len(texts) > 1


@proving("tools")
def test_tools(name: str) -> None:
    with serving(name) as server:
        server.say(Say(calls=[Call("add", {"a": 1})]))
        asked = server.llm.chat("1?", tools=[ADD])
        assert [(c.name, c.arguments) for c in asked.tool_calls] == [("add", {"a": 1})]
        history = [Message("user", "1?"), asked.message, Message("tool", ToolResult(asked.tool_calls[0].id, "two"))]
        server.say(Say("Two."))
        assert server.llm.chat(history, tools=[ADD]) == "Two."
        assert "two" in server.sent()


@proving("forced_tool")
def test_forced_tool(name: str) -> None:
    with serving(name) as server:
        response = server.llm.chat("?", tools=[ADD, MUL], tool_choice="mul", thinking=_off(name))
    assert [c.name for c in response.tool_calls] == ["mul"]
    assert not [a for a in response.adjustments if a.kind == "dropped"]


def _off(name: str) -> bool | None:
    """DeepSeek forces no tool while it thinks."""
    return False if name == "deepseek" else None


@proving("schema")
def test_schema(name: str) -> None:
    with serving(name) as server:
        response = server.llm.chat("x?", response_format=SCHEMA)
        assert '"additionalProperties": false' in server.sent()
    assert isinstance(response.parsed["x"], int)
    assert response.adjustments == ()


@proving("images")
def test_images(name: str) -> None:
    assert_sent(name, Image(data=PNG, media_type="image/png"), PNG)


@proving("documents")
def test_documents(name: str) -> None:
    assert_sent(name, File(data=PDF, media_type="application/pdf", name="a.pdf"), PDF)


@proving("audio")
def test_audio(name: str) -> None:
    assert_sent(name, Audio(data=WAV, media_type="audio/wav"), WAV)


def assert_sent(name: str, part: Part, data: bytes) -> None:
    with serving(name) as server:
        server.say(Say("Seen."))
        response = server.llm.chat([Message("user", ["Look", part])])
        assert base64.b64encode(data).decode() in server.sent()
    assert response.adjustments == ()


@proving("thinking")
def test_thinking(name: str) -> None:
    if name in ("openai", "azure"):
        read_through_the_responses_api(name)
        return
    with serving(name) as server:
        if name in QUIRKS and QUIRKS[name].reasoning == "none":
            server.say(Say("<think>hmm</think>It rains."))  # what a server does that does not know of thinking
        else:
            server.say(Say("It rains.", reasoning="hmm"))
        response = server.llm.chat("Weather?")
    assert response.reasoning == "hmm"
    assert response == "It rains."


def read_through_the_responses_api(name: str) -> None:
    with ResponsesDouble() as double:
        double.script([thought("hmm"), message("It rains.")])
        with UnifiedLLM(
            provider=name, api_key="k", base_url=double.url, model="gpt-5-mini", dialect="responses"
        ) as llm:
            response = llm.chat("Weather?", thinking=True)
    assert response.reasoning == "hmm"
    assert response == "It rains."


@proving("embeddings")
def test_embeddings(name: str) -> None:
    with serving(name) as server:
        vectors = server.llm.embed(["a rainy day", "a rainy day", "tax law"]).tolist()
    assert vectors[0] == vectors[1] != vectors[2]


@proving("models")
def test_models(name: str) -> None:
    with serving(name) as server:
        models = server.llm.list_models()
    assert models
    assert all(m.id and m.provider == name for m in models)


@proving("count_tokens")
def test_count_tokens(name: str) -> None:
    with serving(name) as server:
        short, long = server.llm.count_tokens("Hi"), server.llm.count_tokens("Hi there, how are you today?")
    assert 0 < short < long


# -- each no ----------------------------------------------------------------------------------------------------------

ASKING: dict[str, Callable[[UnifiedLLM], Any]] = {
    "tools": lambda llm: llm.chat("?", tools=[ADD]),
    "forced_tool": lambda llm: llm.chat("?", tools=[ADD, MUL], tool_choice="mul"),
    "schema": lambda llm: llm.chat("?", response_format=SCHEMA),
    "images": lambda llm: llm.chat([Message("user", ["Look", Image(data=PNG, media_type="image/png")])]),
    "documents": lambda llm: llm.chat([Message("user", ["Read", File(data=PDF, media_type="application/pdf")])]),
    "audio": lambda llm: llm.chat([Message("user", ["Hear", Audio(data=WAV, media_type="audio/wav")])]),
}


def told_by(ask: Callable[[], Any]) -> object:
    """What a caller is told: the adjustments of the answer, or the hint of the error."""
    try:
        return ask().adjustments
    except UnifiedLLMError as exc:
        return exc.hint


NO = [(p, f) for f in ASKING for p in cells(f, "no") if p not in ("local", "offline")]


@pytest.mark.parametrize(("name", "feature"), NO)
def test_a_no_is_an_error_or_an_adjustment(name: str, feature: str) -> None:
    with serving(name) as server:
        told = told_by(lambda: ASKING[feature](server.llm))
    assert told


@pytest.mark.parametrize("name", cells("embeddings", "no"))
def test_embeddings_that_do_not_exist_are_not_asked_for(name: str) -> None:
    with serving(name) as server, pytest.raises(UnsupportedOptionError, match="no embedding") as info:
        server.llm.embed("text", "any-model")
    assert info.value.hint


@pytest.mark.parametrize("name", cells("count_tokens", "no"))
def test_tokens_that_cannot_be_counted_are_estimated_only_on_demand(name: str) -> None:
    with serving(name) as server:
        with pytest.raises(UnsupportedOptionError) as info:
            server.llm.count_tokens("Hi")
        assert "exact=False" in (info.value.hint or "")
        assert server.llm.count_tokens("Hi", exact=False) > 0


# -- the table --------------------------------------------------------------------------------------------------------


def test_every_proof_that_the_table_names_is_there(request: pytest.FixtureRequest) -> None:
    named = {
        TABLE.proof(p, f) for p in PROVIDERS for f in TABLE.FEATURES if TABLE.answer(p, f) == "yes"
    }  # fmt: skip
    missing = _missing(named, {item.nodeid for item in request.session.items})  # all are there when all tests run
    if missing:
        files = sorted({node.partition("::")[0] for node in missing})
        command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *files]
        run = subprocess.run(command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stdout + run.stderr
        missing = _missing(missing, set(run.stdout.split("\n")))
    assert not missing


def _missing(named: set[str], there: set[str]) -> set[str]:
    """The tests named, with a parameter or without, that are not there."""
    whole = {node.partition("[")[0] for node in there}
    return {node for node in named if node not in there and ("[" in node or node not in whole)}


def test_every_provider_and_feature_has_an_answer() -> None:
    for provider in PROVIDERS:
        assert {TABLE.answer(provider, f) for f in TABLE.FEATURES} <= {"yes", "no", "unknown"}
