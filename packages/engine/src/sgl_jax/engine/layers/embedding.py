"""Token embeddings, which are the output head too when weights are tied."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import nnx

from sgl_jax.engine.layers.linear import Weight, apply_weight
from sgl_jax.engine.quantization.matrix import PackedMatrix
from sgl_jax.engine.quantization.tiled import TiledMatrix


class Embedding(nnx.Module):
    """A table [vocab, hidden], plain or packed."""

    PACKABLE: ClassVar[tuple[str, ...]] = ("weight",)
    weight: Weight

    def __init__(self, vocab_size: int, hidden_size: int, *, dtype: jnp.dtype) -> None:
        self.weight = nnx.Param(jnp.zeros((vocab_size, hidden_size), dtype))

    def __call__(self, token_ids: jax.Array) -> jax.Array:
        """int32[T] -> dtype[T, hidden]; ids outside the vocabulary are clamped."""
        if isinstance(self.weight, PackedMatrix | TiledMatrix):
            return self.weight.rows(token_ids)
        return jnp.take(self.weight[...], token_ids, axis=0, mode="clip")

    def attend(self, hidden: jax.Array) -> jax.Array:
        """float[R, hidden] -> float32[R, vocab], the tied output head."""
        return apply_weight(hidden, self.weight)
