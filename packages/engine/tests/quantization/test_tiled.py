"""Modules whose parameters are arranged for the CPU's native kernels, against themselves with plain ones."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from sgl_jax.engine.layers.embedding import Embedding
from sgl_jax.engine.layers.linear import Linear
from sgl_jax.engine.layers.moe import ExpertLinear
from sgl_jax.engine.quantization.formats import FP8, INT8, Q4_0, Q4_1, Q8_0
from sgl_jax.engine.quantization.matrix import with_packed
from sgl_jax.engine.quantization.tiled import TiledMatrix, Tiling, choose_tilings, stacked_leaves, tile

FLOAT32 = jnp.dtype(jnp.float32)
F32 = Tiling("f32", exact=True)
RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 50)).astype(np.float32)
pytestmark = pytest.mark.usefixtures("kernels")


def filled(module, values, layers=None, layer=0):
    """The module with its weight tiled, and its values in it."""
    tiled = with_packed(module, {"weight": F32})
    assert isinstance(tiled.weight, TiledMatrix)
    leaves = tile({"": values}, values.shape, F32, layers)
    tiled.weight.tiles = nnx.Param(jnp.asarray(leaves["tiles"]))
    tiled.weight.layer = nnx.Param(jnp.asarray(leaves["layer"].reshape(-1)[layer]))
    return tiled


def test_a_linear_layer_finds_itself_in_the_stack():
    values = RNG.standard_normal((4, 37, 50)).astype(np.float32)
    for layer in range(4):
        linear = filled(Linear(50, 37, dtype=FLOAT32, bias=True), values, layers=4, layer=layer)
        np.testing.assert_allclose(linear(jnp.asarray(X)), X @ values[layer].T, rtol=0, atol=1e-4)


def test_an_embedding_looks_up_and_scores():
    values = RNG.standard_normal((37, 50)).astype(np.float32)
    table = filled(Embedding(37, 50, dtype=FLOAT32), values)
    np.testing.assert_array_equal(table(jnp.asarray([3, 0, 36, 99])), values[[3, 0, 36, 36]])
    np.testing.assert_allclose(table.attend(jnp.asarray(X)), X @ values.T, rtol=0, atol=1e-4)


def test_experts():
    values = RNG.standard_normal((6, 37, 50)).astype(np.float32)  # of two layers, one after the other
    experts = filled(ExpertLinear(3, 50, 37, dtype=FLOAT32), values)
    np.testing.assert_allclose(experts(jnp.asarray(X), jnp.asarray(4)), X @ values[4].T, rtol=0, atol=1e-4)


def test_what_is_tiled_and_how():
    forms = {"a": Q4_1, "b": Q4_0, "c": Q8_0, "d": INT8, "e": FP8}
    chosen = choose_tilings({*forms, "f"}, forms, jnp.dtype(jnp.bfloat16))
    assert {path: tiling.form for path, tiling in chosen.items()} == {
        "a": "q4_1",
        "b": "q4_0",
        "c": "q8_0",
        "f": "bf16",
    }
    assert not any(tiling.exact for tiling in chosen.values())
    exact = choose_tilings({*forms, "f"}, forms, FLOAT32)
    assert exact["f"].form == "f32"
    assert all(tiling.exact for tiling in exact.values())


def test_only_tiles_are_never_cut_up():
    tilings = {"mlp.up.weight": F32, "packed": Q4_1}
    leaves = ["mlp.up.weight.layer", "mlp.up.weight.tiles", "norm.tiles", "packed.tiles"]
    assert list(stacked_leaves(leaves, tilings)) == ["mlp.up.weight.tiles"]
