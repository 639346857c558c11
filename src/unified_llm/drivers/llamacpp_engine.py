"""Models loaded by llama.cpp: one private process each, shared by everybody in this process who asks for the same.

Why not in a thread: xllamacpp keeps Python's global lock while it loads a model (seconds during which no event loop
turns and no Ctrl-C is heard), its destructor waits, lock in hand, for requests that nobody reads any more, and an
assertion that fails in llama.cpp ends the process. In a process of its own the model loads beside us, leaves its
memory at once, and takes nobody with it.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
import threading
import weakref
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Final, Literal

from unified_llm._optional import installed
from unified_llm.drivers.http import HTTPDriver
from unified_llm.errors import ConfigurationError, MissingDependencyError
from unified_llm.forks import renew_in_child

__all__ = ["ENGINES", "EngineOptions", "EngineSpec", "Engines", "LoadedModel", "no_engine"]

_WORKER: Final = Path(__file__).with_name("llamacpp_worker.py")
_LEAVE_SECONDS: Final = 2.0
_MAX_CONNECTIONS: Final = 32
"""For each event loop and for the sync side. The worker has 128 threads for connections; further calls wait in line."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How a model is run. None leaves the choice to llama.cpp, or to the driver where it says so.

    Attributes:
        n_ctx: tokens of context of each call; by default what the model was trained for, 8192 at most (2048 for
            embeddings), because the memory for it is taken at once.
        parallel: calls computed at the same time, each with a context of its own; further calls wait in line.
        n_gpu_layers: layers kept on the GPU; by default as many as fit. 0 is the CPU alone.
        n_threads: threads that compute; by default one per core.
        n_batch: prompt tokens read at a time, which also bounds how long a call goes on after it was given up.
        chat_template: Jinja text instead of the model's own template.
        verbose: let llama.cpp write what it does to standard error.
    """

    n_ctx: int | None = None
    parallel: int = 1
    n_gpu_layers: int | None = None
    n_threads: int | None = None
    n_batch: int = 512
    chat_template: str | None = None
    verbose: bool = False

    def __post_init__(self) -> None:
        for name in ("n_ctx", "parallel", "n_threads", "n_batch"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ConfigurationError(
                    f"{name} must be a whole number of at least 1, not {value!r}",
                    provider="local",
                    hint="leave it out for the default",
                )


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """What distinguishes one loaded model from another. `options.n_ctx` is set; `alias` is its name in answers, and
    distinguishes nothing: whoever loads it first names it."""

    path: Path
    kind: Literal["chat", "embedding"]
    options: EngineOptions
    alias: str = field(compare=False)
    pooling: int | None = None
    mmproj: Path | None = None


class LoadedModel:
    """A model in its process. `driver` reaches its HTTP listener."""

    def __init__(self, spec: EngineSpec) -> None:
        self.spec = spec
        self._token = secrets.token_urlsafe(32)
        self._log = None if spec.options.verbose else tempfile.TemporaryFile()  # noqa: SIM115  # closed by `stop`
        self._process = _start(self._log)
        try:
            url = self._url()
        except BaseException:  # Ctrl-C while it loads, too
            self.stop()
            raise
        self.url = url
        headers = {"authorization": f"Bearer {self._token}"}
        self.driver = HTTPDriver(f"{url}/v1", headers=headers, max_connections=_MAX_CONNECTIONS)
        self.root = HTTPDriver(url, headers=headers, max_connections=_MAX_CONNECTIONS)

    @property
    def pid(self) -> int:
        """The process that runs the model."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End the process. Calls in flight fail with `StreamInterruptedError` or `APIConnectionError`."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(_LEAVE_SECONDS)
        except subprocess.TimeoutExpired:  # it is loading: only Python's end of it listens
            self._process.kill()
            self._process.wait()
        if self._log is not None:
            self._log.close()
        if hasattr(self, "driver"):
            self.driver.close()
            self.root.close()

    def why_it_ended(self) -> str | None:
        """Why there is no answer any more, when the process is gone; else None."""
        try:
            code = self._process.wait(0.1)  # the connection ends a moment before the process has ended
        except subprocess.TimeoutExpired:
            return None
        if code == 0:
            return "the model was unloaded while it answered"
        words = self.last_words().strip().splitlines()
        return f"llama.cpp ended with code {code}" + (f": {words[-1]}" if words else "")

    def abandon(self) -> None:
        """Let go of a process that belongs to our parent."""
        for pipe in (self._process.stdin, self._process.stdout, self._log):
            if pipe is not None:
                pipe.close()
        self._process.returncode = 0  # not ours to wait for

    def last_words(self) -> str:
        """What llama.cpp complained about, at most the last 2000 characters."""
        if self._log is None or self._log.closed:
            return ""
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - 2000))
        return self._log.read().decode("utf-8", "replace")

    def _url(self) -> str:
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: S101, PT018  # both are pipes
        try:
            self._process.stdin.write(json.dumps(_settings(self.spec, self._token)) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        answer = json.loads(line) if line else {"error": f"it ended with code {self._process.wait()}"}
        if "url" in answer:
            return str(answer["url"])
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_LEAVE_SECONDS)  # by then its log is written
        raise _load_error(self.spec, answer["error"], self.last_words())


