"""Several layers as one call, where native kernels have one for them. The one place that knows which these are.

A call costs XLA's executor a few microseconds and the threads a meeting, and what lies between two calls goes through
memory once more. Decoding one token makes a hundred calls in four milliseconds, so this is a third of the time.
Each function returns None where there is no such kernel; the caller then does what it would do without this file.
"""

from __future__ import annotations

import jax

from sgl_jax.engine.cpu_kernels import products
from sgl_jax.engine.layers.linear import Linear, Weight
from sgl_jax.engine.layers.mlp import ACTIVATIONS, GatedMLP
from sgl_jax.engine.layers.norm import LayerNorm, RMSNorm
from sgl_jax.engine.quantization.tiled import Tiled, TiledMatrix


def normed_product(
    x: jax.Array, norm: RMSNorm | LayerNorm, linear: Linear, counts: jax.Array | None
) -> jax.Array | None:
    """`linear(norm(x))`: float[T, in] -> float[T, out].

    Args:
        x: activations.
        norm, linear: the layers.
        counts: int32[2], as in `LayerContext`; tokens that are not live become zeros. None takes all, as decoded ones.
    """
    if linear.mesh_axis is not None:
        return None
    bias = None if linear.bias is None else linear.bias[...]
    product = normed_weight(x, norm, linear.weight, counts, bias=bias)
    return None if product is None else product.astype(x.dtype)


def normed_weight(
    x: jax.Array,
    norm: RMSNorm | LayerNorm,
    weight: Weight,
    counts: jax.Array | None,
    *,
    bias: jax.Array | None = None,
) -> jax.Array | None:
    """`norm(x)` times a weight[out, in] transposed: float[T, in] -> float32[T, out]; see `normed_product`."""
    fusable, tiled = _norm(norm), _tiled(weight)
    if fusable is None or tiled is None:
        return None
    stack, exact = tiled.stack(), tiled.tiling.exact
    return products.matmul(x, stack, tiled.number, exact=exact, norm=fusable, bias=bias, counts=counts)


def finished_block(
    hidden: jax.Array,
    attended: jax.Array,
    output: Linear,
    norm: RMSNorm | LayerNorm,
    mlp: object,
    counts: jax.Array | None,
) -> jax.Array | None:
    """`hidden + output(attended)`, then `+ mlp(norm(·))`: all of a block that comes after its attention.

    Args:
        hidden: float[T, hidden].
        attended: float[T, H * D].
        output: what attention ends with.
        norm, mlp: the second half of the block.
        counts: as in `normed_product`.

    Returns:
        float[T, hidden].
    """
    if not isinstance(mlp, GatedMLP) or type(mlp).__call__ is not GatedMLP.__call__:
        return None
    linears = (output, mlp.gate_up_proj, mlp.down_proj)
    if any(linear.bias is not None or linear.mesh_axis is not None for linear in linears):
        return None
    fusable, name = _norm(norm), _activation_name(mlp)
    tiled = [_tiled(linear.weight) for linear in linears]
    matrices = [matrix for matrix in tiled if matrix is not None]
    if fusable is None or name is None or len(matrices) < len(linears):
        return None
    inner = matrices[1].shape[0] // 2
    if inner % products.COLUMNS or len({matrix.tiling.exact for matrix in matrices}) > 1:
        return None
    finished = products.finish_block(
        hidden,
        attended,
        matrices[0].stack(),
        fusable,
        matrices[1].stack(),
        matrices[2].stack(),
        matrices[0].number,
        activation=name,
        exact=matrices[0].tiling.exact,
        counts=counts,
    )
    return finished.astype(hidden.dtype)


def _norm(norm: RMSNorm | LayerNorm) -> products.Norm | None:
    plain = isinstance(norm, RMSNorm) and type(norm).__call__ is RMSNorm.__call__ and norm.mesh_axis is None
    return products.Norm(norm.scale(), norm.eps) if plain and isinstance(norm, RMSNorm) else None


def _tiled(weight: Weight) -> Tiled | None:
    return weight.whole() if isinstance(weight, TiledMatrix) else None


def _activation_name(mlp: GatedMLP) -> str | None:
    return next((name for name in products.ACTIVATIONS if ACTIVATIONS[name] is mlp.activation), None)
