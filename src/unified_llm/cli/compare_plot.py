"""The picture of ``unified-llm compare --plot``: bars per model, drawn by matplotlib (extra ``plot``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unified_llm._optional import require
from unified_llm.comparison import Comparison
from unified_llm.errors import InvalidRequestError

__all__ = ["check", "draw"]

_SUFFIXES = (".png", ".svg", ".pdf")


def check(path: Path) -> None:
    """Raise `UnifiedLLMError` when a picture could not be drawn there."""
    if path.suffix.lower() not in _SUFFIXES:
        raise InvalidRequestError(f"cannot draw {path.name!r}", hint=f"name a file ending in {', '.join(_SUFFIXES)}")
    if not path.expanduser().parent.is_dir():
        raise InvalidRequestError(f"there is no folder {path.parent}", hint="make it first")
    require("matplotlib.figure", extra="plot", purpose="--plot")


def draw(path: Path, results: Sequence[Comparison]) -> None:
    """Write the picture: seconds (the part before the first token darker), tokens per second, USD."""
    # A Figure of its own, without pyplot: no display is needed, and no global state is left.
    module: Any = require("matplotlib.figure", extra="plot", purpose="--plot")
    figure = module.Figure(figsize=(11, 1.2 + 0.45 * len(results)), layout="constrained")
    times, speeds, costs = figure.subplots(1, 3, sharey=True)
    names = [f"{position}. {r.model}" for position, r in enumerate(results, 1)]
    _bars(times, "seconds", names, [None if r.error else r.seconds for r in results])
    times.barh(names, [r.time_to_first_token or 0.0 for r in results], color="#1f4e79")
    _bars(speeds, "output tokens per second", names, [r.tokens_per_second for r in results])
    _bars(costs, "USD", names, [r.cost for r in results])
    times.invert_yaxis()  # the first model on top
    figure.savefig(path.expanduser())


def _bars(axes: Any, title: str, names: Sequence[str], values: Sequence[float | None]) -> None:
    bars = axes.barh(names, [value or 0.0 for value in values], color="#7fb2e5")
    axes.bar_label(bars, ["?" if v is None else f"{v:.3g}" for v in values], padding=3)
    axes.set_title(title)
    axes.margins(x=0.25)
