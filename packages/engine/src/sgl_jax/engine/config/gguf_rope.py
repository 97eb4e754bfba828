"""Rope scaling of a GGUF file, in the form of `rope_scaling` in `config.json`.

Three rules leave no more than their result in the file: tables of divisors, one a rotated pair.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sgl_jax.engine.config.gguf_directory import GgufTensor
from sgl_jax.engine.errors import ModelLoadError

LLAMA3_TABLE = "rope_freqs.weight"
LONG_TABLE, SHORT_TABLE = "rope_factors_long.weight", "rope_factors_short.weight"

_F32 = 0  # the GGML type number
_LLAMA3_RAMP = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
"""What every Llama 3.1, 3.2 and 3.3 release uses; only `factor` differs."""
_PARAMETERS = {
    "rope.scaling.factor": "factor",
    "rope.scaling.original_context_length": "original_max_position_embeddings",
    "rope.scaling.attn_factor": "attention_factor",
    "rope.scaling.yarn_attn_factor": "attention_factor",
    "rope.scaling.yarn_beta_fast": "beta_fast",
    "rope.scaling.yarn_beta_slow": "beta_slow",
}


def rope_scaling(
    path: Path, own: Mapping[str, Any], tensors: Mapping[str, GgufTensor], theta: float, rotary_dim: int
) -> dict[str, Any] | None:
    """The scaling rule that a file states or implies; None when it has none.

    Args:
        path: the file; opened only for its tables.
        own: metadata of the model's architecture, keys without its prefix.
        tensors: the file's directory.
        theta, rotary_dim: of the rotation that is scaled.

    Raises:
        ModelLoadError: a table follows no known rule, or is damaged.
    """
    if LLAMA3_TABLE in tensors:
        return _llama3(path, _read_floats(path, LLAMA3_TABLE, tensors), theta, rotary_dim)
    stated = {name: own[key] for key, name in _PARAMETERS.items() if key in own}
    if LONG_TABLE in tensors and SHORT_TABLE in tensors:
        tables = {"long_factor": LONG_TABLE, "short_factor": SHORT_TABLE}
        return {
            "rope_type": "longrope",
            **stated,
            **{name: _read_floats(path, table, tensors) for name, table in tables.items()},
        }
    kind = own.get("rope.scaling.type", "none")
    return None if kind == "none" else {"rope_type": kind, "factor": 1.0, **stated}


def _llama3(path: Path, factors: Sequence[float], theta: float, rotary_dim: int) -> dict[str, Any]:
    """The rule behind Llama 3.1's table of divisors, which is all that a GGUF file keeps of it.

    The longest waves are divided by the rule's full factor. The ramp is that of every release, and
    the table computed back from it must be the file's, or this is another rule.
    """
    factor = max(factors)
    low, high = _LLAMA3_RAMP["low_freq_factor"], _LLAMA3_RAMP["high_freq_factor"]
    expected = []
    for dim in range(0, rotary_dim, 2):
        turns = _LLAMA3_RAMP["original_max_position_embeddings"] / (2 * math.pi * theta ** (dim / rotary_dim))
        ramp = min(max((turns - low) / (high - low), 0.0), 1.0)
        expected.append(1.0 / ((1 - ramp) / factor + ramp))
    same = len(factors) == len(expected) and all(
        math.isclose(ours, theirs, rel_tol=1e-3) for ours, theirs in zip(expected, factors, strict=True)
    )
    if not same:
        raise ModelLoadError(f"{path}: {LLAMA3_TABLE} follows no known scaling rule; use the original weights.")
    return {"rope_type": "llama3", "factor": float(round(factor, 3)), **_LLAMA3_RAMP}


def _read_floats(path: Path, name: str, tensors: Mapping[str, GgufTensor]) -> list[float]:
    tensor = tensors[name]
    if tensor.ggml_type != _F32 or len(tensor.shape) != 1 or tensor.shape[0] < 1:
        raise ModelLoadError(f"{path}: {name} must be a vector of float32.")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        try:
            return list(struct.unpack_from(f"<{tensor.shape[0]}f", mapped, tensor.offset))
        except struct.error:
            raise ModelLoadError(f"{path} is cut off inside {name}. Download the file again.") from None
