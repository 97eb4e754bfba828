"""KV pages of past and present prompts, kept for the next one that begins the same way.

The cache holds one reference to each of its pages and every running request one more; a page whose
only reference is the cache's may be evicted. A request that uses a page uses all pages before it, so
whatever hangs below an unused page is unused too, and every unused page can be had by evicting
leaves.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence

from sgl_jax.engine.cache.page_pool import PagePool
from sgl_jax.engine.cache.radix_tree import Node, RadixTree

_Leaf = tuple[int, int, int, Node]
"""Priority, last use, a number to break ties, the node: least valuable first."""


class PrefixCache:
    """The page pool as the scheduler sees it: matching, allocation with eviction, release.

    Args:
        num_pages: size of the pool.
        page_size: tokens a page.
        enabled: without it nothing is ever matched or kept.
    """

    def __init__(self, num_pages: int, page_size: int, *, enabled: bool = True) -> None:
        self.num_pages = num_pages
        self.evicted_total = 0
        self._page_size = page_size
        self._enabled = enabled
        self._pool = PagePool(num_pages)
        self._tree = RadixTree(page_size)
        self._unused = 0  # cached pages that nobody else holds
        self._leaves: list[_Leaf] = []  # a heap; entries are checked when popped
        self._ties = itertools.count()
        self._clock = 0

    @property
    def num_available(self) -> int:
        """Pages that `allocate` can hand out now, by eviction if need be."""
        return self._pool.num_free + self._unused

    @property
    def num_cached(self) -> int:
        """Pages in the tree, used or not."""
        return len(self._tree)

    def can_allocate(self, count: int) -> bool:
        """Whether `allocate(count)` would succeed."""
        return count <= self.num_available

    def allocate(self, count: int) -> list[int]:
        """Takes `count` pages for one owner, evicting the least valuable unused ones. Call `can_allocate` first.

        Raises:
            MemoryError: when fewer are available.
        """
        while self._pool.num_free < count and self._unused:
            self._evict()
        return self._pool.allocate(count)

    def match(self, tokens: Sequence[int], salt: str = "", priority: int = 0) -> list[int]:
        """Takes a reference to each page of the longest cached prefix of `tokens`; returns the pages.

        Give them back with `release`. Effect: marks them as just used.
        """
        if not self._enabled:
            return []
        self._clock += 1
        nodes = self._tree.match(tokens, salt)
        for node in nodes:
            node.last_used = self._clock
            node.priority = max(node.priority, priority)
            self._unused -= self._pool.references(node.page) == 1
        pages = [node.page for node in nodes]
        self._pool.share(pages)
        return pages

    def matched_length(self, tokens: Sequence[int], salt: str = "") -> int:
        """How many tokens `match` would find. No effect."""
        return len(self._tree.match(tokens, salt)) * self._page_size

    def keep(self, tokens: Sequence[int], pages: Sequence[int], first: int, salt: str = "", priority: int = 0) -> int:
        """Caches a sequence's full pages from index `first` on, while their owner still holds them.

        Safe as soon as the step that fills them is dispatched: whoever matches them computes later,
        or in the same step, where every layer writes before it attends.

        Args:
            tokens: tokens whose keys and values are computed, from the start of the sequence.
            pages: the sequence's pages.
            first: pages before it were given to `keep` already, or came from `match`.

        Returns:
            How many pages of the sequence are dealt with: the next call's `first`.
        """
        full = len(tokens) // self._page_size
        if not self._enabled or full <= first:
            return first
        self._clock += 1
        for node in self._tree.extend(tokens, pages, first, salt):
            node.last_used = self._clock
            node.priority = priority
            self._pool.share((node.page,))
        return full

    def release(self, pages: Sequence[int]) -> None:
        """Gives back one owner's references; cached pages stay until they are evicted."""
        self._pool.release(pages)
        for page in reversed(pages):
            node = self._tree.node(page)
            if node is not None and self._pool.references(page) == 1:
                self._unused += 1
                self._offer(node)

    def flush(self) -> None:
        """Forgets every page that nobody uses."""
        while self._unused:
            self._evict()

    def check_integrity(self, held: Sequence[Sequence[int]]) -> None:
        """Asserts that references, tree and counters agree with the page lists that requests hold. For tests."""
        self._pool.check_integrity()
        owners = [0] * self.num_pages
        for pages in held:
            assert len(pages) == len(set(pages)), "a request holds a page twice"
            for page in pages:
                owners[page] += 1
        unused = 0
        for node in self._tree.nodes():
            unused += owners[node.page] == 0
            owners[node.page] += 1
            parent = node.parent
            assert parent is not None
            assert parent.children[node.key] is node
            used = self._pool.references(node.page) > 1
            assert not used or parent.page < 0 or self._pool.references(parent.page) > 1, (
                "a used page below an unused one"
            )
        for page, count in enumerate(owners):
            assert self._pool.references(page) == count, f"page {page}: {self._pool.references(page)} != {count}"
        assert unused == self._unused, f"{self._unused} pages counted as unused, {unused} are"

    def _offer(self, node: Node) -> None:
        """Lets an unused leaf be evicted."""
        if len(self._leaves) > 2 * self.num_pages:  # stale entries, left behind by pages that were used again
            self._leaves = [entry for entry in self._leaves if self._evictable(entry)]
            heapq.heapify(self._leaves)
        if not node.children:
            heapq.heappush(self._leaves, (node.priority, node.last_used, next(self._ties), node))

    def _evictable(self, entry: _Leaf) -> bool:
        _, last_used, _, node = entry
        current = self._tree.node(node.page) is node and node.last_used == last_used
        return current and not node.children and self._pool.references(node.page) == 1

    def _evict(self) -> None:
        """Frees the unused leaf of lowest priority that was used longest ago."""
        while not self._evictable(entry := heapq.heappop(self._leaves)):
            pass
        node = entry[-1]
        parent = self._tree.remove(node)
        self._pool.release((node.page,))
        self._unused -= 1
        self.evicted_total += 1
        if parent is not None and self._pool.references(parent.page) == 1:
            self._offer(parent)
