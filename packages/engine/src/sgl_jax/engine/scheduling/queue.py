"""The waiting requests, first come first served; preempted ones go back to the head."""

from __future__ import annotations

from collections import OrderedDict

from sgl_jax.engine.scheduling.request import Request


class WaitingQueue:
    """An ordered set of requests with removal by id in O(1)."""

    def __init__(self) -> None:
        self._requests: OrderedDict[str, Request] = OrderedDict()

    def __len__(self) -> int:
        return len(self._requests)

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._requests

    def push(self, request: Request) -> None:
        """Adds a new request at the tail."""
        self._requests[request.request_id] = request

    def push_front(self, request: Request) -> None:
        """Puts a preempted request back at the head, before everything that came later."""
        self._requests[request.request_id] = request
        self._requests.move_to_end(request.request_id, last=False)

    def peek(self) -> Request | None:
        """The request to be admitted next."""
        return next(iter(self._requests.values()), None)

    def pop(self) -> Request:
        """Removes and returns what `peek` shows."""
        return self._requests.popitem(last=False)[1]

    def get(self, request_id: str) -> Request | None:
        """The waiting request of that id, if there is one."""
        return self._requests.get(request_id)

    def remove(self, request_id: str) -> None:
        """Removes a request wherever it stands; nothing happens when it is not here."""
        self._requests.pop(request_id, None)
