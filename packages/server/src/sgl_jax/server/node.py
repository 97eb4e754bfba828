"""A node of several that is not the first: it has no port, and computes what node 0 plans."""

from __future__ import annotations

import logging

from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.errors import ConfigError, SglJaxError
from sgl_jax.engine.execution import device_env
from sgl_jax.server.phase_log import PhaseLog

logger = logging.getLogger("sgl_jax.server.node")

EXIT_FAILED = 1


def run_node(config: EngineConfig) -> int:
    """Computes until node 0 ends.

    Returns:
        0 when node 0 said goodbye, 1 when the model cannot be loaded or the device failed. When node 0 is gone without
        a word, the process ends with 1.

    Raises:
        ConfigError: the flags do not fit the model or the device, or the nodes did not find each other.
    """
    where = f"node {config.node_rank} of {config.nnodes}"
    logger.info("%s: requests go to node 0 at %s", where, config.dist_init_addr)
    device_env.apply(config)  # before jax is imported
    from sgl_jax.engine.startup import follow_core

    try:
        follow_core(config, PhaseLog())
    except ConfigError:
        raise
    except SglJaxError as error:
        logger.error("%s", error)
        return EXIT_FAILED
    logger.info("%s: node 0 has ended, and so does this one", where)
    return 0
