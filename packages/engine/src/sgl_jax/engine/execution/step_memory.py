"""What a step takes of a GPU's memory besides weights and KV pool. Known before anything is compiled.

The compiler's own count would be exact, but it knows it only once the pool has its size. So this is a bound; that it
holds is checked against the compiler by `tools.deviceless`. No jax here.
"""

from __future__ import annotations

from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.layers.grouped_sizes import most_blocks
from sgl_jax.engine.plan import StepLimits

_LOGITS = 5
"""Sampling works on copies: adjusted, tempered, and what is sorted of them."""
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")
_ROOM = 48 << 20
"""Partial sums of attention, and what libraries take for themselves."""


def temporary_bytes(spec: ModelSpec, num_rows: int, num_tokens: int, activation_bytes: int = 2) -> int:
    """At most what a step allocates and frees.

    Args:
        spec: the model, or a device's share of it with the whole vocabulary, of which each device draws.
        num_rows: sequences, each of which draws a token.
        num_tokens: of all of them.
        activation_bytes: of an element of the residual stream.
    """
    attention = (2 * spec.num_heads + 2 * spec.cache.heads) * spec.head_dim
    # The widest two products of a layer, their results in float32 beside those in the activations' type.
    widest = 3 * spec.intermediate_size + attention + 4 * spec.hidden_size
    layer = max(num_tokens * widest * (activation_bytes + 4), _experts_bytes(spec, num_tokens, activation_bytes))
    return _LOGITS * 4 * num_rows * spec.vocab_size + layer + _ROOM


def _experts_bytes(spec: ModelSpec, num_tokens: int, activation_bytes: int) -> int:
    """What lies in blocks of rows, see `layers.grouped_rows`: inputs and answers, and between them the inner width."""
    asked = spec.raw.get("num_experts_per_tok")
    experts = next((spec.raw[name] for name in _EXPERTS if isinstance(spec.raw.get(name), int)), None)
    if not isinstance(asked, int) or experts is None:
        return 0
    blocks, size = most_blocks(num_tokens * asked, experts)
    inner = spec.raw.get("moe_intermediate_size") or spec.intermediate_size
    # Of each row its input or answer, both halves of the first product, and what they make of each other.
    return int(blocks * size * (spec.hidden_size + 3 * inner) * activation_bytes)


def reserved_bytes(spec: ModelSpec, limits: StepLimits, max_slots: int, activation_bytes: int = 2) -> int:
    """At most what the largest step takes, with its results and what the device remembers of each slot."""
    remembered = max_slots * spec.vocab_size * 2
    results = 2 * limits.max_tokens * spec.hidden_size * activation_bytes
    return temporary_bytes(spec, max_slots, limits.max_tokens, activation_bytes) + remembered + results
