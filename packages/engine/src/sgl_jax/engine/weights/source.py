"""Where weights come from: tensors by their Hugging Face names, whatever the file format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from sgl_jax.engine.config.model_files import ModelFiles
from sgl_jax.engine.quantization.formats import PackFormat

HostArray = npt.NDArray[Any]


class TensorSource(Protocol):
    """A checkpoint that is opened but not read; tensors are read one at a time, in any order."""

    def names(self) -> frozenset[str]:
        """All tensors, as Hugging Face's checkpoints name them (`model.layers.0.mlp.up_proj.weight`)."""

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape that `read` will return. Raises KeyError for an unknown name."""

    def dtype(self, name: str) -> np.dtype[Any]:
        """The dtype that `read` will return: as stored, or float32 where the file is quantized."""

    def read(self, name: str) -> HostArray:
        """The tensor; a read-only view of the mapped file where the stored form allows it."""

    def packing(self, name: str) -> PackFormat | None:
        """The packed form in which the file holds a matrix, where it is one of ours."""

    def read_packed(self, name: str) -> Mapping[str, HostArray]:
        """The parts of such a matrix, exactly as stored."""


def open_source(files: ModelFiles) -> TensorSource:
    """Opens the weights of a resolved model; one with dummy weights has none to open.

    Raises:
        ModelLoadError: a file is damaged, or holds a tensor type that cannot be read.
    """
    if files.kind == "gguf":
        from sgl_jax.engine.weights.gguf import GgufSource  # brings in the gguf package, half a second

        return GgufSource(files.weight_files[0], files.config)
    from sgl_jax.engine.weights.safetensors import SafetensorsSource

    return SafetensorsSource(files.weight_files)
