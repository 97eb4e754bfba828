"""What a request says its answer must look like, in any of the dialects, as one of the engine's grammars."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec

from sgl_jax.engine.errors import InvalidRequestError
from sgl_jax.engine.grammar import ANY_OBJECT, Grammar, GrammarKind
from sgl_jax.server.errors import bad_request, from_exception
from sgl_jax.server.openai.schema.response_format import JsonSchemaFormat, ResponseFormat, StructuredOutputs
from sgl_jax.server.strict_schema import closed

_ANY = "$$ANY$$"
"""SGLang's way to ask for any JSON object by `json_schema`."""


class AskedGrammar(NamedTuple):
    """A grammar, and the request field that asks for it."""

    grammar: Grammar
    param: str


def asked_grammar(body: msgspec.Struct, prefix: str = "") -> AskedGrammar | None:
    """The one grammar that a request asks for, or None.

    Args:
        body: any request struct; fields that it lacks are skipped.
        prefix: path of the struct within the request (`"sampling_params."`).

    Raises:
        ApiError: 400 for two of them, or one that is not of its form.
    """
    found = list(_read(body, _FIELDS, prefix))
    if len(found) > 1:
        message = f"{found[0].param} and {found[1].param} both say what the answer must look like; send one of them."
        raise bad_request(message, found[1].param)
    return found[0] if found else None


_Reader = Callable[[Any, str], "Iterator[AskedGrammar]"]


def _read(body: msgspec.Struct, readers: dict[str, _Reader], prefix: str) -> Iterator[AskedGrammar]:
    for field, read in readers.items():
        if (value := getattr(body, field, None)) is not None:
            yield from read(value, prefix + field)


def _text(kind: GrammarKind) -> _Reader:
    def read(value: str, path: str) -> Iterator[AskedGrammar]:
        yield AskedGrammar(Grammar(kind=kind, text=value), path)

    return read


def _json(kind: GrammarKind) -> _Reader:
    """Reads what may be given as JSON text or as the value itself."""

    def read(value: Any, path: str) -> Iterator[AskedGrammar]:
        if value == _ANY and kind == "json_schema":
            yield AskedGrammar(ANY_OBJECT, path)
        else:
            yield AskedGrammar(grammar_of(kind, value, path), path)

    return read


def grammar_of(kind: GrammarKind, value: Any, path: str, *, lenient: bool = False) -> Grammar:
    """A grammar of a size and depth that can be worked with.

    Args:
        value: its text, or the JSON value that the text stands for.
        path: the request field that holds it.

    Raises:
        ApiError: 400 for a larger or deeper one.
    """
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    grammar = Grammar(kind=kind, text=text, lenient=lenient)
    try:
        grammar.validate()
    except InvalidRequestError as error:
        raise from_exception(error, {"grammar": path}) from None
    return grammar


def _response_format(value: ResponseFormat, path: str) -> Iterator[AskedGrammar]:
    match value.type:
        case "json_object":
            yield AskedGrammar(ANY_OBJECT, path)
        case "json_schema":
            yield AskedGrammar(_schema_format(value.json_schema or JsonSchemaFormat(), f"{path}.json_schema"), path)
        case "structural_tag":
            tag = {
                name: one for name in ("format", "structures", "triggers") if (one := getattr(value, name)) is not None
            }
            yield AskedGrammar(grammar_of("structural_tag", tag, path), path)


def _schema_format(value: JsonSchemaFormat, path: str) -> Grammar:
    if value.schema is None:
        raise bad_request(f"{path}.schema is missing.", f"{path}.schema")
    grammar = grammar_of("json_schema", value.schema, f"{path}.schema", lenient=value.strict is False)
    if not value.strict:
        return grammar
    return msgspec.structs.replace(grammar, text=json.dumps(closed(value.schema)))


def _structured_outputs(value: StructuredOutputs, path: str) -> Iterator[AskedGrammar]:
    if value.json_object:
        yield AskedGrammar(ANY_OBJECT, f"{path}.json_object")
    yield from _read(value, _STRUCTURED_OUTPUTS, f"{path}.")


_STRUCTURED_OUTPUTS: dict[str, _Reader] = {
    "json": _json("json_schema"),
    "regex": _text("regex"),
    "choice": _json("choice"),
    "grammar": _text("ebnf"),
    "structural_tag": _json("structural_tag"),
}
_FIELDS: dict[str, _Reader] = {
    "response_format": _response_format,
    "json_schema": _json("json_schema"),
    "regex": _text("regex"),
    "ebnf": _text("ebnf"),
    "structural_tag": _json("structural_tag"),
    "choice": _json("choice"),
    "guided_json": _json("json_schema"),
    "guided_regex": _text("regex"),
    "guided_choice": _json("choice"),
    "guided_grammar": _text("ebnf"),
    "structured_outputs": _structured_outputs,
}
