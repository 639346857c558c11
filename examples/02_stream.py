"""Show an answer while it is written, then the same as typed events.

uv run python examples/02_stream.py [provider:model]
"""

import sys

from unified_llm import TextDelta, ThinkingDelta, UnifiedLLM


def main(model: str | None = None) -> None:
    with UnifiedLLM(model=model) as llm:
        for piece in llm.chat("Write a haiku about rain.", stream=True):
            print(piece, end="", flush=True)
        print("\n")

        # Typed events tell thinking from text, and end with the whole response.
        with llm.stream("How many r are in strawberry?", thinking=True) as stream:
            for event in stream:
                match event:
                    case ThinkingDelta(text=text):
                        print(f"(thinking) {text!r}")
                    case TextDelta(text=text):
                        print(f"(text)     {text!r}")
            response = stream.get_response()
        print(f"{response.usage.output_tokens} tokens, first after {response.time_to_first_token:.3f} s")

        # Leaving early closes the request: the server stops generating.
        with llm.stream("Count to a million.") as stream:
            for text in stream.text():
                print(f"first piece: {text!r}; that is enough")
                break


if __name__ == "__main__":
    main(*sys.argv[1:2])
