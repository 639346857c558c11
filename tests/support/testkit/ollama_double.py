"""A strict loopback double of Ollama's own API: a request it would refuse, or not understand in full, is a violation.

    with OllamaDouble() as double:                    # leaving the block fails the test when there were violations
        double.script("Hello!", Say(calls=[Call("add", {"a": 1})]), Fail(500, {"error": "model runner has stopped"}))
        UnifiedLLM(provider="ollama", base_url=double.url, model="tiny").chat("Hi")
        assert double.requests[0].body["messages"] == [...]

Without a script it obeys a schema, calls its first tool when a text says "the tool", and echoes everything else.
`Model` says what a model can: tools, thinking or a window that it does not have are refused in the server's words.
`old` leaves out what older servers do not send: ids of calls, capabilities and context lengths in the list. `pulls` are
the lines of the next downloads.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from testkit.ollama_rules import chat_faults, embed_faults, pull_faults, show_faults
from testkit.openai_answers import Call, Cut, Fail, Hang, MidStreamError, Say, Wire, vector
from testkit.schema_values import value_for
from testkit.strict_double import Seen, StrictDouble
from testkit.wire_server import CLOSE, HANG, RESET, Answer, Request, Step, chunked, json_reply, reply

__all__ = ["Call", "Cut", "Fail", "Hang", "MidStreamError", "Model", "OllamaDouble", "Say", "Seen", "Wire"]

_MOMENT = "2026-08-21T18:48:22.123456Z"
_DURATIONS = {
    "total_duration": 4883583458,
    "load_duration": 1334875,
    "prompt_eval_duration": 342546000,
    "eval_duration": 4535599000,
}


@dataclass(frozen=True)
class Model:
    """A model on the double's disk. `context` is what it was trained with, `loaded` the window it is loaded with."""

    name: str
    capabilities: tuple[str, ...] = ("completion", "tools", "thinking", "vision")
    context: int = 40960
    loaded: int | None = None
    quantization: str = "Q4_K_M"
    broken: bool = False  # cannot be shown


MODELS = (
    Model("tiny:latest", loaded=4096),
    Model("plain:1b", ("completion",), context=8192),
    Model("embed:latest", ("embedding",), context=512, quantization="F16"),
)


