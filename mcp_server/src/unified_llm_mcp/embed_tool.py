"""The tool `embed`: vectors in the smallest form that is still exact, never a flood of digits."""

from __future__ import annotations

import base64
import sys
from array import array
from typing import Any

from unified_llm import Embeddings
from unified_llm_mcp._sdk import Call
from unified_llm_mcp.arguments import EmbedArguments
from unified_llm_mcp.failures import ToolCallError
from unified_llm_mcp.progress import follow
from unified_llm_mcp.results import MAX_RESOURCE_BYTES, compact, tool_result
from unified_llm_mcp.runs import Run
from unified_llm_mcp.state import EmbedRun, ServerState

__all__ = ["embed", "float32_bytes", "rows_of_a_part"]

FLOAT_NUMBERS = 4096
"""Most numbers sent as JSON floats by ``auto``: about 50 kB."""
RESULT_BYTES = 850_000
"""Most bytes of vectors in one result; see `results.MAX_TEXT_BYTES`."""
CONTENT_BYTES = 4096
"""Most bytes of vectors in `content`, which some hosts show to the model; more are only in `structuredContent`."""


async def embed(state: ServerState, arguments: EmbedArguments, call: Call) -> dict[str, Any]:
    """The vectors of `texts`, in order."""
    vectors = await _vectors(state, arguments, call)
    encoding = _encoding(arguments.encoding, vectors)
    adjustments = [f"{a.what} {a.kind}: {a.reason}" for a in vectors.adjustments]
    structured = compact(
        model=vectors.model or arguments.model,
        provider=vectors.provider or "",
        dimensions=vectors.dimensions or 0,
        count=len(vectors),
        encoding=encoding,
        usage=compact(input_tokens=vectors.usage.input_tokens) or None,
        adjustments=adjustments or None,
    )
    return _encoded(state, vectors, encoding, structured, call)


async def _vectors(state: ServerState, arguments: EmbedArguments, call: Call) -> Embeddings:
    """The vectors. What takes longer than the client waits goes on; the same call joins it.

    Raises:
        ToolCallError: they are not ready yet.
    """
    key, kept = _kept(state, arguments, call.subject)
    run = kept.run if kept is not None else _start(state, arguments, call.subject)
    wait = None if call.may_outlive_request else state.settings.max_wait or None
    try:
        await follow(run, call, wait=wait, heartbeat=state.settings.heartbeat)
    except BaseException:  # cancelled, or the connection is gone
        run.cancel()
        raise
    if run.done:
        state.embed_runs.remove(call.subject, key)
        return run.result()
    if kept is None:
        state.embed_runs.put(call.subject, EmbedRun(arguments, run))
    raise ToolCallError(
        "running",
        f"the vectors are not ready after {wait:g} s; the server goes on",
        hint="call embed again with the same arguments: it waits for what is running, and sends nothing twice",
        retryable=True,
    )


def _kept(state: ServerState, arguments: EmbedArguments, subject: str) -> tuple[str, EmbedRun | None]:
    """An earlier call with these arguments that was not ready, and its id."""
    same = ((key, kept) for key, kept in state.embed_runs.items(subject) if kept.arguments == arguments)
    return next(same, ("", None))


def _start(state: ServerState, arguments: EmbedArguments, subject: str) -> Run[Embeddings]:
    model = arguments.model or state.settings.embed_model

    async def produce(run: Run[Embeddings]) -> Embeddings:
        async with state.limits.slot(subject), state.spending.learning(model or ""):
            vectors = await state.client.embed_async(
                arguments.texts, model, dimensions=arguments.dimensions, label=state.spending.label
            )
        state.usage.add(subject, "embeddings", vectors.usage, vectors.cost)
        return vectors

    return state.runs.start(produce)


def _encoding(wanted: str, vectors: Embeddings) -> str:
    """The encoding to use; refuses one asked for explicitly that would not fit."""
    numbers = len(vectors) * (vectors.dimensions or 0)
    fits = {"float": numbers * 13 <= RESULT_BYTES, "base64": len(vectors) * _base64_length(vectors) <= RESULT_BYTES}
    if wanted == "auto":
        if numbers <= FLOAT_NUMBERS:
            return "float"
        return "base64" if fits["base64"] else "resource"
    if not fits.get(wanted, True):
        raise ToolCallError(
            "result_too_large",
            f"{len(vectors)} vectors of {vectors.dimensions} numbers do not fit into one result as {wanted}",
            hint="use encoding 'auto' or 'resource', or fewer texts in a call",
        )
    return wanted


def _base64_length(vectors: Embeddings) -> int:
    return ((vectors.dimensions or 0) * 4 + 2) // 3 * 4 + 3


def _encoded(
    state: ServerState, vectors: Embeddings, encoding: str, structured: dict[str, Any], call: Call
) -> dict[str, Any]:
    if encoding == "float":
        floats = [[_shortest(x) for x in vector] for vector in vectors.vectors]
        text = str(floats)
        return tool_result(
            text if len(text) <= CONTENT_BYTES else _summary(structured, "structuredContent.embeddings"),
            structured | {"embeddings": floats},
        )
    if encoding == "base64":
        encoded = [base64.b64encode(float32_bytes(vector)).decode("ascii") for vector in vectors.vectors]
        where = "structuredContent.embeddings_base64 (little-endian float32)"
        return tool_result(_summary(structured, where), structured | {"embeddings_base64": encoded})
    uri = f"llm://embeddings/{state.embeddings.put(call.subject, vectors)}"
    link = {
        "type": "resource_link",
        "uri": uri,
        "name": "embeddings",
        "mimeType": "application/octet-stream",
        "description": f"{len(vectors)} x {vectors.dimensions} little-endian float32, row by row",
    }
    where, rows = f"the resource {uri}", rows_of_a_part(vectors)
    if rows < len(vectors):
        where += f", {rows} rows at a time: {uri}?rows=0-{rows - 1}, and so on"
    return tool_result(_summary(structured, where), structured | {"resource_uri": uri}, link)


def rows_of_a_part(vectors: Embeddings) -> int:
    """How many vectors fit, as base64, into the contents of one resource."""
    return max(1, MAX_RESOURCE_BYTES * 3 // 4 // (4 * (vectors.dimensions or 1)))


def _summary(structured: dict[str, Any], where: str) -> str:
    return (
        f"{structured['count']} vectors of {structured['dimensions']} numbers from {structured['model']}, in {where}."
    )


def _shortest(value: float) -> float:
    """The shortest decimal that is the same float32: half the digits of the float64 it is stored in."""
    short = float(f"{value:.8g}")
    return short if array("f", (short,))[0] == value else float(f"{value:.9g}")


def float32_bytes(vector: array[float]) -> bytes:
    """The numbers as little-endian float32."""
    packed = vector if vector.typecode == "f" else array("f", vector)
    if sys.byteorder == "big":
        packed = array("f", packed)
        packed.byteswap()
    return packed.tobytes()
