from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import cast

import pytest

from sgl_jax.bench.connections import STREAMS_PER_CLIENT, Connections
from sgl_jax.client import AsyncSglJax


class _Client:
    closed = False

    async def close(self) -> None:
        self.closed = True


def _connections(expected: int, made: list[_Client]) -> Connections:
    def make() -> AsyncSglJax:
        made.append(_Client())
        return cast("AsyncSglJax", made[-1])

    return Connections(make, expected)


@pytest.mark.parametrize(("streams", "clients"), [(1, 1), (STREAMS_PER_CLIENT, 1), (STREAMS_PER_CLIENT + 1, 2)])
def test_clients_are_made_beforehand(streams: int, clients: int) -> None:
    assert len(_connections(streams, [])) == clients


def test_no_client_runs_more_than_its_share_and_all_are_closed() -> None:
    made: list[_Client] = []

    async def main() -> None:
        async with _connections(1, made) as connections:
            with ExitStack() as leases:
                lent = [leases.enter_context(connections.lease()) for _ in range(3 * STREAMS_PER_CLIENT)]
                assert all(lent.count(client) == STREAMS_PER_CLIENT for client in set(lent))
            with connections.lease():
                assert len(connections) == 3

    asyncio.run(main())
    assert [client.closed for client in made] == [True] * 3


def test_the_idlest_client_is_lent() -> None:
    connections = _connections(2 * STREAMS_PER_CLIENT, [])
    with connections.lease() as first, connections.lease() as second:
        assert first is not second
