"""The GPU's kernels for packed matrices, interpreted, against NumPy; and that they lower for CUDA."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from sgl_jax.engine.layers.linear import Linear
from sgl_jax.engine.quantization.formats import FP8, INT8, Q4_0, Q4_1, Q8_0, PackFormat
from sgl_jax.engine.quantization.matmul import product_in_float8
from sgl_jax.engine.quantization.matrix import Packed, PackedMatrix, unpack
from sgl_jax.engine.quantization.pack import pack
from sgl_jax.engine.quantization.pallas_gpu.many_tokens import sizes_for
from sgl_jax.engine.quantization.pallas_gpu.product import packed_product

FLOAT32, BFLOAT16 = jnp.dtype(jnp.float32), jnp.dtype(jnp.bfloat16)
RNG = np.random.default_rng(0)


def noise(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def packed(values: np.ndarray, form: PackFormat) -> Packed:
    return Packed({name: jnp.asarray(part) for name, part in pack(values, form).items()}, form, FLOAT32)


@pytest.mark.parametrize(
    ("form", "tokens", "shape"),
    [
        (Q4_1, 1, (37, 96)),  # no power of two anywhere
        (Q4_0, 2, (5, 4128)),  # more groups than a block has
        (INT8, 1, (6, 96)),
        (FP8, 1, (6, 96)),
        (Q4_1, 21, (70, 160)),
        (Q8_0, 5, (37, 32)),  # one group
    ],
    ids=lambda value: value.name if isinstance(value, PackFormat) else str(value),
)
def test_is_the_product_with_the_values(form: PackFormat, tokens: int, shape: tuple[int, int]) -> None:
    matrix, x = packed(noise(*shape), form), noise(tokens, shape[1])
    found = packed_product(jnp.asarray(x), matrix, FLOAT32, interpret=True)
    expected = x @ np.asarray(unpack(matrix.parts, form)).T
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-4)


@pytest.mark.parametrize(("group", "tokens"), [(64, 2), (128, 7)])
def test_a_scale_may_be_that_of_several_groups(group: int, tokens: int) -> None:
    """As in checkpoints with groups of 64 or 128 and zero points, whose codes are laid out in this way."""
    shape, shared = (11, 384), group // 32
    parts = {name: np.asarray(part) for name, part in packed(noise(*shape), Q4_1).parts.items()}
    wide = {name: part if name == "codes" else part[:, ::shared] for name, part in parts.items()}
    each = {name: part if name == "codes" else part.repeat(shared, axis=1) for name, part in wide.items()}
    x = noise(tokens, shape[1])
    matrix = Packed({name: jnp.asarray(part) for name, part in wide.items()}, Q4_1, FLOAT32)
    found = packed_product(jnp.asarray(x), matrix, FLOAT32, interpret=True)
    values = unpack({name: jnp.asarray(part) for name, part in each.items()}, Q4_1)
    np.testing.assert_allclose(found, x @ np.asarray(values).T, rtol=1e-5, atol=2e-4)


def test_long_steps_round_activations_to_float8() -> None:
    matrix, x = packed(noise(19, 64), FP8), noise(256, 64) * np.linspace(0, 3, 256, dtype=np.float32)[:, None]
    found = packed_product(jnp.asarray(x), matrix, FLOAT32, interpret=True)
    expected = product_in_float8(FP8, jnp.asarray(x), matrix.parts)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_a_scale_a_row_is_left_to_xla_beyond_a_few_tokens() -> None:
    for form in (INT8, FP8):
        assert packed_product(jnp.ones((5, 64)), packed(noise(8, 64), form), FLOAT32) is None


def test_a_bias_is_added_before_rounding() -> None:
    linear = Linear(64, 8, dtype=BFLOAT16, bias=True)
    product = functools.partial(packed_product, interpret=True)
    linear.weight = PackedMatrix((8, 64), Q8_0, dtype=BFLOAT16, product=product)
    matrix = packed(noise(8, 64) + 100, Q8_0)
    for name, part in matrix.parts.items():
        setattr(linear.weight, name, nnx.Param(part))
    x = jnp.ones((1, 64), BFLOAT16)
    exact = np.asarray(unpack(matrix.parts, Q8_0)).sum(axis=1)
    linear.bias = nnx.Param(jnp.asarray(-exact, BFLOAT16))
    # The product alone would be rounded to a multiple of 32.
    expected = exact + np.asarray(linear.bias[...], np.float32)
    np.testing.assert_allclose(np.asarray(linear(x), np.float32)[0], expected, rtol=0.01, atol=0.1)


@pytest.mark.parametrize(("form", "tokens", "calls"), [(Q4_1, 4, 1), (Q4_0, 300, 1), (FP8, 1, 1), (FP8, 256, 1)])
def test_lowers_for_cuda(form: PackFormat, tokens: int, calls: int) -> None:
    parts = {name: jax.ShapeDtypeStruct(*part) for name, part in form.parts((256, 512)).items()}

    def product(x: jax.Array, parts: dict[str, jax.Array]) -> jax.Array | None:
        return packed_product(x, Packed(parts, form, BFLOAT16), BFLOAT16)

    traced = jax.jit(product).trace(jax.ShapeDtypeStruct((tokens, 512), BFLOAT16), parts)
    assert traced.lower(lowering_platforms=("cuda",)).as_text().count("stablehlo.custom_call") == calls


def test_tiles_fill_the_card_and_fit_what_triton_takes() -> None:
    for tokens in (5, 32, 256, 4096):
        for outputs in (37, 1024, 24576):
            for x_bytes in (2, 4):
                sizes = sizes_for(tokens, outputs, x_bytes)
                assert sizes.outputs in (32, 64, 128)
                assert 16 <= sizes.tokens <= 128
    assert sizes_for(32, 1024, 2).outputs < sizes_for(32, 24576, 2).outputs
