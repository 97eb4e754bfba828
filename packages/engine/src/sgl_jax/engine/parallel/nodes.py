"""Several machines as one: nodes find each other, and agree on what each would else decide for itself."""

from __future__ import annotations

import hashlib
import logging
import socket
import threading
from collections.abc import Iterable, Mapping

import jax
import numpy as np
from jax.experimental import multihost_utils

from sgl_jax.engine.errors import ConfigError
from sgl_jax.engine.parallel.leaving import leave

logger = logging.getLogger(__name__)

JOIN_SECONDS = 300
"""How long a node waits for the others: they may have a model to download first."""


def join_nodes(host: str, port: int, count: int, rank: int) -> None:
    """Waits until all nodes are there; from then on `jax.devices()` are those of all of them.

    Args:
        host, port: of node 0, which listens there.
        count: of nodes.
        rank: this one's number.

    Raises:
        ConfigError: they did not all come.
    """
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if not rank:
        _check_free(port)
    # JAX ends the process when it gives up, with a stack of C++: this is sooner, and says what to do.
    giving_up = threading.Timer(JOIN_SECONDS, _give_up, (address, count, rank))
    giving_up.daemon = True
    giving_up.start()
    jax.config.update("jax_enable_preemption_service", False)  # it would take SIGTERM for a warning, and go on
    try:
        jax.distributed.initialize(
            *(address, count, rank),
            cluster_detection_method="deactivate",  # all is said, and each node has all devices that it sees
            initialization_timeout=2 * JOIN_SECONDS,
        )
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"{_cannot_join(address, count, rank)} ({reason})") from error
    finally:
        giving_up.cancel()


def _check_free(port: int) -> None:
    try:
        socket.create_server(("", port)).close()
    except OSError as error:
        raise ConfigError(
            f"Node 0 cannot listen on port {port} of --dist-init-addr ({error.strerror}); choose another everywhere."
        ) from error


def _cannot_join(address: str, count: int, rank: int) -> str:
    return (
        f"Node {rank} of {count} did not find the others at {address}. Start all of them within {JOIN_SECONDS} seconds "
        "with the same --dist-init-addr (an address of node 0) and --nnodes, and each with its own --node-rank."
    )


def _give_up(address: str, count: int, rank: int) -> None:
    logger.error("%s", _cannot_join(address, count, rank))
    leave(1)


def check_alike(facts: Mapping[str, str]) -> None:
    """Sees to it that all nodes are about to do the same: what differs would have them wait for each other for ever.

    Args:
        facts: what must be the same everywhere, by a name that tells the user what to look at.

    Raises:
        ConfigError: on all nodes; it names what differs.
    """
    if not _are_alike([",".join(facts)])[0]:
        raise ConfigError("The nodes run different versions of SGL-JAX; install the same one on all of them.")
    differing = [name for name, alike in zip(facts, _are_alike(facts.values()), strict=True) if not alike]
    if differing:
        raise ConfigError(f"The nodes differ in {', '.join(differing)}; only --node-rank and paths may differ.")


def _are_alike(texts: Iterable[str]) -> list[bool]:
    digests = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big", signed=True) for text in texts]
    of_nodes = np.asarray(multihost_utils.process_allgather(np.asarray(digests, np.int32))).reshape(-1, len(digests))
    return [bool(alike) for alike in (of_nodes == of_nodes[0]).all(axis=0)]


def least_of_nodes(number: int) -> int:
    """The smallest of the numbers that the nodes have; all of them must ask."""
    halves = np.asarray(divmod(number, 1 << 31), np.int32)  # JAX has no int64 by default
    pairs = np.asarray(multihost_utils.process_allgather(halves)).reshape(-1, 2).tolist()
    return min((high << 31) + low for high, low in pairs)


def told_by_node_0(message: bytes) -> bytes:
    """What node 0 says; the others say anything of the same length."""
    told = multihost_utils.broadcast_one_to_all(np.frombuffer(message, np.uint8))
    return np.asarray(told).astype(np.uint8).tobytes()
