"""Where a bracketed value ends, in text that comes in pieces."""

from __future__ import annotations

import re

_BACKSLASH = "\\"


class Brackets:
    """Follows a value that begins with an opening bracket to the bracket that closes it.

    Only brackets and strings are looked at: whether the value is well-formed is not asked, because
    it is given out as it comes, long before that could be known.

    Args:
        quotes: characters that begin and end strings.
        opening, closing: the brackets.
    """

    def __init__(self, quotes: str = '"', opening: str = "[{", closing: str = "]}") -> None:
        self._plain = re.compile(f"[{re.escape(quotes + opening + closing)}]")
        self._opening = opening
        self._quotes = quotes
        self._in_string = {quote: re.compile(rf"[{quote}\\]") for quote in quotes}
        self._quote = ""  # of the string that is open
        self._escaped = False
        self._depth = 0

    def end_of(self, text: str, start: int) -> int | None:
        """Reads on. Returns where the value ends (exclusive), if it does in this text."""
        at = start
        if self._escaped and at < len(text):
            self._escaped = False
            at += 1
        while (found := (self._in_string[self._quote] if self._quote else self._plain).search(text, at)) is not None:
            at = found.end()
            char = found[0]
            if char == _BACKSLASH:
                if at == len(text):
                    self._escaped = True
                    break
                at += 1
            elif char in self._quotes:
                self._quote = "" if self._quote else char
            elif char in self._opening:
                self._depth += 1
            else:
                self._depth -= 1
                if self._depth == 0:
                    return at
        return None
