"""What one running sequence holds of the KV pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sgl_jax.engine.cache.radix_tree import Node


@dataclass(slots=True)
class Holding:
    """A run of a sequence's pages, up to its newest. Made by `PrefixCache.match`, moved by the cache only.

    Attributes:
        pages: page ids, in sequence order.
        first: index in the sequence of `pages[0]`; the pages before it lie behind the window.
        salt: name space of the sequence in the cache.
        priority: of its pages against eviction.
        num_kept: pages of the sequence, from its start, that were offered to the cache.
        node: the tree's node of the last of them; None when there is none, or when the tree will take
            no more of this sequence.
    """

    pages: list[int] = field(default_factory=list)
    first: int = 0
    salt: str = ""
    priority: int = 0
    num_kept: int = 0
    node: Node | None = None

    @property
    def end(self) -> int:
        """Index in the sequence of the page that would come next."""
        return self.first + len(self.pages)

    def since(self, index: int) -> Sequence[int]:
        """The pages from that index of the sequence on."""
        return self.pages[index - self.first :]
