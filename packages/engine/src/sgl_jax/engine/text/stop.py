"""Finds stop strings in text that arrives in pieces."""

from __future__ import annotations

from collections.abc import Sequence


class StopMatcher:
    """Passes text on until one of the stop strings is complete.

    The first stop string to be *completed* wins, as if the text had come one character at a time
    (of two completed by the same character, the longer). So the result does not depend on how the
    text is split. Text that may yet turn out to be the beginning of a stop string is held back.

    The work is proportional to the text, whatever the stop strings' length (Knuth, Morris, Pratt 1977).

    Args:
        stops: non-empty strings (else `ValueError`); without any, all text passes.
        trim: whether the stop string itself is left out of the text.

    Attributes:
        matched: the stop string that was found, or None.
    """

    def __init__(self, stops: Sequence[str], *, trim: bool = True) -> None:
        if "" in stops:
            raise ValueError("A stop string must not be empty.")
        self._stops = [_Pattern(stop) for stop in dict.fromkeys(stops)]
        self._trim = trim
        self._held = ""
        self.matched: str | None = None

    def push(self, text: str) -> str:
        """The text that is certainly not part of a stop string; nothing once `matched` is set."""
        if self.matched is not None:
            return ""
        end, longest = len(text) + 1, 0
        for stop in self._stops:
            found = stop.advance(text)
            if found is not None and (found < end or (found == end and len(stop.text) > longest)):
                end, longest = found, len(stop.text)
                self.matched = stop.text
        if self.matched is not None:
            whole = self._held + text[:end]
            self._held = ""
            return whole[: len(whole) - longest] if self._trim else whole
        return self._release(text)

    def pass_over(self, text: str) -> str:
        """Like `push`, but a stop string that is complete within this text is text like any other.

        One that only begins here and is completed by a later `push` counts.
        """
        for stop in self._stops:
            stop.pass_over(text)
        return self._release(text)

    def flush(self) -> str:
        """The text still held back, now that nothing follows it."""
        held, self._held = self._held, ""
        return held

    def _release(self, text: str) -> str:
        whole = self._held + text if self._held else text
        hold = max((stop.progress for stop in self._stops), default=0)
        self._held = whole[len(whole) - hold :]
        return whole[: len(whole) - hold]


class _Pattern:
    """One stop string and how much of it the text so far ends with.

    Attributes:
        progress: length of the longest beginning of `text` that the text so far ends with.
    """

    __slots__ = ("_borders", "progress", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.progress = 0
        # _borders[i]: length of the longest proper beginning of text[: i + 1] that is also its end.
        self._borders = [0] * len(text)
        border = 0
        for index in range(1, len(text)):
            while border and text[index] != text[border]:
                border = self._borders[border - 1]
            border += text[index] == text[border]
            self._borders[index] = border

    def advance(self, text: str) -> int | None:
        """Reads on. Returns where in `text` the stop string ends (exclusive), if it does."""
        pattern, borders, progress = self.text, self._borders, self.progress
        position, end = 0, len(text)
        while position < end:
            if progress == 0:  # the common case at C speed: look for the first character
                position = text.find(pattern[0], position)
                if position < 0:
                    break
                progress = 1
            else:
                while progress and text[position] != pattern[progress]:
                    progress = borders[progress - 1]
                progress += text[position] == pattern[progress]
            position += 1
            if progress == len(pattern):
                return position
        self.progress = progress
        return None

    def pass_over(self, text: str) -> None:
        """Reads on without stopping; the end of a whole stop string may be the beginning of the next."""
        while (end := self.advance(text)) is not None:
            self.progress = self._borders[-1]
            text = text[end:]
