"""A tree of KV pages: the path from the root spells the tokens whose keys and values they hold.

A node is one page and its edge the page's tokens: as many as it has room for, or fewer in a leaf where a
sequence ended. `match` finds full pages; `like` finds one that begins as a sequence goes on, of which a
copy saves computing these tokens again.

A node can be *hollow*: its tokens are known, as a step on the way to the nodes below it, and its page
is gone. A hollow node without children is removed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

Key = tuple[int, ...] | str
HOLLOW = -1
_MOST_COMPARED = 32
"""Pages behind one that `like` looks at: a system prompt can have thousands."""


class Node:
    """One cached page, or the place of one.

    Attributes:
        page: its id, or `HOLLOW`.
        key: the tokens it holds; the root of a name space has its salt here.
        parent: the page before it; None for the top of the tree and for nodes that were removed.
        children: pages that follow it, by their tokens.
        step: number of the step that was planned when its page entered: it fills the page, or an earlier one has.
        last_used: logical time when a request last matched it, made it or let go of it.
        priority: highest priority of any request that used it.
    """

    __slots__ = ("children", "key", "last_used", "page", "parent", "priority", "step")

    def __init__(self, key: Key, parent: Node | None) -> None:
        self.page = HOLLOW
        self.key = key
        self.parent = parent
        self.children: dict[Key, Node] = {}
        self.step = 0
        self.last_used = 0
        self.priority = 0


class RadixTree:
    """Maps token sequences to pages. Knows nothing of who uses them.

    Args:
        page_size: tokens a page.
    """

    def __init__(self, page_size: int) -> None:
        self._page_size = page_size
        self._top = Node("", None)  # its children are the roots, one a name space
        self._by_page: dict[int, Node] = {}

    def __len__(self) -> int:
        return len(self._by_page)

    def node(self, page: int) -> Node | None:
        """The node of a page, if it is cached."""
        return self._by_page.get(page)

    def root(self, salt: str) -> Node:
        """The node before the first page of a name space; made when missing."""
        return self._child(self._top, salt)

    def match(self, tokens: Sequence[int], salt: str) -> list[Node]:
        """Nodes of the longest known prefix of `tokens`, first page first, hollow ones among them."""
        found: list[Node] = []
        node = self._top.children.get(salt)
        size = self._page_size
        for begin in range(0, len(tokens) - size + 1, size):
            node = None if node is None else node.children.get(tuple(tokens[begin : begin + size]))
            if node is None:
                break
            found.append(node)
        return found

    def like(self, node: Node | None, salt: str, tokens: Sequence[int], before: int) -> tuple[int, int]:
        """The page below `node` that begins most like `tokens`.

        Only the latest pages there are looked at, a bounded number of them.

        Args:
            node: the page before it; None for the beginning of a name space.
            salt: the name space.
            tokens: what follows that page.
            before: pages that entered in this step or later do not count.

        Returns:
            The page, and how many tokens it has in common; 0 if there is none.
        """
        above = node or self._top.children.get(salt)
        best, most = HOLLOW, 0
        for child in itertools.islice(reversed(above.children.values()) if above else (), _MOST_COMPARED):
            if child.page != HOLLOW and child.step < before and (same := _common(child.key, tokens)) > most:
                best, most = child.page, same
        return best, most

    def extend(
        self, node: Node, tokens: Sequence[int], first: int, pages: Sequence[int], *, below_foreign: bool
    ) -> tuple[Node | None, list[Node]]:
        """Puts pages `first`, `first + 1`, … of a sequence into the tree.

        Where the same tokens are cached on another page, that page stays, and ours does not enter.

        Args:
            node: of the sequence's page `first - 1`; its root when `first` is 0.
            tokens: the sequence from its start.
            first: index of the first of `pages`.
            pages: pages of the sequence, full but for its last.
            below_foreign: whether pages may enter below such another page. If not, whoever holds a page
                of the tree holds all pages above it.

        Returns:
            The last page's node (None if it could not enter), and the nodes whose page is new.
        """
        size = self._page_size
        new: list[Node] = []
        for index, page in enumerate(pages, first):
            node = self._child(node, tuple(tokens[index * size : (index + 1) * size]))
            if node.page == HOLLOW:
                node.page = page
                self._by_page[page] = node
                new.append(node)
            elif node.page != page and not below_foreign:
                return None, new
        return node, new

    def remove(self, node: Node) -> Node | None:
        """Takes a page out; returns the page before it, if that is a leaf now.

        With children its node stays, hollow; else hollow nodes that led only to it go as well.
        """
        del self._by_page[node.page]
        node.page = HOLLOW
        while node.page == HOLLOW and not node.children and node.parent is not None:
            parent = node.parent
            del parent.children[node.key]
            node.parent = None
            node = parent
        return node if node.page != HOLLOW and not node.children else None

    def nodes(self) -> Iterator[Node]:
        """All nodes below the roots, hollow or not, in no order."""
        roots = self._top.children.values()
        stack = [child for root in roots for child in root.children.values()]
        while stack:
            node = stack.pop()
            stack.extend(node.children.values())
            yield node

    def check_integrity(self) -> None:
        """Asserts that links agree, and that nothing hollow lies at an end. For tests."""
        pages = 0
        for node in self.nodes():
            assert node.parent is not None
            assert node.parent.children[node.key] is node
            assert node.page != HOLLOW or node.children, "a hollow leaf"
            assert node.page == HOLLOW or self._by_page[node.page] is node
            pages += node.page != HOLLOW
        assert pages == len(self._by_page), "a page is booked whose node is gone"

    def _child(self, node: Node, key: Key) -> Node:
        child = node.children.get(key)
        if child is None:
            child = node.children[key] = Node(key, node)
        return child


def _common(key: Key, tokens: Sequence[int]) -> int:
    """With how many of the same tokens both begin."""
    count = 0
    for one, other in zip(key, tokens, strict=False):
        if one != other:
            break
        count += 1
    return count
