"""The native CPU kernels: GB/s and GF/s of each, and a decoding step with and without them.

    uv run python benchmarks/cpu/kernels.py             # kernels
    uv run python benchmarks/cpu/kernels.py native xla  # decoding steps of SmolLM2 at 1, 8, 16 and 32 sequences

The fastest of many runs counts: what else the machine does only slows them down.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np

from sgl_jax.engine.config.default_model import find_default_model
from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.execution import device_env

SHAPES = ((960, 576), (576, 576), (3072, 576), (576, 1536), (49152, 576))
"""(out, in) of SmolLM2's matrices."""
TOKENS = (1, 8, 16, 32, 256)
SEQUENCES = (1, 8, 16, 32)
SECONDS = 0.2
LAYERS = 30
"""Matrices in a stack, so that none is in the cache when its turn comes."""


def fastest(call: Callable[[], object]) -> float:
    """Seconds of the fastest call; calls until `SECONDS` are over."""
    call()
    best, end = float("inf"), time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        begin = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - begin)
    return best


def measure_kernels() -> None:
    import jax
    import jax.numpy as jnp

    from sgl_jax.engine.cpu_kernels import layout, library, products

    kernels = library.load(device_env.kernels_folder())
    print(f"{kernels.isa}, {kernels.threads} threads")
    rng = np.random.default_rng(0)
    for form in layout.FORMATS:
        for rows, width in SHAPES:
            layers = LAYERS if rows < 10_000 else 1
            shape, dtype = layout.tiles_shape(form, (layers, rows, width))
            tiles = jax.device_put(rng.integers(0, 60, shape, dtype=np.uint8).astype(dtype))
            for tokens in TOKENS:
                x = jnp.asarray(rng.standard_normal((tokens, width)), jnp.float32)

                @jax.jit
                def through(x, tiles, form=form, rows=rows, layers=layers):
                    stack = products.Stack(tiles, form, rows)

                    def layer(x, number):
                        return x * 1.0001, products.matmul(x, stack, number, exact=form == "f32")[0, 0]

                    return jax.lax.scan(layer, x, jnp.arange(layers, dtype=jnp.int32))[1]

                seconds = fastest(lambda through=through, x=x, tiles=tiles: jax.block_until_ready(through(x, tiles)))
                gigabytes, gigaflops = tiles.nbytes / 1e9, 2 * tokens * rows * width * layers / 1e9
                print(
                    f"{form:5} {rows:6} x {width:4}, {tokens:3} tokens: {seconds / layers * 1e6:9.1f} us"
                    f" {gigabytes / seconds:6.1f} GB/s {gigaflops / seconds:6.0f} GF/s"
                )


def measure_steps(kernels: str) -> None:
    from sgl_jax.engine.messages import GenerateRequest
    from sgl_jax.engine.sampling_params import SamplingParams
    from sgl_jax.engine.startup import build_core

    for sequences in SEQUENCES:
        config = EngineConfig(
            model_path=str(find_default_model()),
            device="cpu",
            cpu_kernels=kernels,
            max_running_requests=sequences,
            precompile_bs_paddings=(sequences,),
            precompile_token_paddings=(max(sequences, 16),),
            chunked_prefill_size=max(sequences, 16),
            max_total_tokens=sequences * 256,
            max_seq_len=256,
        )
        core = build_core(config, lambda phase: None)
        sampling = SamplingParams(temperature=0.0, max_new_tokens=100, ignore_eos=True)
        for number in range(sequences):
            core.submit(GenerateRequest(request_id=str(number), prompt_ids=[1, 2, 3 + number], sampling=sampling))
        times = []
        while core.has_work():
            begin = time.perf_counter()
            core.step()
            times.append(time.perf_counter() - begin)
        steps = sorted(times[-80:-4])  # all decode together, with some 20 to 100 tokens each
        middle = steps[len(steps) // 2]
        print(f"{kernels:6} {sequences:2} sequences: {middle * 1e3:6.2f} ms a step, {sequences / middle:6.0f} tokens/s")
        core.close()


def main() -> None:
    device_env.apply(EngineConfig(model_path="", device="cpu"))
    if len(sys.argv) == 1:
        measure_kernels()
    for kernels in sys.argv[1:]:
        measure_steps(kernels)


if __name__ == "__main__":
    main()
