"""Answer a question from your own texts: embed them, find the nearest, give them to the model.

uv run python examples/05_embeddings_rag.py [provider:model] [provider:embedding-model]

Claude has no embeddings: name another provider for them, such as local: (in this process) or offline: (no model).
"""

import sys

from unified_llm import UnifiedLLM

TEXTS = [
    "The museum opens at ten in the morning and closes at six. It is closed on Mondays.",
    "Tickets cost twelve euros; students pay half. Children under eight visit for free.",
    "The café on the second floor serves lunch from noon until three.",
    "Dogs have to wait outside, with the exception of guide dogs.",
    "Line 4 of the tram stops in front of the main entrance.",
]


def nearest(llm: UnifiedLLM, question: str, texts: list[str], count: int = 2) -> list[str]:
    """The `count` texts whose vectors are nearest to the question's, by cosine."""
    vectors = llm.embed([question, *texts])  # one request
    wanted, *known = vectors.tolist()
    scores = [cosine(wanted, vector) for vector in known]
    return [text for _, text in sorted(zip(scores, texts, strict=True), reverse=True)[:count]]


def cosine(left: list[float], right: list[float]) -> float:
    product = sum(a * b for a, b in zip(left, right, strict=True))
    return product / (sum(a * a for a in left) * sum(b * b for b in right)) ** 0.5


def main(model: str | None = None, embed_model: str | None = None) -> None:
    with UnifiedLLM(model=model, embed_model=embed_model) as llm:
        question = "How much are the tickets for students?"
        found = nearest(llm, question, TEXTS)
        for text in found:
            print(f"found: {text}")
        prompt = "Answer from these notes only.\n\n" + "\n".join(found) + f"\n\nQuestion: {question}"
        print(f"\n{llm.chat(prompt)}")


if __name__ == "__main__":
    main(*sys.argv[1:3])
