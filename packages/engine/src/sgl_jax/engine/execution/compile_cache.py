"""How many programs this process found in JAX's persistent compile cache instead of compiling them."""

from __future__ import annotations

import itertools

import jax

_HIT = "/jax/compilation_cache/cache_hits"


class _Listener:
    """Counts events; JAX has no way to ask for the number."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self.hits = 0

    def __call__(self, event: str, **_: object) -> None:
        if event == _HIT:
            self.hits = next(self._numbers)  # compile threads report at the same time


_listener = _Listener()
jax.monitoring.register_event_listener(_listener)


def hits() -> int:
    """Programs found in the cache so far, over the life of the process."""
    return _listener.hits
