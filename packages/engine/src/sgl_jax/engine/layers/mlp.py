"""The gated feed-forward block (Shazeer 2020, "GLU Variants Improve Transformer")."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.errors import ModelLoadError
from sgl_jax.engine.layers.linear import Linear

Activation = Callable[[jax.Array], jax.Array]
ACTIVATIONS: dict[str, Activation] = {
    "silu": jax.nn.silu,
    "gelu": functools.partial(jax.nn.gelu, approximate=False),
    "gelu_pytorch_tanh": functools.partial(jax.nn.gelu, approximate=True),
}


def activation(name: str) -> Activation:
    """The function that `hidden_act` names.

    Raises:
        ModelLoadError: it is unknown.
    """
    if name not in ACTIVATIONS:
        raise ModelLoadError(f"hidden_act {name!r} is unknown; known: {', '.join(ACTIVATIONS)}.")
    return ACTIVATIONS[name]


class GatedMLP(nnx.Module):
    """`down(act(gate(x)) * up(x))`, with gate and up as one product."""

    def __init__(self, spec: ModelSpec, *, dtype: jnp.dtype) -> None:
        size, inner = spec.hidden_size, spec.intermediate_size
        self.gate_up_proj = Linear(size, 2 * inner, dtype=dtype, bias=spec.mlp_bias)
        self.down_proj = Linear(inner, size, dtype=dtype, bias=spec.mlp_bias)
        self.activation = activation(spec.hidden_act)

    def __call__(self, x: jax.Array) -> jax.Array:
        """float[T, hidden] -> float[T, hidden]."""
        gate, up = jnp.split(self.gate_up_proj(x), 2, axis=-1)
        return self.down_proj(self.activation(gate) * up)
