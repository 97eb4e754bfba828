"""The step: packed plan in, drawn tokens out, everything between on the device.

`step(params, kv, state, packed, mask_bits) -> kv, state, drawn`, one jitted function a bucket. KV pool and
state are donated and updated in place; last tokens and block tables live on the device, so that a
step can be dispatched before the previous one's tokens were read.

The layer loop exists in two forms over the same pure block. *Unrolled* gives the compiler one flat
graph (on GPU: one CUDA graph). *Stacked* scans over weights with a leading layer axis and one pool
for all layers (on CPU: a third of the compile time at equal speed in float32). The pool is a scan
carry, never xs/ys: those would be copied.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from sgl_jax.engine.attention.api import RaggedRows
from sgl_jax.engine.attention.backends import PagedAttention
from sgl_jax.engine.execution.attending import StepAttention
from sgl_jax.engine.execution.batch import ROW_FLOATS, Layout
from sgl_jax.engine.layers.rotary import Rope, rotation
from sgl_jax.engine.models.base import KV, AddNorm, LayerContext, LayerKind, Template
from sgl_jax.engine.models.decoder import Decoder, DecoderLayer
from sgl_jax.engine.parallel.vocabulary import SharedVocabulary
from sgl_jax.engine.quantization.float8 import Unscaled, settled
from sgl_jax.engine.quantization.matrix import PackedProduct
from sgl_jax.engine.sampling.adjust import LogitRules, Masks, count_drawn
from sgl_jax.engine.sampling.draw import Asked, Draw, draw
from sgl_jax.engine.sampling.logprobs import Logprobs, no_logprobs
from sgl_jax.engine.sampling.sampler import SamplingInputs


class DeviceState(NamedTuple):
    """What the device remembers of each slot.

    Attributes:
        last_tokens: int32[slots], the last drawn token.
        block_table: int32[slots, pages a slot].
        rules: how to adjust logits, in the slots of requests that ask for it.
    """

    last_tokens: jax.Array
    block_table: jax.Array
    rules: LogitRules


class Drawn(NamedTuple):
    """A step's result, still on the device.

    Attributes:
        token_ids: int32[R].
        logprobs: of these; zeros unless asked for.
        hidden: float[most tokens of any bucket, hidden], the last layer's output for every token, then zeros: of one
            shape for all buckets, so that one `score` program serves them. None in buckets of single tokens, where
            no prompt is looked at.
    """

    token_ids: jax.Array
    logprobs: Logprobs
    hidden: jax.Array | None


class Run(NamedTuple):
    """Consecutive layers of one make.

    Attributes:
        layer: the module of each of them, without arrays.
        length: how many they are.
        pooled: leaves that a stack does not cut up by layer: every layer sees all of them, and its `stack_index`.
    """

    layer: Template[DecoderLayer]
    length: int
    pooled: frozenset[str] = frozenset()


class StepModel(NamedTuple):
    """Static description of the model that a step runs.

    Attributes:
        ends: module without arrays.
        runs: the blocks between the ends.
        kinds: what distinguishes the blocks between the ends, one entry each.
        ropes: the rotations that kinds choose from.
        stacked: whether layer leaves (and the pool) carry all layers on their first axis.
        activation_dtype: type of the residual stream.
        attention: the backend.
        draw: how tokens are drawn; None where none are, since an engine that embeds only looks at what the step leaves.
        vocabulary: where each of several devices runs a share of the model, how its logits make up a whole.
        add_norm: residual sums and norms as one kernel, where the device has one.
        packed_product: kernels for packed matrices, where the device has them.
    """

    ends: Template[Decoder]
    runs: tuple[Run, ...]
    kinds: tuple[LayerKind, ...]
    ropes: tuple[Rope, ...]
    stacked: bool
    activation_dtype: jnp.dtype
    attention: PagedAttention
    draw: Draw | None = draw
    vocabulary: SharedVocabulary | None = None
    add_norm: AddNorm | None = None
    packed_product: PackedProduct | None = None

    def whole(self, logits: jax.Array) -> jax.Array:
        """Logits of the ends as float32[R, vocab], where devices have a part of the vocabulary each."""
        return logits if self.vocabulary is None else self.vocabulary.whole(logits)

    @property
    def window(self) -> int | None:
        """Keys that a token sees at most in any layer; None when some layer sees all."""
        windows = [kind.window for kind in self.kinds if kind.window is not None]
        return max(windows) if len(windows) == len(self.kinds) else None

    @property
    def num_layers(self) -> int:
        """Blocks between the ends."""
        return len(self.kinds)


Params = tuple[jax.Array, ...]
"""Leaves of the ends, then of the layers: run after run when stacked, else layer after layer."""
Pools = tuple[KV, ...]
"""One pool a layer, or a single one for all when stacked."""
ContextOf = Callable[[jax.Array | int, jax.Array | int, jax.Array | int], LayerContext]
"""The context of a layer: its number, where its pages begin in its pool, and its place in its stack."""
Rotations = Sequence[tuple[jax.Array, jax.Array]]
NO_WINDOW = 1 << 30
"""A window that sees all keys, where layers with and without one share their code."""
StepFunction = Callable[[Params, Pools, DeviceState, jax.Array, jax.Array], tuple[Pools, DeviceState, Drawn]]


def make_step(model: StepModel, layout: Layout, max_tokens: int) -> StepFunction:
    """The pure step function of one bucket, ready for `jax.jit` with arguments 1 and 2 donated."""
    return functools.partial(_step, model, layout, max_tokens)


def _step(
    model: StepModel,
    layout: Layout,
    max_tokens: int,
    params: Params,
    kv: Pools,
    state: DeviceState,
    packed: jax.Array,
    mask_bits: jax.Array,
) -> tuple[Pools, DeviceState, Drawn]:
    field = {name: packed[where] for name, where in layout.fields.items()}
    field |= {name: lax.bitcast_convert_type(field[name], jnp.float32) for name in ROW_FLOATS}
    slot = field["slot"]
    num_slots = state.last_tokens.shape[0]
    block_table = write_pages(state.block_table, field["delta_slot"], field["delta_column"], field["delta_page"])

    row_len = field["row_len"]
    kv_len = field["start"] + row_len
    rows = RaggedRows(field["row_start"], row_len, kv_len, slot, block_table)
    positions = _positions(field)
    page_size = kv[0][0].shape[1]
    token_slot = jnp.take(slot, field["token_row"], mode="clip")
    page = block_table.at[token_slot, positions // page_size].get(mode="clip")
    live = field["token_row"] < layout.bucket.num_rows

    num_tokens = layout.bucket.num_tokens
    fed_back = jnp.where(field["feedback"] > 0, field["row_start"], num_tokens)
    last_tokens = jnp.take(state.last_tokens, slot, mode="clip")
    token_ids = field["token_ids"].at[fed_back].set(last_tokens, mode="drop")

    ends = model.ends.bind(params[: len(model.ends.leaves)])
    hidden = ends.embed(token_ids).astype(model.activation_dtype)
    backend = model.attention.for_fresh_prompts if layout.bucket.fresh else model.attention
    attention = StepAttention(backend, rows, layout.bucket.single, page, positions % page_size, live)
    rotations = [rotation(positions, rope) for rope in model.ropes]

    # Rows of one token come first in a plan, and a prompt's share is never a single token.
    counts = jnp.stack([row_len.sum(), (row_len == 1).sum()])

    def context(layer: jax.Array | int, page_offset: jax.Array | int, stack_index: jax.Array | int) -> LayerContext:
        window, rope = _traits(model.kinds, rotations, layer)
        attend = attention.of_layer(window, page_offset)
        projected = attention.projected_of_layer(window, page_offset, rope)
        return LayerContext(positions, rope, attend, live, stack_index, projected, model.add_norm, counts)

    fold = _fold_stacked if model.stacked else _fold_unrolled
    hidden, kv = fold(model, params[len(model.ends.leaves) :], kv, hidden, context)
    seen = None if layout.bucket.single else jnp.pad(hidden, ((0, max_tokens - num_tokens), (0, 0)))
    if (draw_tokens := model.draw) is None:
        nothing = Drawn(jnp.zeros_like(slot), no_logprobs(slot.shape[0], 1), seen)
        return kv, state._replace(block_table=block_table), nothing

    logits = ends.logits(hidden[jnp.maximum(field["row_start"] + row_len - 1, 0)], (row_len > 0).sum())
    sampling = SamplingInputs(
        temperature=field["temperature"],
        top_k=field["top_k"],
        top_p=field["top_p"],
        min_p=field["min_p"],
        seed=lax.bitcast_convert_type(field["seed"], jnp.uint32),
        position=kv_len,
    )
    adjusts, masks = field["adjust"] > 0, Masks(mask_bits, field["masked"] > 0)
    asked = Asked(sampling, state.rules, slot, adjusts, masks, field["logprobs"] > 0)
    if (vocabulary := model.vocabulary) is None:
        drawn, logprobs = draw_tokens(logits, asked)
    else:
        nothing_more = no_logprobs(slot.shape[0], vocabulary.size)
        drawn, logprobs = lax.cond(
            asked.is_simple,
            lambda: (vocabulary.likeliest(logits), nothing_more),
            lambda: draw_tokens(vocabulary.whole(logits), asked),
        )
    target = jnp.where(field["sample"] > 0, slot, num_slots)
    rules = count_drawn(state.rules, jnp.where(adjusts, slot, num_slots), drawn)
    state = DeviceState(state.last_tokens.at[target].set(drawn, mode="drop"), block_table, rules)
    return kv, state, Drawn(drawn, logprobs, seen)


def write_pages(block_table: jax.Array, slot: jax.Array, index: jax.Array, page: jax.Array) -> jax.Array:
    """`block_table[slot, index] = page` for int32[N] each; slots outside the table are dropped."""
    return block_table.at[slot, index].set(page, mode="drop")


def _positions(field: dict[str, jax.Array]) -> jax.Array:
    """int32[T]: where each token stands in its sequence (arbitrary but valid for padding)."""
    row = field["token_row"]
    start = jnp.take(field["start"], row, mode="clip")
    row_start = jnp.take(field["row_start"], row, mode="clip")
    return jnp.maximum(start + jnp.arange(row.shape[0], dtype=jnp.int32) - row_start, 0)


def _traits(
    kinds: Sequence[LayerKind], rotations: Rotations, layer: jax.Array | int
) -> tuple[jax.Array | int | None, tuple[jax.Array, jax.Array]]:
    """A layer's window and rotation: constants where they are known, else looked up on the device."""
    if len(set(kinds)) == 1:
        layer = 0
    if isinstance(layer, int):
        return kinds[layer].window, rotations[kinds[layer].rope]
    windows = jnp.asarray([NO_WINDOW if kind.window is None else kind.window for kind in kinds], jnp.int32)
    which = jnp.asarray([kind.rope for kind in kinds], jnp.int32)[layer]
    cos, sin = (lax.select_n(which, *tables) for tables in zip(*rotations, strict=True))
    return windows[layer], (cos, sin)


