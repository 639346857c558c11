"""Prompts: ready-made requests a person picks in the host; they make the host's model use our tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["PROMPTS", "definitions", "render"]


@dataclass(frozen=True, slots=True)
class _Prompt:
    title: str
    description: str
    required: dict[str, str]
    optional: dict[str, str]
    text: str


_BY_LIST = " as list_models returns it"
_MODEL = f"Model id{_BY_LIST}, such as claude:claude-sonnet-5-5."

PROMPTS: dict[str, _Prompt] = {
    "ask": _Prompt(
        "Ask a model",
        "Have another model answer a question, and show its answer unchanged.",
        {"question": "What to ask."},
        {"model": f"{_MODEL} Empty: the server's default."},
        "Call the chat tool{with_model} with this prompt and show me the answer unchanged:\n\n{question}",
    ),
    "second_opinion": _Prompt(
        "Get a second opinion",
        "Have another model review a draft answer.",
        {"question": "The question the draft answers.", "draft": "The draft to review."},
        {"model": f"{_MODEL} Empty: the server's default."},
        "Call the chat tool{with_model} and ask for a critical review of a draft: what is wrong, what is missing, what "
        "would be better. Send the question and the draft as they are. Then tell me what it found, and whether you "
        "agree.\n\nQuestion:\n{question}\n\nDraft:\n{draft}",
    ),
    "compare_models": _Prompt(
        "Compare models",
        "Ask several models the same question and compare their answers.",
        {"question": "What to ask.", "models": "Model ids, separated by commas."},
        {},
        "Call the chat tool once for each of these models, at the same time, with exactly the prompt below: {models}. "
        "Show the answers side by side, then say where they differ and which is right.\n\nPrompt:\n{question}",
    ),
}


def definitions(tools: Sequence[str]) -> list[dict[str, Any]]:
    """The prompts as the protocol writes them, for a server with these tools: none without `chat`, which all use."""
    if "chat" not in tools:
        return []
    left_out = "" if "list_models" in tools else _BY_LIST
    return [
        {
            "name": name,
            "title": prompt.title,
            "description": prompt.description,
            "arguments": [
                {"name": argument, "description": text.replace(left_out, ""), "required": argument in prompt.required}
                for argument, text in (prompt.required | prompt.optional).items()
            ],
        }
        for name, prompt in PROMPTS.items()
    ]


def render(name: str, arguments: Mapping[str, str], tools: Sequence[str]) -> dict[str, Any] | None:
    """A prompt with its arguments, as the protocol writes it; None when `definitions` has none of that name.

    Raises:
        ValueError: a required argument is missing, or one is unknown.
    """
    prompt = PROMPTS.get(name)
    if prompt is None or "chat" not in tools:
        return None
    missing = [argument for argument in prompt.required if not arguments.get(argument, "").strip()]
    unknown = [argument for argument in arguments if argument not in prompt.required | prompt.optional]
    if missing or unknown:
        problem = f"missing argument {missing[0]!r}" if missing else f"unknown argument {unknown[0]!r}"
        raise ValueError(
            f"{problem} of the prompt {name}; arguments are {', '.join(prompt.required | prompt.optional)}"
        )
    model = arguments.get("model", "").strip()
    # One pass: what a person typed is never read as a field again.
    text = prompt.text.format(**{**arguments, "with_model": f" with model {model}" if model else ""})
    return {
        "description": prompt.description,
        "messages": [{"role": "user", "content": {"type": "text", "text": text}}],
    }
