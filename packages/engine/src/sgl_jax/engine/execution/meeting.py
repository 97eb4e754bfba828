"""How the nodes of one engine find each other, before anything is loaded."""

from __future__ import annotations

import importlib.metadata
import logging

from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.execution.devices import find_devices
from sgl_jax.engine.execution.plan_channel import PlanReceiver, PlanSender
from sgl_jax.engine.parallel.mesh import is_here
from sgl_jax.engine.parallel.nodes import check_alike, join_nodes

logger = logging.getLogger(__name__)

_OWN = ("node_rank", "dist_init_addr", "model_path", "tokenizer_path", "download_dir")
"""Flags that each node may set as it likes."""


def lead(config: EngineConfig, spec: ModelSpec) -> PlanSender:
    """Waits for the other nodes; they will run what is sent.

    Raises:
        ConfigError: they do not come, or would run something else.
    """
    _meet(config, spec)
    return PlanSender(config.nnodes)


def attend(config: EngineConfig, spec: ModelSpec) -> PlanReceiver:
    """Joins node 0. Raises as `lead`."""
    _meet(config, spec)
    return PlanReceiver(config.node_0[0], config.node_rank)


def _meet(config: EngineConfig, spec: ModelSpec) -> None:
    logger.info("node %d waits for all %d nodes at %s", config.node_rank, config.nnodes, config.dist_init_addr)
    join_nodes(*config.node_0, config.nnodes, config.node_rank)
    devices = find_devices(config.device, config.tp_size, config.nnodes)
    facts = {
        f"--{name.replace('_', '-')}": str(getattr(config, name))
        for name in config.__struct_fields__
        if name not in _OWN
    }
    kind = next(device.device_kind for device in devices if is_here(device))
    versions = {f"the version of {name}": importlib.metadata.version(name) for name in ("sgl-jax-engine", "jax")}
    check_alike({**facts, **versions, "the model's config": repr(spec), "the kind of device": kind})
