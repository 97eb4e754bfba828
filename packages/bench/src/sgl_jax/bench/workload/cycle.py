"""Conversations from a file, repeated for as long as requests are wanted."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import count

from sgl_jax.bench.errors import WorkloadError
from sgl_jax.bench.workload.base import RequestSpec


class Cycle:
    """Sends each entry in turn and then starts again.

    Args:
        name: for reports and results files.
        entries: each makes its request from the request's index.
        seed: draws the order; None keeps the file's.

    Raises:
        WorkloadError: there is no entry.
    """

    def __init__(self, name: str, entries: Sequence[Callable[[int], RequestSpec]], seed: int | None = None) -> None:
        if not entries:
            raise WorkloadError(f"{name} holds no request: it needs at least one")
        self._name = name
        self._entries = list(entries)
        if seed is not None:
            random.Random(seed).shuffle(self._entries)

    @property
    def name(self) -> str:
        """A short name for reports and results files."""
        return self._name

    def __len__(self) -> int:
        return len(self._entries)

    def requests(self) -> Iterator[RequestSpec]:
        """Return a fresh endless iterator over the entries."""
        for index in count():
            yield self._entries[index % len(self._entries)](index)
