"""The table of docs/langchain-features.md is true: each row of our column names a test that is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "langchain-features.md"
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| feature ")
]


def defined_in(path: Path) -> set[str]:
    """Names of the tests of a file that run: not skipped, not expected to fail."""
    found = [
        n for n in ast.parse(path.read_text("utf-8")).body if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    return {f.name for f in found if not any(re.search("skip|xfail", ast.unparse(d)) for d in f.decorator_list)}


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_each_row_names_a_test_that_runs(row: list[str]) -> None:
    assert len(row) == 7
    assert re.fullmatch(r"Y(, live)?|P", row[1])
    assert all(cell in ("Y", "N", "P", "-", "?") for cell in row[2:6])
    file, _, name = row[6].strip("`").partition("::")
    assert name in defined_in(HERE / file)


def test_no_feature_is_told_twice() -> None:
    names = [row[0] for row in ROWS]
    assert len(names) == len(set(names)) > 30
