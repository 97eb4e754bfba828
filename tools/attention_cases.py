"""Ragged batches over a pool of noise, with the answer that NumPy gives: what attention backends are tested on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from sgl_jax.engine.attention import kv_write
from sgl_jax.engine.attention.api import Pages, RaggedRows

# Shapes are few so that many batches share compiled code.
NUM_ROWS, NUM_TOKENS, NUM_PAGES, TABLE, NUM_SLOTS = 4, 40, 64, 20, 7
SLOTS = np.asarray([5, 0, 3, 6])
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Shape:
    """What a program is compiled for; see `attention.api` for the words.

    Attributes:
        dtype: of the pool.
        query_dtype: of the queries.
        shared: values are the keys, as in a latent cache.
        single: no row has more than one token, and the backend is promised so.
        sinks: whether there are any.
    """

    page_size: int = 16
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 64
    dtype: str = "float32"
    query_dtype: str = "float32"
    shared: bool = False
    single: bool = False
    window: int | None = None
    softcap: float | None = None
    sinks: bool = False

    def __str__(self) -> str:
        return " ".join(f"{name}={value}" for name, value in vars(self).items() if value != vars(_DEFAULT)[name]) or "-"

    @property
    def room(self) -> int:
        """Tokens that a row may have."""
        return min(TABLE, NUM_PAGES // NUM_ROWS) * self.page_size

    @property
    def most_new(self) -> int:
        """Tokens of them that a row may have in the step."""
        return 1 if self.single else min(NUM_TOKENS // NUM_ROWS, self.room)


_DEFAULT = Shape()


@dataclass(frozen=True)
class Batch:
    """One step's attention, of the second of two layers that share a pool.

    Attributes:
        query, keys, values, rows, sinks: as backends take them.
        page_offset: of the layer.
        expected: float32[T, H, D]; only the first `live` tokens count.
    """

    query: jax.Array
    keys: Pages
    values: Pages
    rows: RaggedRows
    sinks: jax.Array | None
    page_offset: int
    expected: Floats
    live: int


def packed(lengths: list[int]) -> Ints:
    """In the order of the contract: rows of one token first, padding last."""
    ordered = sorted((length for length in lengths if length), key=lambda length: length > 1)
    return np.asarray(ordered + [0] * lengths.count(0))


def draw_lengths(rng: np.random.Generator, shape: Shape) -> tuple[Ints, Ints]:
    """Tokens of each row in this step, and before it."""
    usual = np.asarray([0, 1, 1, 2, shape.most_new, int(rng.integers(0, 11))])
    lengths = packed([int(n) for n in np.minimum(rng.choice(usual, NUM_ROWS), shape.most_new)])
    contexts = rng.integers(0, rng.choice(np.asarray([1, 3 * shape.page_size, shape.room]), NUM_ROWS))
    return lengths, np.minimum(contexts, shape.room - lengths)


def make_batch(
    rng: np.random.Generator, shape: Shape, lengths: Ints, contexts: Ints, *, poisoned: bool = True
) -> Batch:
    """Pages lie scattered; block tables hold arbitrary pages where the contract says that nobody looks.

    What no token sees belongs to others by now, and one request's NaN must not spread to the next: if `poisoned`, all
    of it is NaN.
    """
    free = list(rng.permutation(NUM_PAGES))
    table = rng.integers(0, NUM_PAGES, (NUM_SLOTS, TABLE), np.int32)
    stored_shape = (2 * NUM_PAGES, shape.page_size, shape.kv_heads, shape.head_dim)
    pools = [stored(rng.standard_normal(stored_shape).astype(np.float32), shape.dtype) for _ in range(2)]
    if shape.shared:
        pools[1] = pools[0]
    floats = [as_floats(pool) for pool in pools]
    seen = np.zeros(stored_shape[:2], bool)
    query = jnp.asarray(rng.standard_normal((NUM_TOKENS, shape.heads, shape.head_dim)), shape.query_dtype)
    seen_query = np.asarray(query, np.float32)
    sinks = rng.standard_normal(shape.heads).astype(np.float32) * 2 if shape.sinks else None
    expected = np.zeros(query.shape, np.float32)
    start = np.cumsum(lengths) - lengths
    for row, (length, context) in enumerate(zip(lengths, contexts, strict=True)):
        if length == 0:
            continue
        position = np.arange(length + context)
        pages = np.asarray([free.pop() for _ in range(-(-len(position) // shape.page_size))])
        table[SLOTS[row], : len(pages)] = pages
        where = pages[position // shape.page_size] + NUM_PAGES, position % shape.page_size
        keys, values = (pool[where] for pool in floats)
        tokens = slice(start[row], start[row] + length)
        expected[tokens] = dense_attention(
            *(seen_query[tokens], keys, values, shape.head_dim**-0.5),
            window=shape.window,
            softcap=shape.softcap,
            sinks=sinks,
        )
        behind = max(context + 1 - (shape.window or 1 << 30), 0)
        seen[tuple(place[behind:] for place in where)] = True
        behind //= shape.page_size
        table[SLOTS[row], :behind] = rng.integers(0, NUM_PAGES, behind)
    slots = np.where(lengths > 0, SLOTS, NUM_SLOTS)  # padding names a slot that does not exist
    rows = RaggedRows(*(jnp.asarray(x, jnp.int32) for x in (start, lengths, lengths + contexts, slots, table)))
    if poisoned:
        pools = [_poisoned(pool, seen) for pool in pools[: 1 if shape.shared else 2]]
    given = None if sinks is None else jnp.asarray(sinks)
    return Batch(query, pools[0], pools[-1], rows, given, NUM_PAGES, expected, int(lengths.sum()))


def dense_attention(
    query: Floats,
    keys: Floats,
    values: Floats,
    scale: float,
    *,
    window: int | None = None,
    softcap: float | None = None,
    sinks: Floats | None = None,
) -> Floats:
    """NumPy attention of one row: its queries are the last positions of its keys."""
    groups = query.shape[1] // keys.shape[1]
    keys, values = np.repeat(keys, groups, 1), np.repeat(values, groups, 1)
    scores = np.einsum("thd,shd->hts", query, keys) * scale
    if softcap is not None:
        scores = softcap * np.tanh(scores / softcap)
    ahead = np.arange(len(keys)) - (len(keys) - len(query)) - np.arange(len(query))[:, None]
    scores = np.where((ahead > 0) | (ahead <= -(window or np.inf)), -np.inf, scores)
    if sinks is not None:
        sink = np.broadcast_to(sinks[:, None, None], (*scores.shape[:2], 1))
        scores = np.concatenate([scores, sink], -1)
        values = np.concatenate([values, np.zeros_like(values[:1])])
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    result: Floats = np.einsum("hts,shd->thd", weights / weights.sum(-1, keepdims=True), values)
    return result


def stored(values: Floats, dtype: str) -> Pages:
    """Pages that hold these values as `dtype`."""
    empty = kv_write.make_pages(values.shape, jnp.dtype(dtype), jax.devices()[0])
    elements, scale = kv_write.encode(jnp.asarray(values), empty)
    return Pages(elements, scale, empty.dtype)


def _poisoned(pages: Pages, seen: npt.NDArray[np.bool_]) -> Pages:
    if pages.scale is not None:
        return replace(pages, scale=jnp.where(seen[..., None], pages.scale, jnp.nan))
    nan = np.asarray(np.nan, pages.dtype).view(pages.stored.dtype)
    return replace(pages, stored=jnp.where(seen[..., None, None], pages.stored, nan))


def as_floats(pages: Pages) -> Floats:
    """What pages stand for, decoded without the code under test."""
    values = np.asarray(pages.stored).view(pages.dtype).astype(np.float32)
    return values if pages.scale is None else values * np.asarray(pages.scale)[..., None]


def grid() -> list[Shape]:
    """The shapes of the long bar: every head size, format, option and group at least once, and their corners."""
    mixed = [
        Shape(head_dim=dim, page_size=page, heads=heads, kv_heads=kv_heads)
        for dim, page, heads, kv_heads in (
            (64, 16, 4, 2), (80, 16, 6, 2), (96, 32, 4, 4), (128, 64, 8, 1), (256, 16, 7, 1), (16, 4, 10, 2),
            (24, 1, 3, 1), (192, 16, 4, 2),
        )
    ]  # fmt: skip
    formats = [
        Shape(dtype=dtype, query_dtype=query_dtype, head_dim=head_dim)
        for dtype in ("bfloat16", "float8_e4m3fn", "float8_e5m2", "int8")
        for query_dtype, head_dim in (("float32", 80), ("bfloat16", 128))
    ]
    options = [
        Shape(window=window, softcap=softcap, sinks=sinks)
        for window, softcap, sinks in (
            (1, None, False),
            (24, None, True),
            (64, 2.5, False),
            (130, 2.5, True),
            (None, 30.0, True),
        )
    ]
    latents = [
        Shape(heads=heads, kv_heads=1, head_dim=dim, shared=True, dtype=dtype, query_dtype=query_dtype)
        for heads, dim, dtype, query_dtype in (
            (4, 80, "float32", "float32"), (20, 288, "float32", "float32"), (128, 576, "bfloat16", "bfloat16"),
            (16, 576, "int8", "float32"),
        )
    ]  # fmt: skip
    shapes = mixed + formats + options + latents
    return [replace(shape, single=single) for shape in shapes for single in (False, True)]
