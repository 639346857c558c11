"""`with_structured_output`: three ways to ask, and parsers that never take half an answer for a whole one.

LangChain's JSON parsers complete what was cut off: ``{"setup": "why did the`` becomes a dictionary. That is right for
the pieces of a stream and wrong for its end, so these parsers check the whole answer once it is there.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from operator import itemgetter
from typing import Any, TypeAlias, TypeGuard

from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.output_parsers import (
    BaseCumulativeTransformOutputParser,
    JsonOutputKeyToolsParser,
    JsonOutputParser,
    PydanticOutputParser,
    PydanticToolsParser,
)
from langchain_core.outputs import ChatGeneration, Generation
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_json_schema
from langchain_core.utils.pydantic import is_basemodel_subclass

from langchain_unified_llm.errors import ModelRefusedError, NoToolCallError, UnifiedStructuredOutputError
from langchain_unified_llm.tool_binding import neutral_tool
from unified_llm.errors import InvalidRequestError
from unified_llm.schemas import why_unfit

__all__ = ["json_parser", "response_format", "titled", "tool_parser", "with_raw"]

Parser: TypeAlias = BaseCumulativeTransformOutputParser[Any]

_FENCE = re.compile(r"```(?:json)?\s*\n(?P<body>.*?)\n?\s*```", re.DOTALL)


def response_format(schema: Any, *, strict: bool | None) -> dict[str, Any]:
    """The OpenAI dictionary for `schema`: a class, a JSON Schema, a function description, or such a dictionary.

    Raises:
        InvalidRequestError: no schema can be read from it.
    """
    if _is_format(schema):
        described = {"name": "response", **schema["json_schema"]}
    else:
        described = {"name": _name(schema), "schema": _json_schema(schema)}
    if strict is not None:
        described["strict"] = strict
    return {"type": "json_schema", "json_schema": described}


def _is_format(schema: Any) -> TypeGuard[Mapping[str, Any]]:
    """Whether `schema` is OpenAI's whole response format."""
    return (
        isinstance(schema, Mapping)
        and schema.get("type") == "json_schema"
        and isinstance(schema.get("json_schema"), Mapping)
    )


def _json_schema(schema: Any) -> dict[str, Any]:
    if isinstance(schema, type) and hasattr(schema, "model_json_schema"):
        own: dict[str, Any] = schema.model_json_schema()  # keeps $defs, which recursive models need
        return own
    if _is_bare(schema):
        return dict(schema)
    try:
        return convert_to_json_schema(schema)
    except (TypeError, ValueError) as exc:
        raise InvalidRequestError(
            f"no JSON Schema can be made of {schema!r}: {exc}",
            hint="pass a pydantic class, a TypedDict, or a JSON Schema with a title",
        ) from exc


def titled(schema: Any) -> Any:
    """`schema`, with a title if it is a JSON Schema without one: a tool has to have a name."""
    if _is_format(schema):
        return {"title": schema["json_schema"].get("name", "response"), **schema["json_schema"].get("schema", {})}
    return {"title": _name(schema), **schema} if _is_bare(schema) else schema


def _is_bare(schema: Any) -> bool:
    """Whether `schema` is a JSON Schema without the title that LangChain wants for a name."""
    return isinstance(schema, Mapping) and not schema.keys() & _NAMED and not schema.keys().isdisjoint(_OF_SCHEMAS)


_NAMED = frozenset({"title", "name", "function", "parameters", "input_schema"})
_OF_SCHEMAS = frozenset({"type", "properties", "$ref", "anyOf"})


def _name(schema: Any) -> str:
    if isinstance(schema, Mapping):
        inner = schema.get("function", schema)
        return str(inner.get("title") or inner.get("name") or "response")
    return str(getattr(schema, "__name__", "response"))


def is_model_class(schema: Any) -> bool:
    """Whether `schema` is a pydantic class, of version 1 or 2."""
    return isinstance(schema, type) and is_basemodel_subclass(schema)