_PROCESSES: Final[weakref.WeakSet[subprocess.Popen[str]]] = weakref.WeakSet()


def _start(log: IO[bytes] | None) -> subprocess.Popen[str]:
    python = _python()
    try:
        # A session of its own keeps it from the terminal's Ctrl-C; -P keeps this folder's `http` off its path.
        process = subprocess.Popen(  # noqa: S603  # our own file, run by our own interpreter
            [python, "-P", str(_WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            encoding="utf-8",
            env=_environment(),
            start_new_session=True,
        )
    except OSError as exc:
        raise ConfigurationError(
            f"the process that runs models could not be started ({exc})",
            provider="local",
            hint=f"{python} must be a Python interpreter of this environment",
        ) from exc
    _PROCESSES.add(process)
    return process


def _environment() -> dict[str, str]:
    """Ours, with threads that wait for each other for 0.1 ms at most before they make room for other programs.

    By default GNU's OpenMP lets them spin much longer: on a busy machine a call takes ten times as long.
    """
    patience = {} if "OMP_WAIT_POLICY" in os.environ else {"GOMP_SPINCOUNT": "10000"}
    return patience | os.environ


def _python() -> str:
    """The interpreter to run the worker with: a server that embeds Python (uWSGI) names itself in sys.executable."""
    name = Path(sys.executable or "").name.lower()
    if "python" in name or "pypy" in name:
        return sys.executable
    folder = Path(sys.exec_prefix) / ("Scripts" if sys.platform == "win32" else "bin")
    return str(folder / ("python.exe" if sys.platform == "win32" else "python3"))


def _settings(spec: EngineSpec, token: str) -> dict[str, object]:
    return {
        **asdict(spec.options),
        "path": str(spec.path),
        "alias": spec.alias,
        "kind": spec.kind,
        "pooling": spec.pooling,
        "mmproj": None if spec.mmproj is None else str(spec.mmproj),
        "token": token,
        "sys_path": sys.path,
    }


# "0.00.013.563 E llama_model_load: error loading model: tensor 'x' not found"
_COMPLAINT = re.compile(r"^[\d.]+ E (?:\S+\s+)?\S+: (?P<words>.+)$", re.MULTILINE)


def _load_error(spec: EngineSpec, error: str, log: str) -> ConfigurationError:
    complaints = [m["words"] for m in _COMPLAINT.finditer(log)]
    reason = complaints[0].removeprefix("error loading model: ") if complaints else error
    hint = "run it with verbose=True to see what llama.cpp says; a partial download has to be repeated"
    if "unknown model architecture" in reason:
        hint = "a newer llama.cpp may know it: pip install -U xllamacpp"
    elif re.search(r"alloc|out of memory|failed to fit", log, re.IGNORECASE):
        hint = "it does not fit into memory: use a smaller model or quantization, or a smaller n_ctx"
    return ConfigurationError(f"llama.cpp cannot load {spec.path}: {reason}", provider="local", hint=hint)


class Engines:
    """The loaded models of this process, and who uses them. `ENGINES` is the one there is."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._models: dict[EngineSpec, Future[LoadedModel]] = {}
        self._users: dict[EngineSpec, set[int]] = {}
        self._released: SimpleQueue[int] = SimpleQueue()
        self._releaser: threading.Thread | None = None

    def get(self, spec: EngineSpec, user: int) -> Future[LoadedModel]:
        """The model of `spec`, now or once it is loaded: by one thread, however many ask for it. Does not block.

        `user` is the number that `release` will be called with. A model whose process died is loaded again. The
        future raises `ConfigurationError` when the model cannot be loaded, `MissingDependencyError` without xllamacpp.
        """
        with self._lock:
            self._users.setdefault(spec, set()).add(user)
            model = self._models.get(spec)
            if model is not None and _usable(model):
                return model
            _stop(model)
            model = self._models[spec] = Future()
            if self._releaser is None:
                self._releaser = threading.Thread(target=self._release_all, args=(self._released,), daemon=True)
                self._releaser.start()
        threading.Thread(target=_load, args=(spec, model), name=f"load {spec.alias}", daemon=True).start()
        return model

    def loaded(self, spec: EngineSpec) -> bool:
        """Whether the model of `spec` is there already."""
        model = self._models.get(spec)
        return model is not None and model.done() and _usable(model)

    def release_later(self, user: int) -> None:
        """`release` in another thread: for finalizers, which may run in the middle of anything, this class included."""
        self._released.put(user)

    def _release_all(self, released: SimpleQueue[int]) -> None:
        while True:
            user = released.get()
            self._lock.acquire()
            self._release_locked(user)

    def release(self, user: int) -> None:
        """`user` needs none of its models any more; those that nobody needs are unloaded.

        Waits for no lock, as a client may be closed by a finalizer, too: while one is taken it is `release_later`.
        """
        if self._lock.acquire(blocking=False):
            self._release_locked(user)
        else:
            self.release_later(user)

    def _release_locked(self, user: int) -> None:
        """`release` by the one who has the lock, and gives it back here."""
        try:
            for users in self._users.values():
                users.discard(user)
            unused = [spec for spec, users in self._users.items() if not users]
            models = [self._models.pop(spec, None) for spec in unused]
            for spec in unused:
                del self._users[spec]
        finally:
            self._lock.release()
        for model in models:
            _stop(model)

    def stop(self) -> None:
        """End every process of a model, the loading ones too: this process ends."""
        for process in list(_PROCESSES):
            if process.poll() is None:
                process.kill()
                process.wait()

    def after_fork(self) -> None:
        """In the child: the models are the parent's, and so may be the lock."""
        models = list(self._models.values())
        _PROCESSES.clear()
        self._reset()
        for model in models:
            if model.done() and model.exception() is None:
                model.result().abandon()


def no_engine() -> MissingDependencyError:
    """The error (not raised) for a machine without llama.cpp's engine."""
    return MissingDependencyError(
        "running a GGUF model needs the package 'xllamacpp', which is not installed",
        provider="local",
        hint='pip install "unified-llm[local]"',
    )


def _load(spec: EngineSpec, loaded: Future[LoadedModel]) -> None:
    try:
        if not installed("xllamacpp"):
            raise no_engine()
        loaded.set_result(LoadedModel(spec))
    except BaseException as exc:  # noqa: BLE001  # handed to those who wait
        loaded.set_exception(exc)


def _usable(model: Future[LoadedModel]) -> bool:
    return not model.done() or (model.exception() is None and model.result().alive)


def _stop(model: Future[LoadedModel] | None) -> None:
    """Unload `model`, when it is loaded."""
    if model is not None:
        model.add_done_callback(lambda done: None if done.exception() else done.result().stop())


ENGINES: Final = Engines()
atexit.register(ENGINES.stop)
renew_in_child(ENGINES)
