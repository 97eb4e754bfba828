"""What an answer's text must look like, as a request says it."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from sgl_jax.engine.errors import InvalidRequestError

GrammarKind = Literal["json_schema", "regex", "ebnf", "choice", "structural_tag"]

MAX_GRAMMAR_CHARACTERS = 262_144
MAX_GRAMMAR_DEPTH = 64
MAX_MARKER_CHARACTERS = 256
_BRACKET = re.compile(r"[\[\]{}]")


class Grammar(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A constraint on the text that is generated.

    Attributes:
        kind: how to read `text`.
        text: a JSON schema; a regular expression (Rust's syntax, matching the whole answer); a grammar in Lark
            syntax or llama.cpp's GBNF; a JSON list of strings; or a structural tag (see `structured.tag_tree`).
        lenient: what cannot be kept to in a JSON schema is passed over, not refused; the answer is JSON in any case.
        after: the constraint begins behind the first occurrence of this text, such as `</think>`; empty for at once.
        opening: the answer begins with this text, such as `<think>`, or else the constraint begins at once, and
            `after` means nothing; empty where what comes before `after` was opened by the prompt.
        optional: the sequence may end before the constraint has begun.
    """

    kind: GrammarKind
    text: str
    lenient: bool = False
    after: str = ""
    opening: str = ""
    optional: bool = False

    def validate(self) -> None:
        """Checks the size; raises `InvalidRequestError`. Whether it can be compiled, only compiling shows."""
        if len(self.after) + len(self.opening) > MAX_MARKER_CHARACTERS:
            raise InvalidRequestError(
                f"'after' and 'opening' may have {MAX_MARKER_CHARACTERS} characters together.", "grammar"
            )
        if len(self.text) > MAX_GRAMMAR_CHARACTERS:
            raise InvalidRequestError(
                f"The {self.kind} has {len(self.text)} characters; at most {MAX_GRAMMAR_CHARACTERS} are allowed.",
                "grammar",
            )
        if self.kind in ("json_schema", "choice", "structural_tag") and _depth(self.text) > MAX_GRAMMAR_DEPTH:
            raise InvalidRequestError(
                f"The {self.kind} is nested deeper than {MAX_GRAMMAR_DEPTH} levels; make it flatter.", "grammar"
            )


ANY_OBJECT = Grammar(kind="json_schema", text='{"type": "object"}')
"""What `response_format: json_object` asks for."""


def _depth(text: str) -> int:
    """Deepest nesting of brackets, or 0 where it is surely allowed.

    Those inside strings count too, which a sane schema can afford.
    """
    if text.count("{") + text.count("[") <= MAX_GRAMMAR_DEPTH:
        return 0
    deepest = depth = 0
    for bracket in _BRACKET.findall(text):
        if bracket in "[{":
            depth += 1
            deepest = max(deepest, depth)
        else:
            depth -= 1
    return deepest
