"""The pre-norm decoder that most families share. A family file states only its differences.

Attribute names are those of Hugging Face checkpoints, so that a parameter's path is its tensor's
name; `FUSED` lists the parameters that are several tensors laid end to end.
"""

from __future__ import annotations

import functools
from typing import ClassVar, Protocol

import jax
import jax.numpy as jnp
from flax import nnx

from sgl_jax.engine.attention.api import HeadNorms
from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.layers import fused
from sgl_jax.engine.layers.embedding import Embedding
from sgl_jax.engine.layers.float8_block import float8_block
from sgl_jax.engine.layers.linear import Linear
from sgl_jax.engine.layers.mlp import GatedMLP
from sgl_jax.engine.layers.norm import LayerNorm, RMSNorm
from sgl_jax.engine.layers.rope_scaling import make_rope
from sgl_jax.engine.layers.rotary import Rope, rotate
from sgl_jax.engine.models.base import KV, AddNorm, LayerContext, LayerKind
from sgl_jax.engine.quantization.float8 import Unscaled, settled

Norm = RMSNorm | LayerNorm


class Attention(nnx.Module):
    """Grouped-query self-attention with rotary positions; q, k and v as one product.

    Attributes:
        HEAD_NORMS: each head's query and key is normalised before it is turned, with one weight[D] for all heads.
        NormType: of these norms.
        INTERLEAVED: rotary pairs are neighbours, see `rotate`.
        SINKS: each head has a score that takes its share of the softmax, see `attention.api`.
        scale: multiplies the scores.
        softcap: bounds the scores, see `attention.api`.
    """

    HEAD_NORMS: ClassVar[bool] = False
    NormType: ClassVar[type[Norm]] = RMSNorm
    INTERLEAVED: ClassVar[bool] = False
    SINKS: ClassVar[bool] = False

    def __init__(self, spec: ModelSpec, *, dtype: jnp.dtype) -> None:
        self.heads = (spec.num_heads, spec.num_kv_heads, spec.head_dim)
        q_size, kv_size = spec.num_heads * spec.head_dim, spec.num_kv_heads * spec.head_dim
        qkv_bias, output_bias = self.biases(spec)
        self.qkv_proj = Linear(spec.hidden_size, q_size + 2 * kv_size, dtype=dtype, bias=qkv_bias)
        self.o_proj = Linear(q_size, spec.hidden_size, dtype=dtype, bias=output_bias)
        self.scale = spec.head_dim**-0.5
        self.softcap: float | None = None
        self.sinks = nnx.Param(jnp.zeros((spec.num_heads,), dtype)) if self.SINKS else None
        if self.HEAD_NORMS:
            self.q_norm = self.NormType(spec.head_dim, eps=spec.norm_eps, dtype=dtype)
            self.k_norm = self.NormType(spec.head_dim, eps=spec.norm_eps, dtype=dtype)

    @staticmethod
    def biases(spec: ModelSpec) -> tuple[bool, bool]:
        """Whether q, k and v have a bias, and whether the output has one."""
        return spec.attention_bias, spec.attention_bias

    def normalize(self, query_thd: jax.Array, key_tkd: jax.Array) -> tuple[jax.Array, jax.Array]:
        """What happens to queries and keys before they are turned."""
        if self.HEAD_NORMS:
            return self.q_norm(query_thd), self.k_norm(key_tkd)
        return query_thd, key_tkd

    def __call__(self, x: jax.Array, kv: KV, context: LayerContext) -> tuple[jax.Array, KV]:
        """float[T, hidden] -> float[T, hidden] and the updated pages."""
        out, kv = self.attend(self.qkv_proj(x), kv, context)
        return self.o_proj(out.astype(x.dtype)), kv

    def attend(self, qkv: jax.Array, kv: KV, context: LayerContext) -> tuple[jax.Array, KV]:
        """What lies between the two products: float[T, (H + 2 K) D] -> float32[T, H * D] and the updated pages."""
        num_heads, num_kv_heads, d = self.heads
        tokens = qkv.shape[0]
        sinks = None if self.sinks is None else self.sinks[...]
        attended = self._attend_projected(qkv, kv, context, sinks)
        if attended is None:
            qkv = qkv.reshape(tokens, num_heads + 2 * num_kv_heads, d)
            query, key, value = jnp.split(qkv, [num_heads, num_heads + num_kv_heads], axis=1)
            query, key = self.normalize(query, key)
            query, key = (rotate(vectors, context.rope, interleaved=self.INTERLEAVED) for vectors in (query, key))
            attended = context.attend(query, key, value, kv, scale=self.scale, softcap=self.softcap, sinks=sinks)
        out, kv = attended
        return out.reshape(tokens, num_heads * d), kv

    def _attend_projected(
        self, qkv: jax.Array, kv: KV, context: LayerContext, sinks: jax.Array | None
    ) -> tuple[jax.Array, KV] | None:
        """What lies between the two products as one step, where the device has a kernel for it."""
        own_ways = self.INTERLEAVED or type(self).normalize is not Attention.normalize
        if context.attend_projected is None or own_ways:
            return None
        norms = None
        if self.HEAD_NORMS:
            if not isinstance(self.q_norm, RMSNorm) or not isinstance(self.k_norm, RMSNorm):
                return None
            norms = HeadNorms(self.q_norm.factor(), self.k_norm.factor(), self.q_norm.eps)
        return context.attend_projected(
            qkv, kv, heads=self.heads, norms=norms, scale=self.scale, softcap=self.softcap, sinks=sinks
        )