def json_parser(schema: Any) -> Parser:
    """The parser of an answer that is JSON: instances for a pydantic class, else dictionaries.

    Raises:
        InvalidRequestError: no schema can be read from `schema`.
    """
    if is_model_class(schema):
        return CheckedPydanticParser(pydantic_object=schema)
    if schema is None:
        return CheckedJsonParser(wanted={"type": "object"})
    described = response_format(schema, strict=None)["json_schema"]
    return CheckedJsonParser(wanted=_checkable(schema, described.get("schema") or {}), title=described["name"])


def tool_parser(schema: Any) -> Parser:
    """The parser of an answer that is one tool call.

    Raises:
        InvalidRequestError: `schema` does not describe an object, which arguments are.
    """
    if is_model_class(schema):
        return CheckedPydanticToolParser(tools=[schema], first_tool_only=True)
    function = neutral_tool(schema).get("function")
    if function is None:
        raise InvalidRequestError(
            f"the arguments of a call cannot be a {schema.get('type')!r}", hint="use method='json_schema'"
        )
    wanted = _checkable(schema, function.get("parameters") or {})
    return CheckedToolParser(key_name=function["name"], first_tool_only=True, wanted=wanted)


def _checkable(schema: Any, described: Mapping[str, Any]) -> dict[str, Any]:
    """`described`, by which answers for `schema` are checked. LangChain's form of a TypedDict forgets its None."""
    return dict(described if isinstance(schema, Mapping) else _nullable(described))


def _nullable(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_nullable(one) for one in schema]
    if not isinstance(schema, Mapping):
        return schema
    copy = {key: _nullable(value) for key, value in schema.items() if key != "properties"}
    if properties := schema.get("properties"):
        copy["properties"] = {k: {"anyOf": [_nullable(v), {"type": "null"}]} for k, v in properties.items()}
    return copy


def with_raw(model: Runnable[Any, Any], parser: Parser) -> Runnable[Any, Any]:
    """A runnable that returns ``{"raw", "parsed", "parsing_error"}`` and does not raise what the parser raises."""
    parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
    failed = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=model) | parsed.with_fallbacks([failed], exception_key="parsing_error")


# -- parsers -------------------------------------------------------------------------------------------------------


class _CheckedAtEnd(BaseCumulativeTransformOutputParser[Any]):
    """Streams like its LangChain parent, and parses the whole once more at the end, strictly."""

    def _transform(self, input: Iterator[Any]) -> Iterator[Any]:
        seen: list[Any] = []
        yield from super()._transform(_recorded(input, seen))
        self.parse_result([_whole(seen)])

    async def _atransform(self, input: AsyncIterator[Any]) -> AsyncIterator[Any]:
        seen: list[Any] = []
        async for parsed in super()._atransform(_recorded_async(input, seen)):
            yield parsed
        self.parse_result([_whole(seen)])


def _recorded(pieces: Iterator[Any], seen: list[Any]) -> Iterator[Any]:
    for piece in pieces:
        seen.append(piece)
        yield piece


async def _recorded_async(pieces: AsyncIterator[Any], seen: list[Any]) -> AsyncIterator[Any]:
    async for piece in pieces:
        seen.append(piece)
        yield piece


def _whole(seen: list[Any]) -> Generation:
    if seen and all(isinstance(piece, AIMessageChunk) for piece in seen):
        return ChatGeneration(message=seen[0] + seen[1:] if len(seen) > 1 else seen[0])
    if seen and isinstance(seen[0], BaseMessage):
        return ChatGeneration(message=seen[0])
    return Generation(text="".join(map(str, seen)))


class CheckedJsonParser(_CheckedAtEnd, JsonOutputParser):
    """Dictionaries of a JSON answer."""

    wanted: dict[str, Any]
    """The JSON Schema that the answer has to fit."""

    title: str = "what was asked for"

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        """See `JsonOutputParser.parse_result`; a cut-off, refused or unfit answer raises."""
        if partial:
            return super().parse_result(result, partial=True)
        value = _strict_json(result[0])
        _check_fit(value, self.wanted, self.title, result[0])
        return value


