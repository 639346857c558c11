"""``unified-llm doctor``: what works here, what does not, and what to do next."""

from __future__ import annotations

from typing import Annotated

import typer

from unified_llm.cli.exits import ExitCode
from unified_llm.cli.failures import Leave, reporting
from unified_llm.cli.options import Debug, Json
from unified_llm.cli.output import Output

__all__ = ["doctor"]


def doctor(
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 when something is wrong, or no model can answer.")
    ] = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Show what works here, and what to do next.

    What is installed, which keys are set (never their values), which servers answer and how quickly.

    Asks the servers on this machine and the configured addresses, all at once, for less than a second.
    """
    out = Output(json=json, debug=debug)
    with reporting(out):
        from unified_llm.cli.doctor_examine import examine
        from unified_llm.cli.doctor_text import lines

        out.status("looking around…")
        report = examine()
        if json:
            out.data(report.to_dict())
        else:
            for line in lines(report):
                out.line(line)
        if strict and report.problems:
            raise Leave(ExitCode.FAILED)
