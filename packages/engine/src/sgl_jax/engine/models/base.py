"""What the step needs of a model: two pure functions at the ends, one pure function a layer.

Modules only declare and compute. `Template` splits one once into a definition and named leaves;
the step merges leaves back inside the trace, so a jitted call sees flat arrays and nothing of NNX.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import jax
from flax import nnx

KV = tuple[jax.Array, jax.Array]
"""Key pages and value pages, each storage[P, S, K, D]."""

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
        value_tkd: jax.Array,
        kv: KV,
        *,
        scale: float,
        softcap: float | None = None,
        sinks: jax.Array | None = None,
    ) -> tuple[jax.Array, KV]:
        """Returns float32[T, H, D] and the updated pages; see `attention.api` for the options."""


class LayerContext(NamedTuple):
    """What a layer gets of the step.

    Attributes:
        positions: int32[T].
        rope: cosines and sines of the layer's rotation, each float32[T, rotary_dim / 2].
        attend: attention over this layer's pages.
    """

    positions: jax.Array
    rope: tuple[jax.Array, jax.Array]
    attend: Attend


class Template(Generic[M]):
    """A module without its arrays: how to build it, and what leaves it wants.

    Attributes:
        leaves: dotted name -> shape and dtype, in the order `bind` expects.
    """

    def __init__(self, build: Callable[[], M]) -> None:
        self._graph, state = nnx.split(nnx.eval_shape(build))
        named, self._tree = jax.tree_util.tree_flatten_with_path(state)
        self.leaves: dict[str, jax.ShapeDtypeStruct] = {_dotted(path): leaf for path, leaf in named}

    def bind(self, leaves: tuple[jax.Array, ...]) -> M:
        """The module with these arrays; cheap, meant for use inside a trace."""
        module: M = nnx.merge(self._graph, jax.tree.unflatten(self._tree, leaves))
        return module


def _dotted(path: tuple[Any, ...]) -> str:
    keys = [getattr(entry, "key", None) for entry in path]
    return ".".join(str(key) for key in keys if key is not None)
