"""The report of `doctor` as a person reads it."""

from __future__ import annotations

import platform
import textwrap
from collections.abc import Iterator

from unified_llm import __version__
from unified_llm.cli.doctor_report import Report
from unified_llm.cli.extras import Extra
from unified_llm.cli.failures import describe
from unified_llm.cli.probes import ServerState

__all__ = ["lines"]

_MODELS_SHOWN = 8
_WELL_KNOWN = {"lmstudio", "llamacpp", "ollama"}  # worth a line even when they do not run


def lines(report: Report) -> Iterator[str]:
    """The report, line by line, without colours."""
    system = f"{platform.system()} {platform.machine()}"
    yield f"unified-llm {__version__}, Python {platform.python_version()}, {system}"
    yield from _auto(report)
    yield from _section("Packages", [(e.name, _extra(e)) for e in report.extras])
    yield from _section("Keys", [(k.provider, _source(k.source, k.variable)) for k in report.keys if k.source])
    yield from _others("not set", [k.provider for k in report.keys if k.provider and not k.source])
    shown = [s for s in report.servers if s.up or s.configured or s.name in _WELL_KNOWN]
    yield from _section("Servers", [(s.name, _server(s)) for s in shown])
    yield from _others("not running", [s.name for s in report.servers if s not in shown])
    yield from _local(report)
    yield from _list("Problems", report.problems)
    yield from _list("Next", report.next_steps)


def _auto(report: Report) -> Iterator[str]:
    if isinstance(report.auto, Exception):
        yield f"Chosen now: none ({describe(report.auto)['message']})"
        return
    yield f"Chosen now: {report.auto.provider} ({report.auto.reason})"
    if report.auto.tried:
        yield f"  before that: {', '.join(report.auto.tried)}"


def _section(title: str, rows: list[tuple[str, str]]) -> Iterator[str]:
    yield ""
    yield title
    width = max((len(name) for name, _ in rows), default=0)
    for name, text in rows:
        yield f"  {name.ljust(width)}  {text}".rstrip()
    if not rows:
        yield "  none"


def _others(label: str, names: list[str]) -> Iterator[str]:
    if names:
        yield from textwrap.wrap(f"{label}: {', '.join(names)}", 100, initial_indent="  ", subsequent_indent="    ")


def _list(title: str, items: list[str]) -> Iterator[str]:
    if items:
        yield ""
        yield title
        yield from (f"  {item}" for item in items)


def _extra(extra: Extra) -> str:
    have = [f"{name} {version}" for name, version in extra.packages.items() if version is not None]
    if not extra.missing:
        return ", ".join(have)
    return f"{', '.join([*have, *(f'no {name}' for name in extra.missing)])}: {extra.command}"


def _source(source: str | None, variable: str | None) -> str:
    return f"{source}: {variable}" if variable else source or ""


def _server(server: ServerState) -> str:
    said = f"{server.url}  {server.state}"
    if server.latency_ms is not None:
        said += f" in {server.latency_ms:.0f} ms"
    if server.models is not None:
        said += f", {server.models} model{'' if server.models == 1 else 's'}"
    return f"{said} ({server.detail})" if server.detail else said


def _local(report: Report) -> Iterator[str]:
    yield ""
    yield "Models on this machine"
    if isinstance(report.local_models, Exception):
        known = describe(report.local_models)
        yield f"  {known['message']}" + (f": {known['hint']}" if known.get("hint") else "")
        return
    for model in report.local_models[:_MODELS_SHOWN]:
        size = f"  {model.size_bytes / 1e9:.2f} GB" if model.size_bytes is not None else ""
        yield f"  {model.ref}{size}" + (f"  {model.kind}" if model.kind not in (None, "chat") else "")
    more = len(report.local_models) - _MODELS_SHOWN
    if more > 0:
        yield f"  ... and {more} more: unified-llm models list --provider local --all"
    if not report.local_models:
        yield "  none"
