"""Logits of a vocabulary of which each device has a part."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from sgl_jax.engine.parallel.mesh import AXIS


class SharedVocabulary(NamedTuple):
    """Each device has as many tokens as any other, in the devices' order; the last ones' may be padding.

    Attributes:
        size: tokens of all devices together, without padding.
    """

    size: int

    def whole(self, logits: jax.Array) -> jax.Array:
        """A device's float32[R, share] -> float32[R, size], on every device."""
        return lax.all_gather(logits, AXIS, axis=1, tiled=True)[:, : self.size]

    def likeliest(self, logits: jax.Array) -> jax.Array:
        """The likeliest token of each row: of equals the first. Only the devices' own candidates travel.

        Args:
            logits: a device's float32[R, share].

        Returns:
            int32[R], on every device.
        """
        share = logits.shape[1]
        first = lax.axis_index(AXIS).astype(jnp.int32) * share
        own = jnp.argmax(jnp.where(first + jnp.arange(share) < self.size, logits, -jnp.inf), axis=1).astype(jnp.int32)
        height = jnp.take_along_axis(logits, own[:, None], axis=1)[:, 0]
        heights, tokens = lax.all_gather((height, first + own), AXIS)
        winner = jnp.argmax(heights, axis=0)
        return jnp.take_along_axis(tokens, winner[None], axis=0)[0]
