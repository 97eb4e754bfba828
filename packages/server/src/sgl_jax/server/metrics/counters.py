"""What the web process counts while it serves."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import Literal

from sgl_jax.engine.messages import TokenDelta
from sgl_jax.server.metrics.histogram import Histogram

Outcome = Literal["stop", "length", "abort", "error", "disconnect"]

FIRST_TOKEN = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 4, 6, 8, 10, 20, 40, 60, 100, 200, 400)
BETWEEN_TOKENS = (0.001, 0.002, 0.004, 0.006, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.2, 0.4, 0.8, 1, 2, 4, 8)
WHOLE_REQUEST = (0.05, 0.1, 0.2, 0.4, 0.8, 1, 2, 4, 6, 8, 10, 20, 40, 60, 80, 100, 200, 400, 600, 1200, 2400)
IN_QUEUE = (0.001, 0.005, 0.01, 0.05, 0.1, 0.2, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300)
"""Upper bounds of the histograms, in seconds."""


class Counters:
    """Since the server's start. Times are in seconds, and counted once a sequence or once a token.

    Attributes:
        first_token: from the request to its first token.
        between_tokens: between tokens of a sequence; tokens that come together share the time since those before.
        whole_request: from the request to its end.
        in_queue: from the queue to the first step.
        outcomes: sequences by how they ended.
        responses: HTTP answers by method, route and status.
    """

    __slots__ = ("between_tokens", "first_token", "in_queue", "outcomes", "responses", "whole_request")

    def __init__(self) -> None:
        self.first_token = Histogram(FIRST_TOKEN)
        self.between_tokens = Histogram(BETWEEN_TOKENS)
        self.whole_request = Histogram(WHOLE_REQUEST)
        self.in_queue = Histogram(IN_QUEUE)
        self.outcomes: Counter[Outcome] = Counter()
        self.responses: Counter[tuple[str, ...]] = Counter()


@dataclass(frozen=True, slots=True)
class Timeline:
    """When a sequence reached what, by `time.perf_counter()`.

    Attributes:
        started: when it was asked for.
        first_token: None when there was none.
        queue_seconds: how long it waited for its first step.
        tokens: how many came.
    """

    started: float
    first_token: float | None
    ended: float
    queue_seconds: float
    tokens: int
    outcome: Outcome


class SequenceClock:
    """Takes the times of one sequence, from now on."""

    __slots__ = ("_counters", "_first", "_latest", "_queue_seconds", "_started", "_tokens")

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._started = time.perf_counter()
        self._first: float | None = None
        self._latest = 0.0  # when the latest token came
        self._queue_seconds = 0.0
        self._tokens = 0

    def tick(self, delta: TokenDelta) -> None:
        """Takes in what a step brought."""
        if delta.embedding:
            self._queue_seconds = delta.queue_seconds
            self._counters.in_queue.observe(delta.queue_seconds)
        if not (tokens := len(delta.token_ids)):
            return
        now = time.perf_counter()
        if self._first is None:
            self._first, self._queue_seconds = now, delta.queue_seconds
            self._counters.first_token.observe(now - self._started)
            self._counters.in_queue.observe(delta.queue_seconds)
        else:
            self._counters.between_tokens.observe((now - self._latest) / tokens, tokens)
        self._latest = now
        self._tokens += tokens

    def end(self, outcome: Outcome) -> Timeline:
        """The sequence ended."""
        now = time.perf_counter()
        self._counters.outcomes[outcome] += 1
        self._counters.whole_request.observe(now - self._started)
        return Timeline(self._started, self._first, now, self._queue_seconds, self._tokens, outcome)
