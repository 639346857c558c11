"""Exit codes, and which error has which. Scripts rely on them: they change only with a major version."""

from __future__ import annotations

from enum import IntEnum

from unified_llm.errors import ConfigurationError, ContextLengthError, InvalidRequestError

__all__ = ["ExitCode", "exit_code_of"]


class ExitCode(IntEnum):
    """What a command's exit code says."""

    OK = 0
    FAILED = 1  # the provider or the run failed, and trying again as it is will not help
    USAGE = 2  # the command line, or what it points to (a file, a schema, an option's value), is wrong
    CONFIGURATION = 3  # a key, a package or an address is missing, or the provider is unknown
    RETRY = 4  # rate limit, overload, timeout, no connection, cut stream: may work later
    INTERRUPTED = 130  # Ctrl-C, as shells count it (128 + SIGINT)


def exit_code_of(error: BaseException) -> ExitCode:
    """The exit code of an error."""
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    if isinstance(error, ConfigurationError):
        return ExitCode.CONFIGURATION
    if getattr(error, "retryable", False):
        return ExitCode.RETRY
    if isinstance(error, InvalidRequestError) and error.status is None and not isinstance(error, ContextLengthError):
        return ExitCode.USAGE  # refused before anything was sent: what was asked for is wrong
    return ExitCode.FAILED
