"""What goes wrong, what the errors say, and how retries and fallbacks help.

uv run python examples/10_failures.py [provider:model]

The failures are played by a script, so that they happen every time; the last call goes to the model you name.
"""

import sys

from unified_llm import APIConnectionError, RateLimitError, StreamInterruptedError, UnifiedLLM, UnifiedLLMError
from unified_llm.testing import Cut, Failure, FakeLLM, Reply


def show(title: str, error: UnifiedLLMError) -> None:
    print(f"{title}: {type(error).__name__}, retryable: {error.retryable}")
    print(f"  {error.message}\n  what to do: {error.hint}")


def main(model: str | None = None) -> None:
    try:
        FakeLLM(Failure(status=429, message="slow down", headers={"retry-after": "2"})).chat("Hello")
    except RateLimitError as exc:
        show(f"too many requests, wait {exc.retry_after:g} s", exc)

    try:
        for piece in FakeLLM(Reply("Half an answ...", cut=Cut(after=3))).chat("Hello", stream=True):
            print(piece, end="")
    except StreamInterruptedError as exc:
        print()
        show("a cut stream", exc)
        print(f"  what had arrived: {exc.partial!r}")

    # Failures that may pass are tried again, with growing pauses.
    patient = FakeLLM(Failure(status=503, headers={"retry-after": "0"}), "fine now", max_retries=2)
    print(f"after a retry: {patient.chat('Hello')} ({len(patient.requests)} requests)")

    # Other models stand in, in order. Nothing listens on port 9 of this machine.
    nowhere = "http://127.0.0.1:9/v1"
    with UnifiedLLM(base_url=nowhere, model="any", max_retries=0, fallbacks=[model or "offline:"]) as llm:
        print(f"after a fallback, {llm.chat('Hello').provider} answers")
    with UnifiedLLM(base_url=nowhere, model="any", max_retries=0) as llm:
        try:
            llm.chat("Hello")
        except APIConnectionError as exc:
            show("without a fallback", exc)


if __name__ == "__main__":
    main(*sys.argv[1:2])
