"""The process that runs one GGUF model: llama.cpp with its own HTTP listener on loopback. Started by `llamacpp_engine`.

It is run as a file and imports nothing of this package, so that its start costs the start of Python and no more.
Standard input: one line of JSON with the settings, then silence; its end is the order to leave, so that a worker
never outlives the process it works for. Standard output: one line of JSON, ``{"url": ...}`` or ``{"error": ...}``.
Standard error: what llama.cpp has to say.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

_HTTP_THREADS = 128  # each kept-alive connection holds one


def main() -> None:
    """Load the model, say where it listens, and wait for the end of standard input."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # nothing that a library prints may pass for an answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program in front
    settings = json.loads(sys.stdin.readline())
    sys.path[:] = settings["sys_path"]
    try:
        server = _load(settings)
        answer = {"url": server.listening_address}
    except Exception as exc:  # noqa: BLE001  # the process ends here: whatever it is, the parent has to know
        answer = {"error": f"{type(exc).__name__}: {exc}"}
    print(json.dumps(answer), file=answers, flush=True)
    if "error" in answer:
        sys.exit(1)  # in good order, because llama.cpp writes its reasons from a thread that has to finish
    sys.stdin.read()
    os._exit(0)  # the engine's own tear-down would wait for the last of its open requests


def _load(settings: dict[str, Any]) -> Any:
    import xllamacpp

    server = xllamacpp.Server(_parameters(xllamacpp, settings))
    server.handle_metrics()  # answered by the engine's main loop: now it is known to run
    return server


def _parameters(xllamacpp: Any, settings: dict[str, Any]) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = settings["path"]
    params.model_alias = {settings["alias"]}
    if hasattr(params, "hostnames"):
        params.hostnames = ["127.0.0.1"]
    else:  # older versions
        params.hostname = "127.0.0.1"
    params.port = 0
    params.api_keys = [settings["token"]]  # every program and web page of this machine can reach a loopback port
    params.n_threads_http = _HTTP_THREADS
    params.ui = params.endpoint_props = False
    params.endpoint_metrics = params.endpoint_slots = True
    params.n_parallel = settings["parallel"]
    params.n_ctx = settings["n_ctx"] * settings["parallel"]
    params.n_batch = params.n_ubatch = settings["n_batch"]
    params.cache_ram_mib = 512  # prompts of earlier calls, 8 GB by default
    params.verbosity = 3 if settings["verbose"] else 1
    if settings["kind"] == "embedding":
        params.embedding = True
        params.pooling_type = xllamacpp.llama_pooling_type(settings["pooling"])
    for name in ("n_gpu_layers", "chat_template"):
        if settings[name] is not None:
            setattr(params, name, settings[name])
    if settings["n_threads"] is not None:
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings["n_threads"]
    if settings["mmproj"] is not None:
        params.mmproj.path = settings["mmproj"]
    return params


if __name__ == "__main__":
    main()
