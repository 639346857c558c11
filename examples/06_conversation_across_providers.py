"""One conversation, several models: the history is a plain list, and any provider can go on with it.

uv run python examples/06_conversation_across_providers.py [provider:model] [provider:model]...
"""

import sys

from unified_llm import Message, UnifiedLLM

QUESTIONS = ["My name is Ada. What do programmers call a mistake?", "What was my name?", "Summarise what we said."]


def main(*models: str) -> None:
    with UnifiedLLM() as llm:
        references = models or (llm.get_provider() + ":", "offline:")
        messages = [Message("system", "Answer in one short sentence.")]
        for turn, question in enumerate(QUESTIONS):
            messages.append(Message("user", question))
            answer = llm.chat(messages, model=references[turn % len(references)])
            messages.append(answer.message)  # knows who said it: thinking is replayed to its own provider only
            print(f"you: {question}\n{answer.provider}:{answer.model}: {answer}")
            for adjustment in answer.adjustments:  # what this provider could not be told
                print(f"  ({adjustment.kind} {adjustment.what}: {adjustment.reason})")
            print()


if __name__ == "__main__":
    main(*sys.argv[1:])
