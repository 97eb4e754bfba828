"""Safetensors checkpoints, one file or many: every tensor is a view of the mapped file.

Mapped by hand because `safetensors.safe_open` copies each tensor on reading; the header is checked
on opening in any case, and after it a tensor is no more than a dtype, a shape and an offset.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from sgl_jax.engine.config.safetensors_header import TensorEntry, read_safetensors_header
from sgl_jax.engine.errors import ModelLoadError
from sgl_jax.engine.quantization.formats import PackFormat
from sgl_jax.engine.weights.mapped_file import MappedFile
from sgl_jax.engine.weights.source import HostArray

DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "U8": np.dtype(np.uint8),
    "I8": np.dtype(np.int8),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "F32": np.dtype("<f4"),
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "F64": np.dtype("<f8"),
}


class SafetensorsSource:
    """A `TensorSource` over the shards of one checkpoint; tensors keep their stored dtype."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Maps all shards and reads their headers.

        Raises:
            ModelLoadError: a shard is damaged, or two shards hold the same tensor.
        """
        self._tensors: dict[str, tuple[MappedFile, TensorEntry]] = {}
        for path in paths:
            entries = read_safetensors_header(path)
            data = MappedFile(path)
            if twice := sorted(entries.keys() & self._tensors.keys()):
                raise ModelLoadError(f"{path} holds tensors that another shard holds too: {', '.join(twice[:5])}.")
            self._tensors.update((name, (data, entry)) for name, entry in entries.items())

    def names(self) -> frozenset[str]:
        """All tensors of all shards."""
        return frozenset(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """The stored shape."""
        return self._tensors[name][1].shape

    def dtype(self, name: str) -> np.dtype[Any]:
        """The stored dtype; bfloat16 and float8 are those of ml_dtypes."""
        return DTYPES[self._tensors[name][1].dtype]

    def read(self, name: str) -> HostArray:
        """A read-only view of the mapped file."""
        data, entry = self._tensors[name]
        dtype = self.dtype(name)
        num_bytes = math.prod(entry.shape) * dtype.itemsize
        return np.ndarray(entry.shape, dtype, buffer=data.view(entry.offset, num_bytes))

    def packing(self, name: str) -> PackFormat | None:
        """Never: these files hold plain arrays."""
        return None

    def read_packed(self, name: str) -> Mapping[str, HostArray]:
        """Nothing is stored packed."""
        raise KeyError(name)
