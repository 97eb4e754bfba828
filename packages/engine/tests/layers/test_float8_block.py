"""A block of float8, interpreted, is the same block multiplied by itself, product by product."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.layers.float8_block import float8_block
from sgl_jax.engine.layers.linear import Linear
from sgl_jax.engine.layers.mlp import GatedMLP
from sgl_jax.engine.layers.norm import LayerNorm, RMSNorm
from sgl_jax.engine.quantization.formats import FP8
from sgl_jax.engine.quantization.matmul import product_in_float8
from sgl_jax.engine.quantization.matrix import PackedMatrix
from sgl_jax.engine.quantization.pack import pack
from sgl_jax.engine.quantization.pallas_gpu.product import packed_product

FLOAT32 = jnp.dtype(jnp.float32)
TOKENS, HIDDEN, INNER = 256, 48, 80
RNG = np.random.default_rng(0)
PRODUCT = functools.partial(packed_product, interpret=True)


def fill(linear: Linear) -> Linear:
    shape = linear.weight[...].shape
    linear.weight = PackedMatrix(shape, FP8, dtype=FLOAT32, product=PRODUCT)
    for name, part in pack(RNG.standard_normal(shape).astype(np.float32), FP8).items():
        setattr(linear.weight, name, nnx.Param(jnp.asarray(part)))
    return linear


def norm(kind: type[RMSNorm | LayerNorm] = RMSNorm):
    made = kind(HIDDEN, eps=1e-6, dtype=FLOAT32)
    made.weight = nnx.Param(jnp.linspace(0.5, 1.5, HIDDEN))
    return made


def make_mlp() -> GatedMLP:
    spec = ModelSpec.from_hf_config(
        {
            "architectures": ["Qwen3ForCausalLM"],
            "model_type": "qwen3",
            "hidden_size": HIDDEN,
            "intermediate_size": INNER,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 16,
            "vocab_size": 64,
            "hidden_act": "silu",
            "rms_norm_eps": 1e-6,
            "max_position_embeddings": 64,
        }
    )
    mlp = GatedMLP(spec, dtype=FLOAT32)
    fill(mlp.gate_up_proj), fill(mlp.down_proj)
    return mlp


def attend(qkv: jax.Array) -> tuple[jax.Array, str]:
    return qkv[:, :32] * 0.5 + qkv[:, 32:], "pages"


def times(x: jax.Array, linear: Linear) -> jax.Array:
    return product_in_float8(FP8, x, linear.weight.whole().parts)


def test_is_the_block_product_by_product():
    qkv, output = fill(Linear(HIDDEN, 64, dtype=FLOAT32)), fill(Linear(32, HIDDEN, dtype=FLOAT32))
    mlp, norms = make_mlp(), (norm(), norm())
    hidden, delta = jnp.asarray(RNG.standard_normal((2, TOKENS, HIDDEN)), jnp.float32)
    found = float8_block(hidden, delta, norms, (qkv, output), mlp, attend, interpret=True)
    assert found is not None
    total = hidden + delta
    total = total + times(attend(times(norms[0](total), qkv))[0], output)
    gate, up = jnp.split(times(norms[1](total), mlp.gate_up_proj), 2, axis=-1)
    last = times(mlp.activation(gate) * up, mlp.down_proj)
    # Where two computations of a norm differ in the last bit, a code may be the next one.
    np.testing.assert_allclose(found[0], total, rtol=0.02, atol=0.02 * float(jnp.abs(total).max()))
    np.testing.assert_allclose(found[1].scaled(), last, rtol=0.02, atol=0.02 * float(jnp.abs(last).max()))
    assert found[2] == "pages"


def test_other_blocks_are_left_alone():
    plain, output = Linear(HIDDEN, 64, dtype=FLOAT32), fill(Linear(32, HIDDEN, dtype=FLOAT32))
    packed, mlp = fill(Linear(HIDDEN, 64, dtype=FLOAT32)), make_mlp()
    hidden, norms = jnp.zeros((TOKENS, HIDDEN)), (norm(), norm())
    assert float8_block(hidden, None, norms, (plain, output), mlp, attend) is None
    assert float8_block(hidden[:8], None, norms, (packed, output), mlp, attend) is None
    assert float8_block(hidden, None, (norm(), norm(LayerNorm)), (packed, output), mlp, attend) is None
