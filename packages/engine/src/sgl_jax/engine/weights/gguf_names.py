"""GGUF tensor names in Hugging Face's words, and what llama.cpp's converter did to values. Data, and one function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

_ENDS = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}

_LLAMA = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_SANDWICH = {
    **_LLAMA,
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
_PHI3 = {**_LLAMA, "attn_qkv": "self_attn.qkv_proj", "ffn_up": "mlp.gate_up_proj"}


class Naming(NamedTuple):
    """How one family's tensors are called and changed.

    Attributes:
        parts: a layer's modules, GGUF -> Hugging Face.
        rotary_pairs: rows of q and k lie as rotation pairs (0, d/2, 1, d/2 + 1, …) and not as two halves.
        norms_plus_one: norm weights are stored with the 1 already added that the model adds to them.
    """

    parts: Mapping[str, str] = _LLAMA
    rotary_pairs: bool = False
    norms_plus_one: bool = False


NAMINGS = {
    "llama": Naming(rotary_pairs=True),
    "qwen2": Naming(),
    "qwen3": Naming(),
    "gemma": Naming(norms_plus_one=True),
    "gemma2": Naming(_SANDWICH, norms_plus_one=True),
    "gemma3_text": Naming(_SANDWICH, norms_plus_one=True),
    "phi3": Naming(_PHI3),
}
"""`model_type` -> naming."""


def hf_name(name: str, parts: Mapping[str, str]) -> str:
    """`blk.3.attn_q.weight` -> `model.layers.3.self_attn.q_proj.weight`; unknown names stay as they are."""
    if name in _ENDS:
        return _ENDS[name]
    words = name.split(".")
    if len(words) == 4 and words[0] == "blk" and words[2] in parts:
        _, layer, part, kind = words
        return f"model.layers.{layer}.{parts[part]}.{kind}"
    return name
