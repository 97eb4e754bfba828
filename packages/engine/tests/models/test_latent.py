"""Absorbed latent attention against the textbook's, which makes each head's keys and values."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.layers.rope_scaling import make_rope
from sgl_jax.engine.layers.rotary import rotate, rotation
from sgl_jax.engine.models.base import LayerContext
from sgl_jax.engine.models.latent import LatentAttention, yarn_sharpening
from tools.tiny_model import tiny_config

TOKENS, HEADS, PLAIN, ROTATED, RANK = 9, 4, 24, 16, 32


def spec_of(**fields):
    return ModelSpec.from_hf_config(tiny_config("DeepseekV3ForCausalLM", tie=False, dtype="float32", **fields))


def attend_densely(query, key, value, kv, *, scale):
    """Causal attention of the step's tokens; values are the keys."""
    assert value is None
    keys = key[:, 0].astype(jnp.float32)
    scores = jnp.einsum("thd,sd->hts", query.astype(jnp.float32), keys) * scale
    scores = jnp.where(jnp.tril(jnp.ones((TOKENS, TOKENS), bool)), scores, -jnp.inf)
    return jnp.einsum("hts,sd->thd", jax.nn.softmax(scores), keys), kv


def rms(x, weight):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6) * weight


def textbook(layer, spec, x, cos_sin):
    values = {name: np.asarray(leaf, np.float32) for name, leaf in _named(layer).items()}
    if layer.latent_queries:
        x_query = rms(x @ values["q_a_proj.weight"].T, values["q_a_layernorm.weight"]) @ values["q_b_proj.weight"].T
    else:
        x_query = x @ values["q_proj.weight"].T
    query = x_query.reshape(TOKENS, HEADS, PLAIN + ROTATED)
    compressed = x @ values["kv_a_proj_with_mqa.weight"].T
    latent = rms(compressed[:, :RANK], values["kv_a_layernorm.weight"])

    def turn(vectors):
        return np.asarray(rotate(jnp.asarray(vectors), cos_sin, interleaved=layer.interleaved))

    key_rotated = np.repeat(turn(compressed[:, None, RANK:]), HEADS, axis=1)
    keys = np.concatenate([np.einsum("tr,hnr->thn", latent, values["k_up"]), key_rotated], -1)
    query = np.concatenate([query[..., :PLAIN], turn(query[..., PLAIN:])], -1)
    scores = np.einsum("thd,shd->hts", query, keys) * (PLAIN + ROTATED) ** -0.5 * yarn_sharpening(spec)
    scores = np.where(np.tril(np.ones((TOKENS, TOKENS), bool)), scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    out = np.einsum("hts,shv->thv", weights, np.einsum("tr,hvr->thv", latent, values["v_up"]))
    return out.reshape(TOKENS, -1) @ values["o_proj.weight"].T


def _named(layer):
    return {".".join(path): leaf[...] for path, leaf in nnx.to_flat_state(nnx.state(layer))}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("query_rank", [40, None])
def test_absorbed_is_expanded(dtype, query_rank):
    spec = spec_of(q_lora_rank=query_rank, rope_interleave=query_rank is None)
    layer = LatentAttention(spec, dtype=jnp.dtype(dtype))
    rng = np.random.default_rng(0)
    for _, leaf in nnx.to_flat_state(nnx.state(layer)):
        leaf[...] = jnp.asarray(rng.standard_normal(leaf.shape) / leaf.shape[-1] ** 0.5, leaf.dtype)
    positions = jnp.arange(3, 3 + TOKENS)
    cos_sin = rotation(positions, make_rope(spec.rope, 64))
    context = LayerContext(positions, cos_sin, attend_densely, jnp.ones(TOKENS, bool))
    x = rng.standard_normal((TOKENS, spec.hidden_size)).astype(np.float32)
    found, _ = layer(jnp.asarray(x), None, context)
    expected = textbook(layer, spec, x, cos_sin)
    np.testing.assert_allclose(found, expected, atol=1e-5 if dtype == "float32" else 2e-2)


@pytest.mark.parametrize(
    ("scaling", "expected"),
    [
        (None, 1.0),
        ({"type": "yarn", "factor": 40, "mscale": 1.0, "mscale_all_dim": 1.0}, (0.1 * np.log(40) + 1) ** 2),
        ({"type": "yarn", "factor": 40}, 1.0),
        ({"type": "yarn", "factor": 1.0, "mscale_all_dim": 1.0}, 1.0),
    ],
)
def test_yarn_sharpens_scores(scaling, expected):
    assert yarn_sharpening(spec_of(rope_scaling=scaling)) == pytest.approx(expected)
