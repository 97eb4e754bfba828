"""Which pages of a sequence its next step still reads: arithmetic of sliding windows over pages."""

from __future__ import annotations

from typing import NamedTuple


class PageWindow(NamedTuple):
    """The reach of attention, in pages.

    A page that lies wholly before the window of a sequence's next token will never be read again by
    that sequence. This holds only if *every* layer has a window, of which the widest counts. Models
    that mix windows with full attention (Gemma 2 and 3, Cohere2) share a page between all layers, and
    keep it while any layer can see it: for them `tokens` is None.

    Attributes:
        page_size: tokens a page.
        tokens: keys that a token sees at most, its own included; None sees all.
    """

    page_size: int
    tokens: int | None = None

    def first_page(self, num_computed: int) -> int:
        """Index of the first page that a step reads which begins at position `num_computed`."""
        if self.tokens is None:
            return 0
        return max(0, num_computed - self.tokens + 1) // self.page_size

    def pages_for(self, num_tokens: int) -> int:
        """Pages that hold this many tokens."""
        return -(-num_tokens // self.page_size)

    def most_pages(self, max_chunk: int) -> int | None:
        """Pages that one sequence needs at once at most, computing up to `max_chunk` tokens a step; None: no bound."""
        if self.tokens is None:
            return None
        # A step reads tokens - 1 keys before its chunk; a run of n tokens can touch one page more than it fills.
        return self.pages_for(self.tokens + max_chunk - 2) + 1

    def longest_sequence(self, num_pages: int, max_chunk: int) -> int | None:
        """Tokens that a sequence may grow to in a pool of this size; None: the pool sets no bound."""
        most = self.most_pages(max_chunk)
        return num_pages * self.page_size if most is None or most > num_pages else None
