"""Step plans on their way from node 0 to the others: all nodes run the same steps in the same order.

A frame is four bytes of length and a plan as msgpack; one without content is a goodbye. Who breaks off without it is
lost, and with it the step that the others wait in: no call into the device returns then, so that the process ends.
"""

from __future__ import annotations

import contextlib
import hmac
import logging
import queue
import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import BinaryIO

import msgspec
import numpy as np

from sgl_jax.engine.errors import ConfigError
from sgl_jax.engine.parallel.leaving import leave
from sgl_jax.engine.parallel.nodes import told_by_node_0
from sgl_jax.engine.plan import Executor, PendingStep, StepPlan

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 30.0
HELLO_SECONDS = 2.0
"""How long one that connects may take to show the secret; the others wait behind it."""
GOODBYE_SECONDS = 0.5
"""How long node 0 stays for the others, which want to see it leave last."""
_LENGTH = struct.Struct("!I")
_ADDRESS = struct.Struct("!H32s")
"""Node 0's port, and what a node shows there to be let in."""
_HELLO = struct.Struct("!I32s")
"""A node's number, and that."""


# A plan's only arrays are masks.
encode_plan = msgspec.msgpack.Encoder(enc_hook=lambda mask: mask.tobytes()).encode
decode_plan = msgspec.msgpack.Decoder(StepPlan, dec_hook=lambda _, mask: np.frombuffer(mask, np.uint32)).decode


def lose(reason: str) -> None:
    """Says why, and ends the process: its device waits for a node that is gone."""
    logger.error("%s; this node ends, too: start all of them again", reason)
    leave(1)


class PlanSender:
    """Node 0's end.

    Args:
        nodes: how many there are; all of them make their end at the same time.
        on_lost: hears, on another thread, that a node is gone.

    Raises:
        ConfigError: a node did not come.
    """

    def __init__(self, nodes: int, on_lost: Callable[[str], None] = lose) -> None:
        self._on_lost = on_lost
        self._is_closed = False
        secret = secrets.token_bytes(32)
        with _listener() as listener:
            told_by_node_0(_ADDRESS.pack(listener.getsockname()[1], secret))
            self._nodes = _let_in(listener, nodes, secret)
        self._watching = [
            threading.Thread(target=self._watch, args=(rank, node), name=f"node-{rank}", daemon=True)
            for rank, node in self._nodes.items()
        ]
        for thread in self._watching:
            thread.start()

    def send(self, plan: StepPlan) -> None:
        """Sends a plan to all nodes."""
        self._send(encode_plan(plan))

    def close(self) -> None:
        """Says goodbye; returns when the nodes have ended, or soon."""
        if self._is_closed:
            return
        self._is_closed = True
        self._send(b"")
        deadline = time.monotonic() + GOODBYE_SECONDS
        for thread in self._watching:
            thread.join(max(deadline - time.monotonic(), 0.0))

    def _send(self, content: bytes) -> None:
        frame = _LENGTH.pack(len(content)) + content
        for node in self._nodes.values():
            with contextlib.suppress(OSError):  # `_watch` hears of it
                node.sendall(frame)

    def _watch(self, rank: int, node: socket.socket) -> None:
        with node, contextlib.suppress(OSError):
            node.recv(1)  # nodes say nothing
        if not self._is_closed:
            self._on_lost(f"node {rank} is gone")


class PlanReceiver:
    """Another node's end.

    Args:
        host: where node 0 is.
        rank: this node's number.
        on_lost: hears, on another thread, that node 0 is gone without a goodbye.

    Raises:
        ConfigError: node 0 cannot be reached.
    """

    def __init__(self, host: str, rank: int, on_lost: Callable[[str], None] = lose) -> None:
        port, secret = _ADDRESS.unpack(told_by_node_0(bytes(_ADDRESS.size)))
        try:
            self._socket = socket.create_connection((host, port), CONNECT_SECONDS)
        except OSError as error:
            raise ConfigError(
                f"Node {rank} cannot reach node 0 at {host}:{port} ({error}). Nodes must be able to open any port of "
                "each other, and --dist-init-addr must name node 0 as the others reach it."
            ) from error
        self._socket.settimeout(None)
        self._socket.sendall(_HELLO.pack(rank, secret))
        self._on_lost = on_lost
        self._plans: queue.SimpleQueue[StepPlan | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, name="plans", daemon=True).start()

    def plans(self) -> Iterator[StepPlan]:
        """What node 0 plans, until it says goodbye. Hangs up only then: node 0 waits for that."""
        try:
            while (plan := self._plans.get()) is not None:
                yield plan
        finally:
            self._socket.close()

    def _read(self) -> None:
        try:
            with self._socket.makefile("rb") as stream:
                while content := _frame(stream):
                    self._plans.put(decode_plan(content))
            self._plans.put(None)
        except (OSError, EOFError):
            self._on_lost("node 0 is gone")
        except msgspec.DecodeError as error:
            self._on_lost(f"node 0 sent what is no plan ({error})")


def follow(executor: Executor, plans: Iterator[StepPlan]) -> None:
    """Runs what node 0 plans, to the end; at most one step is dispatched before the one before is done."""
    before: PendingStep | None = None
    for plan in plans:
        dispatched = executor.dispatch(plan)
        if before is not None:
            before.collect()
        before = dispatched
    if before is not None:
        before.collect()


def _frame(stream: BinaryIO) -> bytes:
    """The next frame's content; none is a goodbye. Raises `EOFError` where the stream ends without."""
    head = stream.read(_LENGTH.size)
    length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else -1
    content = stream.read(max(length, 0))
    if len(content) != length:
        raise EOFError
    return content


def _listener() -> socket.socket:
    """On a free port of all addresses."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", 0))


def _let_in(listener: socket.socket, nodes: int, secret: bytes) -> dict[int, socket.socket]:
    """The other nodes' connections; whoever else comes is sent away."""
    found: dict[int, socket.socket] = {}
    deadline = time.monotonic() + CONNECT_SECONDS
    while len(found) < nodes - 1:
        left = deadline - time.monotonic()
        listener.settimeout(max(left, 0.01))
        try:
            node, _ = listener.accept()
        except TimeoutError:
            missing = sorted(set(range(1, nodes)) - set(found))
            raise ConfigError(f"Nodes {missing} joined, but did not connect to node 0 for the step plans.") from None
        node.settimeout(HELLO_SECONDS)
        try:
            rank, shown = _HELLO.unpack(_exactly(node, _HELLO.size))
        except (OSError, struct.error):
            node.close()
            continue
        if not hmac.compare_digest(shown, secret) or not 0 < rank < nodes or rank in found:
            node.close()
            continue
        node.settimeout(None)
        node.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        found[rank] = node
    return found


def _exactly(node: socket.socket, length: int) -> bytes:
    content = b""
    while len(content) < length and (part := node.recv(length - len(content))):
        content += part
    return content
