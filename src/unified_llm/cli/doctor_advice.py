"""What is wrong, and what to do next: rules over a `Report`."""

from __future__ import annotations

from unified_llm._optional import installed
from unified_llm.cli.doctor_report import Report
from unified_llm.cli.failures import describe
from unified_llm.detection import Detection
from unified_llm.local_models import FIRST_MODEL

__all__ = ["next_steps", "problems"]


def problems(report: Report) -> list[str]:
    """What does not work although it was set up, and that no model can answer; an empty list when all is well."""
    found = [k.error for k in report.keys if k.error]
    found += [f"{s.name} is configured at {s.url}: {s.state}" for s in report.servers if s.configured and not s.up]
    if _has_key(report, "claude") and not installed("anthropic"):
        found.append("there is a key for claude, and the package anthropic is not installed")
    if isinstance(report.auto, Exception):
        found.append(str(describe(report.auto)["message"]))
    elif report.auto.provider == "offline":
        found.append("no language model was found: only the offline provider can answer")
    return list(dict.fromkeys(found))  # one broken file shows up with every provider's key


def next_steps(report: Report) -> list[str]:
    """Commands and actions, the most useful first."""
    steps = []
    if _has_key(report, "claude") and not installed("anthropic"):
        steps.append('pip install "unified-llm[claude]"')
    for server in report.servers:
        if server.configured and not server.up:
            steps.append(f"start the server of {server.name}, or correct its address ({server.url})")
        elif server.name == "lmstudio" and server.state == "answers" and server.models == 0:
            steps.append("load a model in LM Studio: lms load")
    if isinstance(report.auto, Exception):
        hint = describe(report.auto).get("hint")
        steps += [str(hint)] if hint else []
        steps += _running_but_not_chosen(report, report.auto)
    elif report.auto.provider == "offline":
        steps += _ways_to_a_model(report)
    else:
        steps.append('unified-llm chat "Hello"')
        steps += _running_but_not_chosen(report, report.auto)
    return steps


def _ways_to_a_model(report: Report) -> list[str]:
    """The three ways to a first model, shortest first."""
    local = [] if installed("xllamacpp") else ['pip install "unified-llm[local]"']
    pull = " && ".join([*local, f"unified-llm models pull {FIRST_MODEL}"])
    return [
        *_running_but_not_chosen(report, report.auto),
        "Claude: export ANTHROPIC_API_KEY=... (a key from https://platform.claude.com)"
        + ("" if installed("anthropic") else ' and pip install "unified-llm[claude]"'),
        "LM Studio: start its server (the Developer tab, or: lms server start)",
        f"on this machine, without a server: {pull}  (0.6 GB)",
    ]


def _running_but_not_chosen(report: Report, auto: Detection | Exception) -> list[str]:
    chosen = auto.provider if isinstance(auto, Detection) else None
    return [
        f'{s.name} answers too: unified-llm chat --model {s.name}: "Hello"'
        if _known(s.name)
        else f'{s.name} answers too: unified-llm chat --base-url {s.url} --model MODEL "Hello"'
        for s in report.servers
        if s.state == "answers" and s.name != chosen and s.models
    ]


def _known(name: str) -> bool:
    from unified_llm.providers.registry import canonical_name

    return canonical_name(name) is not None


def _has_key(report: Report, provider: str) -> bool:
    return any(k.provider == provider and k.source for k in report.keys)
