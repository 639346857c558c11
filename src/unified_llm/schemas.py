"""JSON Schemas in and out: structured output, tool signatures, and reading the answer back."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, get_type_hints

from unified_llm import _json
from unified_llm.errors import InvalidRequestError, StructuredOutputError
from unified_llm.requests import ResponseFormat

if TYPE_CHECKING:
    from unified_llm.responses import ChatResponse

__all__ = ["function_schema", "normalize_response_format", "parse_output", "strict_json_schema", "why_unfit"]

logger = logging.getLogger("unified_llm")


def normalize_response_format(value: object) -> ResponseFormat | None:
    """Accept None, a pydantic class (or any class with a schema), a JSON Schema, ``"json"``, or OpenAI's dict.

    Raises:
        InvalidRequestError: the value has none of these forms.
    """
    if value is None or isinstance(value, ResponseFormat):
        return value
    if value in ("json", "json_object"):
        return ResponseFormat()
    if isinstance(value, type):
        return ResponseFormat(type_schema(value), name=_safe_name(value.__name__), model=value)
    if isinstance(value, Mapping):
        return _from_mapping(value)
    raise InvalidRequestError(
        f"response_format {value!r} is not understood",
        hint="pass a pydantic class, a JSON Schema, 'json', or an OpenAI response_format dict",
    )


def _from_mapping(value: Mapping[str, Any]) -> ResponseFormat | None:
    match value.get("type"):
        case "text":
            return None
        case "json_object" if "properties" not in value:
            return ResponseFormat()
        case "json_schema" if "json_schema" in value or "schema" in value:
            inner = value.get("json_schema", value)
            if not isinstance(inner, Mapping) or not isinstance(inner.get("schema"), Mapping):
                raise InvalidRequestError(
                    "response_format.json_schema has no schema",
                    hint="{'type': 'json_schema', 'json_schema': {'name': '...', 'schema': {...}}}, or the schema",
                )
            return ResponseFormat(
                inner["schema"], name=_safe_name(inner.get("name") or "response"), strict=inner.get("strict")
            )
    return ResponseFormat(value, name=_safe_name(str(value.get("title", "response"))))


def _safe_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64] or "response"


def type_schema(cls: type) -> dict[str, Any]:
    """JSON Schema of a pydantic class, dataclass, TypedDict or plain type."""
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticUserError

    if hasattr(cls, "model_json_schema"):
        schema: dict[str, Any] = cls.model_json_schema()
        return schema
    try:
        described: dict[str, Any] = TypeAdapter(cls).json_schema()
    except PydanticUserError as exc:
        raise InvalidRequestError(
            f"{cls.__name__} has no JSON Schema: {exc.message}", hint="use a pydantic BaseModel, dataclass or TypedDict"
        ) from exc
    return described


def function_schema(function: Callable[..., Any]) -> dict[str, Any]:
    """JSON Schema of a function's parameters, from its type hints.

    Raises:
        InvalidRequestError: a parameter is positional-only or starred, or its type has no schema.
    """
    from pydantic import create_model
    from pydantic.errors import PydanticUserError

    try:
        hints = get_type_hints(function, include_extras=True)
    except (NameError, TypeError):
        hints = {}
    given: dict[str, Any] = {}
    try:
        parameters = inspect.signature(function).parameters
    except ValueError as exc:  # some callables written in C
        raise InvalidRequestError(f"tool {function!r}: {exc}", hint="wrap it in a function of your own") from exc
    for name, parameter in parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise InvalidRequestError(
                f"tool {getattr(function, '__name__', function)!r}: parameter {name!r} cannot be passed by name",
                hint="give the tool plain named parameters with type hints",
            )
        given[name] = (hints.get(name, Any), ... if parameter.default is parameter.empty else parameter.default)
    try:
        schema = create_model("Arguments", **given).model_json_schema()
    except PydanticUserError as exc:
        raise InvalidRequestError(
            f"tool {getattr(function, '__name__', function)!r}: {exc.message}",
            hint="use type hints that pydantic knows, or pass Tool(name, description, parameters=a JSON Schema)",
        ) from exc
    schema.pop("title", None)
    return dict(schema)


_CLOSED = ("anyOf", "oneOf", "allOf", "prefixItems")


def strict_json_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A copy in which every object refuses additional properties, as strict structured output demands.

    Objects that say something about `additionalProperties` themselves are left as they are.
    """
    copy: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("properties", "$defs", "definitions", "patternProperties") and isinstance(value, Mapping):
            copy[key] = {k: strict_json_schema(v) if isinstance(v, Mapping) else v for k, v in value.items()}
        elif key in _CLOSED and isinstance(value, list):
            copy[key] = [strict_json_schema(v) if isinstance(v, Mapping) else v for v in value]
        elif key in ("items", "not", "if", "then", "else") and isinstance(value, Mapping):
            copy[key] = strict_json_schema(value)
        else:
            copy[key] = value
    if copy.get("type") == "object" or "properties" in copy:
        copy.setdefault("additionalProperties", False)
    return copy


