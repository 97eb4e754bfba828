"""GGUF checkpoints under Hugging Face's names, values and row order: dequantised to float32 on reading, or packed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

from sgl_jax.engine.config.gguf_directory import GgufTensor, read_gguf_directory
from sgl_jax.engine.errors import ModelLoadError
from sgl_jax.engine.quantization.formats import PackFormat
from sgl_jax.engine.weights.dequantize import Bytes, dequantize
from sgl_jax.engine.weights.gguf_blocks import PACKED, split_blocks
from sgl_jax.engine.weights.gguf_names import NAMINGS, Naming, hf_name
from sgl_jax.engine.weights.mapped_file import MappedFile
from sgl_jax.engine.weights.source import HostArray


class GgufSource:
    """A `TensorSource` over one GGUF file; every tensor reads as float32."""

    def __init__(self, path: Path, config: Mapping[str, Any]) -> None:
        """Maps the file and checks that every tensor lies within it.

        Args:
            path: the `.gguf` file.
            config: its config in Hugging Face form (`gguf_to_hf_config`).

        Raises:
            ModelLoadError: cut off, damaged, or with a tensor format that is unknown.
        """
        self._path = path
        self._naming = NAMINGS.get(config["model_type"], Naming())
        self._entries = {hf_name(name, self._naming.parts): at for name, at in read_gguf_directory(path).items()}
        self._data = MappedFile(path)
        heads = config["num_attention_heads"]
        self._heads = {"q_proj": heads, "k_proj": config.get("num_key_value_heads") or heads}
        for name, entry in self._entries.items():
            if entry.offset + self._num_bytes(name, entry) > len(self._data):
                raise ModelLoadError(f"{path} is cut off inside {name}. Download the file again.")

    def names(self) -> frozenset[str]:
        """All tensors; those that no Hugging Face checkpoint has keep their GGUF name."""
        return frozenset(self._entries)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape after dequantisation, outermost axis first."""
        return self._entries[name].shape

    def dtype(self, name: str) -> np.dtype[Any]:
        """Always float32."""
        return np.dtype(np.float32)

    def read(self, name: str) -> HostArray:
        """The dequantised tensor.

        Raises:
            ModelLoadError: the gguf package cannot dequantise this format.
        """
        entry = self._entries[name]
        kind = GGMLQuantizationType(entry.ggml_type)
        try:
            values = dequantize(self._bytes(name, entry), kind, entry.shape)
        except NotImplementedError as error:
            raise ModelLoadError(f"{self._path}: {name} is stored as {kind.name}, which cannot be read yet.") from error
        if self._naming.norms_plus_one and name.endswith("norm.weight"):
            return values - 1
        return self._in_halves(name, values)

    def packing(self, name: str) -> PackFormat | None:
        """The form of Q8_0, Q4_0 and Q4_1 matrices; None for what must be dequantised."""
        entry = self._entries[name]
        return PACKED.get(GGMLQuantizationType(entry.ggml_type)) if len(entry.shape) == 2 else None

    def read_packed(self, name: str) -> Mapping[str, HostArray]:
        """The parts of a matrix that has a `packing`."""
        entry, form = self._entries[name], self.packing(name)
        assert form is not None, name
        parts = split_blocks(self._bytes(name, entry), form, entry.shape)
        return {part: self._in_halves(name, values) for part, values in parts.items()}

    def _bytes(self, name: str, entry: GgufTensor) -> Bytes:
        return self._data.view(entry.offset, self._num_bytes(name, entry))

    def _in_halves(self, name: str, values: HostArray) -> HostArray:
        """Rows of q and k in Hugging Face's order."""
        module = name.rpartition(".")[0].rpartition(".")[2]
        if not self._naming.rotary_pairs or module not in self._heads:
            return values
        return _halves_from_pairs(values, self._heads[module])

    def _num_bytes(self, name: str, entry: GgufTensor) -> int:
        try:
            block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(entry.ggml_type)]
        except (ValueError, KeyError):
            message = f"{self._path}: {name} has the unknown GGML type {entry.ggml_type}; a newer `gguf` may know it."
            raise ModelLoadError(message) from None
        values = math.prod(entry.shape)
        if not entry.shape or entry.shape[-1] % block:
            raise ModelLoadError(f"{self._path}: {name} has the shape {entry.shape}, not whole blocks of {block}.")
        return values // block * block_bytes


def _halves_from_pairs(values: HostArray, heads: int) -> HostArray:
    """Undoes llama.cpp's order of a head's rows: (0, d/2, 1, d/2 + 1, …) back to (0, 1, …, d - 1).

    Works on matrices [heads * d, in] and on biases [heads * d].
    """
    pairs = values.reshape(heads, -1, 2, *values.shape[1:])
    return pairs.swapaxes(1, 2).reshape(values.shape)
