"""The house rules that imports can break: a light package, no cycles, every import pointing downward."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import unified_llm

SOURCE = Path(unified_llm.__file__).parent

HEAVY = [
    "anthropic",
    "openai",
    "lmstudio",
    "httpx",
    "httpx2",
    "httpcore",
    "aiohttp",
    "pydantic",
    "typer",
    "rich",
    "click",
    "langchain_core",
    "llama_index",
    "mcp",
    "xllamacpp",
    "wordllama",
    "numpy",
    "huggingface_hub",
    "keyring",
    "genai_prices",
    "opentelemetry",
    "matplotlib",
]
# The façade needs an HTTP library and no more; vendors' packages wait for their first use.
STILL_HEAVY = [name for name in HEAVY if name not in ("httpx", "httpcore", "pydantic")]

# From the bottom of the house to the top. A module may import those of a lower floor, or of its own room.
FLOORS: list[set[str]] = [
    {"collecting", "errors", "forks", "_json", "usage"},
    {"parts", "vectors"},
    {"_optional", "logs", "messages", "message_keys", "schema_check", "tools", "profiles"},
    {"marks"},
    {"content_blocks", "part_types"},
    {"requests", "schema_problems", "message_dumps"},
    {"responses", "schemas"},
    {"stream", "wire", "message_formats", "pictures", "open_calls"},
    {"codecs", "attachments", "credentials", "chat_stream", "cache"},
    {"local_models"},
    {"offline"},
    {"drivers"},
    {"providers"},
    {"detection", "preparation", "conversations", "policy", "provider_settings"},
    {"costs"},
    {"routing", "flow", "telemetry"},
    {"arguments"},
    {"client"},
    {"comparison"},
    {"testing", "cli"},
    {"__main__"},
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def loaded_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*{{m.partition('.')[0] for m in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_no_sdk_no_framework_and_no_http_library() -> None:
    assert not loaded_after("import unified_llm") & set(HEAVY)


def test_making_the_facade_loads_no_vendor_sdk_and_no_framework() -> None:
    statement = "from unified_llm import UnifiedLLM, Message, ModelConfig\nUnifiedLLM()"
    assert not loaded_after(statement) & set(STILL_HEAVY)


@pytest.mark.parametrize("name", unified_llm.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    assert getattr(unified_llm, name) is not None


def test_the_lazy_table_and_all_agree() -> None:
    assert set(unified_llm.__all__) == set(unified_llm._HOME_OF) | set(unified_llm._RENAMED)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="NoSuchThing"):
        unified_llm.NoSuchThing  # noqa: B018  # the access is the test


def modules() -> dict[str, Path]:
    found = {}
    for path in SOURCE.rglob("*.py"):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return {name: path for name, path in found.items() if name}


def imported(path: Path, *, deferred: bool) -> set[str]:
    """Our own modules that a file imports when it is loaded; with `deferred`, inside functions too."""
    names: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            return
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not deferred:
            return
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "unified_llm":
            base = node.module.removeprefix("unified_llm").lstrip(".")
            names.update({base} if base else {alias.name for alias in node.names})
        elif isinstance(node, ast.Import):
            names.update(a.name.removeprefix("unified_llm.") for a in node.names if a.name.startswith("unified_llm."))
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return {n for n in names if (n and n.split(".")[0] in FLOOR_OF) or n in modules()}


@pytest.mark.parametrize("name", sorted(modules()))
def test_imports_point_downward(name: str) -> None:
    room = name.split(".")[0]
    assert room in FLOOR_OF, f"give the room {room!r} a floor"
    for target in imported(modules()[name], deferred=False):
        other = target.split(".")[0]
        assert other == room or FLOOR_OF[other] < FLOOR_OF[room], f"{name} imports {target}, which is not below it"


def test_there_is_no_import_cycle() -> None:
    graph = {name: imported(path, deferred=False) for name, path in modules().items()}
    done: set[str] = set()

    def walk(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name in done or name not in graph:
            return
        for target in graph[name]:
            walk(target, (*trail, name))
        done.add(name)

    for name in graph:
        walk(name, ())


def test_the_package_has_its_type_marker() -> None:
    assert (SOURCE / "py.typed").exists()
    importlib.import_module("unified_llm")
