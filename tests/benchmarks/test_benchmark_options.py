"""What the benchmark command refuses before it measures anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize(
    ("option", "known"), [("--clients", "raw_httpx"), ("--cases", "in_flight_64")], ids=["clients", "cases"]
)
def test_an_unknown_name_is_refused_with_the_known_ones(option: str, known: str) -> None:
    command = [sys.executable, "-m", "benchmarks", option, "httpx"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 2
    assert "invalid choice: 'httpx'" in done.stderr
    assert known in done.stderr
    assert "Traceback" not in done.stderr
