"""Several machines as one: nodes find each other, and agree on what each would else decide for itself."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import jax
import numpy as np
from jax.experimental import multihost_utils

from sgl_jax.engine.errors import ConfigError

JOIN_SECONDS = 300
"""How long a node waits for the others: they may have a model to download first."""


def join_nodes(address: str, count: int, rank: int) -> None:
    """Waits until all nodes are there; from then on `jax.devices()` are those of all of them.

    Args:
        address: host:port of node 0, on which it listens.
        count: of nodes.
        rank: this one's number.

    Raises:
        ConfigError: they did not all come.
    """
    try:
        jax.distributed.initialize(
            *(address, count, rank),
            cluster_detection_method="deactivate",  # all is said, and each node has all devices that it sees
            initialization_timeout=JOIN_SECONDS,
        )
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"Node {rank} of {count} could not join the others at {address} ({reason}). Start all of them within "
            f"{JOIN_SECONDS} seconds, with the same --dist-init-addr (an address of node 0) and --nnodes."
        ) from error


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
