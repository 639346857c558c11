"""The README's Python blocks run, in order, offline."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "integrations" / "langchain-unified-llm" / "README.md"


@pytest.mark.usefixtures("no_network")
def test_every_python_block_of_the_readme_runs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from langchain.chat_models import base as chat_models
    from langchain.embeddings import base as embeddings

    for module in (chat_models, embeddings):
        monkeypatch.setattr(module, "_BUILTIN_PROVIDERS", dict(module._BUILTIN_PROVIDERS))
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 6
    names: dict[str, object] = {"__name__": "readme"}
    for block in blocks:
        exec(compile(block, str(README), "exec"), names)
    said = capsys.readouterr().out
    assert "What is a codec?" in said
    assert "'name': 'add'" in said
    assert "punchline" in said
    assert "Cats sleep" in said
