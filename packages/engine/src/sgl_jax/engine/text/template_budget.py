"""How much one rendering of a chat template may do: steps, paid for by everything that takes time or memory."""

from __future__ import annotations

from typing import Any, NamedTuple

from jinja2.exceptions import SecurityError

MAX_STEPS = 500_000
"""About a second, and a quarter of a gigabyte. A conversation of a thousand messages takes some ten thousand."""
MAX_CHARACTERS = 16 * 2**20
"""Longest text that a template may make; longer than any context window."""
CHARACTERS_PER_STEP = 512
ITEMS_PER_STEP = 64
_NODES_PER_STEP = 8
_CHARACTERS_OF_A_NODE = 24
"""What a number, or a bracket and a comma, may become as text."""

_CONTAINERS = (list, tuple, dict, set, frozenset)


class Weight(NamedTuple):
    """What a value comes to as text, at most: characters, lines when written one item a line, and how deep it nests."""

    characters: int
    lines: int
    depth: int


class Budget:
    """What is left of one rendering's steps."""

    def __init__(self) -> None:
        self._left = MAX_STEPS

    def spend(self, steps: int) -> None:
        """Pays. Raises SecurityError when the budget is used up."""
        self._left -= steps
        if self._left < 0:
            raise SecurityError(f"the template takes more than {MAX_STEPS} steps")

    def range(self, *bounds: int) -> range:
        """Python's, at a step a number."""
        found = range(*bounds)
        self.spend(len(found))
        return found

    def look(self, value: Any) -> None:
        """Pays for going once over a text, or over the items of a container but not into them."""
        if isinstance(value, str):
            if len(value) > MAX_CHARACTERS:
                raise too_long()
            self.spend(len(value) // CHARACTERS_PER_STEP)
        elif isinstance(value, (*_CONTAINERS, range)):
            self.spend(len(value) // ITEMS_PER_STEP)

    def weigh(self, *values: Any) -> Weight:
        """Pays for going through values to their bottom, and says how much there is.

        Every reference counts: `[x, x]` weighs twice what `x` weighs, so that a small nest of references that would
        take for ever to compare or to print is too heavy.
        """
        characters = lines = depth = 0
        level: list[Any] = list(values)
        while level:
            below: list[Any] = []
            texts = 0
            for value in level:
                if isinstance(value, str):
                    texts += len(value)
                elif isinstance(value, dict):
                    below += value.keys()
                    below += value.values()
                elif isinstance(value, _CONTAINERS):
                    below += value
                if len(below) > MAX_STEPS:
                    raise too_long()
            self.spend(len(level) // _NODES_PER_STEP + texts // CHARACTERS_PER_STEP)
            characters += texts + len(level) * _CHARACTERS_OF_A_NODE
            lines += 2 * len(level)
            depth += 1
            level = below
        return Weight(characters, lines, depth)


def too_long() -> SecurityError:
    """The error for a text that would be too long."""
    return SecurityError(f"the template makes a text of more than {MAX_CHARACTERS} characters")


def expect(characters: int) -> None:
    """Refuses to make a text of that length if it is too long."""
    if characters > MAX_CHARACTERS:
        raise too_long()
