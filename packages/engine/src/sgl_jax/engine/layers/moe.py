"""Many feed-forward blocks of which each token asks a few: the work follows the tokens, not the experts.

Tokens are sorted by expert and cut into blocks of one expert each; a loop walks the blocks that there are. So an expert
without tokens costs nothing, no temporary grows with the number of experts, and a token's answer does not depend on
who else is in the step. On GPUs, where a loop would break the step's CUDA graph, one kernel computes all blocks. (XLA
has `ragged_dot`, and expands it to a dense product of all tokens with all experts: on CPU 30 times slower for 32 of
them.)

Axis letters: T tokens, K experts that a token asks, E experts, N = T * K requests, B requests a block, M blocks,
H hidden, F inner width.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ClassVar, NamedTuple, Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from flax import nnx
from jax import lax

from sgl_jax.engine.layers.grouped_rows import GroupedRows, group
from sgl_jax.engine.layers.linear import Weight, matmul
from sgl_jax.engine.layers.mlp import Activation
from sgl_jax.engine.layers.routing import Routes
from sgl_jax.engine.quantization.matmul import packed_matmul
from sgl_jax.engine.quantization.matrix import PackedMatrix
from sgl_jax.engine.quantization.tiled import TiledMatrix

MAX_BLOCK = 64
Gating = Callable[[jax.Array], jax.Array]
"""float32[B, 2F], what gates and what is gated -> float32[B, F]."""
M = TypeVar("M", bound=nnx.Module)
Weights = TypeVar("Weights", jax.Array, npt.NDArray[np.generic])


class GroupedProduct(Protocol):
    """A kernel that multiplies all blocks at once, each with its expert's matrix transposed."""

    def __call__(
        self,
        x: jax.Array,
        weight: jax.Array,
        scale: jax.Array | None,
        expert: jax.Array,
        live: jax.Array,
        *,
        meaning: jnp.dtype | None = None,
    ) -> jax.Array:
        """Computes.

        Args:
            x: float[M * B, in], the rows of all blocks; B is a power of two from 16 on.
            weight: [E, out, in]: float, or codes, see `quantization.formats`. It meets x in x's type.
            scale: float32[E, out], what a row of codes is multiplied by; None for float weights.
            expert: int32[M].
            live: int32[], blocks that there are; rows of others are zero.
            meaning: the type whose bits codes are, if that is another.

        Returns:
            x's type[M * B, out], summed in float32.
        """


class ExpertLinear(nnx.Module):
    """One `Linear` an expert: weight[E, out, in], and bias[E, out] if there is one.

    The leading axis may hold the experts of several layers one after another, see `Experts`.

    Attributes:
        PARTIAL: cut along its weight's inputs, its answers are partial, see `parallel.modules`.
        mesh_axis: then, over which axis of devices its caller has to sum them.
    """

    PACKABLE: ClassVar[tuple[str, ...]] = ("weight",)
    PARTIAL: ClassVar[int] = -1
    weight: Weight
    mesh_axis: str | None = None

    def __init__(
        self, num_experts: int, in_features: int, out_features: int, *, dtype: jnp.dtype, bias: bool = False
    ) -> None:
        self.weight = nnx.Param(jnp.zeros((num_experts, out_features, in_features), dtype))
        self.bias = nnx.Param(jnp.zeros((num_experts, out_features), dtype)) if bias else None

    def __call__(self, x: jax.Array, expert: jax.Array) -> jax.Array:
        """float[B, in] and int32[], the expert of them all -> float32[B, out]."""
        if isinstance(self.weight, PackedMatrix | TiledMatrix):
            y = packed_matmul(x, self.weight.one(expert))
        else:
            weight = lax.dynamic_index_in_dim(self.weight[...], expert, keepdims=False)
            if weight.dtype == jnp.uint16:
                weight = lax.bitcast_convert_type(weight, jnp.bfloat16)
            y = matmul(x, weight)
        if self.bias is not None:
            y = y + self._once(lax.dynamic_index_in_dim(self.bias[...], expert, keepdims=False).astype(jnp.float32))
        return y

    @property
    def is_groupable(self) -> bool:
        """Whether `at_once` can be used: a kernel takes float weights, and codes with a scale a row."""
        return not isinstance(self.weight, TiledMatrix) and not (
            isinstance(self.weight, PackedMatrix) and self.weight.form.grouped
        )

    def at_once(self, x: jax.Array, rows: GroupedRows, product: GroupedProduct) -> jax.Array:
        """float[M * B, in], rows of all blocks -> [M * B, out] in x's type; rows of no request are arbitrary."""
        if isinstance(self.weight, PackedMatrix):
            parts, form = self.weight.whole()[:2]
            meaning = None if form.meaning is None else jnp.dtype(form.meaning)
            y = product(x, parts["codes"], parts["scales"], rows.expert, rows.live, meaning=meaning)
        else:
            assert isinstance(self.weight, nnx.Param), "this is for GPUs, where weights are not tiled"
            y = product(x, self.weight[...], None, rows.expert, rows.live)
        if self.bias is not None:
            bias = self._once(jnp.repeat(self.bias[...][rows.expert].astype(jnp.float32), rows.size, axis=0))
            y = (y.astype(jnp.float32) + bias).astype(x.dtype)
        return y

    def _once(self, bias: jax.Array) -> jax.Array:
        """What each device adds so that it is counted once in their sum."""
        return bias if self.mesh_axis is None else jnp.where(lax.axis_index(self.mesh_axis) == 0, bias, 0)


