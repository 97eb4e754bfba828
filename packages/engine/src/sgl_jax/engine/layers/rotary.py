"""Rotary position embedding (Su et al. 2021): angles of positions, and turning vectors by them."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

Frequencies = npt.NDArray[np.float32]


class Growth(NamedTuple):
    """Dynamic NTK scaling: past the trained length the base grows with the position.

    Attributes:
        factor: how fast.
        trained_length: positions before it keep the plain frequencies.
    """

    factor: float
    trained_length: int


class Rope(NamedTuple):
    """How a layer turns its queries and keys.

    Attributes:
        frequencies: float32[rotary_dim / 2], radians a position.
        magnitude: multiplies cosines and sines.
        growth: how frequencies depend on the position, where they do.
    """

    frequencies: Frequencies
    magnitude: float = 1.0
    growth: Growth | None = None


def no_rotation(rotary_dim: int) -> Rope:
    """Leaves vectors as they are: a layer without positions is a layer that turns by nothing."""
    return Rope(np.zeros(rotary_dim // 2, np.float32))


def rotation(positions: jax.Array, rope: Rope) -> tuple[jax.Array, jax.Array]:
    """Cosines and sines for int32[T] positions: two float32[T, rotary_dim / 2]."""
    position = positions[:, None].astype(jnp.float32)
    angles = position * rope.frequencies
    if rope.growth is not None:
        factor, trained = rope.growth
        # A token's angle depends on its own position and not on its sequence's length: a key in the cache
        # stays right whatever follows. (Transformers' decoding, token by token, has the same angles.)
        growth = jnp.maximum(factor * (position + 1) / trained - (factor - 1), 1.0)
        pairs = len(rope.frequencies)
        angles = angles * growth ** (-np.arange(pairs, dtype=np.float32) / np.float32(pairs - 1))
    return jnp.cos(angles) * rope.magnitude, jnp.sin(angles) * rope.magnitude


def rotate(x_thd: jax.Array, cos_sin: tuple[jax.Array, jax.Array], *, interleaved: bool = False) -> jax.Array:
    """Turns the first `rotary_dim` dimensions of float[T, H, D], computed in float32.

    Args:
        x_thd: queries or keys.
        cos_sin: from `rotation`.
        interleaved: pairs are neighbours (0, 1), (2, 3), …, and not one of each half.
    """
    cos, sin = (part[:, None, :] for part in cos_sin)
    half = cos.shape[-1]
    x = x_thd.astype(jnp.float32)
    turning, rest = x[..., : 2 * half], x[..., 2 * half :]
    if interleaved:
        first, second = turning[..., ::2], turning[..., 1::2]
    else:
        first, second = turning[..., :half], turning[..., half:]
    turned = first * cos - second * sin, second * cos + first * sin
    joined = jnp.stack(turned, -1).reshape(turning.shape) if interleaved else jnp.concatenate(turned, -1)
    return jnp.concatenate([joined, rest], axis=-1).astype(x_thd.dtype)
