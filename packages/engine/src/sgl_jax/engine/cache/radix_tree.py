"""A tree of full KV pages: the path from the root spells the tokens whose keys and values they hold.

Matching is page-aligned: a node is one page and its edge the page's tokens. What a finer match would
save is less than one page of recomputation a request.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

Key = tuple[int, ...]


class Node:
    """One cached page.

    Attributes:
        page: its id.
        key: the tokens it holds.
        parent: the page before it, or the root of its name space (whose `page` is -1).
        children: pages that follow it, by their tokens.
        last_used: logical time of the last request that matched or made it.
        priority: highest priority of any request that used it.
    """

    __slots__ = ("children", "key", "last_used", "page", "parent", "priority")

    def __init__(self, page: int, key: Key, parent: Node | None) -> None:
        self.page = page
        self.key = key
        self.parent = parent
        self.children: dict[Key, Node] = {}
        self.last_used = 0
        self.priority = 0


class RadixTree:
    """Maps token sequences to pages. Knows nothing of who uses them.

    Args:
        page_size: tokens a page.
    """

    def __init__(self, page_size: int) -> None:
        self._page_size = page_size
        self._roots: dict[str, Node] = {}
        self._by_page: dict[int, Node] = {}

    def __len__(self) -> int:
        return len(self._by_page)

    def node(self, page: int) -> Node | None:
        """The node of a page, if it is cached."""
        return self._by_page.get(page)

    def match(self, tokens: Sequence[int], salt: str) -> list[Node]:
        """Nodes of the longest cached prefix of `tokens`, first page first."""
        node = self._roots.get(salt)
        found: list[Node] = []
        for key in self._keys(tokens):
            node = None if node is None else node.children.get(key)
            if node is None:
                break
            found.append(node)
        return found

    def extend(self, tokens: Sequence[int], pages: Sequence[int], first: int, salt: str) -> list[Node]:
        """Puts pages `first`, `first + 1`, … of a sequence into the tree, as far as their tokens are full.

        Nothing is put below another sequence's page: where the same tokens are cached on a page that
        is not among `pages`, the rest stays out. So a page in the tree is held by whoever holds one
        after it.

        Args:
            tokens: the sequence from its start.
            pages: all its pages, in order.
            first: index of the first page to put in.
            salt: name space.

        Returns:
            The nodes that are new.
        """
        node = self._roots.setdefault(salt, Node(-1, (), None))
        new: list[Node] = []
        for index, key in enumerate(self._keys(tokens)):
            child = node.children.get(key)
            if child is None and index >= first:
                child = node.children[key] = Node(pages[index], key, node)
                self._by_page[child.page] = child
                new.append(child)
            if child is None or child.page != pages[index]:
                break
            node = child
        return new

    def remove(self, node: Node) -> Node | None:
        """Takes a leaf out; returns its parent page, if it had one."""
        assert not node.children, "only leaves can be removed"
        assert node.parent is not None
        del node.parent.children[node.key]
        del self._by_page[node.page]
        return node.parent if node.parent.page >= 0 else None

    def nodes(self) -> Iterator[Node]:
        """All cached pages, in no order."""
        return iter(self._by_page.values())

    def _keys(self, tokens: Sequence[int]) -> Iterator[Key]:
        size = self._page_size
        for begin in range(0, len(tokens) - size + 1, size):
            yield tuple(tokens[begin : begin + size])
