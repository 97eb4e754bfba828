"""Structural tags as grammars in Lark syntax."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from sgl_jax.engine.structured.json_schema import prepare
from sgl_jax.engine.structured.tag_tree import (
    AnyText,
    ConstString,
    InOrder,
    JsonSchema,
    Maybe,
    Node,
    OneOf,
    Plus,
    Regex,
    Repeat,
    Star,
    Tag,
    TagsWithSeparator,
    TriggeredTags,
    read_tree,
)

NOTHING_FORCED = '%llguidance {"no_forcing": true}'
"""A line of Lark: even a text that can go on in one way is drawn token by token.

Where a regular expression of its own swallows what must follow it (`/a+/ "a"`), that text has no end, and llguidance
looks for it.
"""
_TEXT = "TEXT"
_NOTHING = '""'


def structural_tag(text: str, special_tokens: Mapping[str, int]) -> str:
    """A Lark grammar for a structural tag.

    Args:
        text: the tag, as JSON.
        special_tokens: spelling -> id; where a text of the tag holds one, the token itself is meant.

    Raises:
        ValueError: it is not well-formed, or a schema in it cannot be kept to.
    """
    writer = _Writer(special_tokens)
    start = writer.write(read_tree(text))
    header = NOTHING_FORCED if writer.has_regex else "%llguidance {}"
    return "\n".join([header, f"start: {start}", rf"{_TEXT}: /(.|\n)*/", *writer.rules]) + "\n"


class _Writer:
    """Writes expressions, and rules for what needs a name.

    Attributes:
        rules: written so far.
        has_regex: whether a regular expression of the caller's is in them.
    """

    def __init__(self, special_tokens: Mapping[str, int]) -> None:
        self.rules: list[str] = []
        self.has_regex = False
        self._special_tokens = special_tokens
        spelled = sorted(special_tokens, key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, spelled))) if spelled else None

    def write(self, node: Node) -> str:
        """The expression for a node."""
        match node:
            case ConstString(value):
                return self._literal(value)
            case JsonSchema(schema, lenient):
                return f"%json {prepare(schema, lenient=lenient)}"
            case Regex(pattern):
                self.has_regex = True
                return _regex(pattern)
            case AnyText():
                return _TEXT
            case InOrder(elements):
                return self._rule(" ".join(self._rule(self.write(element)) for element in elements))
            case OneOf(elements):
                return self._one_of(self.write(element) for element in elements)
            case Maybe(content):
                return f"{self._rule(self.write(content))}?"
            case Plus(content):
                return f"{self._rule(self.write(content))}+"
            case Star(content):
                return f"{self._rule(self.write(content))}*"
            case Repeat(content, fewest, most):
                return self._repeat(content, fewest, most)
            case Tag():
                return self._rule(f"{self._literal(node.begin)} {self._rest(node)}")
            case TriggeredTags():
                return self._triggered(node)
            case TagsWithSeparator():
                return self._separated(node)

    def _repeat(self, content: Node, fewest: int, most: int) -> str:
        if 0 <= most < fewest:
            raise ValueError(f"a repeat has min={fewest} and max={most}")
        return f"{self._rule(self.write(content))}{{{fewest},{'' if most < 0 else most}}}"

    def _separated(self, node: TagsWithSeparator) -> str:
        tag = self._one_of(map(self.write, node.tags))
        several = tag if node.stop_after_first else f"{tag} ({self._literal(node.separator)} {tag})*"
        return several if node.at_least_one else self._rule(f"{_NOTHING} | {several}")

    def _triggered(self, node: TriggeredTags) -> str:
        ends: dict[str, list[str]] = {}
        for tag in node.tags:
            trigger = next((one for one in node.triggers if one and tag.begin.startswith(one)), None)
            if trigger is None:
                raise ValueError(f"no trigger begins the tag {tag.begin!r}")
            begun = self._literal(tag.begin[len(trigger) :])
            ends.setdefault(trigger, []).append(self._rule(f"{begun} {self._rest(tag)}"))
        after_text = self._one_of(f"{self._text_up_to(trigger)} {self._one_of(tags)}" for trigger, tags in ends.items())
        at_once = self._one_of(f"{self._literal(trigger)} {self._one_of(tags)}" for trigger, tags in ends.items())
        if node.stop_after_first:
            return at_once if node.at_least_one else self._one_of([after_text, _TEXT])
        return self._rule(f"{at_once if node.at_least_one else ''} {after_text}* {_TEXT}")

    def _rest(self, tag: Tag) -> str:
        """A tag behind its begin."""
        ends = [tag.end] if isinstance(tag.end, str) else tag.end
        if isinstance(tag.content, AnyText):
            return self._one_of(map(self._text_up_to, ends))
        try:
            content = self.write(tag.content)
        except ValueError as error:
            raise ValueError(f"behind {tag.begin!r}: {error}") from error
        return f"{self._rule(content)} {self._one_of(map(self._literal, ends))}"

    def _text_up_to(self, end: str) -> str:
        """Any text up to the first occurrence of `end`, and that."""
        first, *others = self._pieces(end) or [_TEXT]
        if not end or first.startswith("<["):
            found = _TEXT if not end else f"{_TEXT} {first}"
        else:
            found = self._rule(f"{_TEXT} {first}", "[lazy]")
        return " ".join([found, *others])

    def _literal(self, text: str) -> str:
        return " ".join(self._pieces(text)) or _NOTHING

    def _pieces(self, text: str) -> list[str]:
        """A text as expressions: quoted, but for the special tokens in it."""
        pieces, begin = [], 0
        for found in self._special.finditer(text) if self._special else ():
            pieces += [text[begin : found.start()], found[0]]
            begin = found.end()
        pieces.append(text[begin:])
        tokens = self._special_tokens
        return [f"<[{tokens[one]}]>" if one in tokens else json.dumps(one) for one in pieces if one]

    def _one_of(self, expressions: Iterable[str]) -> str:
        return self._rule(" | ".join(expressions))

    def _rule(self, body: str, options: str = "") -> str:
        name = f"rule{len(self.rules)}"
        self.rules.append(f"{name}{options}: {body}")
        return name


def _regex(pattern: str) -> str:
    if not pattern:
        return _NOTHING
    quoted = re.sub(r"\\.|/|\n", _escaped, pattern, flags=re.DOTALL)
    return f"/{quoted}/"


def _escaped(found: re.Match[str]) -> str:
    return {"/": r"\/", "\n": r"\n"}.get(found[0], found[0])
