"""Which engine requests run for which public id, so that `/abort_request` finds them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


class LiveRequests:
    """Public ids (`chatcmpl-…`, a caller's `rid`) -> ids of the engine requests that serve them.

    Two HTTP requests may bring the same `rid`; aborting it ends both.
    """

    def __init__(self) -> None:
        self._by_name: dict[str, set[str]] = {}

    def add(self, names: Mapping[str, Iterable[str]]) -> None:
        """Files engine ids under public ids."""
        for name, request_ids in names.items():
            self._by_name.setdefault(name, set()).update(request_ids)

    def remove(self, names: Mapping[str, Iterable[str]]) -> None:
        """Undoes `add`; unknown names and ids are ignored."""
        for name, request_ids in names.items():
            if (live := self._by_name.get(name)) is not None:
                live.difference_update(request_ids)
                if not live:
                    del self._by_name[name]

    def find(self, name: str) -> list[str]:
        """The live engine requests filed under `name`, sorted."""
        return sorted(self._by_name.get(name, ()))

    def all(self) -> list[str]:
        """Every live engine request, sorted."""
        return sorted(set().union(*self._by_name.values()))
