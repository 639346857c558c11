"""Every file in examples/ runs, as its first lines say, with the offline provider."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

# What each example must print when nobody but the offline provider answers.
EXPECTED: dict[str, tuple[str, ...]] = {
    "01_chat.py": ("not a language model", "why is the sky blue?", "answered by offline:echo", "finish reason: stop"),
    "02_stream.py": ("(thinking) ", "(text) ", "first piece: 'This'", "tokens, first after"),
    "03_tools.py": ('calls get_weather({"city":"Paris"', "21 degrees celsius, sunny"),
    "04_structured_output.py": ("example title, 1 minutes", "- 1 g example name"),
    "05_embeddings_rag.py": (
        "found: Tickets cost twelve euros; students pay half",
        "I was asked: Answer from these notes",
    ),
    "06_conversation_across_providers.py": ("you: What was my name?", "offline:echo", "5 messages"),
    "07_async.py": ("Osaka: ", "Count from one to five.", "cancelled"),
    "08_images.py": ("What colour is this picture?", "1 image"),
    "09_testing_your_app.py": ("4 passed",),
    "10_failures.py": ("RateLimitError", "'Half an answ'", "2 requests", "offline answers", "APIConnectionError"),
    "12_deployments_and_costs.py": (
        "APIConnectionError: now asking fast/1",
        "the quota of 'summaries' is used up",
        "the call would exceed the budget",
        "by label: summaries: 2, None:",
    ),
    "11_your_own_provider.py": ("Why do you say that your program never works?", "Why do you say that you are done?"),
}


# Other packages' plugins take seconds to load; these two are named in our configuration.
QUICK_PYTEST = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "anyio.pytest_plugin,pytest_timeout"}


def run(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.endswith(("_API_KEY", "_AUTH_TOKEN", "_BASE_URL"))}
    return subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=50,
        env={**clean, "PYTHONIOENCODING": "utf-8", **QUICK_PYTEST, **environment},
    )


def test_every_example_is_checked_and_listed() -> None:
    files = {path.name for path in EXAMPLES.glob("*.py")}
    assert files == set(EXPECTED)
    assert files == set(re.findall(r"\]\((\w+\.py)\)", (EXAMPLES / "README.md").read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_an_example_runs_without_a_model_and_shows_what_it_promises(name: str) -> None:
    done = run(name, UNIFIED_LLM_PROVIDER="offline")
    assert done.returncode == 0, done.stderr
    assert [text for text in EXPECTED[name] if text not in done.stdout] == [], done.stdout


@pytest.mark.parametrize(
    ("arguments", "environment"), [(("offline:tiny",), {}), ((), {"UNIFIED_LLM_MODEL": "offline:tiny"})]
)
def test_the_model_of_an_example_is_an_argument_or_a_variable(
    arguments: tuple[str, ...], environment: dict[str, str]
) -> None:
    assert "answered by offline:tiny" in run("01_chat.py", *arguments, **environment).stdout


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_an_example_says_how_to_run_it(name: str) -> None:
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    assert f"uv run python examples/{name}" in text or f"uv run pytest examples/{name}" in text
