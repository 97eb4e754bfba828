"""From `--device` and `--tp-size` to JAX's devices."""

from __future__ import annotations

import os
from collections.abc import Sequence

import jax

from sgl_jax.engine.errors import ConfigError
from sgl_jax.engine.parallel.mesh import is_here
from sgl_jax.engine.parallel.nodes import least_of_nodes


def find_device(name: str) -> jax.Device:
    """The JAX device for `auto`, `cpu`, `cuda` or `cuda:N`; the first one of several.

    Raises:
        ConfigError: as `find_devices`.
    """
    return find_devices(name, 1)[0]


def find_devices(name: str, count: int, nodes: int = 1) -> list[jax.Device]:
    """The JAX devices for `auto`, `cpu`, `cuda` (the first ones), `cuda:N` or `cuda:N,M`.

    Args:
        name: see above. Where it names devices, they are as many as asked for (`EngineConfig` sees to it), or one.
        count: how many.
        nodes: over which they are spread evenly, in the order of the nodes; these have joined (`parallel.nodes`).

    Raises:
        ConfigError: there are not so many; the message says what there is and what to do.
    """
    if name == "auto":
        return _choose(name, jax.devices(), range(count), nodes)
    platform, _, listed = name.partition(":")
    indices = listed.split(",") if listed else []
    if platform not in ("cpu", "cuda") or not all(index.isdigit() for index in indices):
        raise ConfigError(f"--device must be auto, cpu, cuda, cuda:N or cuda:N,M, got {name!r}.")
    try:
        devices = jax.devices("gpu" if platform == "cuda" else "cpu")
    except RuntimeError as error:
        raise ConfigError(
            f"--device={name}: JAX sees no such device here (it sees {jax.devices()}). For NVIDIA GPUs install the "
            "extra sgl-jax-engine[cuda12] or sgl-jax-engine[cuda13], whichever your driver supports."
        ) from error
    return _choose(name, devices, [int(index) for index in indices] or range(count), nodes)


def _choose(name: str, devices: Sequence[jax.Device], indices: Sequence[int], nodes: int) -> list[jax.Device]:
    if nodes > 1:
        return _of_each_node(devices, len(indices) // nodes, nodes)
    if max(indices) < len(devices):
        return [devices[index] for index in indices]
    platform = devices[0].platform
    hint = ""
    if platform == "cpu" and len(indices) > 1:
        hint = f" Set XLA_FLAGS=--xla_force_host_platform_device_count={len(indices)} for as many."
    asked = f"--device={name}" if len(indices) == 1 else f"--device={name} --tp-size={len(indices)}"
    raise ConfigError(f"{asked}: there are only {len(devices)} {platform} devices.{hint}")


def _of_each_node(devices: Sequence[jax.Device], count: int, nodes: int) -> list[jax.Device]:
    found = []
    for node in range(nodes):
        own = [device for device in devices if device.process_index == node]
        if len(own) < count:
            raise ConfigError(
                f"--tp-size={count * nodes} --nnodes={nodes} takes {count} devices of each node; "
                f"node {node} has {len(own)}."
            )
        found += own[:count]
    return found


def free_bytes(devices: Sequence[jax.Device]) -> int:
    """Memory that each of them has left; on CPU, its part of the machine's available RAM. All nodes say the same."""
    own = [device for device in devices if is_here(device)]
    found = [device.memory_stats() for device in own]
    known = [int(stats["bytes_limit"] - stats["bytes_in_use"]) for stats in found if stats and "bytes_limit" in stats]
    if known:
        free = min(known)
    else:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // len(own)
    return free if len(own) == len(devices) else least_of_nodes(free)


def knows_float8(device: jax.Device) -> bool:
    """Whether kernels for it may convert float8: NVIDIA's GPUs since Ada. What cannot is served by plain XLA."""
    major, _, minor = str(getattr(device, "compute_capability", "")).partition(".")
    return major.isdigit() and minor.isdigit() and (int(major), int(minor)) >= (8, 9)
