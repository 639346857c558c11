"""``unified-llm embed``: vectors of texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from unified_llm.cli.failures import reporting
from unified_llm.cli.options import BaseURL, Debug, Json, Model, Provider, Timeout, Verbose
from unified_llm.cli.output import Output

if TYPE_CHECKING:
    from unified_llm.responses import Embeddings

__all__ = ["embed"]

_VALUES_SHOWN, _TEXTS_SHOWN, _WIDTH = 5, 10, 40


def embed(
    text: Annotated[list[str] | None, typer.Argument(help="Texts; without them, each line of stdin is one.")] = None,
    model: Model = None,
    provider: Provider = None,
    base_url: BaseURL = None,
    dimensions: Annotated[
        int | None, typer.Option("--dimensions", "-d", min=1, metavar="N", help="Shorter vectors, where the model can.")
    ] = None,
    timeout: Timeout = None,
    json: Json = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Embed texts: a summary for people, every number with --json.

    \b
      unified-llm embed "first text" "second text" --json
      unified-llm embed --model local: < lines.txt
    """
    out = Output(json=json, verbose=verbose, debug=debug)
    with reporting(out):
        from unified_llm.cli.notes import say_provider
        from unified_llm.client import UnifiedLLM
        from unified_llm.requests import ModelConfig

        texts = _texts(text, out)
        named = model if model and provider is None else None
        with UnifiedLLM(
            provider or "auto",
            model=named,
            embed_model=model,
            base_url=base_url,
            config=ModelConfig(timeout=timeout),
        ) as llm:
            say_provider(llm, out)
            _show(llm.embed(texts, dimensions=dimensions), texts, out)


def _texts(given: list[str] | None, out: Output) -> list[str]:
    from unified_llm.cli.prompt import decode_text, piped_stdin, readable
    from unified_llm.errors import InvalidRequestError

    if given:
        return [readable(text) for text in given]
    lines = decode_text(piped_stdin() or b"", "stdin", out).splitlines()
    texts = [line for line in lines if line.strip()]
    if not texts:
        raise InvalidRequestError("there is no text to embed", hint="give texts, or pipe in one a line")
    if len(texts) < len(lines):
        out.note(f"note: {len(lines) - len(texts)} blank lines left out")
    return texts


def _show(vectors: Embeddings, texts: list[str], out: Output) -> None:
    if out.json:
        out.data(
            {
                "model": vectors.model,
                "provider": vectors.provider,
                "dimensions": vectors.dimensions,
                "usage": vectors.usage.to_dict(),
                "embeddings": vectors.tolist(),
            },
            compact=True,
        )
        return
    plural = "" if len(texts) == 1 else "s"
    out.line(f"{len(texts)} text{plural}, {vectors.dimensions} dimensions, {vectors.provider}:{vectors.model}")
    for one, vector in zip(texts[:_TEXTS_SHOWN], vectors, strict=False):
        shown = one if len(one) <= _WIDTH else f"{one[: _WIDTH - 3]}..."
        values = ", ".join(f"{x:.4f}" for x in vector[:_VALUES_SHOWN])
        out.line(f"  {shown}: [{values}{', ...' if len(vector) > _VALUES_SHOWN else ''}]")
    if len(texts) > _TEXTS_SHOWN:
        out.line(f"  ... and {len(texts) - _TEXTS_SHOWN} more (--json writes them all)")