class SelfAttention(Protocol):
    """The first half of a block, whatever it is made of."""

    def __init__(self, spec: ModelSpec, *, dtype: jnp.dtype) -> None: ...

    def __call__(self, x: jax.Array, kv: KV, context: LayerContext) -> tuple[jax.Array, KV]:
        """float[T, hidden] -> float[T, hidden] and the updated pages."""


class FeedForward(Protocol):
    """The second half of a block, whatever it is made of."""

    def __init__(self, spec: ModelSpec, *, dtype: jnp.dtype) -> None: ...

    def __call__(self, x: jax.Array) -> jax.Array:
        """float[T, hidden] -> float[T, hidden]."""


class DecoderLayer(nnx.Module):
    """One block: hidden + attention(norm(hidden)), then + mlp(norm(·)).

    Attributes:
        AttentionType, MlpType, NormType: what the block is made of.
        NORMS: names of its norms over the hidden width; a family with others says how `__call__` uses them.
        POOLED: prefixes of its parameters whose first axis counts experts, see `step.Run`.
    """

    AttentionType: ClassVar[type[SelfAttention]] = Attention
    MlpType: ClassVar[type[FeedForward]] = GatedMLP
    NormType: ClassVar[type[Norm]] = RMSNorm
    NORMS: ClassVar[tuple[str, ...]] = ("input_layernorm", "post_attention_layernorm")
    POOLED: ClassVar[tuple[str, ...]] = ()
    input_layernorm: Norm
    post_attention_layernorm: Norm
    mlp: FeedForward

    def __init__(self, spec: ModelSpec, *, dtype: jnp.dtype) -> None:
        self.self_attn = self.AttentionType(spec, dtype=dtype)
        self.mlp = self.MlpType(spec, dtype=dtype)
        for name in self.NORMS:
            setattr(self, name, self.NormType(spec.hidden_size, eps=spec.norm_eps, dtype=dtype))

    def __call__(self, hidden: jax.Array, kv: KV, context: LayerContext) -> tuple[jax.Array, KV]:
        """float[T, hidden] -> float[T, hidden] and the updated pages."""
        found = self._in_few_calls(hidden, kv, context)
        if found is not None:
            return found
        hidden, delta, kv = self.without_last_sum(hidden, None, kv, context)
        return hidden + settled(delta, hidden.dtype), kv

    def _in_few_calls(self, hidden: jax.Array, kv: KV, context: LayerContext) -> tuple[jax.Array, KV] | None:
        """The same by kernels that span several layers, if the block is of the plain make and there are such."""
        attention = self.self_attn
        if not isinstance(attention, Attention) or type(attention).__call__ is not Attention.__call__:
            return None
        qkv = fused.normed_product(hidden, self.input_layernorm, attention.qkv_proj, context.counts)
        if qkv is None:
            return None
        out, kv = attention.attend(qkv, kv, context)
        norm = self.post_attention_layernorm
        finished = fused.finished_block(hidden, out, attention.o_proj, norm, self.mlp, context.counts)
        if finished is None:
            hidden = hidden + attention.o_proj(out.astype(hidden.dtype))
            finished = hidden + self.mlp(norm(hidden))
        return finished, kv

    @property
    def may_leave_sum(self) -> bool:
        """Whether `without_last_sum` says what this block does: a family with a `__call__` of its own need not ask."""
        return type(self).__call__ is DecoderLayer.__call__

    def without_last_sum(
        self, hidden: jax.Array, delta: jax.Array | Unscaled | None, kv: KV, context: LayerContext
    ) -> tuple[jax.Array, jax.Array | Unscaled, KV]:
        """The same, but its last sum is left to the next block, whose first norm can be one kernel with it.

        Args:
            hidden: float[T, hidden].
            delta: the sum that the block before left, if it did.
            kv: pages.
            context: of the layer.

        Returns:
            Two addends [T, hidden], and the updated pages.
        """
        attention = self.self_attn
        if context.add_norm and isinstance(attention, Attention) and type(attention).__call__ is Attention.__call__:
            norms = (self.input_layernorm, self.post_attention_layernorm)
            linears = (attention.qkv_proj, attention.o_proj)
            attend = functools.partial(attention.attend, kv=kv, context=context)
            found = float8_block(hidden, delta, norms, linears, self.mlp, attend)
            if found is not None:
                return found
        delta = None if delta is None else settled(delta, hidden.dtype)
        hidden, x = added_and_normed(hidden, delta, self.input_layernorm, context.add_norm)
        attended, kv = self.self_attn(x, kv, context)
        hidden, x = added_and_normed(hidden, attended, self.post_attention_layernorm, context.add_norm)
        return hidden, self.mlp(x), kv


