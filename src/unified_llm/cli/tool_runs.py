"""Runs the tools a model calls, and shows each call on stderr."""

from __future__ import annotations

import asyncio
import inspect
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from unified_llm import _json
from unified_llm.cli.output import Output
from unified_llm.errors import redact
from unified_llm.messages import ToolCall, ToolResult
from unified_llm.tools import Tool

__all__ = ["ToolRunner"]

_SHOWN = 300  # characters of a result shown on stderr; the model gets all of it
_NAMES_SHOWN = 60


class ToolRunner:
    """Runs calls one after the other. A tool that fails answers the model with its error; it never ends the run.

    Args:
        confirm: asked before each call with the call as text; False means that the model is told "declined".
    """

    def __init__(self, tools: Sequence[Tool], out: Output, confirm: Callable[[str], bool] | None = None) -> None:
        self.tools = tuple(tools)
        self.runs: list[dict[str, Any]] = []
        self._by_name = {t.name: t for t in tools}
        self._out = out
        self._confirm = confirm

    def __call__(self, call: ToolCall) -> ToolResult:
        """Run one call and return what it answered."""
        shown = _shown_call(call)
        started = time.perf_counter()
        if self._confirm is not None and not self._confirm(shown):
            content, failed = "the user declined this call", True
        else:
            self._out.note(f"[tool] {shown}")
            content, failed = self._run(call)
        mark = "[tool] error:" if failed else "[tool] ="
        self._out.note(f"{mark} {_short(content, _SHOWN)} ({time.perf_counter() - started:.2f} s)")
        self.runs.append({"name": call.name, "arguments": call.arguments_json, "result": content, "is_error": failed})
        return ToolResult(call.id, content, is_error=failed, name=call.name)

    def _run(self, call: ToolCall) -> tuple[str, bool]:
        tool = self._by_name.get(call.name)
        if tool is None or tool.function is None:
            return f"there is no tool {call.name!r}; the tools are: {', '.join(self._by_name)}", True
        if call.arguments is None:
            return f"{call.parse_error}; send a JSON object", True
        try:
            return _text(_called(tool.function, call.arguments)), False
        except Exception as exc:  # noqa: BLE001  # a user's function may raise anything; the model is told what
            if self._out.debug:
                self._out.note(redact(traceback.format_exc().rstrip()))
            return f"{type(exc).__name__}: {exc}", True


def _called(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """Call with validated arguments: JSON has no dates, paths or enumerations, the function's type hints say which."""
    from pydantic import validate_call
    from pydantic.errors import PydanticUserError

    try:
        checked: Callable[..., Any] = validate_call(function)
    except PydanticUserError:  # a hint pydantic does not know: the function sees the JSON values
        checked = function
    value = checked(**arguments)
    return asyncio.run(_awaited(value)) if inspect.isawaitable(value) else value


async def _awaited(value: Any) -> Any:
    return await value


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    from pydantic_core import PydanticSerializationError, to_json

    try:
        return to_json(value).decode()
    except PydanticSerializationError:
        return str(value)


def _shown_call(call: ToolCall) -> str:
    if call.arguments is None:
        return f"{call.name}({_short(call.arguments_json, _NAMES_SHOWN)})"
    given = (f"{k}={_short(_json.dumps_str(v), _NAMES_SHOWN)}" for k, v in call.arguments.items())
    return f"{call.name}({', '.join(given)})"


def _short(text: str, limit: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[:limit]}… ({len(text)} characters)"
