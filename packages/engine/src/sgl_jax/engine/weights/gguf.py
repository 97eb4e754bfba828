"""GGUF checkpoints: dequantised to float32 on reading, under Hugging Face's names and row order."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

from sgl_jax.engine.config.gguf_directory import GgufTensor, read_gguf_directory
from sgl_jax.engine.errors import ModelLoadError
from sgl_jax.engine.weights.dequantize import dequantize
from sgl_jax.engine.weights.gguf_names import INTERLEAVED_ROTARY, hf_name
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
        self._entries = {hf_name(name): entry for name, entry in read_gguf_directory(path).items()}
        self._data = np.memmap(path, mode="r", dtype=np.uint8)
        self._heads: dict[str, int] = {}
        if config["model_type"] in INTERLEAVED_ROTARY:
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
        data = self._data[entry.offset : entry.offset + self._num_bytes(name, entry)].view(np.ndarray)
        try:
            values = dequantize(data, kind, entry.shape)
        except NotImplementedError as error:
            raise ModelLoadError(f"{self._path}: {name} is stored as {kind.name}, which cannot be read yet.") from error
        words = name.split(".")
        heads = self._heads.get(words[-2]) if len(words) > 1 else None
        return values if heads is None else _halves_from_pairs(values, heads)

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
