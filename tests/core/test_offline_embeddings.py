"""Feature hashing: related texts are near each other, and the vectors are the same everywhere."""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys

import pytest

from unified_llm.offline.hashing import DEFAULT_DIMENSIONS, embed_text

FACTS = [
    "The Eiffel Tower in Paris is 330 metres tall.",
    "Photosynthesis turns sunlight, water and carbon dioxide into sugar.",
    "The mitochondrion is the powerhouse of the cell.",
    "Python functions are defined with the keyword def.",
    "The invoice must be paid within thirty days.",
    "La recette du gâteau demande trois œufs et du sucre.",
    "Der Zug nach München fährt um acht Uhr ab.",
    "東京は日本の首都です。",
]


def cosine(left: list[float], right: list[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))


def nearest(question: str, dimensions: int = DEFAULT_DIMENSIONS) -> str:
    vector = embed_text(question, dimensions).tolist()
    return max(FACTS, key=lambda fact: cosine(vector, embed_text(fact, dimensions).tolist()))


@pytest.mark.parametrize(
    ("question", "fact"),
    [
        ("How tall is the Eiffel Tower?", 0),
        ("What does photosynthesis make of sunlight?", 1),
        ("Which part of a cell is called its powerhouse?", 2),
        ("How do I define a function in python?", 3),
        ("When do invoices have to be paid?", 4),
        ("Combien d'œufs pour le gâteau ?", 5),
        ("Wann fährt der Zug ab?", 6),
        ("日本の首都はどこですか", 7),
    ],
)
@pytest.mark.parametrize("dimensions", [128, 256, 1536])
def test_a_question_is_nearest_to_the_text_that_answers_it(question: str, fact: int, dimensions: int) -> None:
    assert nearest(question, dimensions) == FACTS[fact]


@pytest.mark.parametrize("text", ["a", "", " ", "?!", "the of is", *FACTS, "x" * 10_000, "\ud800"])
@pytest.mark.parametrize("dimensions", [1, 2, 256])
def test_every_vector_has_the_dimensions_asked_for_and_length_one(text: str, dimensions: int) -> None:
    vector = embed_text(text, dimensions)
    assert len(vector) == dimensions
    assert math.isclose(sum(v * v for v in vector), 1.0, rel_tol=1e-5)


def test_case_and_unicode_forms_do_not_matter() -> None:
    assert embed_text("CAFÉ au lait") == embed_text("café AU LAIT")


def test_the_forms_of_one_word_are_near_each_other() -> None:
    kittens, kitten, puppy = (embed_text(text).tolist() for text in ("two kittens", "a kitten", "a puppy"))
    assert cosine(kittens, kitten) > 0.25
    assert cosine(kittens, puppy) < 0.1


def test_different_texts_have_different_vectors() -> None:
    texts = [*FACTS, "?", "!", "", "no", "on"]
    assert len({embed_text(t).tobytes() for t in texts}) == len(texts)


def test_another_process_with_another_hash_seed_makes_the_same_vector() -> None:
    code = (
        "import hashlib; from unified_llm.offline.hashing import embed_text;"
        f"print(hashlib.sha256(embed_text({FACTS[0]!r}).tobytes()).hexdigest())"
    )
    environment = {"PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == hashlib.sha256(embed_text(FACTS[0]).tobytes()).hexdigest()
