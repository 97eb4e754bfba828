"""Text that arrives in pieces, read by generators as if it were all there.

A grammar is a generator that *yields* whenever it needs more text than has come. So a format is
written down as a few lines of straight code, and where the text is cut can make no difference: a
generator is resumed exactly where it waited.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from typing import TypeVar

T = TypeVar("T")

Reading = Generator[None, None, T]
"""A part of a grammar: waits by yielding nothing, returns what it has read."""

SPACE = " \t\r\n"
NAME_LIMIT = 256
"""Longest name of a function or parameter. A bound, so that no mistake of the model holds text back without end."""

_NEVER = "(?!)"
_NOT_IN_NAME = re.compile(r"[^\w.\-]")


class Malformed(Exception):  # noqa: N818  (not an error of ours: it stays inside the grammars)
    """The text is not what the format says."""


class Markers:
    """Strings that mean something in a format, or none at all; none may be the beginning of another."""

    def __init__(self, *texts: str) -> None:
        self._texts = texts
        self._pattern = re.compile("|".join(map(re.escape, texts)) or _NEVER)
        self._firsts = re.compile("|".join(re.escape(text[0]) for text in texts) or _NEVER)
        self._longest = max(map(len, texts), default=1)

    def find(self, text: str, start: int) -> tuple[int, int] | None:
        """Where the first marker at or after `start` begins and ends."""
        found = self._pattern.search(text, start)
        return None if found is None else found.span()

    def undecided(self, text: str, start: int) -> int:
        """From where on the end of `text`, in which there is no marker, may be the beginning of one."""
        at = max(start, len(text) - self._longest + 1)
        while (first := self._firsts.search(text, at)) is not None:
            at = first.start()
            rest = text[at:]
            if any(marker.startswith(rest) for marker in self._texts):
                return at
            at += 1
        return len(text)


class Reader:
    """The text of one answer, read from the front.

    What was read since `hold` can be had back: by `give_back`, as text, or by `rewind`, to read it
    anew. A grammar holds where something begins that may turn out to be malformed, and releases
    when it has made an event of it.
    """

    def __init__(self) -> None:
        self._text = ""
        self._at = 0
        self._held: int | None = None
        self._ended = False

    def feed(self, text: str) -> None:
        """Adds text."""
        done = self._at if self._held is None else self._held
        self._text = self._text[done:] + text
        self._at -= done
        if self._held is not None:
            self._held = 0

    def end(self) -> None:
        """Says that no more text comes."""
        self._ended = True

    @property
    def ended(self) -> bool:
        """Whether no more text comes. A grammar that fails while this is so was cut short."""
        return self._ended

    def hold(self) -> None:
        """Keeps what is read from here on."""
        self._held = self._at

    def release(self) -> None:
        """Keeps it no longer."""
        self._held = None

    def rewind(self) -> None:
        """Goes back to where `hold` was called."""
        self._at = self._at if self._held is None else self._held
        self._held = None

    @property
    def held(self) -> str:
        """What was read since `hold`."""
        return self._text[self._at if self._held is None else self._held : self._at]

    def give_back(self) -> str:
        """What was read since `hold`, which thereby ends."""
        held = self.held
        self.release()
        return held

    def more(self) -> Reading[bool]:
        """Waits. False: nothing more comes. True: look again (perhaps only to learn that the text has ended)."""
        if self._ended:
            return False
        yield
        return True

    def peek(self) -> Reading[str]:
        """The next character; empty at the end."""
        while self._at == len(self._text):
            if not (yield from self.more()):
                return ""
        return self._text[self._at]

    def accept(self, *literals: str) -> Reading[str]:
        """Reads the one of `literals` that comes next, of which none may begin another; else nothing, and is empty."""
        while True:
            waits = False
            rest = len(self._text) - self._at
            for literal in literals:
                if self._text.startswith(literal, self._at):
                    self._at += len(literal)
                    return literal
                waits = waits or (rest < len(literal) and literal.startswith(self._text[self._at :]))
            if not (waits and (yield from self.more())):
                return ""

    def accept_spaced(self, literal: str) -> Reading[bool]:
        """Reads space and then `literal`, or neither. Ends a `hold`."""
        self.hold()
        yield from self.skip_space()
        if (yield from self.accept(literal)):
            self.release()
            return True
        self.rewind()
        return False

    def expect(self, literal: str) -> Reading[None]:
        """Reads `literal`, or reads nothing and raises `Malformed`."""
        if not (yield from self.accept(literal)):
            raise Malformed

    def skip_space(self) -> Reading[None]:
        """Reads all white space that comes next."""
        yield from self.skip(SPACE)

    def skip(self, characters: str) -> Reading[None]:
        """Reads all of `characters` that come next."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in characters:
                    return
                self._at += 1
            if not (yield from self.more()):
                return

    def name(self) -> Reading[str]:
        """Reads letters, digits and `_.-`. Raises `Malformed` for none, or too many."""
        while True:
            other = _NOT_IN_NAME.search(self._text, self._at, self._at + NAME_LIMIT + 1)
            end = min(len(self._text), self._at + NAME_LIMIT + 1) if other is None else other.start()
            if end - self._at > NAME_LIMIT:
                raise Malformed
            if end < len(self._text) or not (yield from self.more()):
                break
        if end == self._at:
            raise Malformed
        name, self._at = self._text[self._at : end], end
        return name

    def until(self, literal: str, limit: int = NAME_LIMIT) -> Reading[str]:
        """Reads up to and over `literal`, and returns what was before it. Raises `Malformed` where that is too long."""
        while (found := self._text.find(literal, self._at, self._at + limit + len(literal))) < 0:
            if len(self._text) - self._at >= limit + len(literal) or not (yield from self.more()):
                raise Malformed
        before, self._at = self._text[self._at : found], found + len(literal)
        return before

    def copy_until(self, markers: Markers, give_out: Callable[[str], None], *, trim: str = "") -> Reading[str]:
        """Gives text out as it comes, up to a marker, and reads that.

        Args:
            trim: characters that are left out right before a marker. They are read under `hold`, together with it.

        Returns:
            The marker; empty at the end of the text, when all has been given out.
        """
        while True:
            found = markers.find(self._text, self._at)
            safe = markers.undecided(self._text, self._at) if found is None else found[0]
            plain = self._text[self._at : safe]
            if trim:
                plain = plain.rstrip(trim)
            self._at += len(plain)
            give_out(plain)
            if found is not None:
                self.hold()
                self._at = found[1]
                return self._text[found[0] : found[1]]
            if not (yield from self.more()):
                rest, self._at = self._text[self._at :], len(self._text)
                give_out(rest)
                return ""

    def copy_while(self, end_of: Callable[[str, int], int | None], give_out: Callable[[str], None]) -> Reading[bool]:
        """Gives text out as it comes, as long as `end_of(text, start)` finds no end in it.

        Args:
            end_of: sees each character once; says where the end is, or None.

        Returns:
            Whether the end was found; else the text is at its own end.
        """
        while True:
            start = self._at
            end = end_of(self._text, start)
            self._at = len(self._text) if end is None else end
            give_out(self._text[start : self._at])
            if end is not None:
                return True
            if not (yield from self.more()):
                return False

    def copy_rest(self, give_out: Callable[[str], None]) -> Reading[None]:
        """Gives all that comes out."""
        yield from self.copy_while(lambda text, start: None, give_out)
