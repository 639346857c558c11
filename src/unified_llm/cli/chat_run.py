"""What ``unified-llm chat`` does, once its command line is read."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from unified_llm.cli.answering import Answer, Interrupted, answer
from unified_llm.cli.confirming import terminal_confirm
from unified_llm.cli.events import Sink, json_lines, pretty, progress_only, text_sink
from unified_llm.cli.exits import ExitCode
from unified_llm.cli.failures import Leave
from unified_llm.cli.notes import WaitNotes, say_provider, say_summary
from unified_llm.cli.output import Output, is_terminal
from unified_llm.cli.prompt import Attachments, decode_text, piped_stdin, readable, user_message
from unified_llm.cli.references import load_schema, load_tools
from unified_llm.cli.tool_runs import ToolRunner
from unified_llm.client import UnifiedLLM
from unified_llm.errors import InvalidRequestError, StructuredOutputError
from unified_llm.messages import Message
from unified_llm.requests import ModelConfig
from unified_llm.responses import ChatResponse

__all__ = ["ChatOptions", "run_chat", "sink_for"]


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """The command line of ``chat``. `stream` None means: text streams, JSON does not."""

    words: tuple[str, ...] = ()
    model: str | None = None
    provider: str | None = None
    base_url: str | None = None
    system: str | None = None
    images: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    schema: str | None = None
    tools: tuple[str, ...] = ()
    confirm: bool = False
    temperature: float | None = None
    max_tokens: int | None = None
    stream: bool | None = None
    thinking: str | None = None
    effort: str | None = None
    timeout: float | None = None
    retries: int | None = None
    fallbacks: tuple[str, ...] = ()


def run_chat(options: ChatOptions, out: Output) -> None:
    """Answer one prompt, or start a conversation when there is none and stdin is a terminal.

    Raises:
        InvalidRequestError: there is nothing to ask, or an option's value is wrong.
        Leave: interrupted, with exit code 130.
    """
    attached = Attachments(out, options.images, options.files)
    prompt = readable(" ".join(options.words))
    talks = not prompt and not out.json and is_terminal(sys.stdin)
    message = None if talks else _message(prompt, attached, out)
    config = _config(options)
    runner = _runner(options, out)
    with _client(options, config, out) as llm:
        say_provider(llm, out)
        if message is None:
            from unified_llm.cli.repl import Session, talk

            talk(Session(llm, out, runner, options, attached.parts))
        else:
            _one_shot(llm, message, runner, options, out)


def _message(prompt: str, attached: Attachments, out: Output) -> Message:
    piped = None if attached.takes_stdin else piped_stdin()
    message = user_message(prompt, decode_text(piped, "stdin", out) if piped else None, attached.parts)
    if not message.parts:
        raise InvalidRequestError(
            "there is no prompt", hint='unified-llm chat "Hello", or pipe text in; in a terminal, `unified-llm chat`'
        )
    return message


def _config(options: ChatOptions) -> ModelConfig:
    return ModelConfig(
        temperature=options.temperature,
        max_tokens=options.max_tokens,
        thinking=_thinking(options.thinking),
        effort=options.effort,
        timeout=options.timeout,
        response_format=load_schema(options.schema) if options.schema else None,
    )


def _thinking(text: str | None) -> bool | int | None:
    if text is None:
        return None
    word = text.strip().lower()
    if word in ("on", "off", "true", "false", "yes", "no"):
        return word in ("on", "true", "yes")
    if word.isascii() and word.isdigit() and int(word) > 0:
        return int(word)
    raise InvalidRequestError(f"--thinking {text} is not understood", hint="give on, off, or a number of tokens")


def _runner(options: ChatOptions, out: Output) -> ToolRunner:
    tools = load_tools(options.tools)
    confirm: Callable[[str], bool] | None = terminal_confirm(out) if options.confirm and tools else None
    return ToolRunner(tools, out, confirm)


def _client(options: ChatOptions, config: ModelConfig, out: Output) -> UnifiedLLM:
    return UnifiedLLM(
        options.provider or "auto",
        model=options.model,
        base_url=options.base_url,
        config=config,
        max_retries=options.retries,
        fallbacks=options.fallbacks,
        hooks=[WaitNotes(out)],
    )


def _one_shot(llm: UnifiedLLM, message: Message, runner: ToolRunner, options: ChatOptions, out: Output) -> None:
    messages = [Message("system", readable(options.system)), message] if options.system else [message]
    streams = options.stream is not False
    lines = out.json and options.stream is True
    out.status("waiting for the answer…")
    try:
        done = answer(
            llm,
            messages,
            sink_for(options, out),
            runner,
            stream=streams,
            on_result=_result_line(out) if lines else None,
        )
    except Interrupted as exc:
        _show_interrupted(exc, options, out)
        raise Leave(ExitCode.INTERRUPTED) from None
    _show(done, runner, options, out)


def sink_for(options: ChatOptions, out: Output) -> Sink:
    """Where the events go: JSON lines, nowhere yet (one JSON value at the end), or the terminal."""
    if out.json and options.stream:
        return json_lines(out)
    if out.json or options.schema:
        return progress_only(out)
    return text_sink(out, thinking=out.verbose or _thinking(options.thinking) not in (None, False))


def _result_line(out: Output) -> Callable[[str, ToolRunner], None]:
    return lambda call_id, runner: out.data({"type": "tool_result", "call_id": call_id} | runner.runs[-1], compact=True)


def _show(done: Answer, runner: ToolRunner, options: ChatOptions, out: Output) -> None:
    response = done.response
    if out.json:
        if not options.stream:
            out.data(_json_answer(response, runner, options))
    elif options.schema:
        out.line(pretty(_parsed(response, out), ascii_only=out.ascii_only))
    else:
        out.end_line()
    say_summary(response, out)


def _json_answer(response: ChatResponse, runner: ToolRunner, options: ChatOptions) -> dict[str, Any]:
    value = response.to_dict()
    if options.schema:
        from pydantic_core import to_jsonable_python

        value["parsed"] = to_jsonable_python(response.parsed)
    if runner.runs:
        value["tool_runs"] = runner.runs
    return value


def _parsed(response: ChatResponse, out: Output) -> Any:
    try:
        return response.parsed
    except StructuredOutputError:
        out.warn(f"the answer was: {response.text}")
        raise


def _show_interrupted(stopped: Interrupted, options: ChatOptions, out: Output) -> None:
    if out.json:
        response = stopped.partial.to_dict()
        out.data({"type": "end", "response": response} if options.stream else response, compact=bool(options.stream))
    elif options.schema and stopped.partial.text:
        out.text(stopped.partial.text)
    out.end_line()
    out.note("interrupted")
