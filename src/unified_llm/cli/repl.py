"""The conversation in the terminal: a history, a model that can be changed on the way, and slash commands."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from unified_llm import __version__
from unified_llm.cli.answering import Interrupted, answer, kept_partial
from unified_llm.cli.chat_run import ChatOptions, sink_for
from unified_llm.cli.failures import report
from unified_llm.cli.line_input import LineReader
from unified_llm.cli.notes import say_summary
from unified_llm.cli.output import Output
from unified_llm.cli.prompt import Attachments, readable, user_message
from unified_llm.cli.saving import save_transcript
from unified_llm.cli.tool_runs import ToolRunner
from unified_llm.detection import split_model_ref
from unified_llm.errors import InvalidRequestError, UnifiedLLMError
from unified_llm.messages import Message, Part

if TYPE_CHECKING:
    from unified_llm.client import UnifiedLLM

__all__ = ["Session", "talk"]

_HELP = """\
/model [PROVIDER:]MODEL   change the model; without one, show it
/system TEXT              change the system prompt; without text, show it; `/system -` removes it
/attach PATH|URL          attach a file or an image to the next message
/clear                    forget the conversation; the system prompt stays
/save FILE                write the conversation: .json (every part), anything else as Markdown
/quit                     leave, as Ctrl-D does
Ctrl-C stops an answer; what has come stays in the conversation. \"\"\" begins and ends a message of several lines.
A message that begins with a slash: write // for the first."""


class Session:
    """One conversation: its client, its history and what the next message brings along."""

    def __init__(
        self, llm: UnifiedLLM, out: Output, runner: ToolRunner, options: ChatOptions, attached: Sequence[Part] = ()
    ) -> None:
        self.llm = llm
        self.out = out
        self.runner = runner
        self.options = options
        self.system = readable(options.system) if options.system else None
        self.model = split_model_ref(options.model)[1]
        self.history: list[Message] = []
        self.attached = list(attached)
        self.unsent = ""
        self.ended = False

    def say(self, text: str) -> None:
        """Send a message. It stays in the history with its answer; after a failure neither does."""
        message = user_message(text, None, self.attached)
        system = [Message("system", self.system)] if self.system else []
        self.out.status("waiting for the answer…")
        try:
            done = answer(
                self.llm,
                [*system, *self.history, message],
                sink_for(self.options, self.out),
                self.runner,
                stream=self.options.stream is not False,
            )
        except Interrupted as exc:
            self._keep_partial(text, message, exc)
            return
        if self.options.schema:
            self.out.text(done.response.text)
        self.out.clear_status()
        self.out.end_line()
        say_summary(done.response, self.out)
        self.history += [message, *done.added]
        self.attached = []

    def _keep_partial(self, text: str, message: Message, stopped: Interrupted) -> None:
        self.out.end_line()
        partial = kept_partial(stopped.partial)
        if partial is None and not stopped.added:
            self.unsent = text  # nothing came: the prompt is offered again, to be edited
            self.out.note("interrupted; the message was not kept")
            return
        self.history += [message, *stopped.added, *([partial] if partial else [])]
        self.attached = []
        self.out.note("interrupted; what has come is kept")

    # -- commands -----------------------------------------------------------------------------------------------

    def command(self, line: str) -> None:
        """Run a slash command. Raises `UnifiedLLMError` when it is unknown or cannot be done."""
        name, _, rest = line[1:].partition(" ")
        run = COMMANDS.get(name)
        if run is None:
            close = difflib.get_close_matches(name, COMMANDS, n=1)
            guess = f"did you mean /{close[0]}? " if close else ""
            raise InvalidRequestError(f"there is no command /{name}", hint=f"{guess}/help lists them")
        run(self, rest.strip())

    def show_help(self, _: str) -> None:
        self.out.warn(_HELP)

    def change_model(self, ref: str) -> None:
        if ref:
            provider, model = split_model_ref(ref)
            self.llm.set_provider(provider or self.llm.get_provider(), model=model)
            self.model = model
        shown = f":{self.model}" if self.model else ", its default model"
        self.out.note(f"model: {self.llm.get_provider()}{shown}")

    def change_system(self, text: str) -> None:
        if text:
            self.system = None if text == "-" else text
        self.out.note(f"system prompt: {self.system or 'none'}")

    def attach(self, where: str) -> None:
        if not where:
            raise InvalidRequestError("/attach needs a path or a URL", hint="for example /attach photo.png")
        self.attached += Attachments(self.out, files=[where]).parts
        self.out.note(f"attached to the next message: {len(self.attached)}")

    def clear(self, _: str) -> None:
        self.history.clear()
        self.attached.clear()
        self.out.note("the conversation is empty")

    def save(self, where: str) -> None:
        system = [Message("system", self.system)] if self.system else []
        self.out.note(f"saved {save_transcript(where, [*system, *self.history])}")

    def leave(self, _: str) -> None:
        self.ended = True


COMMANDS: dict[str, Callable[[Session, str], None]] = {
    "help": Session.show_help,
    "model": Session.change_model,
    "system": Session.change_system,
    "attach": Session.attach,
    "clear": Session.clear,
    "save": Session.save,
    "quit": Session.leave,
    "exit": Session.leave,
}


def talk(session: Session) -> None:
    """Read and answer until Ctrl-D or /quit. A failed message is reported, and the conversation goes on."""
    out = session.out
    reader = LineReader([f"/{name}" for name in COMMANDS])
    out.note(f"unified-llm {__version__} · {session.llm.get_provider()} · /help for commands, Ctrl-D to leave")
    while not session.ended:
        try:
            text = reader.read(prefill=session.unsent)
        except EOFError:
            out.warn("")
            return
        except KeyboardInterrupt:
            out.warn("")
            out.note("Ctrl-D or /quit to leave")
            continue
        session.unsent = ""
        _take(session, text)


def _take(session: Session, text: str) -> None:
    stripped = text.strip()
    try:
        if stripped.startswith("/") and not stripped.startswith("//"):
            session.command(stripped)
        elif stripped or session.attached:
            session.say(stripped.removeprefix("/") if stripped.startswith("//") else text.rstrip())
    except UnifiedLLMError as exc:
        report(session.out, exc)
    except KeyboardInterrupt:  # between two steps of an answer, where nothing is lost
        session.out.note("interrupted")
