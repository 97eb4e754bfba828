"""The attention kernel: a tile of queries walks its keys, block by block, with a running softmax.

One kernel serves chunks of prompts and decoding. What differs is how tall a tile is, and whether its keys are split
among several programs (Dao et al. 2023, "Flash-Decoding"), whose shares `merge` brings together.

Scores are kept as powers of two, because that is the exponential that the hardware has.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from sgl_jax.engine.attention.pallas_gpu.sizes import Piece, Sizes, pieces
from sgl_jax.engine.attention.pallas_gpu.tiles import Tiles

LOG2_E = math.log2(math.e)
LOWEST = -1e30
"""The maximum of no scores: finite, so that differences of such are."""


class Operands(NamedTuple):
    """What a kernel reads: arrays outside, references to them inside.

    Attributes:
        query: float[T, H, D].
        keys, key_scale: see `api.Pages`.
        values, value_scale: likewise; None where the values are the keys.
        tiles: see `tiles`.
        block_table: int32[slots, B].
        numbers: int32[2]: what is added to every page id, and the window.
        sinks: float32[H] or None; see `api.AttentionBackend`.
        into: float[T, H, D] whose other tokens' answers the result keeps, or None.
    """

    query: jax.Array
    keys: jax.Array
    key_scale: jax.Array | None
    values: jax.Array | None
    value_scale: jax.Array | None
    tiles: Tiles
    block_table: jax.Array
    numbers: jax.Array
    sinks: jax.Array | None
    into: jax.Array | None = None


class Partial(NamedTuple):
    """The shares of a row's keys, by line and split.

    Attributes:
        out: float32[N, splits, H, D], sums of weighted values; anything where `total` is zero.
        top: float32[N, splits, H], the largest score, which all weights are relative to.
        total: float32[N, splits, H], sums of weights.
    """

    out: jax.Array
    top: jax.Array
    total: jax.Array


class Formula(NamedTuple):
    """What is static of the computation; see `api.AttentionBackend`."""

    scale: float
    softcap: float | None
    windowed: bool
    pages: jnp.dtype
    products: jnp.dtype


def attend(operands: Operands, formula: Formula, sizes: Sizes, *, interpret: bool) -> jax.Array:
    """float[T, H, D]: answers for all tiles' queries, in the type of products.

    Args:
        operands: what to attend.
        formula: and how.
        sizes: the kernel's shape; without splits.
        interpret: compute with XLA what Triton would, for tests.
    """
    result = jax.ShapeDtypeStruct(operands.query.shape, formula.products)
    last = len(jax.tree.leaves(operands)) - 1
    aliases = {} if operands.into is None else {last: 0}
    return _call("paged_attention", operands, formula, sizes, result, aliases, interpret)


def attend_shares(operands: Operands, formula: Formula, sizes: Sizes, *, interpret: bool) -> Partial:
    """The shares of each row's keys. Every row has one query, a tile each; sinks and `into` are for `merge`."""
    shape = (operands.tiles.slot.shape[0], sizes.splits, operands.query.shape[1])
    shares = jax.ShapeDtypeStruct(shape, jnp.float32)
    out = jax.ShapeDtypeStruct((*shape, operands.query.shape[2]), jnp.float32)
    operands = operands._replace(sinks=None, into=None)
    return Partial(*_call("paged_attention_shares", operands, formula, sizes, (out, shares, shares), {}, interpret))


def _call(
    name: str,
    operands: Operands,
    formula: Formula,
    sizes: Sizes,
    result: Any,
    aliases: dict[int, int],
    interpret: bool,
) -> Any:
    call = pl.pallas_call(
        functools.partial(_kernel, formula=formula, sizes=sizes, interpret=interpret),
        out_shape=result,
        grid=(operands.tiles.slot.shape[0] * sizes.parts, operands.keys.shape[2], sizes.splits),
        input_output_aliases=aliases,
        # Never left out: without it JAX decides by its version whose compiler a kernel is for.
        compiler_params=triton.CompilerParams(num_warps=sizes.warps, num_stages=sizes.stages),
        interpret=interpret,
        name=name,
    )
    return call(operands)


