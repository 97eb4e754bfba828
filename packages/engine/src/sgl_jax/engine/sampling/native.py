"""Drawing by this package's own C++ kernel for CPU, see `cpu_kernels/src/sampling_row.h`.

The same filters and the same race as in sampler.py, so the same tokens but for what rounding decides. XLA makes a
hundred small loops of it, which take seconds to compile in every step program and, as soon as one row does not take
its likeliest token, several times as long as the model itself.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from sgl_jax.engine.sampling.draw import Asked
from sgl_jax.engine.sampling.logprobs import Logprobs
from sgl_jax.engine.sampling.sampler import is_greedy
from sgl_jax.engine.sampling_params import MAX_LOGPROBS

_ENOUGH_WORK = 2048
"""Twice what XLA's CPU client asks for."""


def native_draw(logits: jax.Array, asked: Asked) -> tuple[jax.Array, Logprobs]:
    """A `Draw` by the native kernels, which must be loaded."""
    rows, vocab_size = logits.shape
    tops = min(MAX_LOGPROBS, vocab_size)
    results = (
        jax.ShapeDtypeStruct((rows,), jnp.int32),
        jax.ShapeDtypeStruct((rows,), jnp.float32),
        jax.ShapeDtypeStruct((rows, tops), jnp.int32),
        jax.ShapeDtypeStruct((rows, tops), jnp.float32),
    )
    sampling = asked.sampling
    drawn, *logprobs = jax.ffi.ffi_call("sgl_draw", results)(
        logits,
        is_greedy(sampling),
        sampling.temperature,
        sampling.top_k,
        sampling.top_p,
        sampling.min_p,
        sampling.seed,
        sampling.position,
        *asked.rules,
        asked.slot + _work(sampling.position),
        asked.adjusts,
        *asked.masks,
        asked.logprobs,
    )
    return drawn, Logprobs(*logprobs)


def _work(position_r: jax.Array) -> jax.Array:
    """int32[]: zero, in a thousand operations, of int32[R] that are not negative.

    XLA runs a program on its caller's thread when it counts fewer operations in it, and native kernels count for none.
    The host would wait for a step of a few tokens, where it should be planning the next one.
    """
    return (jnp.arange(_ENOUGH_WORK) < -position_r[0]).sum(dtype=jnp.int32)
