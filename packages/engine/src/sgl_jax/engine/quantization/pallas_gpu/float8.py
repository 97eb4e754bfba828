"""What lies between products of float8: each a kernel that ends with the rounding of the next product's activations.

A row's largest value must be known before its first code is, so XLA takes two to three kernels for the rounding alone.
One program does a row.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from sgl_jax.engine.quantization.float8 import Rounded, Unscaled
from sgl_jax.engine.quantization.formats import PackFormat
from sgl_jax.engine.quantization.pallas_gpu.groups import Ref, fetch

_FEATURES_A_WARP = 512


def rounded(x: jax.Array, form: PackFormat, *, interpret: bool) -> Rounded:
    """float[T, K] in float8.

    Args:
        x: activations.
        form: whose codes to make.
        interpret: compute with XLA what Triton would, for tests.
    """
    return Rounded(*_call(_round, (x,), x.shape, form, [], interpret, "rounded"))


def added_normed_rounded(
    hidden: jax.Array,
    delta: jax.Array | Unscaled | None,
    weight: jax.Array,
    eps: float,
    form: PackFormat,
    *,
    interpret: bool,
) -> tuple[jax.Array, Rounded]:
    """The residual stream after an addition, and its RMS norm in float8.

    Args:
        hidden: float[T, K].
        delta: what is added, [T, K]; None adds nothing.
        weight: float[K], of the norm.
        eps: of the norm.
        form: whose codes to make.
        interpret: compute with XLA what Triton would, for tests.
    """
    body = functools.partial(_add_norm_round, eps=eps)
    sums = [] if delta is None else [jax.ShapeDtypeStruct(hidden.shape, hidden.dtype)]
    found = _call(body, (hidden, delta, weight), hidden.shape, form, sums, interpret, "added_normed_rounded")
    return (found[2] if sums else hidden), Rounded(*found[:2])


def gated_rounded(
    gate_up: Unscaled, gate: Callable[[jax.Array], jax.Array], form: PackFormat, *, interpret: bool
) -> Rounded:
    """`gate(first half) * second half` of [T, 2 K], in float8.

    Args:
        gate_up: both halves.
        gate: the activation.
        form: whose codes to make.
        interpret: compute with XLA what Triton would, for tests.
    """
    tokens, both = gate_up.sums.shape
    body = functools.partial(_gate_round, gate=gate)
    return Rounded(*_call(body, (gate_up,), (tokens, both // 2), form, [], interpret, "gated_rounded"))


def _call(
    body: Callable[..., None],
    operands: tuple[Any, ...],
    shape: tuple[int, ...],
    form: PackFormat,
    more: list[jax.ShapeDtypeStruct],
    interpret: bool,
    name: str,
) -> list[jax.Array]:
    block = pl.next_power_of_2(shape[1])
    results: list[jax.Array] = pl.pallas_call(
        functools.partial(body, block=block, form=form),
        grid=(shape[0],),
        out_shape=[jax.ShapeDtypeStruct(shape, form.meaning), jax.ShapeDtypeStruct(shape[:1], jnp.float32), *more],
        compiler_params=triton.CompilerParams(num_warps=max(1, min(8, block // _FEATURES_A_WARP)), num_stages=1),
        interpret=interpret,
        name=name,
    )(*operands)
    return results


def _round(x: Ref, codes: Ref, scales: Ref, *, block: int, form: PackFormat) -> None:
    feature = jnp.arange(block)
    _put(_row(x, feature, feature < x.shape[1]), codes, scales, form)


def _add_norm_round(
    hidden: Ref,
    delta: Ref | Unscaled | None,
    weight: Ref,
    codes: Ref,
    scales: Ref,
    *sums: Ref,
    block: int,
    form: PackFormat,
    eps: float,
) -> None:
    feature, features = jnp.arange(block), hidden.shape[1]
    live = feature < features
    total = _row(hidden, feature, live)
    if delta is not None:
        # The residual stream is what was rounded to its type, here as elsewhere.
        total = (total + _row(delta, feature, live)).astype(hidden.dtype)
        triton.store(sums[0].at[pl.program_id(0), feature], total, mask=live)
        total = total.astype(jnp.float32)
    inverse = lax.rsqrt(jnp.sum(total * total) / features + eps)
    factor = fetch(weight, (feature,), live).astype(jnp.float32)
    _put(factor * (total * inverse), codes, scales, form)


def _gate_round(
    gate_up: Unscaled,
    codes: Ref,
    scales: Ref,
    *,
    block: int,
    form: PackFormat,
    gate: Callable[[jax.Array], jax.Array],
) -> None:
    feature, features = jnp.arange(block), codes.shape[1]
    live = feature < features
    _put(gate(_row(gate_up, feature, live)) * _row(gate_up, features + feature, live), codes, scales, form)


def _row(ref: Ref | Unscaled, feature: jax.Array, live: jax.Array) -> jax.Array:
    """float32: this program's row, zeros where it is not live."""
    row = pl.program_id(0)
    if not isinstance(ref, Unscaled):
        return fetch(ref, (row, feature), live).astype(jnp.float32)
    rows: Ref = ref.rows
    return _row(ref.sums, feature, live) * triton.load(rows.at[row]) * fetch(ref.columns, (feature,), live)


def _put(values: jax.Array, codes: Ref, scales: Ref, form: PackFormat) -> None:
    """Writes a row's codes and their scale; values beyond the row are zeros."""
    row, feature = pl.program_id(0), jnp.arange(values.shape[0])
    largest = jnp.max(jnp.abs(values))
    scale = jnp.where(largest > 0, largest / form.limit, 1.0)
    # The division may round to a hair above the limit, which would be a NaN.
    bounded = jnp.minimum(jnp.maximum(values / scale, -form.limit), form.limit)
    triton.store(codes.at[row, feature], bounded.astype(codes.dtype), mask=feature < codes.shape[1])
    triton.store(scales.at[row], scale)