def _kernel(refs: Operands, *results: jax.Array, formula: Formula, sizes: Sizes, interpret: bool) -> None:
    program, head, split = pl.program_id(0), pl.program_id(1), pl.program_id(2)
    tile = _quotient(program, sizes.parts)
    page_size, kv_heads = refs.keys.shape[1:3]
    group = refs.query.shape[1] // kv_heads
    first_token, num_queries, kv_len, slot, first_unit = (field[tile] for field in refs.tiles)
    first_unit += _remainder(program, sizes.parts) * sizes.units
    unit = first_unit + jnp.arange(sizes.units)
    query_index = _quotient(unit, group)
    token, query_head = first_token + query_index, head * group + _remainder(unit, group)
    live = query_index < num_queries
    before = kv_len - num_queries
    position = before + query_index

    cut = pieces(refs.query.shape[2])
    queries = [_load(refs.query, (token, query_head), piece, live).astype(formula.products) for piece in cut]
    last_query = jnp.minimum(_quotient(first_unit + sizes.units - 1, group), num_queries - 1)
    end = jnp.maximum(before + last_query + 1, 0)
    start, (page_offset, window) = jnp.zeros_like(end), (refs.numbers[0], refs.numbers[1])
    if formula.windowed:
        start = jnp.maximum(before + _quotient(first_unit, group) - window + 1, 0)
    first_block, end_block = _quotient(start, sizes.keys), _quotient(end + sizes.keys - 1, sizes.keys)
    if sizes.splits > 1:
        share = _quotient(end_block - first_block + sizes.splits - 1, sizes.splits)
        first_block = first_block + split * share
        end_block = jnp.minimum(first_block + share, end_block)

    def block(index: jax.Array, carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        top, total, *outs = carry
        key_position = index * sizes.keys + jnp.arange(sizes.keys)
        # Pages before and behind may be another sequence's by now, and what is in them anything, NaN too.
        seen = (key_position >= start) & (key_position < end)
        line = jnp.full_like(key_position, slot)
        page = _fetch(refs.block_table, (line, _quotient(key_position, page_size)), seen) + page_offset
        where = page, _remainder(key_position, page_size), jnp.full_like(page, head)
        keys = [_decoded(_load(refs.keys, where, piece, seen), formula) for piece in cut]
        products = (_dot(query, key, formula, interpret, by=1) for query, key in zip(queries, keys, strict=True))
        scores = functools.reduce(jnp.add, products)
        if refs.key_scale is not None:
            scores = scores * _fetch(refs.key_scale, where, seen)[None, :]
        if formula.softcap is None:
            scores = scores * (formula.scale * LOG2_E)
        else:
            scores = (formula.softcap * LOG2_E) * jnp.tanh(scores * (formula.scale / formula.softcap))
        visible = seen[None, :] & (key_position[None, :] <= position[:, None])
        if formula.windowed:
            visible &= key_position[None, :] > position[:, None] - window
        scores = jnp.where(visible, scores, -jnp.inf)
        new_top = jnp.maximum(top, jnp.max(scores, axis=1))
        weights, fade = jnp.exp2(scores - new_top[:, None]), jnp.exp2(top - new_top)
        total = total * fade + jnp.sum(weights, axis=1)
        values = keys
        if refs.values is not None:
            values = [_decoded(_load(refs.values, where, piece, seen), formula) for piece in cut]
        scale = refs.key_scale if refs.values is None else refs.value_scale
        if scale is not None:
            weights = weights * _fetch(scale, where, seen)[None, :]
        weights = weights.astype(formula.products)
        outs = [
            out * fade[:, None] + _dot(weights, value, formula, interpret, by=0)
            for out, value in zip(outs, values, strict=True)
        ]
        return new_top, total, *outs

    top, total = jnp.full(sizes.units, LOWEST, jnp.float32), jnp.zeros(sizes.units, jnp.float32)
    if refs.sinks is not None:
        top = _fetch(refs.sinks, (query_head,), live) * LOG2_E
        total = jnp.ones_like(total)
    nothing = [jnp.zeros((sizes.units, piece.size), jnp.float32) for piece in cut]
    top, total, *outs = lax.fori_loop(first_block, end_block, block, (top, total, *nothing))
    if sizes.splits > 1:
        partial = Partial(*results)
        # All are of the row's one query. The interpreter writes masked elements too, as they were: so each has a place.
        line = jnp.full_like(unit, tile)
        share_of = (line, jnp.full_like(unit, split), head * group + unit)
        _put(partial.top, share_of, top, live)
        _put(partial.total, share_of, total, live)
        for piece, out in zip(cut, outs, strict=True):
            _store(partial.out, share_of, piece, out, live & (first_block < end_block))
        return
    (result,) = results
    divisor = jnp.maximum(total, 1e-30)[:, None]
    for piece, out in zip(cut, outs, strict=True):
        _store(result, (token, query_head), piece, out / divisor, live)


def _fetch(ref: Any, index: tuple[jax.Array, ...], mask: jax.Array) -> jax.Array:
    """Elements of a reference, zeros outside the mask."""
    return triton.load(ref.at[index], mask=mask, other=0)


def _put(ref: Any, index: tuple[jax.Array, ...], elements: jax.Array, mask: jax.Array) -> None:
    triton.store(ref.at[index], elements, mask=mask)


def _load(ref: jax.Array, where: tuple[jax.Array, ...], piece: Piece, live: jax.Array) -> jax.Array:
    """A piece of vectors: [N, size] of int32[N] places; zeros where they are not live."""
    index, mask = _place_and_mask(where, piece, live)
    return _fetch(ref, index, mask)


def _store(ref: jax.Array, where: tuple[jax.Array, ...], piece: Piece, vectors: jax.Array, live: jax.Array) -> None:
    index, mask = _place_and_mask(where, piece, live)
    _put(ref, index, vectors.astype(ref.dtype), mask)


def _place_and_mask(
    where: tuple[jax.Array, ...], piece: Piece, live: jax.Array
) -> tuple[tuple[jax.Array, ...], jax.Array]:
    # The interpreter knows indexing by arrays alone, or by slices alone.
    dimension = jnp.arange(piece.size)
    mask = live[:, None]
    if piece.live < piece.size:
        mask = mask & (dimension < piece.live)[None, :]
    return (*(axis[:, None] for axis in where), (piece.first + dimension)[None, :]), mask


def _decoded(stored: jax.Array, formula: Formula) -> jax.Array:
    """Stored elements as what products take; a scale, where there is one, multiplies the product."""
    if stored.dtype != formula.pages:
        stored = lax.bitcast_convert_type(stored, formula.pages)
    return stored.astype(formula.products)


def _dot(a: jax.Array, b: jax.Array, formula: Formula, interpret: bool, *, by: int) -> jax.Array:
    """[N, M] = [N, L] times [L, M], or [M, L] with `by` 1; float32, whatever the factors."""
    precision = None
    if formula.products == jnp.float32:
        # Three products of tensor cores instead of one, to keep what float32 promises; the CPU knows no such name.
        precision = lax.Precision.HIGHEST if interpret else lax.DotAlgorithmPreset.TF32_TF32_F32_X3
    return lax.dot_general(a, b, (((1,), (by,)), ((), ())), precision=precision, preferred_element_type=jnp.float32)


def _quotient(number: jax.Array, divisor: int) -> jax.Array:
    """Of numbers that are not negative: cheaper than `//`, which asks for their sign."""
    return lax.div(number, jnp.full_like(number, divisor))


def _remainder(number: jax.Array, divisor: int) -> jax.Array:
    return lax.rem(number, jnp.full_like(number, divisor))
