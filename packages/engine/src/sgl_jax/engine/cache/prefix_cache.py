"""KV pages of past and present prompts, kept for the next one that begins the same way.

The cache holds one reference to each of its pages and every running request one more; a page whose
only reference is the cache's is *unused* and may be evicted.

Without a window, a request that uses a page uses all pages before it, so whatever hangs below an
unused page is unused too, and every unused page can be had by evicting leaves.

With a window, requests let go of pages that they have left behind, in the middle of a path. Any
unused page may then be evicted, and leaves a hollow node while something hangs below it. A prefix is
found when the pages that its next token sees are there, whatever has become of those before them.
Hollow nodes are few: a sequence's last pages are let go, hence evicted, together, and the path to
them with the last.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Sequence

from sgl_jax.engine.cache.holding import Holding
from sgl_jax.engine.cache.page_pool import PagePool
from sgl_jax.engine.cache.radix_tree import HOLLOW, Node, RadixTree
from sgl_jax.engine.cache.window import PageWindow

_Entry = tuple[int, int, int, Node]
"""Priority, last use, a number to break ties, the node: least valuable first."""


class PrefixCache:
    """The page pool as the scheduler sees it: matching, allocation with eviction, release.

    Args:
        num_pages: size of the pool.
        page_size: tokens a page.
        window: keys that a token sees at most in any layer; None: some layer sees all.
        enabled: without it nothing is ever matched or kept.
        within_pages: whether `like` looks for pages to copy.
    """

    def __init__(
        self,
        num_pages: int,
        page_size: int,
        *,
        window: int | None = None,
        enabled: bool = True,
        within_pages: bool = False,
    ) -> None:
        self.num_pages = num_pages
        self.window = PageWindow(page_size, window)
        self.evicted_total = 0
        self._page_size = page_size
        self._windowed = window is not None
        self._enabled = enabled
        self._within_pages = within_pages and enabled and page_size > 1
        self._step = 1
        self._pool = PagePool(num_pages)
        self._tree = RadixTree(page_size)
        self._unused = 0  # cached pages that nobody else holds
        self._offers: list[_Entry] = []  # a heap of what may go; entries are checked when popped
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

    def match(self, tokens: Sequence[int], salt: str = "", priority: int = 0) -> Holding:
        """Takes a reference to the pages of the longest cached prefix of `tokens` that its next token sees.

        The prefix has `end` pages. Give them back with `release`. Effect: marks them as just used.
        """
        held = Holding(salt=salt, priority=priority)
        if not self._enabled:
            return held
        path = self._matched(tokens, salt)
        held.first = self.window.first_page(len(path) * self._page_size)
        self._clock += 1
        for node in path[held.first :]:
            node.last_used = self._clock
            node.priority = max(node.priority, priority)
            self._unused -= self._pool.references(node.page) == 1
            held.pages.append(node.page)
        self._pool.share(held.pages)
        if path:
            held.num_kept, held.node = len(path), path[-1]
        return held

    def begin_step(self) -> None:
        """A step will be planned: those before are dispatched, and what they fill can be copied."""
        self._step += 1

    def like(self, held: Holding, tokens: Sequence[int]) -> tuple[int, int]:
        """A cached page that begins as `tokens` go on behind the pages that `match` has found.

        It is nobody's yet: copy it before this step writes anything, and its owner may then do with it as he likes.

        Returns:
            The page, and how many tokens it has in common, less than a page full; 0 if there is none.
        """
        if not self._within_pages:
            return HOLLOW, 0
        begin = held.end * self._page_size
        return self._tree.like(held.node, held.salt, tokens[begin : begin + self._page_size - 1], self._step)

    def matched_length(self, tokens: Sequence[int], salt: str = "") -> int:
        """How many tokens `match` would find, in whole pages. No effect."""
        return len(self._matched(tokens, salt)) * self._page_size

    def keep(self, held: Holding, tokens: Sequence[int], num_computed: int) -> None:
        """Caches a sequence's full pages, while their owner still holds them.

        Safe as soon as the step that fills them is dispatched: whoever matches them computes later,
        or in the same step, where every layer writes before it attends.

        Args:
            held: the sequence's pages.
            tokens: those that are known, from the start of the sequence.
            num_computed: how many of them have their keys and values computed.
        """
        full = min(num_computed, len(tokens)) // self._page_size
        if self._enabled and full > held.num_kept:
            self._enter(held, tokens, full)

    def keep_all(self, held: Holding, tokens: Sequence[int], num_computed: int) -> None:
        """As `keep`, and the last page too though it is not full: for `like`, when its owner will write no more."""
        if held.num_kept and held.node is None and not self._windowed:
            self._adopt(held, tokens)
        self.keep(held, tokens, num_computed)
        known = tokens[:num_computed]
        if self._within_pages and len(known) % self._page_size:
            full = held.num_kept
            self._enter(held, known, full + 1)
            held.num_kept = full  # from where the next turn looks back

    def _enter(self, held: Holding, tokens: Sequence[int], end: int) -> None:
        """Puts a sequence's pages up to `end` into the tree, where that has a place for them."""
        first = held.num_kept
        node = self._tree.root(held.salt) if first == 0 else held.node
        if node is not None and first and node.parent is None:
            node = None  # evicted meanwhile, as it may be if it is not ours: nothing can hang below it
        held.num_kept, held.node = end, node
        if node is None:
            return
        pages = held.since(first)[: end - first]
        held.node, new = self._tree.extend(node, tokens, first, pages, below_foreign=self._windowed)
        self._clock += 1
        for node in new:
            node.last_used = self._clock
            node.priority = held.priority
            node.step = self._step
        self._pool.share(node.page for node in new)

    def _adopt(self, held: Holding, tokens: Sequence[int]) -> None:
        """Where pages of the tree hold the same tokens as the sequence's own, makes it hold these instead.

        A prompt seen before computes its last tokens again, on pages of its own; what follows them can hang below
        those of the first time only.
        """
        path = self._tree.match(tokens[: held.num_kept * self._page_size], held.salt)
        for index, node in enumerate(path):
            own = held.pages[index]
            if node.page != own:
                self._unused -= self._pool.references(node.page) == 1
                self._pool.share((node.page,))
                held.pages[index] = node.page
                self._let_go((own,))
        held.num_kept, held.node = len(path), path[-1] if path else None

    def advance(self, held: Holding, tokens: Sequence[int], num_computed: int) -> None:
        """Lets go of the pages behind the window of a step that begins at position `num_computed`.

        Call it before that step is planned and not after: the step may not read a page that another
        request is given. What is let go stays cached until it is evicted.
        """
        behind = self.window.first_page(num_computed) - held.first
        if behind > 0:
            self.keep(held, tokens, num_computed)
            self._let_go(held.pages[:behind])
            del held.pages[:behind]
            held.first += behind

    def release(self, held: Holding) -> None:
        """Gives back all that one owner holds; cached pages stay until they are evicted."""
        # What the sequence's next turn would not see goes a moment earlier, hence is evicted earlier.
        behind = max(0, self.window.first_page(held.num_kept * self._page_size) - held.first)
        self._let_go(held.pages[:behind])
        self._let_go(held.pages[behind:])
        held.pages = []

    def flush(self) -> None:
        """Forgets every page that nobody uses."""
        while self._unused:
            self._evict()

    def check_integrity(self, held: Iterable[Holding]) -> None:
        """Asserts that references, tree and counters agree with what requests hold. For tests."""
        self._pool.check_integrity()
        self._tree.check_integrity()
        owners = [0] * self.num_pages
        for holding in held:
            assert len(holding.pages) == len(set(holding.pages)), "a request holds a page twice"
            for page in holding.pages:
                owners[page] += 1
        offered = {entry[-1] for entry in self._offers if self._evictable(entry)}
        unused = 0
        for node in self._tree.nodes():
            if node.page == HOLLOW:
                assert self._windowed, "a hollow node without a window"
                continue
            if owners[node.page] == 0:
                unused += 1
                assert node in offered or (node.children and not self._windowed), "an unused page is not on offer"
            elif not self._windowed and node.parent is not None and node.parent.page != HOLLOW:
                assert self._pool.references(node.parent.page) > 1, "a used page below an unused one"
            owners[node.page] += 1
        for page, count in enumerate(owners):
            assert self._pool.references(page) == count, f"page {page}: {self._pool.references(page)} != {count}"
        assert unused == self._unused, f"{self._unused} pages counted as unused, {unused} are"

    def _matched(self, tokens: Sequence[int], salt: str) -> list[Node]:
        """The longest known prefix of which every page that the next token sees is there."""
        path = self._tree.match(tokens, salt)
        if not self._windowed:
            return path
        usable = run = 0
        for count, node in enumerate(path, 1):
            run = 0 if node.page == HOLLOW else run + 1
            if run >= count - self.window.first_page(count * self._page_size):
                usable = count
        return path[:usable]

    def _let_go(self, pages: Sequence[int]) -> None:
        self._pool.release(pages)
        self._clock += 1
        for page in reversed(pages):  # so that of equally old pages the last of a sequence goes first
            node = self._tree.node(page)
            if node is not None:
                node.last_used = self._clock
                if self._pool.references(page) == 1:
                    self._unused += 1
                    self._offer(node)

    def _offer(self, node: Node) -> None:
        """Lets an unused page be evicted, if it may be."""
        if len(self._offers) > 2 * self.num_pages:  # stale entries, left behind by pages that were used again
            self._offers = [entry for entry in self._offers if self._evictable(entry)]
            heapq.heapify(self._offers)
        if self._windowed or not node.children:
            heapq.heappush(self._offers, (node.priority, node.last_used, next(self._ties), node))

    def _evictable(self, entry: _Entry) -> bool:
        _, last_used, _, node = entry
        current = self._tree.node(node.page) is node and node.last_used == last_used
        return current and (self._windowed or not node.children) and self._pool.references(node.page) == 1

    def _evict(self) -> None:
        """Frees the unused page of lowest priority that was let go longest ago."""
        while not self._evictable(entry := heapq.heappop(self._offers)):
            pass
        page = entry[-1].page
        leaf = self._tree.remove(entry[-1])
        self._pool.release((page,))
        self._unused -= 1
        self.evicted_total += 1
        if leaf is not None and not self._windowed and self._pool.references(leaf.page) == 1:
            self._offer(leaf)
