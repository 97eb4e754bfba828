"""Which kernel multiplies a packed matrix on a GPU, after the contract of `matrix.PackedProduct`.

From a few tokens on XLA folds codes with a scale a row into its own products, at no cost. What it does not fold has
kernels here: the scales of groups, the rounding of activations to float8, and what is to be read once for one token.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from sgl_jax.engine.quantization.float8 import product
from sgl_jax.engine.quantization.formats import GROUP
from sgl_jax.engine.quantization.matmul import multiplies_in_float8
from sgl_jax.engine.quantization.matrix import Packed
from sgl_jax.engine.quantization.pallas_gpu import few_tokens, many_tokens
from sgl_jax.engine.quantization.pallas_gpu.float8 import rounded
from sgl_jax.engine.quantization.pallas_gpu.groups import groups_of


def packed_product(x: jax.Array, packed: Packed, dtype: jnp.dtype, *, interpret: bool = False) -> jax.Array | None:
    """float[T, in] times packed[out, in] transposed: dtype[T, out]; None where plain XLA does well.

    Args:
        x: activations; they meet the matrix in `packed.dtype`, or in float8 from as many tokens on as `matmul` says.
        packed: the matrix.
        dtype: of the result.
        interpret: compute with XLA what Triton would, for tests.
    """
    tokens, inputs = x.shape
    is_few = tokens <= few_tokens.MOST_TOKENS
    if packed.form.grouped or (is_few and inputs % GROUP == 0):
        kernel = few_tokens if is_few else many_tokens
        return kernel.multiply(x.astype(packed.dtype), groups_of(packed), packed.form, dtype, interpret=interpret)
    if multiplies_in_float8(packed.form, tokens):
        return product(rounded(x, packed.form, interpret=interpret), packed, x.dtype).scaled().astype(dtype)
    return None
