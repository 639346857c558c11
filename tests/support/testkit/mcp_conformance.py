"""What the official conformance suite expects a server to offer, registered on ours through the SDK's decorators.

The suite (npm package @modelcontextprotocol/conformance) calls tools, resources and prompts by fixed names; each
scenario's description says what they must do. The server underneath is `build_server`'s, as users get it.
"""

from __future__ import annotations

import base64
import json
from typing import Annotated, Any, Literal

import anyio
from mcp import types
from mcp.server.mcpserver import Context, require_client_extension
from mcp.server.mcpserver.exceptions import ToolError
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel, Field

from unified_llm_mcp import ModelServer

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
WAV = base64.b64encode(
    b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x44\xac\0\0\x88\x58\x01\0\x02\0\x10\0data\0\0\0\0"
).decode()
PAUSE = 0.05

Ctx = Context[Any, Any]


def result(*content: dict[str, Any]) -> types.CallToolResult:
    return types.CallToolResult.model_validate({"content": list(content)})


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value}


def embedded(uri: str, mime_type: str, value: str) -> dict[str, Any]:
    return {"type": "resource", "resource": {"uri": uri, "mimeType": mime_type, "text": value}}


IMAGE = {"type": "image", "data": PNG, "mimeType": "image/png"}


def register(server: ModelServer) -> None:
    """Add every fixture of the scored scenarios."""
    _contents(server)
    _notifications(server)
    _questions(server)
    _input_required(server)
    _resources(server)
    _prompts(server)
    _handshake_methods(server)
    _long_calls(server)


def _long_calls(server: ModelServer) -> None:
    """Calls that become tasks for clients that know them; the server has no fixture that asks for input meanwhile."""

    @server.tool()
    async def greet(name: str) -> str:
        """Greet at once."""
        return f"Hello, {name}!"

    @server.tool()
    async def slow_compute(seconds: float = 0) -> str:
        """Compute for some seconds."""
        await anyio.sleep(seconds)
        return f"computed for {seconds} s"

    @server.tool()
    async def failing_job(ctx: Ctx) -> str:
        """Fail after a second, as a task only."""
        require_client_extension(ctx.request_context, "io.modelcontextprotocol/tasks")
        await anyio.sleep(1)
        raise ToolError("the job failed")

    @server.tool()
    async def test_tool_with_task(ctx: Ctx) -> Required:
        """Ask first, then work for a second."""
        answers = given(ctx, "user_name")
        if answers is None:
            return ask(user_name=elicit("What is your name?", name="string"))
        await anyio.sleep(1)
        return result(text(f"Done for {answers['user_name'].get('content', {}).get('name')}"))

    @server.tool()
    async def protocol_error_job() -> str:
        """Break after a second."""
        await anyio.sleep(1)
        raise MCPError(types.INTERNAL_ERROR, "broken")


def _contents(server: ModelServer) -> None:
    @server.tool()
    async def test_simple_text() -> types.CallToolResult:
        """Simple text."""
        return result(text("This is a simple text response for testing."))

    @server.tool()
    async def test_image_content() -> types.CallToolResult:
        """Image content."""
        return result(IMAGE)

    @server.tool()
    async def test_audio_content() -> types.CallToolResult:
        """Audio content."""
        return result({"type": "audio", "data": WAV, "mimeType": "audio/wav"})

    @server.tool()
    async def test_embedded_resource() -> types.CallToolResult:
        """Embedded resource."""
        return result(embedded("test://embedded-resource", "text/plain", "This is an embedded resource content."))

    @server.tool()
    async def test_multiple_content_types() -> types.CallToolResult:
        """Multiple content types."""
        data = json.dumps({"test": "data", "value": 123})
        mixed = embedded("test://mixed-content-resource", "application/json", data)
        return result(text("Multiple content types test:"), IMAGE, mixed)

    @server.tool()
    async def test_error_handling() -> str:
        """Error handling."""
        raise ToolError("This tool intentionally returns an error for testing")


def _notifications(server: ModelServer) -> None:
    @server.tool()
    async def test_tool_with_logging(ctx: Ctx) -> str:
        """Tool with logging."""
        for message in ("Tool execution started", "Tool processing data", "Tool execution completed"):
            await ctx.session.send_log_message(  # type: ignore[deprecated,unused-ignore]
                "info", message, related_request_id=ctx.request_id
            )
            await anyio.sleep(PAUSE)
        return "done"

    @server.tool()
    async def test_logging_tool(ctx: Ctx) -> str:
        """Logging tool: the SDK sends the message only to a client that asked for it."""
        await ctx.session.send_log_message(  # type: ignore[deprecated,unused-ignore]
            "info", "logged", related_request_id=ctx.request_id
        )
        return "done"

    @server.tool()
    async def test_tool_with_progress(ctx: Ctx) -> str:
        """Tool with progress."""
        for progress in (0, 50, 100):
            await ctx.report_progress(progress, 100)
            await anyio.sleep(PAUSE)
        return "done"


class User(BaseModel):
    username: str = Field(description="User's response")
    email: str = Field(description="User's email address")


