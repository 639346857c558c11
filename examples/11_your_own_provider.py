"""Add a provider: a class with one method. Everything else (streams, async, tools, conversations) works over it.

uv run python examples/11_your_own_provider.py
"""

import asyncio

from unified_llm import ChatRequest, ChatResponse, FinishReason, LLMProvider, UnifiedLLM, Usage, register_provider


class Eliza(LLMProvider):
    """Answers as in 1966."""

    name = "eliza"

    def __init__(self, patience: int = 3) -> None:
        self.patience = patience

    def default_model(self) -> str:
        return "doctor"

    def chat(self, request: ChatRequest) -> ChatResponse:
        said = request.messages[-1].text.rstrip(".!?")
        turned = {"i": "you", "my": "your", "am": "are", "me": "you"}
        words = " ".join(turned.get(word.lower(), word) for word in said.split())
        text = f"Why do you say that {words}?" if len(request.messages) < 2 * self.patience else "I see. Go on."
        return ChatResponse(
            text,
            model=request.model,
            provider=self.name,
            finish_reason=FinishReason.STOP,
            usage=Usage(input_tokens=len(said.split()), output_tokens=len(text.split())),
        )


def main() -> None:
    register_provider("eliza", Eliza)
    with UnifiedLLM(provider="eliza", patience=2) as llm:
        conversation = llm.create_conversation()
        for said in ("I am tired of my computer.", "My program never works."):
            answer = llm.conversations.send_message(conversation.id, said)
            print(f"> {said}\n{answer}")
        print("".join(llm.chat("Do you like me?", stream=True)))
        print(asyncio.run(llm.chat_async("I am done.")))


if __name__ == "__main__":
    main()
