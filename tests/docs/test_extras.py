"""The README's table of extras is that of the package."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def names(requirements: list[str]) -> list[str]:
    return [re.split(r"[\[<>=~!; ]", requirement)[0] for requirement in requirements]


def test_the_readme_lists_every_extra_with_what_it_brings() -> None:
    extras: dict[str, list[str]] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
        "optional-dependencies"
    ]
    rows = re.findall(r"^\| `([\w-]+)` \| ([^|]+) \| [^|]*\|$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    table = {extra: brings.strip().split(", ") for extra, brings in rows if extra in extras}
    assert table.pop("all") == ["all of these"]
    everything = extras.pop("all")
    assert table == {extra: names(requirements) for extra, requirements in extras.items()}
    assert set(re.findall(r"[\w-]+", everything[0].partition("[")[2])) == set(extras)
