"""From a request's `Grammar` to what llguidance compiles."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from llguidance import LLMatcher, grammar_from

from sgl_jax.engine.grammar import Grammar
from sgl_jax.engine.structured.json_schema import prepare
from sgl_jax.engine.structured.tags import NOTHING_FORCED, structural_tag


def translate(grammar: Grammar, special_tokens: Mapping[str, int]) -> str:
    """llguidance's own form of a grammar.

    Args:
        grammar: the request's.
        special_tokens: spelling -> id of tokens that a structural tag may name.

    Raises:
        ValueError: the text is not of the form that its kind names. Most other mistakes show in compiling only.
    """
    match grammar.kind:
        case "json_schema":
            return LLMatcher.grammar_from_json_schema(prepare(_json(grammar.text), lenient=grammar.lenient))
        case "choice":
            # As one terminal: the parser's work grows with alternatives, the lexer's does not.
            choices = " | ".join(map(json.dumps, _choices(grammar.text)))
            return LLMatcher.grammar_from_lark(f"%llguidance {{}}\nstart: CHOICE\nCHOICE: {choices}\n")
        case "structural_tag":
            return LLMatcher.grammar_from_lark(structural_tag(grammar.text, special_tokens))
        case "ebnf":
            return LLMatcher.grammar_from_lark(f"{grammar_from('ebnf', grammar.text)}\n{NOTHING_FORCED}\n")
        case "regex":
            return LLMatcher.grammar_from_regex(grammar.text)


def _choices(text: str) -> list[str]:
    choices = _json(text)
    if not isinstance(choices, list) or not choices or not all(isinstance(choice, str) for choice in choices):
        raise ValueError("choices must be a list of at least one string")
    if "" in choices:
        raise ValueError("a choice must not be empty")
    return list(dict.fromkeys(choices))


def _json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not valid JSON: {error}") from error


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")
