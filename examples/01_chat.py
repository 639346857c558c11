"""Ask one question.

uv run python examples/01_chat.py [provider:model]

Without an argument the model is found: UNIFIED_LLM_MODEL, a running LM Studio, a key, a model on this machine; with
none of these the answer comes from the offline provider, which is no model and says so.
"""

import sys

from unified_llm import UnifiedLLM


def main(model: str | None = None) -> None:
    with UnifiedLLM(model=model) as llm:
        answer = llm.chat("In one sentence: why is the sky blue?", system="You are a patient teacher.")
        print(answer)  # a ChatResponse is its text, and knows more
        print()
        print(f"answered by {answer.provider}:{answer.model} in {answer.latency:.2f} s, {answer.usage.to_dict()}")
        print(f"finish reason: {answer.finish_reason}, cost: {answer.cost}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
