"""The KV pages' owner book: a stack of free pages and a reference count for each page in use."""

from __future__ import annotations

from collections.abc import Iterable


class PagePool:
    """Hands out page ids and takes them back; a page returns to the free stack with its last reference.

    A page freed here may be handed out at once even while the device still runs a step that writes
    to it: steps run in order, so the new owner's writes come later.
    """

    def __init__(self, num_pages: int) -> None:
        self.num_pages = num_pages
        self._free = list(range(num_pages - 1, -1, -1))
        self._references = [0] * num_pages

    @property
    def num_free(self) -> int:
        """Pages that `allocate` can hand out now."""
        return len(self._free)

    def can_allocate(self, count: int) -> bool:
        """Whether `allocate(count)` would succeed."""
        return count <= len(self._free)

    def allocate(self, count: int) -> list[int]:
        """Takes `count` pages, each with one reference. Call `can_allocate` first.

        Raises:
            MemoryError: when fewer pages are free; nothing is taken then.
        """
        if count > len(self._free):
            raise MemoryError(f"{count} KV pages wanted, {len(self._free)} of {self.num_pages} free.")
        if count == 0:
            return []
        pages = self._free[-count:]
        del self._free[-count:]
        pages.reverse()
        for page in pages:
            self._references[page] = 1
        return pages

    def share(self, pages: Iterable[int]) -> None:
        """Adds one reference to each page, all of which must be in use."""
        for page in pages:
            if self._references[page] == 0:
                raise ValueError(f"page {page} is free and cannot be shared.")
            self._references[page] += 1

    def release(self, pages: Iterable[int]) -> None:
        """Drops one reference from each page."""
        for page in pages:
            if self._references[page] == 0:
                raise ValueError(f"page {page} is already free.")
            self._references[page] -= 1
            if self._references[page] == 0:
                self._free.append(page)

    def references(self, page: int) -> int:
        """How many owners the page has."""
        return self._references[page]

    def check_integrity(self) -> None:
        """Asserts that every page is free exactly once or referenced, never both. For tests."""
        free = set(self._free)
        assert len(free) == len(self._free), "a page lies twice on the free stack"
        for page, count in enumerate(self._references):
            assert count >= 0, f"page {page} has {count} references"
            assert (count == 0) == (page in free), f"page {page}: {count} references, free: {page in free}"
