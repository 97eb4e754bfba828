"""What JAX finds here, as one line of JSON: `python -m sgl_jax.engine.execution.device_report [DEVICE]`.

For whoever must not load JAX, and for faults that end the process: the server's `doctor` starts it and reads the line.
"""

from __future__ import annotations

import os
import sys

import msgspec

from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.errors import ConfigError
from sgl_jax.engine.execution import device_env


class DeviceReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was found.

    Attributes:
        jax: its version.
        devices: everything that JAX sees, in its own words.
        chosen: the device that the engine would use; None when it cannot use what was asked for.
        memory_bytes: of that device, where it knows.
        problem: why it cannot be used.
        kernels: the CPU's native kernels, where that is the device: which, or from when on.
        kernels_problem: why there are none.
    """

    jax: str
    devices: list[str] = []
    chosen: str | None = None
    memory_bytes: int | None = None
    problem: str | None = None
    kernels: str | None = None
    kernels_problem: str | None = None


def device_report(device: str) -> DeviceReport:
    """Looks for a device (`auto`, `cpu`, `cuda`, `cuda:N`; of several the first) and computes something small on it."""
    device = device.partition(",")[0]
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # a look must not take the memory of a server
    device_env.apply(EngineConfig(model_path="", device=device))
    import jax  # after its environment is in place
    import jax.numpy as jnp

    from sgl_jax.engine.execution.devices import find_device
    from sgl_jax.engine.execution.kernels import find_out

    try:
        found = find_device(device)
        with jax.default_device(found):
            jnp.dot(jnp.ones((8, 8)), jnp.ones((8, 8))).block_until_ready()
    except ConfigError as error:
        return DeviceReport(jax=jax.__version__, devices=[str(one) for one in jax.devices()], problem=str(error))
    except Exception as error:  # noqa: BLE001 - whatever a driver does not like is the finding
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        return DeviceReport(jax=jax.__version__, problem=f"JAX cannot compute here: {reason}")
    stats = found.memory_stats() or {}
    kernels, kernels_problem = find_out() if found.platform == "cpu" else (None, None)
    return DeviceReport(
        jax=jax.__version__,
        devices=[str(one) for one in jax.devices()],
        chosen=f"{found.platform} ({found.device_kind})",
        memory_bytes=stats.get("bytes_limit"),
        kernels=kernels,
        kernels_problem=kernels_problem,
    )


if __name__ == "__main__":
    print(msgspec.json.encode(device_report(*sys.argv[1:] or ["auto"])).decode())  # noqa: T201 - it is what was asked for
