"""Token embeddings, which are the output head too when weights are tied."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from sgl_jax.engine.layers.linear import Weight, apply_weight
from sgl_jax.engine.quantization.matrix import PackedMatrix
from sgl_jax.engine.quantization.tiled import TiledMatrix


class Embedding(nnx.Module):
    """A table [vocab, hidden], plain or packed.

    Attributes:
        PARTIAL: cut along its rows, each device finds the tokens that it has, see `parallel.modules`.
        mesh_axis: then, over which axis of devices what is found is summed.
    """

    PACKABLE: ClassVar[tuple[str, ...]] = ("weight",)
    PARTIAL: ClassVar[int] = -2
    weight: Weight
    mesh_axis: str | None = None

    def __init__(self, vocab_size: int, hidden_size: int, *, dtype: jnp.dtype) -> None:
        self.vocab_size = vocab_size
        self.weight = nnx.Param(jnp.zeros((vocab_size, hidden_size), dtype))

    def __call__(self, token_ids: jax.Array) -> jax.Array:
        """int32[T] -> dtype[T, hidden]; ids outside the vocabulary are clamped."""
        if self.mesh_axis is None:
            return self._rows(token_ids)
        row = token_ids - lax.axis_index(self.mesh_axis).astype(jnp.int32) * self.vocab_size
        is_own = (row >= 0) & (row < self.vocab_size)
        found = self._rows(jnp.where(is_own, row, 0))
        return lax.psum(jnp.where(is_own[:, None], found, 0), self.mesh_axis)

    def _rows(self, token_ids: jax.Array) -> jax.Array:
        if isinstance(self.weight, PackedMatrix | TiledMatrix):
            return self.weight.rows(token_ids)
        return jnp.take(self.weight[...], token_ids, axis=0, mode="clip")

    def attend(self, hidden: jax.Array) -> jax.Array:
        """float[R, hidden] -> float32[R, vocab], the tied output head."""
        return apply_weight(hidden, self.weight)
