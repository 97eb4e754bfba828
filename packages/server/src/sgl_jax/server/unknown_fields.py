"""Request fields that the server does not know: a word in the log for each, once."""

from __future__ import annotations

import logging

logger = logging.getLogger(__name__)

_MAX_WARNED = 1000


class UnknownFields:
    """Remembers which unknown field names were warned about, so that each is logged once."""

    def __init__(self) -> None:
        self._warned: set[str] = set()

    def warn(self, route: str, name: str) -> None:
        """Logs `name` the first time it is seen. Bounded: clients choose the names."""
        if name not in self._warned and len(self._warned) < _MAX_WARNED:
            self._warned.add(name)
            logger.warning("%s: ignoring the unknown field %r (--strict-fields refuses it)", route, name[:100])
