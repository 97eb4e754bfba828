"""The waiting requests, in the order in which they will be admitted."""

from __future__ import annotations

import heapq

from sgl_jax.engine.scheduling.request import Request

LPM_TOKENS_A_PLACE = 64
LPM_MAX_PLACES = 64


class WaitingQueue:
    """A priority queue of requests with removal by id.

    A preempted request keeps its arrival number, so it comes back before everything that arrived later.

    Args:
        policy: `fcfs`: by arrival. `priority`: by priority, then arrival. `lpm` (longest prefix match): by
            arrival, but every `LPM_TOKENS_A_PLACE` tokens found in the prefix cache move a request one
            place forward, at most `LPM_MAX_PLACES`, so that nobody is overtaken for ever.
    """

    def __init__(self, policy: str = "fcfs") -> None:
        self._policy = policy
        self._requests: dict[str, Request] = {}
        self._heap: list[tuple[int, int, Request]] = []

    @property
    def looks_at_prefixes(self) -> bool:
        """Whether the order depends on what the prefix cache has."""
        return self._policy == "lpm"

    def __len__(self) -> int:
        return len(self._requests)

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._requests

    def push(self, request: Request, matched_tokens: int = 0) -> None:
        """Adds a request; `matched_tokens` of it are in the prefix cache now."""
        self._requests[request.request_id] = request
        heapq.heappush(self._heap, (self._rank(request, matched_tokens), request.arrival, request))

    def peek(self) -> Request | None:
        """The request to be admitted next."""
        while self._heap:
            request = self._heap[0][-1]
            if self._requests.get(request.request_id) is request:
                return request
            heapq.heappop(self._heap)  # removed meanwhile
        return None

    def get(self, request_id: str) -> Request | None:
        """The waiting request of that id, if there is one."""
        return self._requests.get(request_id)

    def remove(self, request_id: str) -> None:
        """Removes a request wherever it stands; nothing happens when it is not here."""
        self._requests.pop(request_id, None)
        if not self._requests:
            self._heap.clear()

    def _rank(self, request: Request, matched_tokens: int) -> int:
        if self._policy == "priority":
            return -request.priority
        if self.looks_at_prefixes:
            return request.arrival - min(matched_tokens // LPM_TOKENS_A_PLACE, LPM_MAX_PLACES)
        return 0
