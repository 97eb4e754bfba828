"""Python types as the form of an answer: the schema that is sent, and the object that is made of what comes back."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from sgl_jax.client._exceptions import (
    InvalidResponseError,
    RefusedAnswerError,
    TruncatedAnswerError,
    UnfitAnswerError,
)
from sgl_jax.client._requests import Reply
from sgl_jax.client.types.chat import ChatChoice, ChatCompletion
from sgl_jax.client.types.params import JsonSchemaFormat
from sgl_jax.client.types.parsed import ParsedChatCompletion

_UNFINISHED = {
    "length": "its tokens ran out; a larger max_tokens gives it more",
    "abort": "it was aborted",
    "content_filter": "the server's content filter stopped it",
}
_ANNOTATIONS = frozenset({"title", "description", "examples"})
_LEFT_TO_PYTHON = frozenset({"default", "uniqueItems"})
"""Python gives defaults and makes sets; servers refuse what their grammars cannot say."""
_MANY = ("properties", "$defs", "prefixItems", "anyOf", "oneOf", "allOf")


@lru_cache(maxsize=256)
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


@lru_cache(maxsize=256)
def answer_format(kind: Any) -> JsonSchemaFormat:
    """The `response_format` that asks for JSON of which `kind` can be made. Raises pydantic's error where none is."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", getattr(kind, "__name__", "") or "answer").strip("_")[:64]
    schema = strict_schema(_adapter(kind).json_schema())
    return {"type": "json_schema", "json_schema": {"name": name or "answer", "schema": schema, "strict": True}}


def strict_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema as OpenAI takes it for `strict`: closed objects with all properties required, and no defaults."""
    strict = {name: _inside(name, value) for name, value in schema.items() if name not in _LEFT_TO_PYTHON}
    if "properties" in strict:
        strict.setdefault("additionalProperties", False)
        strict["required"] = list(strict["properties"])
    if "$ref" in strict:  # what stands beside a reference is refused
        strict = {name: value for name, value in strict.items() if name not in _ANNOTATIONS}
    return strict


def _inside(name: str, value: Any) -> Any:
    if name in _MANY and isinstance(value, dict):
        return {key: strict_schema(one) for key, one in value.items()}
    if name in _MANY and isinstance(value, list):
        return [strict_schema(one) for one in value]
    if name in ("items", "additionalProperties") and isinstance(value, dict):
        return strict_schema(value)
    return value


def parser_of(kind: Any) -> Callable[[Reply], ParsedChatCompletion[Any]]:
    """A `parse` that reads the body as a chat answer, and the text of each of its choices as `kind`.

    It raises `TruncatedAnswerError`, `RefusedAnswerError` and `UnfitAnswerError`.
    """

    def parse(reply: Reply) -> ParsedChatCompletion[Any]:
        return _fitted(ParsedChatCompletion.model_validate_json(reply.body), kind, reply.request_id)

    return parse


def finisher_of(kind: Any) -> Callable[[ChatCompletion, str], ParsedChatCompletion[Any]]:
    """The same for an answer that was streamed, and its request's id.

    It raises `InvalidResponseError`, too, for an answer without choices.
    """

    def finish(completion: ChatCompletion, request_id: str) -> ParsedChatCompletion[Any]:
        try:
            return _fitted(ParsedChatCompletion.model_validate(completion.model_dump()), kind, request_id)
        except ValueError as error:
            raise InvalidResponseError(f"The stream is no chat answer: {error}.", request_id=request_id) from error

    return finish


def _fitted(completion: ParsedChatCompletion[Any], kind: Any, request_id: str) -> ParsedChatCompletion[Any]:
    if not completion.choices:
        raise ValueError("the answer has no choices")
    completion._parsed = [_value(choice, kind, completion, request_id) for choice in completion.choices]
    return completion


def _value(choice: ChatChoice, kind: Any, completion: ParsedChatCompletion[Any], request_id: str) -> Any:
    if choice.message.refusal:
        message = f"The model refused: {choice.message.refusal}"
        raise RefusedAnswerError(message, completion=completion, request_id=request_id)
    if choice.finish_reason in _UNFINISHED:
        message = f"The answer is not whole: {_UNFINISHED[choice.finish_reason]}."
        raise TruncatedAnswerError(message, completion=completion, request_id=request_id)
    try:
        return _adapter(kind).validate_json(choice.message.text)
    except ValidationError as error:
        message = f"The answer does not fit {getattr(kind, '__name__', kind)}: {error}"
        raise UnfitAnswerError(message, completion=completion, request_id=request_id) from error
