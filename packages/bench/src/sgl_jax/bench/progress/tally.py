"""Running totals of a run, kept by the event loop and read by whoever draws."""

from __future__ import annotations

import time
from collections import deque

from sgl_jax.bench.record import Clock, RequestRecord

_RECENT = 200


class Tally:
    """What has happened so far.

    Attributes:
        done, failed: finished requests, and how many of them failed.
        tokens: output tokens of finished requests, from `usage`.
        recent: the last finished successful requests, newest last.
    """

    def __init__(self, clock: Clock = time.perf_counter) -> None:
        self._clock = clock
        self._start = clock()
        self._running: dict[int, RequestRecord] = {}
        self._chunks = 0
        self.done = 0
        self.failed = 0
        self.tokens = 0
        self.recent: deque[RequestRecord] = deque(maxlen=_RECENT)

    def start(self, record: RequestRecord) -> None:
        """Note that a request left."""
        self._running[id(record)] = record

    def finish(self, record: RequestRecord) -> None:
        """Note that a request ended."""
        self._running.pop(id(record), None)
        self._chunks += len(record.chunk_times)
        self.done += 1
        self.failed += not record.ok
        self.tokens += record.output_tokens or 0
        if record.ok:
            self.recent.append(record)

    def total(self, expected: int | None) -> int | None:
        """Return how many requests there will be at least: more than expected when conversations go on."""
        return None if expected is None else max(expected, self.done + self.running)

    @property
    def running(self) -> int:
        """Requests under way."""
        return len(self._running)

    @property
    def chunks(self) -> int:
        """Chunks of output that came so far, those of answers that are still coming included."""
        return self._chunks + sum(len(record.chunk_times) for record in list(self._running.values()))

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._start