def _fold_unrolled(
    model: StepModel, leaves: Params, kv: Pools, hidden: jax.Array, context: ContextOf
) -> tuple[jax.Array, Pools]:
    pools: list[KV] = []
    delta: jax.Array | Unscaled | None = None
    for run in model.runs:
        width = len(run.layer.leaves)
        for _ in range(run.length):
            own, leaves = leaves[:width], leaves[width:]
            index = len(pools)
            layer, own_context = run.layer.bind(own), context(index, 0, 0)
            if model.add_norm is not None and layer.may_leave_sum:
                hidden, delta, pool = layer.without_last_sum(hidden, delta, kv[index], own_context)
            else:
                hidden, delta = _summed(hidden, delta), None
                hidden, pool = layer(hidden, kv[index], own_context)
            pools.append(pool)
    return _summed(hidden, delta), tuple(pools)


def _summed(hidden: jax.Array, delta: jax.Array | Unscaled | None) -> jax.Array:
    return hidden if delta is None else hidden + settled(delta, hidden.dtype)


def _fold_stacked(
    model: StepModel, leaves: Params, kv: Pools, hidden: jax.Array, context: ContextOf
) -> tuple[jax.Array, Pools]:
    (pool,) = kv
    pages_per_layer = pool[0].shape[0] // model.num_layers
    first = 0
    for run in model.runs:
        width = len(run.layer.leaves)
        own, leaves = leaves[:width], leaves[width:]
        hidden, pool = _scan(run, own, first, pages_per_layer, (hidden, pool), context)
        first += run.length
    return hidden, (pool,)


def _scan(
    run: Run, leaves: Params, first: int, pages_per_layer: int, start: tuple[jax.Array, KV], context: ContextOf
) -> tuple[jax.Array, KV]:
    """One run's layers, the first of which is the model's layer `first`."""
    named = dict(zip(run.layer.leaves, leaves, strict=True))
    # Scanning over experts would copy all of a layer's to use a few; closed over, they stay where they are.
    pooled = {name: named.pop(name) for name in run.pooled}

    def block(
        carry: tuple[jax.Array, KV], layer: tuple[jax.Array, dict[str, jax.Array]]
    ) -> tuple[tuple[jax.Array, KV], None]:
        hidden, pool = carry
        place, own = layer
        own = own | pooled
        bound = run.layer.bind(tuple(own[name] for name in run.layer.leaves))
        index = first + place
        return bound(hidden, pool, context(index, index * pages_per_layer, place)), None

    end, _ = lax.scan(block, start, (jnp.arange(run.length, dtype=jnp.int32), named))
    return end
