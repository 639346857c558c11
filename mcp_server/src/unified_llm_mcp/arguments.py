"""The arguments of each tool: one pydantic model is both the schema that clients read and the check of each call."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from unified_llm_mcp.failures import ToolCallError
from unified_llm_mcp.sendable import well_formed_inside

__all__ = [
    "Arguments",
    "ChatArguments",
    "EmbedArguments",
    "GetResponseArguments",
    "ListModelsArguments",
    "Turn",
    "parse_arguments",
]


class Arguments(BaseModel):
    """Base: unknown arguments are refused, so that a typo shows instead of being ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _decoded(value: Any) -> Any:
    """Some clients send lists and objects as JSON text; read those, leave everything else to the checks."""
    if not isinstance(value, str):
        return value
    try:
        decoded = json.loads(value)
    except (ValueError, RecursionError):  # thousands of brackets inside each other are no list of ours either
        return value
    # JSON inside a text may hold halves of characters, which no message may.
    return well_formed_inside(decoded) if isinstance(decoded, (list, dict)) else value


_JSON = BeforeValidator(_decoded)


def _no_truth_value(value: Any) -> Any:
    """To Python, true is 1; to who sends it as a number, it is a mistake."""
    if isinstance(value, bool):
        raise PydanticCustomError("number", "Input should be a number, not true or false")
    return value


_NUMBER = BeforeValidator(_no_truth_value)


class Turn(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Literal["system", "user", "assistant"]
    content: str


class ChatArguments(Arguments):
    prompt: str = Field(min_length=1, description="Message to send to the model.")
    model: str = Field("", description="provider:model as returned by list_models. Empty: server default.")
    system: str = Field("", description="System prompt.")
    messages: Annotated[list[Turn], _JSON] = Field(
        default_factory=list, description="Earlier turns, oldest first, placed before prompt."
    )
    conversation_id: str = Field(
        "",
        description="'new' starts a conversation, an id from an earlier result continues it (kept {conversation_ttl}).",
    )
    attachments: Annotated[list[str], _JSON] = Field(
        default_factory=list,
        max_length=32,
        description="Files or images: absolute paths inside the allowed folders, or data: URIs.",
    )
    response_schema: Annotated[dict[str, Any] | None, _JSON] = Field(
        None, description="JSON Schema (type object) the answer must follow."
    )
    max_tokens: Annotated[int | None, _NUMBER] = Field(None, ge=1)
    temperature: Annotated[float | None, _NUMBER] = Field(None, ge=0, le=2)


class EmbedArguments(Arguments):
    texts: Annotated[list[str], _JSON] = Field(min_length=1, max_length=2048, description="Texts to embed, in order.")
    model: str = Field("", description="provider:model as returned by list_models. Empty: server default.")
    dimensions: Annotated[int | None, _NUMBER] = Field(
        None, ge=1, description="Length of the vectors, where the model can shorten them."
    )
    encoding: Literal["auto", "float", "base64", "resource"] = Field(
        "auto", description="How vectors come back; auto picks the first of the three that is small enough."
    )


class ListModelsArguments(Arguments):
    provider: str = Field("", description="Only this provider.")
    kind: Literal["any", "chat", "embedding"] = "any"
    query: str = Field("", description="Text the model id must contain.")
    limit: Annotated[int, _NUMBER] = Field(100, ge=1, le=500)
    cursor: str = Field("", description="next_cursor of the previous page.")


class GetResponseArguments(Arguments):
    response_id: str = Field(min_length=1, description="response_id of a result whose status is running.")
    wait_s: Annotated[float, _NUMBER] = Field(45, ge=0, le=50, description="Seconds to wait for the end.")
    cancel: bool = Field(False, description="Stop it and return what there is.")


_A = TypeVar("_A", bound=Arguments)


def parse_arguments(model: type[_A], given: dict[str, Any]) -> _A:
    """Check the arguments of a call.

    Raises:
        ToolCallError: they are wrong; the text names each wrong argument, what was expected and the likely typo.
    """
    try:
        return model.model_validate(given)
    except ValidationError as error:
        known = list(model.model_fields)
        problems = [_problem(dict(one), known) for one in error.errors(include_url=False, include_input=False)]
        raise ToolCallError(
            "invalid_arguments", "; ".join(problems), hint=f"arguments are: {', '.join(known)}"
        ) from None


def _problem(error: dict[str, Any], known: list[str]) -> str:
    from unified_llm.requests import nearest

    where = ".".join(map(str, error["loc"])) or "arguments"
    if error["type"] == "extra_forbidden":
        return " ".join(filter(None, (f"unknown argument {where!r},", nearest(where, known)))).rstrip(",")
    return f"{where}: {error['msg']}"
