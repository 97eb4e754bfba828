"""What we tell XLA, besides the program. No jax here: `sgl-jax doctor --xla-flags` prints it.

Options go with each program, not into `XLA_FLAGS`: a flag that some version of XLA does not know ends the process
there, an option that it does not know is an error, and is then left out. What must be a flag is one that all versions
know. What a user sets in `XLA_FLAGS` is never overridden.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

Options = Mapping[str, str | bool]

_CPU_SCHEDULER = "xla_cpu_enable_concurrency_optimized_scheduler"
_ONE_GPU: Options = {
    # A product split along its inputs is two kernels; the second would be fused with what follows if that were plain
    # XLA, but norms and attention are kernels of ours. Unsplit, a decode layer is 10 launches instead of 13.
    "xla_gpu_experimental_force_split_k": "1",
}
_MORE_ON_SEVERAL_GPUS: Options = {
    # Starts sums over devices early and ends them late.
    "xla_gpu_enable_latency_hiding_scheduler": True,
}


def environment_flags(device: str, num_devices: int, present: str, nodes: int = 1) -> list[str]:
    """What belongs into `XLA_FLAGS`.

    Args:
        device: as in `EngineConfig`.
        num_devices: that share the model.
        present: what the variable holds; flags in it stay as they are.
        nodes: that these devices are spread over.
    """
    # Without it XLA:CPU materialises float32 copies of bfloat16 weights for one-row products (98 ms instead of 8).
    wanted = {_CPU_SCHEDULER: "false"}
    if num_devices > nodes and device == "cpu":
        wanted["xla_force_host_platform_device_count"] = str(num_devices // nodes)
    if num_devices > 1 and device.startswith(("auto", "cuda")):
        # The one kind of a step's kernels that XLA leaves outside CUDA graphs by default.
        wanted["xla_gpu_enable_command_buffer"] = "+COLLECTIVES"
    return [f"--{name}={value}" for name, value in wanted.items() if name not in present]


def program_options(platform: str, num_devices: int, environ: Mapping[str, str] = os.environ) -> dict[str, str | bool]:
    """Options for each program.

    Args:
        platform: JAX's name of the device's kind.
        num_devices: that share the model.
        environ: where `XLA_FLAGS` may say otherwise.
    """
    if platform not in ("gpu", "cuda"):
        return {}
    wanted = {**_ONE_GPU, **(_MORE_ON_SEVERAL_GPUS if num_devices > 1 else {})}
    present = environ.get("XLA_FLAGS", "")
    return {name: value for name, value in wanted.items() if name not in present}
