"""Pin the versions that reproducible runs use: ``python scripts/update_constraints.py`` (needs uv).

Resolves everything the workspace can install and writes names and versions, and nothing else, to constraints.txt (for
pip) and to ``[tool.uv] constraint-dependencies`` in pyproject.toml (for ``uv run``, which reads no constraints file).
With ``--check`` it writes nothing and fails when the two disagree.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
PYPROJECT = ROOT / "pyproject.toml"
HEADER = "# Names and versions only. Regenerate with: python scripts/update_constraints.py\n"
_BLOCK = re.compile(r"^constraint-dependencies = \[\n(?:  .*\n)*\]\n", re.MULTILINE)


def resolve() -> list[str]:
    """Every package of the workspace with its newest acceptable version, one requirement per line."""
    with tempfile.TemporaryDirectory() as folder:
        # A copy without the present pins: they must not decide the new ones.
        bare = Path(folder) / "pyproject.toml"
        bare.write_text(_BLOCK.sub("", PYPROJECT.read_text(encoding="utf-8")), encoding="utf-8")
        for name in ("README.md", "LICENSE", "src", "integrations", "mcp_server"):
            (Path(folder) / name).symlink_to(ROOT / name)
        command = (
            "uv pip compile --universal --quiet --no-header --no-annotate --no-emit-index-url --no-emit-find-links"
        )
        done = subprocess.run(  # noqa: S603  # a fixed command
            [*command.split(), str(bare), "--all-extras", "--group", "dev", "--group", "workspace"],
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
        )
    return [line for line in done.stdout.splitlines() if re.match(r"[A-Za-z0-9]", line)]


def pinned() -> list[str]:
    """The constraints in pyproject.toml."""
    with PYPROJECT.open("rb") as file:
        return list(tomllib.load(file)["tool"]["uv"].get("constraint-dependencies", []))


def listed() -> list[str]:
    """The constraints in constraints.txt."""
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines() if CONSTRAINTS.exists() else []
    return [line for line in lines if line and not line.startswith("#")]


def write(lines: list[str]) -> None:
    """Put `lines` in both places."""
    CONSTRAINTS.write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")
    quoted = "".join(f'  "{line.replace(chr(34), chr(39))}",\n' for line in lines)
    block = f"constraint-dependencies = [\n{quoted}]\n"
    text = PYPROJECT.read_text(encoding="utf-8")
    text = (
        _BLOCK.sub(lambda _: block, text) if _BLOCK.search(text) else text.replace("[tool.uv]\n", f"[tool.uv]\n{block}")
    )
    PYPROJECT.write_text(text, encoding="utf-8")


def main() -> int:
    """Write, or check."""
    if "--check" in sys.argv:
        if pinned() == [line.replace('"', "'") for line in listed()]:
            return 0
        print("constraints.txt and pyproject.toml disagree: run scripts/update_constraints.py", file=sys.stderr)
        return 1
    write(resolve())
    print(f"{len(listed())} versions written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
