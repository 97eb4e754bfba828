"""The trees of structural tags, as requests hold them (XGrammar's form, which SGLang and vLLM share)."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

_MAX_REPEATS = 10_000


class _Node(msgspec.Struct, tag_field="type", forbid_unknown_fields=True):
    """A part of an answer."""


class ConstString(_Node, tag="const_string"):
    """Exactly this text."""

    value: str


class JsonSchema(_Node, tag="json_schema"):
    """A JSON value. `lenient` is our own: what cannot be kept to in the schema is passed over, not refused."""

    json_schema: dict[str, Any] | bool
    lenient: bool = False


class Regex(_Node, tag="regex"):
    """Text that a regular expression matches as a whole."""

    pattern: str


class AnyText(_Node, tag="any_text"):
    """Any text; in a tag, up to the first place where the tag can end."""


class InOrder(_Node, tag="sequence"):
    """Several parts, one after another."""

    elements: Annotated[list[Node], msgspec.Meta(min_length=1)]


class OneOf(_Node, tag="or"):
    """One of several parts."""

    elements: Annotated[list[Node], msgspec.Meta(min_length=1)]


class Maybe(_Node, tag="optional"):
    """A part, or nothing."""

    content: Node


class Plus(_Node, tag="plus"):
    """A part, once or more often."""

    content: Node


class Star(_Node, tag="star"):
    """A part, any number of times."""

    content: Node


class Repeat(_Node, tag="repeat"):
    """A part, at least `min` and at most `max` times; a `max` of -1 is no bound."""

    content: Node
    min: Annotated[int, msgspec.Meta(ge=0, le=_MAX_REPEATS)]
    max: Annotated[int, msgspec.Meta(ge=-1, le=_MAX_REPEATS)]


class Tag(_Node, tag="tag"):
    """A part between two texts; where several ends are given, one of them."""

    begin: str
    content: Node
    end: str | Annotated[list[str], msgspec.Meta(min_length=1)]


class TriggeredTags(_Node, tag="triggered_tags"):
    """Free text in which every trigger must go on as one of the tags that begin with it.

    Attributes:
        at_least_one: begin with a tag at once.
        stop_after_first: end with the first tag.
    """

    triggers: list[str]
    tags: Annotated[list[Tag], msgspec.Meta(min_length=1)]
    at_least_one: bool = False
    stop_after_first: bool = False


class TagsWithSeparator(_Node, tag="tags_with_separator"):
    """Tags and nothing else, with a text between any two."""

    tags: Annotated[list[Tag], msgspec.Meta(min_length=1)]
    separator: str
    at_least_one: bool = False
    stop_after_first: bool = False


Node = (
    ConstString
    | JsonSchema
    | Regex
    | AnyText
    | InOrder
    | OneOf
    | Maybe
    | Plus
    | Star
    | Repeat
    | Tag
    | TriggeredTags
    | TagsWithSeparator
)


class Structure(msgspec.Struct):
    """A tag in SGLang's first form."""

    begin: str
    end: str
    schema: dict[str, Any] = {}


class Structures(msgspec.Struct):
    """SGLang's first form of a structural tag: free text with tags that hold JSON."""

    structures: Annotated[list[Structure], msgspec.Meta(min_length=1)]
    triggers: list[str]


def read_tree(text: str) -> Node:
    """The tree of a structural tag in any of its forms.

    The first form has `structures` and `triggers`, the present one a node under `format`; a node alone is taken too.

    Raises:
        ValueError: it is none of these; the message says where.
    """
    try:
        given = msgspec.json.decode(text)
        if isinstance(given, dict) and "structures" in given:
            return _modern(msgspec.convert(given, Structures))
        if isinstance(given, dict) and "format" in given:
            given = given["format"]
        return msgspec.convert(given, Node)
    except msgspec.DecodeError as error:
        raise ValueError(f"it needs a 'format' (or 'structures' and 'triggers'): {error}") from error


def _modern(old: Structures) -> Node:
    tags = [Tag(begin=one.begin, content=JsonSchema(json_schema=one.schema), end=one.end) for one in old.structures]
    return TriggeredTags(triggers=old.triggers, tags=tags)
