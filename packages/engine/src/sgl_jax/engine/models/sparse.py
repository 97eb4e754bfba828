"""What families with experts share: a block whose second half asks a few of many feed-forward blocks."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import nnx

from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.errors import ModelLoadError
from sgl_jax.engine.layers.moe import Experts
from sgl_jax.engine.layers.routing import Routes
from sgl_jax.engine.models.base import KV, LayerContext
from sgl_jax.engine.models.decoder import DecoderLayer, FeedForward


class SparseMLP(nnx.Module):
    """Experts, and a rule by which tokens choose them; a family says which."""

    experts: Experts

    def __init__(self, spec: ModelSpec, *, dtype: jnp.dtype) -> None:
        raise NotImplementedError

    def routes(self, x: jax.Array) -> Routes:
        """The experts of each token of float[T, hidden]."""
        raise NotImplementedError

    def __call__(self, x: jax.Array, live: jax.Array | None = None, stack_index: jax.Array | int = 0) -> jax.Array:
        """float[T, hidden] -> float[T, hidden]; see `Experts` for the rest."""
        live = jnp.ones(x.shape[0], bool) if live is None else live
        return self.experts(x, self.routes(x), live=live, stack_index=stack_index)


class SparseLayer(DecoderLayer):
    """The shared block with a `SparseMLP`."""

    MlpType: ClassVar[type[FeedForward]] = SparseMLP
    POOLED = ("mlp.experts.",)
    mlp: SparseMLP

    def __call__(self, hidden: jax.Array, kv: KV, context: LayerContext) -> tuple[jax.Array, KV]:
        """float[T, hidden] -> float[T, hidden] and the updated pages."""
        attended, kv = self.self_attn(self.input_layernorm(hidden), kv, context)
        hidden = hidden + attended
        return hidden + self.mlp(self.post_attention_layernorm(hidden), context.live, context.stack_index), kv


def experts_by_name(gate: str, up: str, down: str, *, module: str = "mlp.experts") -> dict[str, tuple[str, ...]]:
    """The `Decoder.FUSED` entries of a checkpoint in which each expert's projections are tensors of their own."""
    return {
        "mlp.experts.gate_up_proj": (f"{module}.{{expert}}.{gate}", f"{module}.{{expert}}.{up}"),
        "mlp.experts.down_proj": (f"{module}.{{expert}}.{down}",),
    }


def size(spec: ModelSpec, name: str) -> int:
    """A field of the config that only families with experts have.

    Raises:
        ModelLoadError: it is no positive integer.
    """
    value = spec.raw.get(name)
    if not isinstance(value, int) or value < 1:
        raise ModelLoadError(f"config.json: {name!r} must be a positive integer, got {value!r}.")
    return value


def asked(spec: ModelSpec, num_experts: int) -> int:
    """How many experts a token asks.

    Raises:
        ModelLoadError: `num_experts_per_tok` is no positive integer, or there are not so many experts.
    """
    count = size(spec, "num_experts_per_tok")
    if count > num_experts:
        raise ModelLoadError(f"config.json: 'num_experts_per_tok' is {count}, but there are {num_experts} experts.")
    return count
