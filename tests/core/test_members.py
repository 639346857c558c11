"""What the members of the workspace declare of each other."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
MEMBERS = ["integrations/langchain-unified-llm", "integrations/llama-index-llms-unified-llm", "mcp_server"]


def project(folder: str) -> dict[str, Any]:
    with (ROOT / folder / "pyproject.toml").open("rb") as file:
        declared: dict[str, Any] = tomllib.load(file)["project"]
    return declared


@pytest.mark.parametrize("member", MEMBERS)
def test_a_member_needs_the_core_it_was_built_with_or_a_newer_one(member: str) -> None:
    named = [d for d in project(member)["dependencies"] if d.startswith("unified-llm")]
    found = [re.sub(r"\[[a-z,]+\]", "", d) for d in named]  # extras say what else a member brings
    assert found == [f"unified-llm>={project('.')['version']},<1"]
