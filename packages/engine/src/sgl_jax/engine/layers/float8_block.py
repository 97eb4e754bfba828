"""A decoder block whose products are of float8, on GPUs: two or more kernels fewer for each than if they did not know
of each other.

What makes activations also rounds them, and the scales of a product wait for what reads it: the residual stream's next
sum, or the gate. Written for the block that nearly all families have; others multiply by `packed_matmul`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax

from sgl_jax.engine.layers.linear import Linear
from sgl_jax.engine.layers.mlp import ACTIVATIONS, GatedMLP
from sgl_jax.engine.layers.norm import LayerNorm, RMSNorm
from sgl_jax.engine.quantization.float8 import Unscaled, product
from sgl_jax.engine.quantization.matmul import multiplies_in_float8
from sgl_jax.engine.quantization.matrix import Packed, PackedMatrix

KV = TypeVar("KV")
_GATES = tuple(ACTIVATIONS[name] for name in ("silu", "gelu_pytorch_tanh"))
"""Activations that Triton's language has words for."""


def float8_block(
    hidden: jax.Array,
    delta: jax.Array | Unscaled | None,
    norms: tuple[RMSNorm | LayerNorm, RMSNorm | LayerNorm],
    linears: tuple[Linear, Linear],
    mlp: object,
    attend: Callable[[jax.Array], tuple[jax.Array, KV]],
    *,
    interpret: bool = False,
) -> tuple[jax.Array, Unscaled, KV] | None:
    """`DecoderLayer.without_last_sum` for a block of the plain make whose matrices are float8.

    Args:
        hidden: float[T, hidden].
        delta: what the block before left to be added.
        norms: before attention, and before the feed-forward block.
        linears: for queries, keys and values, and the one that attention ends with.
        mlp: the feed-forward block.
        attend: what lies between the two linears.
        interpret: compute with XLA what Triton would, for tests.

    Returns:
        Two addends [T, hidden], and what `attend` returned; None where this block is of another make.
    """
    if not isinstance(mlp, GatedMLP) or type(mlp).__call__ is not GatedMLP.__call__ or mlp.activation not in _GATES:
        return None
    found = [_in_float8(linear, hidden.shape[0]) for linear in (*linears, mlp.gate_up_proj, mlp.down_proj)]
    matrices = [matrix for matrix in found if matrix is not None]
    plain = [norm for norm in norms if isinstance(norm, RMSNorm) and norm.mesh_axis is None]
    if len(matrices) < len(found) or len(plain) < len(norms):
        return None
    from sgl_jax.engine.quantization.pallas_gpu import float8  # takes a second, and CPU engines never need it

    (before, after), (qkv, output, gate_up, down) = plain, matrices
    form, dtype = qkv.form, hidden.dtype
    hidden, x = float8.added_normed_rounded(hidden, delta, before.factor(), before.eps, form, interpret=interpret)
    attended, kv = attend(product(x, qkv, dtype).scaled().astype(dtype))
    x = float8.rounded(attended, form, interpret=interpret)
    delta = product(x, output, dtype)
    hidden, x = float8.added_normed_rounded(hidden, delta, after.factor(), after.eps, form, interpret=interpret)
    x = float8.gated_rounded(product(x, gate_up, dtype), mlp.activation, form, interpret=interpret)
    return hidden, product(x, down, dtype), kv


def _in_float8(linear: Linear, tokens: int) -> Packed | None:
    """Its matrix, if a product with it would be one of float8 and nothing else."""
    weight = linear.weight
    if linear.bias is not None or linear.mesh_axis is not None or not isinstance(weight, PackedMatrix):
        return None
    whole = weight.whole()
    return whole if whole.product is not None and multiplies_in_float8(whole.form, tokens) else None
