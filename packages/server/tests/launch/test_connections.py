from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from sgl_jax.server.connections import FIRST_BYTES_SECONDS, Connection, ConnectionWatch


@dataclass
class FakeTransport:
    waiting: int = 0
    aborted: bool = False

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def get_extra_info(self, name: str) -> str:
        return name

    def abort(self) -> None:
        self.aborted = True


@dataclass
class FakeCycle:
    response_complete: bool = False


@dataclass(eq=False)
class FakeConnection:
    transport: FakeTransport = field(default_factory=FakeTransport)
    cycle: FakeCycle | None = field(default_factory=FakeCycle)
    timeout_keep_alive_task: Any = None


STALL = 8.0


def watch(connection: FakeConnection) -> ConnectionWatch:
    return ConnectionWatch([cast("Connection", connection)], STALL)


def aborted_at(connection: FakeConnection, seconds: int) -> int | None:
    """Looks once a second; the second at which the connection is aborted."""
    watching = watch(connection)
    for now in range(seconds):
        watching.look(float(now))
        if connection.transport.aborted:
            return now
    return None


def test_a_client_that_reads_nothing_is_cut_off() -> None:
    assert aborted_at(FakeConnection(FakeTransport(waiting=70_000)), 100) == STALL


def test_a_client_that_reads_slowly_is_not() -> None:
    connection = FakeConnection(FakeTransport(waiting=70_000))
    watching = watch(connection)
    for now in range(100):
        if now % 7 == 0:
            connection.transport.waiting -= 1
        watching.look(float(now))
    assert not connection.transport.aborted


@pytest.mark.parametrize("cycle", [None, FakeCycle(response_complete=True)])
def test_a_client_that_never_finishes_asking_is_cut_off(cycle: FakeCycle | None) -> None:
    assert aborted_at(FakeConnection(cycle=cycle), 100) == FIRST_BYTES_SECONDS


@pytest.mark.parametrize(
    "connection",
    [FakeConnection(), FakeConnection(cycle=FakeCycle(response_complete=True), timeout_keep_alive_task="set")],
    ids=["waits for tokens", "kept alive by uvicorn"],
)
def test_others_are_left_alone(connection: FakeConnection) -> None:
    assert aborted_at(connection, 1000) is None


def test_each_has_its_own_clock() -> None:
    first, second = FakeConnection(FakeTransport(5)), FakeConnection(FakeTransport(5))
    connections = [cast("Connection", first)]
    watching = ConnectionWatch(connections, STALL)
    for now in range(9):
        if now == 4:
            connections.append(cast("Connection", second))
        watching.look(float(now))
    assert (first.transport.aborted, second.transport.aborted) == (True, False)


def test_it_looks_by_itself() -> None:
    async def scenario() -> None:
        connection = FakeConnection(FakeTransport(5))
        watching = asyncio.create_task(ConnectionWatch([cast("Connection", connection)], 0.02).run())
        while not connection.transport.aborted:
            await asyncio.sleep(0.001)
        watching.cancel()

    asyncio.run(asyncio.wait_for(scenario(), 60))
