"""Attention whose cache holds one short vector a token for all heads (DeepSeek-V2, 2024, section 2.1, "MLA").

Each head's key and value are products of that latent vector with matrices of its own. Instead of making them, queries
are brought into the latent's space, and what is attended is brought out of it ("absorbed" matrices): to the attention
backends this is one key head, whose key is the latent beside the rotated part that heads share, and whose value is the
key's first dimensions.

Axis letters: T tokens, H heads, N dimensions of a head that are not rotated, R rank of the latent, V dimensions of a
head's value.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from flax import nnx

from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.layers.linear import Linear
from sgl_jax.engine.layers.norm import RMSNorm
from sgl_jax.engine.layers.rotary import rotate
from sgl_jax.engine.models.base import KV, LayerContext
from sgl_jax.engine.models.sparse import size

_NORM_EPS = 1e-6
"""Of the norms over latents, whatever the config says of the others."""


class LatentAttention(nnx.Module):
    """Multi-head latent attention; queries too come from a latent, unless `q_lora_rank` is null."""

    def __init__(self, spec: ModelSpec, *, dtype: jnp.dtype) -> None:
        heads, rotated = spec.num_heads, spec.head_dim
        plain, rank, value = (size(spec, name) for name in ("qk_nope_head_dim", "kv_lora_rank", "v_head_dim"))
        self.sizes = (heads, plain, rank)
        self.interleaved = bool(spec.raw["rope_interleave"])
        self.scale = (plain + rotated) ** -0.5 * yarn_sharpening(spec)
        bias = spec.attention_bias
        self.latent_queries = spec.raw["q_lora_rank"] is not None
        if not self.latent_queries:
            self.q_proj = Linear(spec.hidden_size, heads * (plain + rotated), dtype=dtype)
        else:
            query_rank = size(spec, "q_lora_rank")
            self.q_a_proj = Linear(spec.hidden_size, query_rank, dtype=dtype, bias=bias)
            self.q_a_layernorm = RMSNorm(query_rank, eps=_NORM_EPS, dtype=dtype)
            self.q_b_proj = Linear(query_rank, heads * (plain + rotated), dtype=dtype)
        self.kv_a_proj_with_mqa = Linear(spec.hidden_size, rank + rotated, dtype=dtype, bias=bias)
        self.kv_a_layernorm = RMSNorm(rank, eps=_NORM_EPS, dtype=dtype)
        self.k_up = nnx.Param(jnp.zeros((heads, plain, rank), dtype))
        self.v_up = nnx.Param(jnp.zeros((heads, value, rank), dtype))
        self.o_proj = Linear(heads * value, spec.hidden_size, dtype=dtype, bias=bias)

    def queries(self, x: jax.Array) -> jax.Array:
        """float[T, hidden] -> float[T, H * (N + rotated)]."""
        if self.latent_queries:
            return self.q_b_proj(self.q_a_layernorm(self.q_a_proj(x)))
        return self.q_proj(x)

    def __call__(self, x: jax.Array, kv: KV, context: LayerContext) -> tuple[jax.Array, KV]:
        """float[T, hidden] -> float[T, hidden] and the updated pages."""
        heads, plain, rank = self.sizes
        tokens = x.shape[0]
        query, query_rotated = jnp.split(self.queries(x).reshape(tokens, heads, -1), [plain], axis=-1)
        latent, key_rotated = jnp.split(self.kv_a_proj_with_mqa(x), [rank], axis=-1)
        latent = self.kv_a_layernorm(latent)
        query_rotated, key_rotated = (
            rotate(vectors, context.rope, interleaved=self.interleaved)
            for vectors in (query_rotated, key_rotated[:, None])
        )
        absorbed = _by_head("thn,hnr->thr", query, self.k_up[...])
        query = jnp.concatenate([absorbed, query_rotated], axis=-1)
        key = jnp.concatenate([latent[:, None], key_rotated], axis=-1)
        out, kv = context.attend(query, key, None, kv, scale=self.scale)
        value = _by_head("thr,hvr->thv", out[..., :rank].astype(x.dtype), self.v_up[...])
        return self.o_proj(value.reshape(tokens, -1)), kv


def yarn_sharpening(spec: ModelSpec) -> float:
    """What YaRN multiplies the scores by, where its config has `mscale_all_dim`."""
    scaling = spec.rope.scaling or {}
    weight = float(scaling.get("mscale_all_dim") or 0.0)
    factor = float(scaling.get("factor") or spec.rope.max_length / spec.rope.trained_length)
    return (0.1 * weight * math.log(factor) + 1.0) ** 2 if factor > 1 else 1.0


def _by_head(equation: str, vectors: jax.Array, weight: jax.Array) -> jax.Array:
    # In the type of the activations: XLA's CPU backend, where that is float32, has no batched product of bfloat16.
    product = jnp.einsum(equation, vectors, weight.astype(vectors.dtype), preferred_element_type=jnp.float32)
    return product.astype(vectors.dtype)