class Defaults(BaseModel):
    name: str = "John Doe"
    age: int = 30
    score: float = 95.5
    status: Literal["active", "inactive", "pending"] = "active"
    verified: bool = True


def _options(first: str, *others: str, prefix: str = "value") -> list[dict[str, str]]:
    return [{"const": f"{prefix}{n}", "title": title} for n, title in enumerate((first, *others), start=1)]


ENUMS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "untitledSingle": {"type": "string", "enum": ["option1", "option2", "option3"]},
        "titledSingle": {"type": "string", "oneOf": _options("First Option", "Second Option", "Third Option")},
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": ["option1", "option2", "option3"]}},
        "titledMulti": {
            "type": "array",
            "items": {"anyOf": _options("First Choice", "Second Choice", "Third Choice")},
        },
    },
}


def _outcome(answer: Any) -> str:
    return f"action={answer.action}, content={json.dumps(answer.content or {})}"


def _questions(server: ModelServer) -> None:
    """Requests to the client while a tool runs, as the handshake era has them."""

    @server.tool()
    async def test_sampling(prompt: str, ctx: Ctx) -> str:
        """Sampling."""
        message = types.SamplingMessage.model_validate({"role": "user", "content": text(prompt)})
        answer = await ctx.session.create_message(  # type: ignore[deprecated,unused-ignore]
            [message], max_tokens=100, related_request_id=ctx.request_id
        )
        return f"LLM response: {getattr(answer.content, 'text', '')}"

    @server.tool()
    async def test_elicitation(message: str, ctx: Ctx) -> str:
        """Elicitation."""
        answer = await ctx.session.elicit_form(message, _user_schema(), related_request_id=ctx.request_id)
        return f"User response: {_outcome(answer)}"

    @server.tool()
    async def test_elicitation_sep1034_defaults(ctx: Ctx) -> str:
        """Elicitation sep1034 defaults."""
        schema = Defaults.model_json_schema()
        answer = await ctx.session.elicit_form("Please check", schema, related_request_id=ctx.request_id)
        return f"Elicitation completed: {_outcome(answer)}"

    @server.tool()
    async def test_elicitation_sep1330_enums(ctx: Ctx) -> str:
        """Elicitation sep1330 enums."""
        answer = await ctx.session.elicit_form("Please choose", ENUMS, related_request_id=ctx.request_id)
        return f"Elicitation completed: {_outcome(answer)}"

    @server.tool()
    async def test_missing_capability(ctx: Ctx) -> str:
        """Missing capability."""
        declared = ctx.client_capabilities
        if declared is None or declared.sampling is None:
            needed: dict[str, Any] = {"requiredCapabilities": {"sampling": {}}}
            raise MCPError(types.MISSING_REQUIRED_CLIENT_CAPABILITY, "This tool needs sampling", needed)
        return "sampling is there"


def _user_schema() -> dict[str, Any]:
    return User.model_json_schema()


def elicit(message: str, **properties: str) -> dict[str, Any]:
    """An elicitation the client is asked to perform before it calls again."""
    schema = {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in properties.items()},
        "required": list(properties),
    }
    return {"method": "elicitation/create", "params": {"message": message, "requestedSchema": schema}}


def sample(question: str, max_tokens: int) -> dict[str, Any]:
    message = {"role": "user", "content": text(question)}
    return {"method": "sampling/createMessage", "params": {"messages": [message], "maxTokens": max_tokens}}


ROOTS: dict[str, Any] = {"method": "roots/list", "params": {}}


def ask(state: str | None = None, /, **requests: dict[str, Any]) -> types.InputRequiredResult:
    values = {"resultType": "input_required", "inputRequests": requests, "requestState": state}
    return types.InputRequiredResult.model_validate({k: v for k, v in values.items() if v is not None})


def given(ctx: Ctx, *names: str) -> dict[str, Any] | None:
    """The client's answers under these names, or None when one is missing or of another shape."""
    answers = {
        name: answer.model_dump(by_alias=True, mode="json", exclude_none=True)
        for name, answer in (ctx.input_responses or {}).items()
        if name in names
    }
    return answers if len(answers) == len(names) else None


Required = types.CallToolResult | types.InputRequiredResult


