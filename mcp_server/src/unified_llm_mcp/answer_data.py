"""The object that an answer holds, checked against the schema that the caller asked for.

The schema comes from a caller and may take for ever to check: a pattern that backtracks, references that branch. What
may take long is checked in a process of its own, for a limited time, so that nobody else waits.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from unified_llm import ChatResponse
from unified_llm.requests import ResponseFormat
from unified_llm_mcp.failures import ToolCallError
from unified_llm_mcp.schema_worker import verdict

__all__ = ["keywords", "read_data"]

logger = logging.getLogger("unified_llm_mcp")

SECONDS = 5.0
"""What the check of an answer may take, the start of its process included."""
SMALL = 1_000_000
"""Size of the schema times size of the answer, in characters, up to which a plain check takes milliseconds."""
_SLOW = {"pattern", "patternProperties", "$ref"}


async def read_data(
    response: ChatResponse, schema: Mapping[str, Any], processes: asyncio.Semaphore
) -> tuple[dict[str, Any], str | None]:
    """The object, and a note when it could not be checked. `processes` limits how many check at the same time.

    Raises:
        ToolCallError: the answer is no JSON object, or does not follow the schema; the text comes with it.
        StructuredOutputError: the same, as the library says it.
    """
    value = response.with_details(response_format=ResponseFormat(name="response_schema")).parsed
    if not all(math.isfinite(number) for number in _floats(value)):
        raise _unfit(response, "the answer is not JSON: it has a number that is not finite, such as NaN")
    quick = not _SLOW & set(keywords(schema)) and len(json.dumps(schema)) * len(response.text) <= SMALL
    found = verdict(dict(schema), value) if quick else await _verdict_elsewhere(schema, value, processes)
    if "unchecked" in found:
        return value, f"data not checked against response_schema: {found['unchecked']}"
    if found["problem"] is not None:
        path, reason = found["problem"]
        where = ".".join(map(str, path)) or "the whole answer"
        raise _unfit(response, f"the answer does not fit response_schema: {where} {reason}")
    return value, None


def _unfit(response: ChatResponse, message: str) -> ToolCallError:
    cut = response.finish_reason == "length"
    return ToolCallError(
        "structured_output",
        message,
        hint="the answer was cut: pass a larger max_tokens" if cut else "ask again, or relax response_schema",
        partial=response.text,
        provider=response.provider,
        model=response.model,
    )


def keywords(value: Any) -> Iterator[str]:
    """Every key of every object in a schema."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield key
            yield from keywords(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keywords(inner)


def _floats(value: Any) -> Iterator[float]:
    if isinstance(value, float):
        yield value
    elif isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _floats(inner)


async def _verdict_elsewhere(schema: Mapping[str, Any], value: Any, processes: asyncio.Semaphore) -> dict[str, Any]:
    """`verdict`, from a process that is stopped when it takes too long."""
    try:
        async with processes, asyncio.timeout(SECONDS):
            return await _ask_process(json.dumps({"schema": schema, "value": value}).encode())
    except TimeoutError:
        return {"unchecked": f"the check takes longer than {SECONDS:g} s; simplify its patterns and references"}
    except (OSError, ValueError) as error:
        logger.warning("a schema could not be checked in a process of its own: %s", error)
        return {"unchecked": "the server could not run the check"}


async def _ask_process(question: bytes) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "unified_llm_mcp.schema_worker"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={"PYTHONPATH": os.pathsep.join(sys.path), "SYSTEMROOT": os.environ.get("SYSTEMROOT", "")},
    )
    try:
        answer, _ = await process.communicate(question)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    found: dict[str, Any] = json.loads(answer)
    return found
