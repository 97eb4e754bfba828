"""What the step needs of a model: two pure functions at the ends, one pure function a layer.

Modules only declare and compute. `Template` splits one once into a definition and named leaves;
the step merges leaves back inside the trace, so a jitted call sees flat arrays and nothing of NNX.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import jax
from flax import nnx

from sgl_jax.engine.attention.api import HeadNorms, Pages
from sgl_jax.engine.quantization.matrix import Form, PackedProduct, packable, with_packed

KV = tuple[Pages, Pages | None]
"""Key pages and value pages; None where values are the first dimensions of the keys (`CacheSpec.values`)."""

M = TypeVar("M", bound=nnx.Module)


class LayerKind(NamedTuple):
    """How a layer differs from its siblings, besides its weights. A layer itself never asks: its context obeys it.

    Attributes:
        window: keys that a token sees at most, its own included; None sees all.
        rope: which of the family's rotations (`Decoder.ropes`) turns queries and keys.
    """

    window: int | None = None
    rope: int = 0


class Attend(Protocol):
    """Writes the step's keys and values into the pages and attends over them, within the layer's window."""

    def __call__(
        self,
        query_thd: jax.Array,
        key_tkd: jax.Array,
        value_tkd: jax.Array | None,
        kv: KV,
        *,
        scale: float,
        softcap: float | None = None,
        sinks: jax.Array | None = None,
    ) -> tuple[jax.Array, KV]:
        """Returns float[T, H, D] and the updated pages; see `attention.api` for the options."""


class AttendProjected(Protocol):
    """The same from the product for q, k and v on: norms, rotation, write and attention; see `api.StoreProjected`."""

    def __call__(
        self,
        qkv_tf: jax.Array,
        kv: KV,
        *,
        heads: tuple[int, int, int],
        norms: HeadNorms | None,
        scale: float,
        softcap: float | None = None,
        sinks: jax.Array | None = None,
    ) -> tuple[jax.Array, KV] | None:
        """Returns what `Attend` returns; None where this shape has no kernel."""


class AddNorm(Protocol):
    """A residual sum and its norm as one kernel; see `layers.pallas_norm.add_norm`."""

    def __call__(
        self, hidden: jax.Array, delta: jax.Array | None, norm: nnx.Module
    ) -> tuple[jax.Array, jax.Array] | None:
        """Returns the sum and the norm of it; None where this norm has no kernel."""


class LayerContext(NamedTuple):
    """What a layer gets of the step.

    Attributes:
        positions: int32[T].
        rope: cosines and sines of the layer's rotation, each float32[T, rotary_dim / 2].
        attend: attention over this layer's pages.
        live: bool[T], false for padding.
        stack_index: int32[] or int, the layer's place in the stack that its pooled parameters (`Run`) share.
        attend_projected: what layers whose queries and keys are turned in the plain way may use instead.
        add_norm: residual sums and norms as one, where the device has a kernel for it.
        counts: int32[2], how many tokens are live, which come first, and how many of these, the very first, are decoded
            one a sequence; the rest are of prompts. None where nobody counted.
    """

    positions: jax.Array
    rope: tuple[jax.Array, jax.Array]
    attend: Attend
    live: jax.Array
    stack_index: jax.Array | int = 0
    attend_projected: AttendProjected | None = None
    add_norm: AddNorm | None = None
    counts: jax.Array | None = None


class Template(Generic[M]):
    """A module without its arrays: how to build it, and what leaves it wants.

    Attributes:
        leaves: dotted name -> shape and dtype, in the order `bind` expects.
        packable: those that may be packed.
    """

    def __init__(self, build: Callable[[], M]) -> None:
        self._build = build
        module = nnx.eval_shape(build)
        self.packable = packable(module)
        self._graph, state = nnx.split(module)
        named, self._tree = jax.tree_util.tree_flatten_with_path(state)
        self.leaves: dict[str, jax.ShapeDtypeStruct] = {_dotted(path): leaf for path, leaf in named}

    def packed(self, forms: Mapping[str, Form], product: PackedProduct | None = None) -> Template[M]:
        """The same module with some matrices packed or tiled; each is then several leaves, see `quantization`."""
        return Template(lambda: with_packed(self._build(), forms, product))

    def bind(self, leaves: tuple[jax.Array, ...]) -> M:
        """The module with these arrays; cheap, meant for use inside a trace."""
        module: M = nnx.merge(self._graph, jax.tree.unflatten(self._tree, leaves))
        return module


def _dotted(path: tuple[Any, ...]) -> str:
    keys = [getattr(entry, "key", None) for entry in path]
    return ".".join(str(key) for key in keys if key is not None)