def parse_output(response: ChatResponse, wanted: ResponseFormat) -> Any:
    """Decode the structured output of `response`, and check it against the pydantic class or the schema asked for.

    A JSON Schema is checked by `schema_check`: all assertions of draft 2020-12 but `format`, which is an annotation
    there, and `unevaluatedProperties`. A schema that it cannot check (references to other documents, ``$dynamicRef``,
    ``unevaluatedItems``, patterns Python does not know) lets everything pass, which is logged as a warning.

    Raises:
        StructuredOutputError: the text is not JSON (cut by max_tokens, refusal...) or does not fit; the message names
            the place and the reason, `partial` is the answer.
    """
    text = response.text
    body = _unfenced(text)
    try:
        value = _json.loads(body)
    except ValueError as exc:
        raise _unfit(response, f"the answer is not JSON: {exc}") from exc
    if wanted.model is None:
        _check_schema(response, wanted, value)
        return value
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(wanted.model).validate_json(body)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole answer"
        raise _unfit(response, f"the answer does not fit {wanted.name}: {where}: {first['msg']}") from exc


def _unfenced(text: str) -> str:
    """What stands between the fences of a code block, if `text` is one. Some models end in endless white space."""
    fence, newline, rest = text.strip().partition("\n")
    if newline and fence.rstrip() in ("```", "```json") and rest.endswith("```"):
        return rest[:-3].strip()
    return text


def _check_schema(response: ChatResponse, wanted: ResponseFormat, value: Any) -> None:
    why = why_unfit(value, {"type": "object"} if wanted.schema is None else wanted.schema, wanted.name)
    if why is not None:
        raise _unfit(response, why)


def why_unfit(value: Any, schema: Mapping[str, Any], name: str) -> str | None:
    """The place and the reason why the answer `value` does not fit `schema`; None when it fits, or nobody can say.

    What cannot be said (see `parse_output`) is logged as a warning.
    """
    from unified_llm.schema_problems import problem

    try:
        found = problem(schema, value)
    except (InvalidRequestError, TypeError, AttributeError, ValueError) as exc:  # a schema we do not cover, or none
        logger.warning("the answer was not checked against the schema %s: %s", name, getattr(exc, "message", exc))
        return None
    if found is None:
        return None
    path, reason = found
    return f"the answer does not fit {name}: {'.'.join(map(str, path)) or 'the whole answer'} {reason}"


def _unfit(response: ChatResponse, message: str) -> StructuredOutputError:
    cut = response.finish_reason == "length"
    return StructuredOutputError(
        message,
        provider=response.provider,
        model=response.model,
        request_id=response.request_id,
        partial=response,
        hint="the answer was cut by max_tokens: raise it"
        if cut
        else "the text is in .partial; ask again or relax the schema",
    )
