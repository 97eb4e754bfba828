"""A checkpoint seen under other names, its tensors cut, turned and unpacked on reading."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from sgl_jax.engine.errors import ModelLoadError
from sgl_jax.engine.quantization.formats import PackFormat
from sgl_jax.engine.weights.source import HostArray, TensorSource

Shape = tuple[int, ...]


class Derived(NamedTuple):
    """A tensor that is computed from the checkpoint's.

    Attributes:
        sources: the checkpoint's tensors.
        make: their values -> its values; a view of them where that is possible.
        shape: their shapes -> its shape.
    """

    sources: tuple[str, ...]
    make: Callable[..., HostArray]
    shape: Callable[..., Shape]


def view(source: str, make: Callable[[HostArray], HostArray]) -> Derived:
    """A tensor that is a numpy view of one of the checkpoint's."""
    return Derived((source,), make, lambda shape: make(np.broadcast_to(np.zeros((), np.uint8), shape)).shape)


class AdaptedSource:
    """A `TensorSource` over another one.

    Args:
        source: the checkpoint.
        tensors: what it is to hold: a name -> the checkpoint's name for it, or how to derive it.
    """

    def __init__(self, source: TensorSource, tensors: Mapping[str, str | Derived]) -> None:
        self._source = source
        self._tensors = tensors

    def names(self) -> frozenset[str]:
        """All names that it was given."""
        return frozenset(self._tensors)

    def shape(self, name: str) -> Shape:
        """The shape that `read` will return.

        Raises:
            ModelLoadError: the checkpoint's tensor has no such part.
        """
        origin = self._tensors[name]
        if isinstance(origin, str):
            return self._source.shape(origin)
        stored = [self._source.shape(source) for source in origin.sources]
        try:
            shape: Shape = origin.shape(*stored)
        except (IndexError, ValueError) as error:
            held = ", ".join(f"{source} {list(form)}" for source, form in zip(origin.sources, stored, strict=True))
            raise ModelLoadError(f"The weights do not fit config.json: {held} holds no {name}.") from error
        return shape

    def dtype(self, name: str) -> np.dtype[Any]:
        """That of the (first) tensor which it comes from."""
        origin = self._tensors[name]
        return self._source.dtype(origin if isinstance(origin, str) else origin.sources[0])

    def read(self, name: str) -> HostArray:
        """The tensor."""
        origin = self._tensors[name]
        if isinstance(origin, str):
            return self._source.read(origin)
        return origin.make(*(self._source.read(source) for source in origin.sources))

    def packing(self, name: str) -> PackFormat | None:
        """The packed form in which the checkpoint holds a matrix; derived ones have none."""
        origin = self._tensors[name]
        return self._source.packing(origin) if isinstance(origin, str) else None

    def read_packed(self, name: str) -> Mapping[str, HostArray]:
        """The parts of such a matrix, exactly as stored."""
        origin = self._tensors[name]
        assert isinstance(origin, str), name
        return self._source.read_packed(origin)
