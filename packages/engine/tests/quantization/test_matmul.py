"""Products with packed matrices are products with their values, and never hold these all at once."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from sgl_jax.engine.layers.embedding import Embedding
from sgl_jax.engine.layers.linear import Linear
from sgl_jax.engine.layers.moe import ExpertLinear
from sgl_jax.engine.quantization import matmul as module
from sgl_jax.engine.quantization.formats import FORMATS, FP8, Q4_1, Q8_0, PackFormat
from sgl_jax.engine.quantization.matmul import packed_matmul, product_in_float8
from sgl_jax.engine.quantization.matrix import Packed, PackedMatrix, packable, unpack, with_packed
from sgl_jax.engine.quantization.pack import pack

FLOAT32, BFLOAT16 = jnp.dtype(jnp.float32), jnp.dtype(jnp.bfloat16)
RNG = np.random.default_rng(0)
WEIGHT = RNG.standard_normal((37, 96)).astype(np.float32)
forms = pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)


def packed(values: np.ndarray, form: PackFormat, dtype: jnp.dtype = FLOAT32) -> Packed:
    return Packed({name: jnp.asarray(part) for name, part in pack(values, form).items()}, form, dtype)


def multiply(x: np.ndarray, matrix: Packed) -> np.ndarray:
    return np.asarray(jax.jit(lambda x, parts: packed_matmul(x, matrix._replace(parts=parts)))(x, matrix.parts))


@forms
@pytest.mark.parametrize(("tokens", "tile_bytes"), [(1, 1 << 20), (5, 4000), (5, 1)])
def test_equals_the_product_with_the_values(
    form: PackFormat, tokens: int, tile_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TILE_BYTES", tile_bytes)  # all rows, some that do not divide 37, one
    matrix = packed(WEIGHT, form)
    x = RNG.standard_normal((tokens, 96)).astype(np.float32)
    values = np.asarray(unpack(matrix.parts, form))
    np.testing.assert_allclose(multiply(x, matrix), x @ values.T, rtol=1e-5, atol=1e-4)


@forms
def test_bfloat16(form: PackFormat) -> None:
    matrix = packed(WEIGHT, form, BFLOAT16)
    x = RNG.standard_normal((3, 96)).astype(np.float32)
    found = multiply(x.astype(jnp.bfloat16), matrix)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, x @ np.asarray(unpack(matrix.parts, form)).T, rtol=0, atol=0.25)


@forms
def test_the_temporary_does_not_grow_with_the_matrix(form: PackFormat) -> None:
    rows, columns = 32768, 512
    parts = {name: jax.ShapeDtypeStruct(*part) for name, part in form.parts((rows, columns)).items()}
    x = jax.ShapeDtypeStruct((1, columns), jnp.float32)
    product = functools.partial(_product_of_parts, form)
    memory = jax.jit(product).lower(x, parts).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 3 * module.TILE_BYTES < rows * columns * 4 / 4


def test_no_loop_on_a_gpu() -> None:
    parts = {name: jax.ShapeDtypeStruct(*part) for name, part in Q4_1.parts((32768, 512)).items()}
    x = jax.ShapeDtypeStruct((1, 512), jnp.bfloat16)
    traced = jax.jit(functools.partial(_product_of_parts, Q4_1)).trace(x, parts)
    assert "while" in traced.lower(lowering_platforms=("cpu",)).as_text()
    assert "while" not in traced.lower(lowering_platforms=("cuda",)).as_text()


def _product_of_parts(form: PackFormat, x: jax.Array, parts: dict[str, jax.Array]) -> jax.Array:
    return packed_matmul(x, Packed(parts, form, FLOAT32))


def fill(matrix: PackedMatrix, values: np.ndarray) -> None:
    for name, part in pack(values, matrix.form).items():
        setattr(matrix, name, nnx.Param(jnp.asarray(part)))


@forms
def test_a_packed_embedding_looks_up_and_scores(form: PackFormat) -> None:
    table = with_packed(Embedding(37, 96, dtype=FLOAT32), {"weight": form})
    assert isinstance(table.weight, PackedMatrix)
    fill(table.weight, WEIGHT)
    values = np.asarray(unpack(packed(WEIGHT, form).parts, form))
    np.testing.assert_array_equal(table(jnp.asarray([3, 0, 36, 99])), values[[3, 0, 36, 36]])
    x = RNG.standard_normal((2, 96)).astype(np.float32)
    np.testing.assert_allclose(table.attend(jnp.asarray(x)), x @ values.T, rtol=1e-5, atol=1e-4)


def test_packed_experts() -> None:
    values = RNG.standard_normal((3, 37, 96)).astype(np.float32)
    experts = with_packed(ExpertLinear(3, 96, 37, dtype=FLOAT32, bias=True), {"weight": Q8_0})
    assert isinstance(experts.weight, PackedMatrix)
    fill(experts.weight, values)
    x = RNG.standard_normal((2, 96)).astype(np.float32)
    expected = x @ np.asarray(unpack(packed(values[2], Q8_0).parts, Q8_0)).T
    np.testing.assert_allclose(experts(jnp.asarray(x), jnp.asarray(2)), expected, rtol=1e-5, atol=1e-4)


def test_only_what_is_asked_for_is_replaced() -> None:
    class Two(nnx.Module):
        def __init__(self) -> None:
            self.first = Linear(96, 37, dtype=FLOAT32, bias=True)
            self.second = Linear(96, 37, dtype=BFLOAT16)

    assert packable(Two()) == {"first.weight", "second.weight"}
    two = with_packed(nnx.eval_shape(Two), {"second.weight": Q4_1, "third.weight": Q4_1})
    assert isinstance(two.first.weight, nnx.Param)
    assert isinstance(two.second.weight, PackedMatrix)
    assert two.second.weight.dtype == BFLOAT16


def test_products_in_float8_round_each_token_by_itself() -> None:
    """What a GPU does in long steps: close to exact for large and small tokens alike, and zeros stay zeros."""
    x = RNG.standard_normal((3, 96)).astype(np.float32) * np.asarray([[1e3], [1e-3], [0.0]], np.float32)
    weight = packed(WEIGHT, FP8)
    exact = x @ np.asarray(unpack(weight.parts, FP8)).T
    found = np.asarray(product_in_float8(FP8, jnp.asarray(x), weight.parts))
    norms = np.linalg.norm(exact, axis=1)
    assert (np.linalg.norm(found - exact, axis=1) <= 0.04 * norms).all()