class CheckedPydanticParser(_CheckedAtEnd, PydanticOutputParser[Any]):
    """Instances of a pydantic class, of a JSON answer."""

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        """See `PydanticOutputParser.parse_result`; a cut-off or refused answer raises."""
        if partial:
            return super().parse_result(result, partial=True)
        value = _strict_json(result[0])
        try:
            return self._parse_obj(value)
        except OutputParserException as exc:
            why = f"the answer does not fit {self.pydantic_object.__name__}: {exc.__cause__ or exc}"
            raise _unfit(why, _message(result[0]), result[0].text) from exc


class CheckedToolParser(_CheckedAtEnd, JsonOutputKeyToolsParser):
    """The arguments of the one call that was asked for."""

    wanted: dict[str, Any]
    """The JSON Schema that the arguments have to fit."""

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        """See `JsonOutputKeyToolsParser.parse_result`; a missing, cut-off, refused or unfit call raises."""
        if partial:
            return super().parse_result(result, partial=True)
        _check_call(result[0], {self.key_name})
        value = super().parse_result(result, partial=False)
        _check_fit(value, self.wanted, self.key_name, result[0])
        return value


class CheckedPydanticToolParser(_CheckedAtEnd, PydanticToolsParser):
    """An instance made of the arguments of the one call that was asked for."""

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        """See `PydanticToolsParser.parse_result`; a missing, cut-off, refused or unfit call raises."""
        if partial:
            return super().parse_result(result, partial=True)
        message = _check_call(result[0], {neutral_tool(t)["function"]["name"] for t in self.tools})
        try:
            return super().parse_result(result, partial=False)
        except ValueError as exc:  # pydantic's ValidationError is one
            raise _unfit(f"the arguments of the call do not fit: {exc}", message) from exc


def _strict_json(generation: Generation) -> Any:
    message = _message(generation)
    _check_refusal(message)
    text = generation.text.strip()
    fenced = _FENCE.search(text)
    try:
        return json.loads(text if fenced is None or text[:1] in "{[" else fenced["body"])
    except json.JSONDecodeError as exc:
        raise _unfit(f"the answer is not JSON: {exc}", message, text) from exc


def _check_fit(value: Any, schema: Mapping[str, Any], name: str, generation: Generation) -> None:
    if (why := why_unfit(value, schema, name)) is not None:
        raise _unfit(why, _message(generation), generation.text)


def _message(generation: Generation) -> AIMessage | None:
    found = getattr(generation, "message", None)
    return found if isinstance(found, AIMessage) else None


def _check_call(generation: Generation, names: set[str]) -> AIMessage | None:
    message = _message(generation)
    _check_refusal(message)
    if message is None or any(call["name"] in names for call in message.tool_calls):
        return message
    if message.invalid_tool_calls:
        broken = message.invalid_tool_calls[0]
        raise _unfit(f"the arguments of the call are broken: {broken.get('error') or broken.get('args')}", message)
    raise _unfit(f"the model did not call {' or '.join(sorted(names))}", message, kind=NoToolCallError)


def _check_refusal(message: AIMessage | None) -> None:
    if message is None or message.response_metadata.get("finish_reason") not in ("refusal", "content_filter"):
        return
    error = ModelRefusedError(f"the model refused to answer{f': {message.text}' if message.text else ''}")
    error.raw_message = message
    error.llm_output = str(message.text)
    raise error


def _unfit(
    what: str,
    message: AIMessage | None,
    text: str | None = None,
    *,
    kind: type[UnifiedStructuredOutputError] = UnifiedStructuredOutputError,
) -> UnifiedStructuredOutputError:
    cut = message is not None and message.response_metadata.get("finish_reason") == "length"
    error = kind(
        what,
        model=message.response_metadata.get("model_name") if message else None,
        hint="the answer was cut by max_tokens: raise it"
        if cut
        else "include_raw=True returns the answer beside the error; another method may fit this model better",
    )
    error.llm_output = text if text is not None else str(message.text) if message else None
    return error
