"""Many concurrent streams over several HTTP clients.

One client would do, were it not for its connection pool: httpcore looks at every connection whenever a request starts
or ends. With hundreds of streams in one pool the tester spends its time there and reports it as the server's latency.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

from sgl_jax.client import AsyncSglJax

STREAMS_PER_CLIENT = 32


class Connections:
    """An async context manager that owns clients and lends out the one with the least to do.

    Args:
        make: makes a client; called again whenever all are full. It takes tens of milliseconds, in which nothing is
            measured in time, so name the expected number.
        expected_streams: how many requests will run at a time; clients for them are made at once.
    """

    def __init__(self, make: Callable[[], AsyncSglJax], expected_streams: int = 1) -> None:
        self._make = make
        self._clients: list[AsyncSglJax] = []
        self._running: list[int] = []
        for _ in range(-(-expected_streams // STREAMS_PER_CLIENT)):
            self._add()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for client in self._clients:
            await client.close()

    def __len__(self) -> int:
        return len(self._clients)

    @contextmanager
    def lease(self) -> Iterator[AsyncSglJax]:
        """Lend a client for one request."""
        position = min(range(len(self._running)), key=self._running.__getitem__)
        if self._running[position] >= STREAMS_PER_CLIENT:
            position = self._add()
        self._running[position] += 1
        try:
            yield self._clients[position]
        finally:
            self._running[position] -= 1

    def _add(self) -> int:
        self._clients.append(self._make())
        self._running.append(0)
        return len(self._clients) - 1
