"""GGUF tensor names in Hugging Face's words. Data, and one function over it."""

from __future__ import annotations

ENDS = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}

LAYER_PARTS = {
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

INTERLEAVED_ROTARY = frozenset({"llama"})
"""`model_type`s whose q and k rows llama.cpp stores as rotation pairs and not as two halves."""


def hf_name(name: str) -> str:
    """`blk.3.attn_q.weight` -> `model.layers.3.self_attn.q_proj.weight`; unknown names stay as they are."""
    if name in ENDS:
        return ENDS[name]
    words = name.split(".")
    if len(words) == 4 and words[0] == "blk" and words[2] in LAYER_PARTS:
        _, layer, part, kind = words
        return f"model.layers.{layer}.{LAYER_PARTS[part]}.{kind}"
    return name
