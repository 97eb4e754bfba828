"""Experts by one kernel: the same answers as by the loop, and code that an NVIDIA GPU can be given."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AbstractDevice, AbstractMesh, AxisType, use_abstract_mesh

from sgl_jax.engine.layers.grouped_matmul import grouped_matmul
from sgl_jax.engine.layers.grouped_rows import group
from sgl_jax.engine.layers.grouped_sizes import block_size
from sgl_jax.engine.layers.moe import Experts, halves, with_product
from sgl_jax.engine.layers.routing import Routes
from sgl_jax.engine.quantization.formats import ON_LOAD
from sgl_jax.engine.quantization.matrix import with_packed
from sgl_jax.engine.quantization.pack import pack

GROUP = jax.jit(group, static_argnums=1)
INTERPRETED = functools.partial(grouped_matmul, interpret=True)
EXPERTS, ASKED, HIDDEN, INNER, TOKENS = 5, 2, 40, 72, 24


@settings(max_examples=60, deadline=None)
@given(shape=st.sampled_from([(1, 1, 3), (90, 3, 20), (40, 2, 4)]), seed=st.integers(0, 2**32 - 1))
def test_every_request_has_a_row_of_its_own_in_a_block_of_its_expert(shape: tuple[int, int, int], seed: int) -> None:
    tokens, asked, experts = shape
    rng = np.random.default_rng(seed)
    expert = np.stack([rng.permutation(experts)[:asked] for _ in range(tokens)]).astype(np.int32)
    expert[rng.random(tokens) < 0.3] = experts  # padding asks nobody
    rows = GROUP(jnp.asarray(expert), experts)
    request, whose, row = np.asarray(rows.request), np.asarray(rows.expert), np.asarray(rows.row)
    asking = np.flatnonzero(expert.reshape(-1) < experts)
    assert len(request) == len(whose) * rows.size
    assert len(set(row[asking])) == len(asking)
    assert (row[asking] // rows.size < int(rows.live)).all()
    np.testing.assert_array_equal(request[row[asking]], asking)
    np.testing.assert_array_equal(whose[row[asking] // rows.size], expert.reshape(-1)[asking])


@pytest.mark.parametrize(("requests", "experts", "size"), [(8, 128, 16), (4096, 128, 32), (65536, 8, 128)])
def test_blocks_are_as_large_as_experts_are_busy(requests: int, experts: int, size: int) -> None:
    assert block_size(requests, experts) == size


def make_experts(quantization: str | None, *, bias: bool) -> Experts:
    rng = np.random.default_rng(0)
    experts = Experts(EXPERTS, HIDDEN, INNER, gating=halves(jax.nn.silu), dtype=jnp.dtype(jnp.float32), bias=bias)
    matrices = {}
    for name in ("gate_up_proj", "down_proj"):
        linear = getattr(experts, name)
        matrices[name] = rng.standard_normal(linear.weight.shape).astype(np.float32) * 0.1
        linear.weight[...] = jnp.asarray(matrices[name])
        if bias:
            linear.bias[...] = jnp.asarray(rng.standard_normal(linear.bias.shape), jnp.float32)
    if quantization is not None:
        form = ON_LOAD[quantization]
        with_packed(experts, {f"{name}.weight": form for name in matrices})
        for name, values in matrices.items():
            for part, array in pack(values, form).items():
                getattr(getattr(experts, name).weight, part)[...] = jnp.asarray(array)
    return experts


@pytest.mark.parametrize(("quantization", "bias"), [(None, True), ("fp8", False)])
def test_one_kernel_says_what_the_loop_says(quantization: str | None, bias: bool) -> None:
    rng = np.random.default_rng(1)
    x = jnp.asarray(rng.standard_normal((TOKENS, HIDDEN)), jnp.float32)
    expert = jnp.asarray(np.stack([rng.permutation(EXPERTS)[:ASKED] for _ in range(TOKENS)]), jnp.int32)
    routes = Routes(expert, jnp.asarray(rng.random((TOKENS, ASKED)), jnp.float32))
    live = jnp.arange(TOKENS) < TOKENS - 3
    experts = make_experts(quantization, bias=bias)

    @jax.jit
    def both(state: nnx.State) -> tuple[jax.Array, jax.Array]:
        by_loop = nnx.merge(graph, state)
        at_once = with_product(nnx.merge(graph, state), INTERPRETED)
        return tuple(one(x, routes, live=live, stack_index=0)[: TOKENS - 3] for one in (by_loop, at_once))

    graph, state = nnx.split(experts)
    expected, found = both(state)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("quantization", [None, "int8", "fp8"])
def test_it_lowers_for_cuda(quantization: str | None) -> None:
    """Shapes of Qwen3-30B-A3B, 32 tokens."""
    form = None if quantization is None else ON_LOAD[quantization]
    blocks, size, experts, hidden, inner = 144, 16, 128, 2048, 1536
    h200 = AbstractDevice(device_kind="NVIDIA H200", num_cores=132, platform="cuda")
    mesh = AbstractMesh((1,), ("x",), axis_types=(AxisType.Auto,), abstract_device=h200)
    shapes = [
        jax.ShapeDtypeStruct((blocks * size, hidden), jnp.bfloat16),
        jax.ShapeDtypeStruct((experts, inner, hidden), jnp.bfloat16 if form is None else form.code_dtype),
        None if form is None else jax.ShapeDtypeStruct((experts, inner), jnp.float32),
        jax.ShapeDtypeStruct((blocks,), jnp.int32),
        jax.ShapeDtypeStruct((), jnp.int32),
    ]
    with use_abstract_mesh(mesh):
        product = functools.partial(grouped_matmul, meaning=None if form is None else form.meaning)
        lowered = jax.jit(product).trace(*shapes).lower(lowering_platforms=("cuda",))
    assert "grouped_matmul" in lowered.as_text()