class Experts(nnx.Module):
    """Gated feed-forward blocks, of which each token asks a few.

    Args:
        num_experts, hidden_size, inner_size: E, H, F.
        gating: how the first product's two halves become the second one's input, see `halves`.
        dtype: type of the weights.
        bias: whether both products have one.

    Attributes:
        product: a kernel for all blocks at once, see `with_product`; None walks them by a loop.
    """

    product: GroupedProduct | None = None

    def __init__(
        self,
        num_experts: int,
        hidden_size: int,
        inner_size: int,
        *,
        gating: Gating,
        dtype: jnp.dtype,
        bias: bool = False,
    ) -> None:
        self.num_experts = num_experts
        self.gate_up_proj = ExpertLinear(num_experts, hidden_size, 2 * inner_size, dtype=dtype, bias=bias)
        self.down_proj = ExpertLinear(num_experts, inner_size, hidden_size, dtype=dtype, bias=bias)
        self.gating = gating

    def __call__(self, x: jax.Array, routes: Routes, *, live: jax.Array, stack_index: jax.Array | int) -> jax.Array:
        """The weighted sum of the experts' answers.

        Args:
            x: float[T, H].
            routes: the experts of each token.
            live: bool[T]; others ask nobody, and get arbitrary finite values.
            stack_index: which layer's experts are meant, where the parameters hold those of several layers.

        Returns:
            float[T, H], in x's type.
        """
        routes = routes._replace(expert=jnp.where(live[:, None], routes.expert, self.num_experts))
        first_expert = jnp.asarray(stack_index, jnp.int32) * self.num_experts
        if self.product is not None and self.gate_up_proj.is_groupable and self.down_proj.is_groupable:
            answers = self._at_once(x, routes, first_expert, self.product)
        else:
            answers = self._by_loop(x, routes, first_expert)
        axis = self.down_proj.mesh_axis
        return answers if axis is None else lax.psum(answers, axis)

    def _at_once(self, x: jax.Array, routes: Routes, first_expert: jax.Array, product: GroupedProduct) -> jax.Array:
        tokens, asked = routes.expert.shape
        rows = group(routes.expert, self.num_experts)
        rows = rows._replace(expert=rows.expert + first_expert)
        gate_up = self.gate_up_proj.at_once(x[rows.request // asked], rows, product)
        inner = self.gating(gate_up.astype(jnp.float32)).astype(x.dtype)
        answer = self.down_proj.at_once(inner, rows, product)
        # Taken by token instead of added in place: a GPU does that in any order, and sums differ from run to run.
        own = answer[rows.row].reshape(tokens, asked, -1).astype(jnp.float32)
        weight = jnp.where(routes.expert < self.num_experts, routes.weight, 0)[:, :, None]
        return jnp.where(weight != 0, own * weight, 0).sum(1).astype(x.dtype)

    def _by_loop(self, x: jax.Array, routes: Routes, first_expert: jax.Array) -> jax.Array:
        tokens, asked = routes.expert.shape
        blocks = _cut(routes.expert, self.num_experts)
        weight = routes.weight.reshape(-1)

        def block(index: jax.Array, total: jax.Array) -> jax.Array:
            request = lax.dynamic_slice_in_dim(blocks.request, blocks.start[index], blocks.size)
            valid = jnp.arange(blocks.size) < blocks.filled[index]
            expert = first_expert + blocks.expert[index]
            inner = self.gating(self.gate_up_proj(x[request // asked], expert))
            answer = self.down_proj(inner, expert) * weight[request][:, None]
            # Each token once at most: an expert is asked by a token once.
            target = jnp.where(valid, request // asked, tokens + jnp.arange(blocks.size))
            return total.at[target].add(answer, mode="drop", unique_indices=True)

        return lax.fori_loop(0, blocks.live, block, jnp.zeros(x.shape, jnp.float32)).astype(x.dtype)


def with_product(module: M, product: GroupedProduct) -> M:
    """The module, whose experts are computed by a kernel."""
    for _, part in nnx.iter_modules(module):
        if isinstance(part, Experts):
            part.product = product
    return module


def halves(gate: Activation) -> Gating:
    """`gate(first half) * second half`, as in `GatedMLP`."""
    return functools.partial(_gate_halves, gate)


def _gate_halves(gate: Activation, gate_up: jax.Array) -> jax.Array:
    first, second = jnp.split(gate_up, 2, axis=-1)
    return gate(first) * second


class _Blocks(NamedTuple):
    """Requests, sorted by expert and cut into blocks.

    Attributes:
        request: int32[N + B], numbers of requests (token * K + which of its experts), then arbitrary valid ones.
        expert, start, filled: int32[M] for M blocks at most: whose, where in `request`, how many.
        live: int32[], blocks that there are.
        size: B.
    """

    request: jax.Array
    expert: jax.Array
    start: jax.Array
    filled: jax.Array
    live: jax.Array
    size: int


def _cut(expert_tk: jax.Array, num_experts: int) -> _Blocks:
    """Sorts int32[T, K] expert numbers; those from `num_experts` on are nobody's."""
    num_requests = expert_tk.size
    size = _block_size(num_requests, num_experts)
    most = min(num_requests, num_requests // size + min(num_experts, num_requests))
    expert = expert_tk.reshape(-1)
    order = jnp.argsort(expert, stable=True).astype(jnp.int32)
    per_expert = jnp.zeros(num_experts, jnp.int32).at[expert].add(1, mode="drop")
    first = jnp.cumsum(per_expert) - per_expert
    blocks_of = -(-per_expert // size)
    last_block = jnp.cumsum(blocks_of)
    number = jnp.arange(most)
    whose = jnp.minimum(jnp.searchsorted(last_block, number, side="right"), num_experts - 1).astype(jnp.int32)
    before = (number - (last_block - blocks_of)[whose]) * size
    return _Blocks(
        request=jnp.pad(order, (0, size)),
        expert=whose,
        start=first[whose] + before,
        filled=per_expert[whose] - before,
        live=last_block[-1],
        size=size,
    )


def _block_size(num_requests: int, num_experts: int) -> int:
    """As many requests as an expert has on average, as a power of two."""
    size = 1
    while 2 * size <= min(num_requests // num_experts, MAX_BLOCK):
        size *= 2
    return size


def at_rest(weights: Weights, platform: str) -> Weights:
    """How experts' weights are kept on a device.

    XLA's CPU backend takes a slice of bfloat16 through float32, and converts all experts at every step to use a few
    (measured: 112 ms instead of 1.4 for 32 experts of 3 MB). Their bit patterns in uint16 it slices as they are.
    """
    if platform == "cpu" and weights.ndim == 3 and weights.dtype == jnp.bfloat16:
        return weights.view(np.uint16)
    return weights
