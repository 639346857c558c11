"""The Tasks extension (``io.modelcontextprotocol/tasks``, SEP-2663): a long tool call becomes a task to be polled.

Only for clients of the 2026 protocol that declare the extension with the request; everybody else gets a result with
status ``running`` and a ``response_id``. Needs the SDK's 2.x line.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from mcp import types
from mcp.server.extension import Extension, MethodBinding
from mcp.server.mcpserver import require_client_extension

from unified_llm_mcp._sdk import Background, Call, MCPError, background_of_call, protocol_error
from unified_llm_mcp.expiring import ExpiringStore
from unified_llm_mcp.settings import Settings

__all__ = ["TasksExtension"]

IDENTIFIER = "io.modelcontextprotocol/tasks"
VERSIONS = frozenset({"2026-07-28"})
HEADER_MISMATCH = -32020
POLL_INTERVAL_MS = 1000


class TaskParams(types.RequestParams):
    """Parameters of ``tasks/get``, ``tasks/cancel`` and ``tasks/update``; we never ask for input."""

    task_id: str
    input_responses: dict[str, Any] | None = None


@dataclass(slots=True)
class _Task:
    """A tool call that goes on after its request was answered."""

    work: asyncio.Task[Any]
    created: str = field(default_factory=lambda: _now())
    updated: str = field(default_factory=lambda: _now())

    def __post_init__(self) -> None:
        self.work.add_done_callback(self._ended)

    def _ended(self, work: asyncio.Task[Any]) -> None:
        self.updated = _now()
        if not work.cancelled():
            work.exception()  # seen: a task nobody polls any more must not be reported as forgotten by asyncio

    def outcome(self) -> dict[str, Any]:
        """Status, with result or error at the end."""
        if not self.work.done():
            return {"status": "working"}
        if self.work.cancelled():
            return {"status": "cancelled"}
        error = self.work.exception()
        if error is None:
            return {"status": "completed", "result": _as_wire(self.work.result())}
        if isinstance(error, MCPError):
            failure = error.error.model_dump(by_alias=True, mode="json", exclude_none=True)
        else:
            failure = {"code": -32603, "message": "Internal error"}
        return {"status": "failed", "statusMessage": failure["message"], "error": failure}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _stop(task: _Task) -> None:
    task.work.cancel()


def _as_wire(result: Any) -> dict[str, Any]:
    dumped = result if isinstance(result, dict) else result.model_dump(by_alias=True, mode="json", exclude_none=True)
    return {key: value for key, value in dumped.items() if key != "resultType"}


class TasksExtension(Extension):
    """Turns a tool call that takes longer than ``max_wait`` into a task."""

    identifier = IDENTIFIER

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._tasks: ExpiringStore[_Task] = ExpiringStore(
            "task",
            ttl=settings.result_ttl,
            capacity=settings.max_results,
            dropped=_stop,
        )

    def close(self) -> None:
        """Cancel what still runs."""
        self._tasks.clear()

    def methods(self) -> Sequence[MethodBinding]:
        """The requests of the extension."""
        return [
            MethodBinding(f"tasks/{name}", TaskParams, handler, VERSIONS)
            for name, handler in (("get", self._get), ("cancel", self._cancel), ("update", self._update))
        ]

    async def intercept_tool_call(self, params: Any, ctx: Any, call_next: Any) -> Any:
        """Run a tool call; answer with a task when it takes longer than the client should wait."""
        if not self._settings.max_wait or not _declared(ctx):
            return await call_next(ctx)
        background = Background()
        work = self._start(background, call_next(ctx))
        try:
            await asyncio.wait({work}, timeout=self._settings.max_wait)
        except BaseException:
            work.cancel()
            raise
        if work.done():
            return work.result()
        background.detached = True
        task = _Task(work)
        task_id = self._tasks.put(Call(ctx).subject, task)
        return {"resultType": "task", **self._base(task_id, task), "status": "working"}

    @staticmethod
    def _start(background: Background, work: Any) -> asyncio.Task[Any]:
        context = contextvars.copy_context()
        context.run(background_of_call.set, background)
        return asyncio.get_running_loop().create_task(work, context=context)

    def _base(self, task_id: str, task: _Task) -> dict[str, Any]:
        return {
            "taskId": task_id,
            "createdAt": task.created,
            "lastUpdatedAt": task.updated,
            "ttlMs": round(self._settings.result_ttl * 1000),
            "pollIntervalMs": POLL_INTERVAL_MS,
        }

    def _found(self, ctx: Any, params: TaskParams) -> _Task:
        """The caller's task. Raises the protocol errors the specification asks for."""
        require_client_extension(ctx, IDENTIFIER)
        headers = getattr(ctx.request, "headers", None)
        if headers is not None and headers.get("mcp-name") != params.task_id:
            raise protocol_error("The header Mcp-Name does not name the task", code=HEADER_MISMATCH)
        task = self._tasks.get(Call(ctx).subject, params.task_id)
        if task is None:
            raise protocol_error("Task not found: its lifetime has passed, or it never was")
        return task

    async def _get(self, ctx: Any, params: TaskParams) -> dict[str, Any]:
        task = self._found(ctx, params)
        return {"resultType": "complete", **self._base(params.task_id, task), **task.outcome()}

    async def _cancel(self, ctx: Any, params: TaskParams) -> dict[str, Any]:
        self._found(ctx, params).work.cancel()
        return {"resultType": "complete"}

    async def _update(self, ctx: Any, params: TaskParams) -> dict[str, Any]:
        self._found(ctx, params)  # no question is outstanding, and answers to none are ignored
        return {"resultType": "complete"}


def _declared(ctx: Any) -> bool:
    """Whether this request of a 2026 client declares the extension."""
    capabilities = ctx.session.client_capabilities
    declared = getattr(capabilities, "extensions", None) or {}
    return ctx.protocol_version in VERSIONS and IDENTIFIER in declared