def _input_required(server: ModelServer) -> None:
    """The 2026 way of asking: the call returns the questions, and the client calls again with the answers."""

    @server.tool()
    async def test_input_required_result_elicitation(ctx: Ctx) -> Required:
        """Input required result elicitation."""
        answers = given(ctx, "user_name")
        if answers is None or answers["user_name"].get("action") != "accept":
            return ask(user_name=elicit("What is your name?", name="string"))
        return result(text(f"Hello, {answers['user_name'].get('content', {}).get('name')}!"))

    @server.tool()
    async def test_streaming_elicitation(ctx: Ctx) -> Required:
        """Streaming elicitation: progress first, then the question as the result."""
        await ctx.report_progress(1)
        if given(ctx, "user_name") is None:
            return ask(user_name=elicit("What is your name?", name="string"))
        return result(text("thank you"))

    @server.tool()
    async def test_input_required_result_sampling(ctx: Ctx) -> Required:
        """Input required result sampling."""
        answers = given(ctx, "capital_question")
        if answers is None:
            return ask(capital_question=sample("What is the capital of France?", 100))
        return result(text(str(answers["capital_question"]["content"]["text"])))

    @server.tool()
    async def test_input_required_result_list_roots(ctx: Ctx) -> Required:
        """Input required result list roots."""
        answers = given(ctx, "client_roots")
        if answers is None:
            return ask(client_roots=ROOTS)
        return result(text(", ".join(str(root["uri"]) for root in answers["client_roots"]["roots"])))

    @server.tool()
    async def test_input_required_result_request_state(ctx: Ctx) -> Required:
        """Input required result request state."""
        if given(ctx, "confirm") is None or ctx.request_state != "asked":
            return ask("asked", confirm=elicit("Please confirm", ok="boolean"))
        return result(text("state-ok"))

    @server.tool()
    async def test_input_required_result_multiple_inputs(ctx: Ctx) -> Required:
        """Input required result multiple inputs."""
        if given(ctx, "user_name", "greeting", "client_roots") is None:
            return ask(
                "asked",
                user_name=elicit("What is your name?", name="string"),
                greeting=sample("Generate a greeting", 50),
                client_roots=ROOTS,
            )
        return result(text("all three arrived"))

    @server.tool()
    async def test_input_required_result_multi_round(ctx: Ctx) -> Required:
        """Input required result multi round."""
        if ctx.request_state == "round 1" and given(ctx, "step1") is not None:
            return ask("round 2", step2=elicit("Step 2: What is your favorite color?", color="string"))
        if ctx.request_state == "round 2" and given(ctx, "step2") is not None:
            return result(text("both rounds are done"))
        return ask("round 1", step1=elicit("Step 1: What is your name?", name="string"))

    @server.tool()
    async def test_input_required_result_tampered_state(ctx: Ctx) -> Required:
        """Input required result tampered state."""
        if given(ctx, "confirm") is None:
            return ask("asked", confirm=elicit("Please confirm", ok="boolean"))
        return result(text(f"state {ctx.request_state}"))

    @server.tool()
    async def test_input_required_result_capabilities(ctx: Ctx) -> Required:
        """Input required result capabilities."""
        declared = ctx.client_capabilities
        wanted = {"question": sample("Any wish?", 50)} if declared is not None and declared.sampling else {}
        if declared is not None and declared.elicitation:
            wanted["name"] = elicit("What is your name?", name="string")
        return ask(None, **wanted) if wanted else result(text("the client can answer nothing"))

    @server.prompt()
    async def test_input_required_result_prompt(ctx: Ctx) -> Any:
        """Input required result prompt."""
        answers = given(ctx, "user_context")
        if answers is None:
            return ask(user_context=elicit("What context should the prompt use?", context="string"))
        return f"Context: {answers['user_context'].get('content', {}).get('context')}"


def _resources(server: ModelServer) -> None:
    @server.resource("test://static-text", mime_type="text/plain")
    async def static_text() -> str:
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", mime_type="image/png")
    async def static_binary() -> bytes:
        return base64.b64decode(PNG)

    @server.resource("test://watched-resource", mime_type="text/plain")
    async def watched() -> str:
        return "watched"

    @server.resource("test://template/{id}/data", mime_type="application/json")
    async def template(id: str) -> str:
        return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})


def _prompts(server: ModelServer) -> None:
    @server.prompt()
    async def test_simple_prompt() -> str:
        """Simple prompt."""
        return "This is a simple prompt for testing."

    @server.prompt()
    async def test_prompt_with_arguments(
        arg1: Annotated[str, Field(description="First test argument")],
        arg2: Annotated[str, Field(description="Second test argument")],
    ) -> str:
        """Prompt with arguments."""
        return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"

    @server.prompt()
    async def test_prompt_with_embedded_resource(resourceUri: str) -> Any:  # noqa: N803  # the suite's name
        """Prompt with embedded resource."""
        content = embedded(resourceUri, "text/plain", "Embedded resource content for testing.")
        return [{"role": "user", "content": content}, _user("Please process the embedded resource above.")]

    @server.prompt()
    async def test_prompt_with_image() -> Any:
        """Prompt with image."""
        return [{"role": "user", "content": IMAGE}, _user("Please analyze the image above.")]


def _user(value: str) -> dict[str, Any]:
    return {"role": "user", "content": text(value)}


def _handshake_methods(server: ModelServer) -> None:
    """Methods of the handshake era that the high-level server has no decorator for."""

    async def nothing(context: Any, params: Any) -> types.EmptyResult:
        return types.EmptyResult()

    for method, params in (
        ("logging/setLevel", types.SetLevelRequestParams),
        ("resources/subscribe", types.SubscribeRequestParams),
        ("resources/unsubscribe", types.UnsubscribeRequestParams),
    ):
        server.low_level.add_request_handler(method, params, nothing)
