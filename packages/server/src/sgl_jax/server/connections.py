"""Cuts off clients that hold a connection and let nothing happen on it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from typing import Protocol

logger = logging.getLogger(__name__)

FIRST_BYTES_SECONDS = 30.0
"""How long a client may take from connecting, or from the first byte of a further request, to its last header."""
LOOKS = 4
"""How often a connection is looked at before it may be cut off."""


class Cycle(Protocol):
    """One request and its answer, as uvicorn has them."""

    response_complete: bool


class Connection(Protocol):
    """What we look at in one of uvicorn's connections.

    Attributes:
        cycle: the latest request; None before the first.
        timeout_keep_alive_task: set while uvicorn itself waits for the next request.
    """

    transport: asyncio.Transport | None
    cycle: Cycle | None
    timeout_keep_alive_task: asyncio.TimerHandle | None


class ConnectionWatch:
    """Aborts connections whose client neither reads what was written nor finishes asking.

    A handler with such a client ends as if that client had left, so its sequences free their slots. What waits for the
    client meanwhile is bounded: the transport's buffer, and the engine's tokens in one mailbox a sequence.

    Args:
        connections: uvicorn's own set of what is open.
        stall_seconds: how long a client may take in nothing while there is something for it.
    """

    def __init__(self, connections: Collection[Connection], stall_seconds: float) -> None:
        self._connections = connections
        self._stall_seconds = stall_seconds
        self._states: dict[Connection, tuple[str, float]] = {}  # what each waits for, and since when

    async def run(self) -> None:
        """Looks at all connections from time to time, until cancelled."""
        loop = asyncio.get_running_loop()
        pause = min(self._stall_seconds, FIRST_BYTES_SECONDS) / LOOKS
        while True:
            await asyncio.sleep(pause)
            self.look(loop.time())

    def look(self, now: float) -> None:
        """Aborts what has been stuck for too long at time `now` (seconds of a clock)."""
        states: dict[Connection, tuple[str, float]] = {}
        for connection in list(self._connections):
            transport = connection.transport
            state = _state(connection)
            if transport is None or state is None:
                continue
            before, since = self._states.get(connection, (state, now))
            if state != before:
                since = now
            if now - since >= (FIRST_BYTES_SECONDS if state == _NO_REQUEST else self._stall_seconds):
                logger.info("cut off %s: %s", transport.get_extra_info("peername"), state)
                transport.abort()
            else:
                states[connection] = state, since
        self._states = states


_NO_REQUEST = "it sent no request"


def _state(connection: Connection) -> str | None:
    """What the connection waits for its client to do; None when it does not."""
    if connection.transport is not None and (size := connection.transport.get_write_buffer_size()):
        return f"it read nothing, with {size} bytes waiting"
    between = connection.cycle is None or connection.cycle.response_complete
    return _NO_REQUEST if between and connection.timeout_keep_alive_task is None else None
