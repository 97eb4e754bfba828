"""Brings GGUF metadata into the form of a Hugging Face `config.json`, the one form `ModelSpec` reads.

A further family is one more row in `FAMILIES`.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sgl_jax.engine.config.gguf_directory import GgufTensor, read_gguf_directory
from sgl_jax.engine.config.gguf_metadata import read_metadata
from sgl_jax.engine.errors import ModelLoadError


class _Family(NamedTuple):
    """How one `general.architecture` is called by Hugging Face, and what its files leave unsaid."""

    architecture: str
    model_type: str
    constants: Mapping[str, Any] = {}


FAMILIES = {
    "llama": _Family("LlamaForCausalLM", "llama", {"hidden_act": "silu"}),
    "qwen2": _Family("Qwen2ForCausalLM", "qwen2", {"hidden_act": "silu"}),
    "qwen3": _Family("Qwen3ForCausalLM", "qwen3", {"hidden_act": "silu"}),
}

_REQUIRED = {
    "block_count": "num_hidden_layers",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
}
_OPTIONAL = {
    "context_length": "max_position_embeddings",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "rope.freq_base": "rope_theta",
}
"""GGUF key less its architecture prefix -> `config.json` field."""

_BOS = "tokenizer.ggml.bos_token_id"
_EOS = ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id")

_ROPE_FACTORS = "rope_freqs.weight"
_F32 = 0  # the GGML type number
_LLAMA3_RAMP = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
"""What every Llama 3.1, 3.2 and 3.3 release uses; only `factor` differs."""


def gguf_to_hf_config(path: Path) -> dict[str, Any]:
    """The `config.json` that this GGUF file would have had.

    Raises:
        ModelLoadError: damaged, of an unsupported architecture, or lacking fields; the message names them.
    """
    return config_from_metadata(path, read_metadata(path), read_gguf_directory(path))


def config_from_metadata(path: Path, metadata: Mapping[str, Any], tensors: Mapping[str, GgufTensor]) -> dict[str, Any]:
    """The same for a header that is already read; the file is opened only for its rope factors."""
    name = metadata.get("general.architecture")
    if name not in FAMILIES:
        supported = ", ".join(FAMILIES)
        raise ModelLoadError(f"{path}: GGUF architecture {name!r} is not supported; supported: {supported}.")
    own = {key.removeprefix(f"{name}."): value for key, value in metadata.items() if key.startswith(f"{name}.")}
    if own.get("expert_count"):
        raise ModelLoadError(f"{path}: mixture-of-experts models are not supported as GGUF; use the original weights.")
    missing = [f"{name}.{key}" for key in _REQUIRED if key not in own]
    if "token_embd.weight" not in tensors:
        missing.append("the tensor token_embd.weight")
    if missing:
        raise ModelLoadError(f"{path} lacks {', '.join(missing)}; convert the model again.")
    fields = {hf: _single(path, key, own[key]) for key, hf in {**_REQUIRED, **_OPTIONAL}.items() if key in own}
    head_dim = fields.setdefault("head_dim", fields["hidden_size"] // fields["num_attention_heads"])
    rotary_dim = own.get("rope.dimension_count", head_dim)
    family = FAMILIES[name]
    return {
        "architectures": [family.architecture],
        "model_type": family.model_type,
        # Not `vocab_size` of the metadata: the table's rows are what is really there.
        "vocab_size": tensors["token_embd.weight"].shape[0],
        **fields,
        **({"partial_rotary_factor": rotary_dim / head_dim} if rotary_dim != head_dim else {}),
        "rope_scaling": _rope_scaling(path, own, tensors, fields.get("rope_theta", 10000.0), rotary_dim),
        "tie_word_embeddings": "output.weight" not in tensors,
        "attention_bias": "blk.0.attn_q.bias" in tensors,
        "mlp_bias": "blk.0.ffn_up.bias" in tensors,
        "bos_token_id": metadata.get(_BOS),
        "eos_token_id": list(dict.fromkeys(metadata[key] for key in _EOS if key in metadata)) or None,
        **family.constants,
    }


def _single(path: Path, key: str, value: Any) -> Any:
    """A field that may be listed layer by layer, as one value."""
    if not isinstance(value, list):
        return value
    if len(set(value)) != 1:
        raise ModelLoadError(f"{path}: {key!r} differs between layers, which is not supported.")
    return value[0]


def _rope_scaling(
    path: Path, own: Mapping[str, Any], tensors: Mapping[str, GgufTensor], theta: float, rotary_dim: int
) -> dict[str, Any] | None:
    if _ROPE_FACTORS in tensors:
        return _llama3_scaling(path, _read_floats(path, tensors[_ROPE_FACTORS]), theta, rotary_dim)
    kind = own.get("rope.scaling.type", "none")
    if kind == "none":
        return None
    scaling: dict[str, Any] = {"rope_type": kind, "factor": own.get("rope.scaling.factor", 1.0)}
    if "rope.scaling.original_context_length" in own:
        scaling["original_max_position_embeddings"] = own["rope.scaling.original_context_length"]
    if "rope.scaling.attn_factor" in own:
        scaling["attention_factor"] = own["rope.scaling.attn_factor"]
    return scaling


def _llama3_scaling(path: Path, factors: Sequence[float], theta: float, rotary_dim: int) -> dict[str, Any]:
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
        raise ModelLoadError(f"{path}: {_ROPE_FACTORS} follows no known scaling rule; use the original weights.")
    return {"rope_type": "llama3", "factor": float(round(factor, 3)), **_LLAMA3_RAMP}


def _read_floats(path: Path, tensor: GgufTensor) -> list[float]:
    if tensor.ggml_type != _F32 or len(tensor.shape) != 1:
        raise ModelLoadError(f"{path}: {_ROPE_FACTORS} must be a vector of float32.")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        try:
            return list(struct.unpack_from(f"<{tensor.shape[0]}f", mapped, tensor.offset))
        except struct.error:
            raise ModelLoadError(f"{path} is cut off inside {_ROPE_FACTORS}. Download the file again.") from None
