"""Figures as text: a table of ratios, and the targets."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from benchmarks.cases import Case

__all__ = ["ratio", "table", "targets"]

YARDSTICK = "raw_httpx"
Figures = Mapping[tuple[str, str], Sequence[float]]


def ratio(figures: Figures, client: str, case: Case) -> float | None:
    """The median, over rounds, of `client` against raw httpx in the same round; None when one was not measured."""
    own, base = figures.get((client, case.name)), figures.get((YARDSTICK, case.name))
    if not own or not base:
        return None
    return statistics.median(a / b for a, b in zip(own, base, strict=False))


def table(figures: Figures, clients: Sequence[str], cases: Sequence[Case], absent: Mapping[str, str]) -> str:
    """A Markdown table, one row per client: ratios to raw httpx, whose own row holds absolute figures."""
    lines = [
        "| client | " + " | ".join(case.title for case in cases) + " |",
        "|---" * (len(cases) + 1) + "|",
    ]
    for client in clients:
        if client in absent:
            lines.append(f"| {client} | {absent[client]} |" + " |" * (len(cases) - 1))
        else:
            lines.append(f"| {client} | " + " | ".join(_cell(figures, client, case) for case in cases) + " |")
    return "\n".join(lines)


def _cell(figures: Figures, client: str, case: Case) -> str:
    found = ratio(figures, client, case)
    if found is None:
        return "-"
    if client != YARDSTICK:
        return f"{found:.2f}x" if found < 10 else f"{found:.0f}x"
    figure = statistics.median(figures[client, case.name])
    if case.kind == "flight":
        return f"{figure:.0f} {case.unit}"
    return (
        f"{figure:.2f} s" if figure >= 0.1 else f"{figure * 1e3:.2f} ms" if figure >= 1e-3 else f"{figure * 1e6:.1f} us"
    )


def targets(figures: Figures, cases: Sequence[Case]) -> str:
    """One line per target: what was aimed at, what was measured."""
    lines = []
    for case in cases:
        for client, aim in case.targets.items():
            found = ratio(figures, client, case)
            if found is None:
                continue
            met = found >= aim if case.kind == "flight" else found <= aim
            word = "at least" if case.kind == "flight" else "at most"
            lines.append(f"{'ok  ' if met else 'MISS'}  {client}: {case.title}: {found:.2f}x ({word} {aim:g}x)")
    return "\n".join(lines)
