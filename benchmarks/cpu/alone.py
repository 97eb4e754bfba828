"""What a server takes while it is the only one: time to become ready, memory, and the processor when idle."""

from __future__ import annotations

import time
from pathlib import Path

from cells import HEAVY, measure
from report import Weight
from servers import PeakMemory, Server

IDLE_SECONDS = 2.0
SEED = 500


def weigh(server: Server, model: Path) -> Weight:
    """Watches a server that was just started: idle first, then under `cells.HEAVY`.

    Raises:
        CellError: it cannot be measured.
    """
    before = server.cpu_seconds()
    time.sleep(IDLE_SECONDS)
    idle_cores = (server.cpu_seconds() - before) / IDLE_SECONDS
    idle = server.pss_bytes()
    with PeakMemory(server) as memory:
        measure(server, HEAVY, model, SEED)
    return Weight(server.ready_seconds, idle_cores, idle / 2**20, max(idle, memory.peak) / 2**20)
