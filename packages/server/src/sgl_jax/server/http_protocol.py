"""HTTP/1.1 by uvicorn and httptools, with a bound on what a client may send that is no body.

A streamed token is a chunk of an answer, and h11, uvicorn's other choice, spends as long on writing one as we do on
making it. But it bounds heads, which httptools collects without end.
"""

from __future__ import annotations

import logging

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

logger = logging.getLogger("uvicorn.error")

MOST_HEAD_BYTES = 64 * 1024
"""About: what comes with one read from the socket is looked at as a whole."""
INVALID = "Invalid HTTP request received."


class BoundedHttpProtocol(HttpToolsProtocol):
    """Refuses a head, a trailer or a chunk's extension that goes on for too long, with uvicorn's answer to bad HTTP."""

    _moved = False
    """Whether anything was completed by what is being read."""
    _unfinished = 0
    """Bytes that came since."""

    def data_received(self, data: bytes) -> None:
        """Parses what came."""
        self._moved = False
        super().data_received(data)
        self._unfinished = 0 if self._moved else self._unfinished + len(data)
        if self._unfinished > MOST_HEAD_BYTES and not self.transport.is_closing():
            logger.warning(INVALID)
            self.send_400_response(INVALID)

    def on_message_begin(self) -> None:
        """A request begins."""
        self._moved = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its head is there."""
        self._moved = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Some of its body is there."""
        self._moved = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """All of it is there."""
        self._moved = True
        super().on_message_complete()
