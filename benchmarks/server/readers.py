"""Many streaming clients in one thread: plain sockets, so that they take little of the machine from the server."""

from __future__ import annotations

import json
import re
import selectors
import socket
import time
from collections.abc import Callable
from typing import Any

EVENT = re.compile(rb"data: (\{.*?\})\n\n", re.DOTALL)
CLOCK = time.monotonic
PATIENCE = 60.0

Text = Callable[[Any], str]
"""Finds the new text in an event."""


class Reader:
    """One stream: its socket, and when each of its tokens came.

    Attributes:
        tokens: (word, clock) of each.
        is_done: whether the end mark came.
    """

    def __init__(self, address: tuple[str, int], path: str, body: Any, text: Text) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        payload = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(payload)}"
        )
        self.socket.sendall(f"{head}\r\n\r\n".encode() + payload)
        self.socket.setblocking(False)
        self.tokens: list[tuple[str, float]] = []
        self.is_done = False
        self._text = text
        self._rest = b""

    def read(self) -> int:
        """Takes what is there; returns how many tokens that were."""
        data = self.socket.recv(1 << 20)
        now = CLOCK()
        if not data:
            raise ConnectionError(f"the server ended a stream early: {self._rest[-200:]!r}")
        self._rest += data
        end, before = 0, len(self.tokens)
        for match in EVENT.finditer(self._rest):
            end = match.end()
            # Two steps in one event are two words.
            self.tokens += [(word, now) for word in self._text(json.loads(match[1])).split()]
        self.is_done = b"data: [DONE]" in self._rest[end:]
        self._rest = self._rest[end:]
        return len(self.tokens) - before


def read_all(readers: list[Reader], on_tokens: Callable[[int], None]) -> None:
    """Reads all streams to their ends; `on_tokens` hears of every few tokens."""
    selector = selectors.DefaultSelector()
    for reader in readers:
        selector.register(reader.socket, selectors.EVENT_READ, reader)
    open_streams = len(readers)
    while open_streams:
        ready = selector.select(PATIENCE)
        if not ready:
            raise TimeoutError(f"{open_streams} streams say nothing any more")
        for key, _ in ready:
            on_tokens(key.data.read())
            if key.data.is_done:
                selector.unregister(key.fileobj)
                key.data.socket.close()
                open_streams -= 1
