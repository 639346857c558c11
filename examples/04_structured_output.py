"""Get an answer as a Python object: the schema goes to the server, the result is validated.

uv run python examples/04_structured_output.py [provider:model]
"""

import sys

from pydantic import BaseModel, Field

from unified_llm import StructuredOutputError, UnifiedLLM


class Ingredient(BaseModel):
    name: str
    grams: float = Field(gt=0)


class Recipe(BaseModel):
    title: str
    minutes: int = Field(ge=1, le=600)
    ingredients: list[Ingredient] = Field(min_length=1)


def main(model: str | None = None) -> None:
    with UnifiedLLM(model=model) as llm:
        response = llm.chat("A simple recipe for pancakes.", response_format=Recipe)
        try:
            recipe = response.parsed
        except StructuredOutputError as exc:  # cut short by max_tokens, or a server that ignores schemas
            sys.exit(f"no recipe: {exc}")
        print(f"{recipe.title}, {recipe.minutes} minutes")
        for ingredient in recipe.ingredients:
            print(f"- {ingredient.grams:g} g {ingredient.name}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