class OllamaDouble(StrictDouble):
    """See the module docstring."""

    def __init__(
        self,
        models: Sequence[Model] = MODELS,
        *,
        api_key: str | None = None,
        dimensions: int = 32,
        old: bool = False,
        has_ps: bool = True,
    ) -> None:
        super().__init__()
        self.models = {m.name: m for m in models}
        self.old = old
        self.has_ps = has_ps
        self.pulls: deque[Answer | Sequence[Mapping[str, Any]]] = deque()
        self._api_key = api_key
        self._dimensions = dimensions
        self._script: deque[Any] = deque()

    # -- running ----------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """The address, without a path."""
        return self._server.url

    @property
    def chats(self) -> list[Any]:
        """The bodies of the chats so far."""
        return [seen.body for seen in self.requests if seen.path == "/api/chat"]

    def script(self, *items: Any) -> Self:
        """Add answers, used in order by chats and embeddings; afterwards the double answers by itself again."""
        self._script.extend(items)
        return self

    # -- answering --------------------------------------------------------------------------------------------------

    def _answer(self, request: Request) -> Answer:
        path = request.target
        body: Any = json.loads(request.body) if request.body else None
        self.requests.append(Seen(request.method, path, request.headers, body, request))
        given = request.headers.get("authorization")
        if self._api_key is not None and given != f"Bearer {self._api_key}":
            return json_reply({"error": "unauthorized", "signin_url": "https://ollama.com/connect?name=x"}, 401)
        match request.method, path:
            case "POST", "/api/chat":
                return self._checked(chat_faults(body)) or self._chat(body)
            case "POST", "/api/embed":
                return self._checked(embed_faults(body)) or self._embed(body)
            case "POST", "/api/show":
                return self._checked(show_faults(body)) or self._show(body["model"])
            case "POST", "/api/pull":
                return self._checked(pull_faults(body)) or self._pull(body["model"])
            case "GET", "/api/tags":
                return json_reply({"models": [self._listed(m) for m in self.models.values()]})
            case "GET", "/api/ps" if self.has_ps:
                return json_reply({"models": [_running(m) for m in self.models.values() if m.loaded]})
        return reply(404, b"404 page not found", {"content-type": "text/plain"})

    def _checked(self, faults: list[str]) -> Answer | None:
        self.violations += faults
        return json_reply({"error": faults[0]}, 400) if faults else None

    def _model(self, name: str) -> Model | None:
        return self.models.get(name) or self.models.get(f"{name}:latest")

    def _refusal(self, body: Mapping[str, Any]) -> Answer | None:
        """What a server says to a well-formed request that its model cannot answer."""
        name = body["model"]
        model = self._model(name)
        if model is None:
            return json_reply({"error": f"model '{name}' not found"}, 404)
        if "completion" not in model.capabilities:
            return json_reply({"error": f'"{name}" does not support chat'}, 400)
        if body.get("tools") and "tools" not in model.capabilities:
            return json_reply({"error": f"registry.ollama.ai/library/{name} does not support tools"}, 400)
        if body.get("think") and "thinking" not in model.capabilities:
            return json_reply({"error": f'"{name}" does not support thinking'}, 400)
        window = body.get("options", {}).get("num_ctx") or model.loaded or 4096
        if _tokens(body) > window and body.get("truncate") is False:
            return json_reply({"error": "the prompt is longer than the context length currently available"}, 400)
        return None

    # -- chats ------------------------------------------------------------------------------------------------------

    def _chat(self, body: Mapping[str, Any]) -> Answer:
        refusal = self._refusal(body)
        if refusal is not None:
            return refusal
        if not body["messages"]:
            reason = "unload" if body.get("keep_alive") == 0 else "load"
            return json_reply(self._line(body, {"role": "assistant", "content": ""}, done_reason=reason))
        item = self._script.popleft() if self._script else self._decide(body)
        match item:
            case Fail():
                return _fail(item)
            case Wire():
                return item.steps
            case Cut() | MidStreamError() | Hang():
                return self._broken(item, body)
        say = _as_say(item)
        if body["stream"]:
            return _ndjson([_bytes(line) for line in self._lines(say, body)])
        return json_reply(self._whole(say, body), headers={"content-type": "application/json; charset=utf-8"})

    def _decide(self, body: Mapping[str, Any]) -> Say:
        if isinstance(body.get("format"), dict):
            return Say(json.dumps(value_for(body["format"])))
        if body.get("format") == "json":
            return Say('{"answer": "text"}')
        spoken = [m["content"] for m in body["messages"] if m["role"] in ("user", "tool")]
        if body.get("tools") and body["messages"][-1]["role"] == "user" and "the tool" in spoken[-1]:
            function = body["tools"][0]["function"]
            return Say(calls=[Call(function["name"], value_for(function["parameters"]))])
        return Say(f"Echo: {spoken[-1] if spoken else ''}", reasoning="Thinking." if body.get("think") else None)

    def _calls(self, say: Say) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = []
        for i, call in enumerate(say.calls):
            function: dict[str, Any] = {"name": call.name, "arguments": call.arguments}
            if self.old:
                calls.append({"function": function})
            else:
                number = len(self.requests) * 100 + i
                function["index"] = i
                calls.append({"id": call.id or f"call_{number:08x}", "function": function})
        return calls

    def _line(self, body: Mapping[str, Any], message: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        return {"model": body["model"], "created_at": _MOMENT, "message": message, "done": bool(more), **more}

    def _end(self, say: Say, body: Mapping[str, Any]) -> dict[str, Any]:
        counted = {"prompt_eval_count": _tokens(body), "eval_count": max(1, len(say.text or "x") // 4)}
        return {"done_reason": say.finish or "stop", **_DURATIONS, **(counted if say.usage is None else say.usage)}

    def _whole(self, say: Say, body: Mapping[str, Any]) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": say.text or ""}
        if say.reasoning:
            message["thinking"] = say.reasoning
        if say.calls:
            message["tool_calls"] = self._calls(say)
        return self._line(body, message, **self._end(say, body))

    def _lines(self, say: Say, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        for piece in _pieces(say.reasoning):
            yield self._line(body, {"role": "assistant", "content": "", "thinking": piece})
        for piece in _pieces(say.text):
            yield self._line(body, {"role": "assistant", "content": piece})
        for call in self._calls(say):
            yield self._line(body, {"role": "assistant", "content": "", "tool_calls": [call]})
        yield self._line(body, {"role": "assistant", "content": ""}, **self._end(say, body))

    def _broken(self, item: Cut | MidStreamError | Hang, body: Mapping[str, Any]) -> Answer:
        lines = [_bytes(line) for line in self._lines(_as_say(item.say), body)]
        sent: list[Step] = list(lines[: item.after])
        if isinstance(item, Hang):
            return _ndjson([*sent, HANG])
        if isinstance(item, MidStreamError):
            return _ndjson([*sent, _bytes(item.error)])
        if item.how == "inside_event":
            sent.append(lines[item.after][: len(lines[item.after]) // 2])
        return [*_ndjson(sent, end=False), RESET if item.how == "reset" else CLOSE]

    # -- the rest ---------------------------------------------------------------------------------------------------

    def _embed(self, body: Mapping[str, Any]) -> Answer:
        model = self._model(body["model"])
        if model is None:
            return json_reply({"error": f"model '{body['model']}' not found"}, 404)
        if self._script:
            item = self._script.popleft()
            return _fail(item) if isinstance(item, Fail) else json_reply(item)
        texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
        if body.get("truncate") is False and any(len(t.split()) > model.context for t in texts):
            return json_reply({"error": "the input length exceeds the context length"}, 400)
        size = min(self._dimensions, body.get("dimensions") or self._dimensions)
        vectors = [vector(t, self._dimensions)[:size] for t in texts]
        counted = {"total_duration": 14143917, "load_duration": 1019500, "prompt_eval_count": _words(texts)}
        return json_reply({"model": body["model"], "embeddings": vectors, **counted})

    def _listed(self, model: Model) -> dict[str, Any]:
        details: dict[str, Any] = {
            "parent_model": "",
            "format": "gguf",
            "family": "qwen3",
            "families": ["qwen3"],
            "parameter_size": "4.0B",
            "quantization_level": model.quantization,
        }
        item = {"name": model.name, "model": model.name, "modified_at": _MOMENT, "size": 2620788019, "digest": "d" * 64}
        if self.old:
            return {**item, "details": details}
        details["context_length"] = model.context
        return {**item, "details": details, "capabilities": list(model.capabilities)}

    def _show(self, name: str) -> Answer:
        model = self._model(name)
        if model is None:
            return json_reply({"error": f"model '{name}' not found"}, 404)
        if model.broken:
            return json_reply({"error": "unexpected EOF"}, 500)
        figures = {"general.architecture": "qwen3", "qwen3.context_length": model.context}
        shown = {
            "details": {"quantization_level": model.quantization},
            "model_info": figures,
            "template": "{{ .Prompt }}",
        }
        return json_reply({**shown, "capabilities": list(model.capabilities), "modified_at": _MOMENT})

    def _pull(self, name: str) -> Answer:
        if not self.pulls:
            return _ndjson(
                [_bytes({"status": "pulling manifest"}), _bytes({"error": "pull model manifest: file does not exist"})]
            )
        answer = self.pulls.popleft()
        if answer and isinstance(answer[0], Mapping):
            self.models.setdefault(name, Model(name))
            return _ndjson([_bytes(line) for line in answer])
        return answer  # type: ignore[return-value]  # steps of the wire server


def _fail(fail: Fail) -> Answer:
    if isinstance(fail.body, bytes):
        return reply(fail.status, fail.body, fail.headers)
    return json_reply(fail.body if fail.body is not None else {"error": fail.message}, fail.status, fail.headers)


def _ndjson(pieces: Sequence[Step], *, end: bool = True) -> Answer:
    return chunked(pieces, headers={"content-type": "application/x-ndjson"}, end=end)


def _bytes(value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _pieces(text: str | None) -> list[str]:
    """`text` cut after every blank, as tokens are."""
    words = (text or "").split(" ")
    return [w + (" " if i < len(words) - 1 else "") for i, w in enumerate(words) if w or i < len(words) - 1]


def _words(texts: Sequence[str]) -> int:
    return sum(len(t.split()) for t in texts)


def _tokens(body: Mapping[str, Any]) -> int:
    return 10 + _words([m["content"] for m in body["messages"]])


def _running(model: Model) -> dict[str, Any]:
    return {
        "name": model.name,
        "model": model.name,
        "size": 3600000000,
        "size_vram": 3600000000,
        "digest": "d" * 64,
        "details": {"quantization_level": model.quantization},
        "expires_at": _MOMENT,
        "context_length": model.loaded,
    }


def _as_say(item: Any) -> Say:
    if isinstance(item, Say):
        return item
    if isinstance(item, Call):
        return Say(calls=[item])
    if isinstance(item, str):
        return Say(item)
    raise TypeError(f"{item!r} is nothing the double can say")
