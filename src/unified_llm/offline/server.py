"""The offline server: takes a call, returns an exchange (status, headers, plan). Keeps the script and the record."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from unified_llm import _json
from unified_llm.errors import InvalidRequestError
from unified_llm.offline.answers import answer
from unified_llm.offline.dialect import (
    Action,
    Break,
    Pause,
    broken_connection,
    completion,
    embeddings,
    error_body,
    model_list,
    stream_plan,
)
from unified_llm.offline.hashing import DEFAULT_DIMENSIONS, embed_text
from unified_llm.offline.requests import RecordedRequest
from unified_llm.offline.script import Failure, Reply, Script, ScriptLike, as_script
from unified_llm.offline.tokens import count_prompt
from unified_llm.wire import WireCall

__all__ = ["CHAT_MODEL", "EMBEDDING_MODEL", "Exchange", "OfflineServer"]

CHAT_MODEL = "echo"
EMBEDDING_MODEL = "hashing"
MAX_DIMENSIONS = 65_536


@dataclass(slots=True)
class Exchange:
    """One answer on its way: `actions` are carried out by the driver, which notes the outcome in `request`."""

    request: RecordedRequest
    status: int
    headers: dict[str, str]
    actions: Iterator[Action] = field(repr=False)


class OfflineServer:
    """Answers calls in the OpenAI dialect, without I/O. Safe to share between threads.

    Args:
        script: answers of the chat requests; None for the usual ones.
        embed_script: answers of the embedding requests: `Failure`, an exception, or None for the usual vectors.
        models: the models that exist; others are answered with 404. By default every name is accepted.
        context_window: most prompt tokens; longer prompts are refused as a server would. None: no limit.
        delay: seconds before each usual answer; chunk_delay: seconds before each delta of it.
        keep: how many requests `requests` remembers.
    """

    def __init__(
        self,
        *,
        script: ScriptLike = None,
        embed_script: ScriptLike = None,
        models: Sequence[str] | None = None,
        context_window: int | None = None,
        delay: float = 0.0,
        chunk_delay: float = 0.0,
        keep: int = 1000,
    ) -> None:
        self.script: Script | None = as_script(script)
        self.embed_script: Script | None = as_script(embed_script)
        self.models = None if models is None else tuple(models)
        self.context_window = context_window
        self.delay = delay
        self.chunk_delay = chunk_delay
        self.requests: deque[RecordedRequest] = deque(maxlen=keep)
        self._numbers = itertools.count(1)

    def answer(self, call: WireCall) -> Exchange:
        """Record `call` and answer it.

        Raises:
            ConfigurationError: the script is used up, or has a step that is none.
            Exception: the step is an exception: the transport "fails" before anything is answered.
        """
        body = _json.loads(call.body) if call.body else {}
        request = RecordedRequest(next(self._numbers), call.path.strip("/"), body, dict(call.headers))
        self.requests.append(request)
        try:
            return self._exchange(request, self._outcome(request))
        except InvalidRequestError as exc:  # a schema nothing can be made for: a server says 400
            return self._exchange(request, Failure(status=400, message=exc.message))
        except Exception:
            request.outcome = "failed"
            raise

    def _outcome(self, request: RecordedRequest) -> Reply | Failure | bytes:
        if request.kind == "models":
            return model_list(self.models if self.models is not None else (CHAT_MODEL, EMBEDDING_MODEL))
        problem = self._refusal(request)
        if problem is not None:
            return problem
        script = self.script if request.kind == "chat" else self.embed_script
        scripted = None if script is None else script.next(request)
        if isinstance(scripted, Exception):
            raise scripted
        if isinstance(scripted, Failure):
            return scripted
        if request.kind == "embeddings":
            return self._embed(request)
        return scripted or self._usual(request)

    def _refusal(self, request: RecordedRequest) -> Failure | None:
        """What any server would refuse."""
        if request.kind == "other":
            return Failure(status=404, message=f"the offline provider has no {request.path!r}")
        if self.models is not None and request.model not in self.models:
            return Failure(status=404, message=f"the model {request.model!r} does not exist", code="model_not_found")
        if request.kind == "chat" and not request.messages:
            return Failure(status=400, message="messages must not be empty")
        tokens = count_prompt(request.body) if self.context_window is not None else 0
        if self.context_window is not None and tokens > self.context_window:
            return Failure(
                status=400,
                message=f"the prompt has {tokens} tokens, the context window {self.context_window}",
                code="context_length_exceeded",
            )
        return None

    def _usual(self, request: RecordedRequest) -> Reply:
        return replace(answer(request), delay=self.delay, chunk_delay=self.chunk_delay)

    def _embed(self, request: RecordedRequest) -> Failure | bytes:
        dimensions = request.body.get("dimensions", DEFAULT_DIMENSIONS)
        if not isinstance(dimensions, int) or not 1 <= dimensions <= MAX_DIMENSIONS:
            return Failure(status=400, message=f"dimensions must be between 1 and {MAX_DIMENSIONS}, not {dimensions!r}")
        if not all(isinstance(text, str) for text in request.texts):
            return Failure(status=400, message="input must be a text or a list of texts")
        return embeddings([embed_text(text, dimensions) for text in request.texts], request)

    def _exchange(self, request: RecordedRequest, outcome: Reply | Failure | bytes) -> Exchange:
        if isinstance(outcome, Failure):
            actions = _after(outcome.delay, iter([error_body(outcome)]))
            return Exchange(request, outcome.status, self._headers(request, outcome.headers), actions)
        if isinstance(outcome, bytes):
            return Exchange(request, 200, self._headers(request, {}), iter([outcome]))
        headers = self._headers(request, outcome.headers)
        if request.stream:
            headers["content-type"] = "text/event-stream"
            return Exchange(request, 200, headers, _after(outcome.delay, stream_plan(outcome, request)))
        return Exchange(request, 200, headers, _after(outcome.delay, _whole(outcome, request)))

    @staticmethod
    def _headers(request: RecordedRequest, extra: Mapping[str, Any]) -> dict[str, str]:
        standard = {"content-type": "application/json", "x-request-id": f"offline-{request.number}"}
        return standard | {k.lower(): str(v) for k, v in extra.items()}


def _after(delay: float, actions: Iterator[Action]) -> Iterator[Action]:
    return itertools.chain([Pause(delay)], actions) if delay else actions


def _whole(reply: Reply, request: RecordedRequest) -> Iterator[Action]:
    body = completion(reply, request)
    if reply.cut is None:
        yield body
        return
    yield body[: len(body) // 2]
    if not reply.cut.clean:
        yield Break(broken_connection())
