"""What a field of a request may be, where it is one of a few values: for errors that say so."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

import msgspec
from msgspec import inspect

_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d*|\.\.\.)\]")


def valid_values(struct: type[msgspec.Struct], path: str) -> list[str]:
    """The values that a field may have, as JSON texts; empty where they are not counted on a hand.

    Args:
        path: as msgspec writes it, without the leading `$`: `messages[0].role`.
    """
    kinds = [_described(struct)]
    for match in _STEP.finditer(path):
        kinds = [below for kind in kinds for below in _below(kind, match[1])]
    return sorted({msgspec.json.encode(value).decode() for kind in kinds for value in _literals(kind)})


@functools.cache  # takes milliseconds
def _described(struct: type[msgspec.Struct]) -> inspect.Type:
    return inspect.type_info(struct)


def _below(kind: inspect.Type, name: str | None) -> Iterator[inspect.Type]:
    """What lies under a name; under an index, if that is None."""
    match kind:
        case inspect.Metadata(type=inner):
            yield from _below(inner, name)
        case inspect.UnionType(types=types):
            for one in types:
                yield from _below(one, name)
        case inspect.StructType(tag_field=tag_field, tag=tag) if name == tag_field and tag is not None:
            yield inspect.LiteralType((tag,))
        case inspect.StructType(fields=fields) if name is not None:
            yield from (field.type for field in fields if field.encode_name == name)
        case inspect.ListType(item_type=item) if name is None:
            yield item
        case inspect.DictType(value_type=value):
            yield value


def _literals(kind: inspect.Type) -> Iterator[object]:
    match kind:
        case inspect.Metadata(type=inner):
            yield from _literals(inner)
        case inspect.UnionType(types=types):
            for one in types:
                yield from _literals(one)
        case inspect.LiteralType(values=values):
            yield from values
