"""Brings GGUF metadata into the form of a Hugging Face `config.json`, the one form `ModelSpec` reads.

A further family is one more row in `FAMILIES` (and one in `weights/gguf_names`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sgl_jax.engine.config.gguf_directory import GgufTensor, read_gguf_directory
from sgl_jax.engine.config.gguf_metadata import read_metadata
from sgl_jax.engine.config.gguf_rope import rope_scaling
from sgl_jax.engine.errors import ModelLoadError

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
_WINDOW = {"attention.sliding_window": "sliding_window"}
_SOFTCAPS = {"attn_logit_softcapping": "attn_logit_softcapping", "final_logit_softcapping": "final_logit_softcapping"}

Own = Mapping[str, Any]
"""Metadata of the model's architecture, keys without its prefix."""
Fields = dict[str, Any]


class _Family(NamedTuple):
    """How one `general.architecture` is called by Hugging Face, and what is particular about its files.

    Attributes:
        hidden_act: never stated in a file.
        optional: keys that only this family's files have.
        derive: fields that follow from the file's metadata and the fields read so far.
    """

    architecture: str
    model_type: str
    hidden_act: str = "silu"
    optional: Mapping[str, str] = {}
    derive: Callable[[Own, Fields], Fields] | None = None


def _gemma(large: int) -> Callable[[Own, Fields], Fields]:
    """Gemma 2 and 3: which layers slide, and how scores are scaled, which only the largest (by layers) does its way."""

    def derive(own: Own, fields: Fields) -> Fields:
        layers, head_dim = fields["num_hidden_layers"], fields["head_dim"]
        scalar = fields["hidden_size"] // fields["num_attention_heads"] if layers == large else head_dim
        if "attention.scale" in own:
            scalar = own["attention.scale"] ** -2
        pattern = own.get("attention.sliding_window_pattern")
        if isinstance(pattern, int):
            pattern = [layer % pattern < pattern - 1 for layer in range(layers)] if pattern else [True] * layers
        if not isinstance(pattern, list):
            return {"query_pre_attn_scalar": scalar}
        types = ["sliding_attention" if slides else "full_attention" for slides in pattern]
        return {"query_pre_attn_scalar": scalar, "layer_types": types}

    return derive


def _phi3(_: Own, fields: Fields) -> Fields:
    # Converters write 0 for models without a window.
    return {"sliding_window": fields.get("sliding_window") or None}


_GELU = "gelu_pytorch_tanh"
_LOCAL_BASE = {"rope.freq_base_swa": "rope_local_base_freq"}

FAMILIES = {
    "llama": _Family("LlamaForCausalLM", "llama"),
    "qwen2": _Family("Qwen2ForCausalLM", "qwen2"),
    "qwen3": _Family("Qwen3ForCausalLM", "qwen3"),
    "gemma": _Family("GemmaForCausalLM", "gemma", _GELU),
    "gemma2": _Family("Gemma2ForCausalLM", "gemma2", _GELU, {**_WINDOW, **_SOFTCAPS}, _gemma(large=46)),
    "gemma3": _Family(
        "Gemma3ForCausalLM", "gemma3_text", _GELU, {**_WINDOW, **_SOFTCAPS, **_LOCAL_BASE}, _gemma(large=62)
    ),
    "phi3": _Family("Phi3ForCausalLM", "phi3", "silu", _WINDOW, _phi3),
}

_BOS = "tokenizer.ggml.bos_token_id"
_ENDS = ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id")
_CONTROL = 3
_END_SPELLINGS = frozenset(
    {"<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<end_of_turn>", "<|end_of_turn|>", "<|endoftext|>"}
)
"""Control tokens that end a sequence whatever a file says: many name one of theirs, not always the one chats use."""


def gguf_to_hf_config(path: Path) -> dict[str, Any]:
    """The `config.json` that this GGUF file would have had.

    Raises:
        ModelLoadError: damaged, of an unsupported architecture, or lacking fields; the message names them.
    """
    return config_from_metadata(path, read_metadata(path), read_gguf_directory(path))


def config_from_metadata(path: Path, metadata: Mapping[str, Any], tensors: Mapping[str, GgufTensor]) -> dict[str, Any]:
    """The same for a header that is already read; the file is opened only for its rope factors."""
    try:
        return _config(path, metadata, tensors)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise ModelLoadError(f"{path} has a metadata field of the wrong type or size: {error}.") from error


def _config(path: Path, metadata: Mapping[str, Any], tensors: Mapping[str, GgufTensor]) -> dict[str, Any]:
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
    family = FAMILIES[name]
    wanted = {**_REQUIRED, **_OPTIONAL, **family.optional}
    fields = {hf: _single(path, key, own[key]) for key, hf in wanted.items() if key in own}
    head_dim = fields.setdefault("head_dim", fields["hidden_size"] // fields["num_attention_heads"])
    rotary_dim = own.get("rope.dimension_count", head_dim)
    return {
        "architectures": [family.architecture],
        "model_type": family.model_type,
        # Not `vocab_size` of the metadata: the table's rows are what is really there.
        "vocab_size": tensors["token_embd.weight"].shape[0],
        "hidden_act": family.hidden_act,
        **fields,
        **({"partial_rotary_factor": rotary_dim / head_dim} if rotary_dim != head_dim else {}),
        "rope_scaling": rope_scaling(path, own, tensors, fields.get("rope_theta", 10000.0), rotary_dim),
        "tie_word_embeddings": "output.weight" not in tensors,
        "attention_bias": "blk.0.attn_q.bias" in tensors,
        "mlp_bias": "blk.0.ffn_up.bias" in tensors,
        "bos_token_id": metadata.get(_BOS),
        "eos_token_id": _end_tokens(metadata) or None,
        **(family.derive(own, fields) if family.derive else {}),
    }


def _single(path: Path, key: str, value: Any) -> Any:
    """A field that may be listed layer by layer, as one value."""
    if not isinstance(value, list):
        return value
    if len(set(value)) != 1:
        raise ModelLoadError(f"{path}: {key!r} differs between layers, which is not supported.")
    return value[0]


def _end_tokens(metadata: Mapping[str, Any]) -> list[int]:
    """Ids that end a sequence: those that the file names first, then those known by their spelling."""
    named = [metadata[key] for key in _ENDS if key in metadata]
    tokens, types = (metadata.get(f"tokenizer.ggml.{name}") for name in ("tokens", "token_type"))
    if not isinstance(tokens, list) or not isinstance(types, list):
        return list(dict.fromkeys(named))
    known = [
        index
        for index, (text, kind) in enumerate(zip(tokens, types, strict=False))
        if kind == _CONTROL and text in _END_SPELLINGS
    ]
    return list(dict.fromkeys([*named, *known]))
