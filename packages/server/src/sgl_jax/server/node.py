"""A node of several that is not the first: it has no port, and computes what node 0 plans."""

from __future__ import annotations

import logging
import signal
from typing import NoReturn

from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.errors import ConfigError, SglJaxError
from sgl_jax.engine.execution import device_env
from sgl_jax.engine.parallel.leaving import leave
from sgl_jax.server.phase_log import PhaseLog

logger = logging.getLogger("sgl_jax.server.node")

EXIT_FAILED, EXIT_USAGE = 1, 2


def run_node(config: EngineConfig) -> NoReturn:
    """Computes until node 0 ends, and ends the process.

    Its exit code is 0 when node 0 said goodbye, 1 when that is gone without a word, when the model cannot be loaded or
    something failed, 2 when the flags cannot work, and that of a signal.
    """
    where = f"node {config.node_rank} of {config.nnodes}"
    logger.info("%s: requests go to node 0 at %s", where, config.dist_init_addr)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)  # no handler of Python's runs while the device waits for other nodes
    device_env.apply(config)  # before jax is imported
    from sgl_jax.engine.startup import follow_core

    try:
        follow_core(config, PhaseLog())
    except SglJaxError as error:
        logger.error("%s", error)
        leave(EXIT_USAGE if isinstance(error, ConfigError) else EXIT_FAILED)
    except Exception as error:
        logger.error("%s failed: %s", where, error, exc_info=logger.isEnabledFor(logging.DEBUG))
        leave(EXIT_FAILED)
    logger.info("%s: node 0 has ended, and so does this one", where)
    leave(0)