def added_and_normed(
    hidden: jax.Array, delta: jax.Array | None, norm: Norm, together: AddNorm | None
) -> tuple[jax.Array, jax.Array]:
    """The residual stream after an addition, and the norm of that."""
    found = None if together is None else together(hidden, delta, norm)
    if found is None:
        hidden = hidden if delta is None else hidden + delta
        found = hidden, norm(hidden)
    return found


class Decoder(nnx.Module):
    """The ends of the stack: embedding, final norm, output head.

    Attributes:
        Layer: the block between the ends, where all layers are of one make (see `layers`).
        FUSED: module of ours -> the checkpoint's modules, concatenated on the output axis, see `weights.names`.
    """

    Layer: ClassVar[type[DecoderLayer]] = DecoderLayer
    FUSED: ClassVar[dict[str, tuple[str, ...]]] = {
        "self_attn.qkv_proj": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        "mlp.gate_up_proj": ("mlp.gate_proj", "mlp.up_proj"),
    }

    def __init__(self, spec: ModelSpec, *, dtype: jnp.dtype) -> None:
        self.embed_tokens = Embedding(spec.vocab_size, spec.hidden_size, dtype=dtype)
        self.norm = self.Layer.NormType(spec.hidden_size, eps=spec.norm_eps, dtype=dtype)
        untied = not spec.tie_word_embeddings
        self.lm_head = Linear(spec.hidden_size, spec.vocab_size, dtype=dtype) if untied else None

    @classmethod
    def layers(cls, spec: ModelSpec) -> tuple[type[DecoderLayer], ...]:
        """The block of each layer."""
        return (cls.Layer,) * spec.num_layers

    @classmethod
    def layer_kinds(cls, spec: ModelSpec) -> tuple[LayerKind, ...]:
        """What distinguishes the layers besides their make and weights, one entry each."""
        return (LayerKind(),) * spec.num_layers

    @classmethod
    def ropes(cls, spec: ModelSpec, max_seq_len: int) -> tuple[Rope, ...]:
        """The rotations that `LayerKind.rope` chooses from."""
        return (make_rope(spec.rope, max_seq_len),)

    def embed(self, token_ids: jax.Array) -> jax.Array:
        """int32[T] -> dtype[T, hidden]."""
        return self.embed_tokens(token_ids)

    def logits(self, hidden: jax.Array, live: jax.Array | None = None) -> jax.Array:
        """float[R, hidden] -> float32[R, vocab].

        Args:
            hidden: what the last layer left.
            live: int32[], how many rows count, the first ones; None is all.
        """
        weight = self.embed_tokens.weight if self.lm_head is None else self.lm_head.weight
        logits = fused.normed_weight(hidden, self.norm, weight, None if live is None else jnp.stack([live, live]))
        if logits is not None:
            return logits
        hidden = self.norm(hidden)
        if self.lm_head is None:
            return self.embed_tokens.attend(hidden)
        return self.lm_head(hidden.astype(jnp.float32))
