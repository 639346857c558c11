"""Let the model call Python functions until it has its answer.

uv run python examples/03_tools.py [provider:model]
"""

import sys

from unified_llm import Message, ToolCall, ToolResult, UnifiedLLM

TEMPERATURES = {"Paris": 21, "Oslo": 9, "Nairobi": 26}


def get_weather(city: str, unit: str = "celsius") -> str:
    """Current weather of a city."""
    if city not in TEMPERATURES:
        raise LookupError(f"no weather station in {city}; there is one in {', '.join(TEMPERATURES)}")
    degrees = TEMPERATURES[city] if unit == "celsius" else TEMPERATURES[city] * 9 / 5 + 32
    return f"{degrees} degrees {unit}, sunny"


def answer_with_tools(llm: UnifiedLLM, question: str, most_turns: int = 5) -> str:
    messages = [Message("user", question)]
    for _ in range(most_turns):
        response = llm.chat(messages, tools=[get_weather])
        messages.append(response.message)  # as it came: thinking and ids must go back unchanged
        if not response.tool_calls:
            return response.text
        for call in response.tool_calls:
            messages.append(Message("tool", run(call)))
    raise RuntimeError(f"no answer after {most_turns} turns")


def run(call: ToolCall) -> ToolResult:
    print(f"the model calls {call.name}({call.arguments_json})")
    if call.arguments is None:  # not valid JSON: say so, the model will try again
        return ToolResult(call.id, call.parse_error, is_error=True)
    try:
        return ToolResult(call.id, get_weather(**call.arguments))
    except (LookupError, TypeError) as exc:
        return ToolResult(call.id, str(exc), is_error=True)


def main(model: str | None = None) -> None:
    with UnifiedLLM(model=model) as llm:
        print(answer_with_tools(llm, "What is the weather in 'Paris'?"))


if __name__ == "__main__":
    main(*sys.argv[1:2])
