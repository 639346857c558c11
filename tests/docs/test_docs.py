"""The documentation is true: every python block of README.md and docs/*.md runs, every link leads somewhere.

The blocks of a page run in order and share their names, in a folder that holds a few files, with no real provider in
reach: whatever provider a block names is answered by the offline one. ``await`` may stand at the top, as in a
notebook. A block fenced as ``python no-run`` is only compiled.
"""

from __future__ import annotations

import ast
import asyncio
import importlib.util
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType

import pytest

import unified_llm.errors
from unified_llm.testing import forbid_real_providers, replace_providers

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<code>.*?)^```\s*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")

# Members of the workspace and their frameworks, which a check of the core alone may lack.
MEMBERS = ("langchain_core", "langchain_unified_llm", "llama_index", "unified_llm_mcp")
ABSENT = {name for name in MEMBERS if importlib.util.find_spec(name) is None}

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c49444154789c63f8cfc0000003010100c9fe92ef0000000049454e44ae426082"
)


@dataclass(frozen=True)
class Block:
    """One fenced block: where its code begins, what kind it is, and the code."""

    line: int
    info: str
    code: str


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [Block(text[: m.start("code")].count("\n"), m["info"].strip(), m["code"]) for m in FENCE.finditer(text)]


def compiled(page: Path, block: Block) -> CodeType:
    """The code of a block, with the line numbers of its page."""
    source = "\n" * block.line + block.code
    code: CodeType = compile(source, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    return code


def imports(block: Block) -> set[str]:
    """The packages a block imports."""
    found: set[str] = set()
    for node in ast.walk(compile(block.code, "block", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found


def run(page: Path, block: Block, names: dict[str, object]) -> None:
    code = compiled(page, block)
    if code.co_flags & inspect.CO_COROUTINE:
        asyncio.run(eval(code, names))
    else:
        exec(code, names)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the files that the pages speak of, and nothing real in reach."""
    (tmp_path / "photo.png").write_bytes(PNG)
    (tmp_path / "report.pdf").write_bytes(b"%PDF-1.4\n%%EOF\n")
    (tmp_path / "notes.txt").write_text("Buy milk.\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with forbid_real_providers(), replace_providers():
        yield tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_the_python_blocks_of_a_page_run(name: str, folder: Path) -> None:
    page = ROOT / name
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(page):
        if block.info in ("python", "python runnable"):
            if not imports(block) & ABSENT:
                run(page, block, names)
        elif block.info.startswith("python"):
            assert block.info == "python no-run", f"{name}:{block.line}: unknown mark {block.info!r}"
            compiled(page, block)


@pytest.mark.parametrize("name", NAMES)
def test_every_fence_says_what_it_holds(name: str) -> None:
    assert [b.line for b in blocks(ROOT / name) if not b.info] == []
    assert (ROOT / name).read_text(encoding="utf-8").count("\n```") % 2 == 0


@pytest.mark.parametrize("name", NAMES)
def test_links_inside_the_project_lead_somewhere(name: str) -> None:
    page = ROOT / name
    targets = [m["target"] for m in LINK.finditer(FENCE.sub("", page.read_text(encoding="utf-8")))]
    for target in targets:
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{name}: {target}"
        assert not anchor or anchor in anchors(file), f"{name}: {target}"


def anchors(page: Path) -> set[str]:
    """The anchors that headings get on the usual hosts: lower case, hyphens for blanks, punctuation dropped."""
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def test_the_index_lists_every_page() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    listed = {m["target"] for m in LINK.finditer(index)}
    assert {page.name for page in PAGES if page.parent.name == "docs" and page.name != "index.md"} <= listed


def test_the_generated_parts_are_up_to_date() -> None:
    command = [sys.executable, str(ROOT / "docs" / "update.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_error_tree_names_every_class() -> None:
    tree = next(b.code for b in blocks(ROOT / "docs" / "errors.md") if b.info == "text")
    classes = {name for name in unified_llm.errors.__all__ if name.endswith("Error")}
    assert classes == set(re.findall(r"[├└]── (\w+)", tree)) | {"UnifiedLLMError"}


def test_a_block_that_fails_fails_its_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Title\n\n```python\nx = 1\n```\n\n```python\nawait wait()\n```\n", encoding="utf-8")
    first, second = blocks(page)
    names: dict[str, object] = {}
    run(page, first, names)
    assert names["x"] == 1
    with pytest.raises(NameError) as caught:
        run(page, second, names)
    assert caught.traceback[-1].lineno == 7  # counted from 0: the line of the page
