"""The tensors of each architecture's checkpoint, and what its `config.json` has beyond the common fields. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

VOCAB_SIZE = 512
WINDOW = 24
"""Small, so that it matters after a few pages."""

BASE_CONFIG: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "bos_token_id": 1,
    "eos_token_id": 2,
    "use_cache": True,
}

EMBEDDING_STD = 0.5
"""Hidden width 64 then gives logits with a standard deviation of about 4: a clear winner nearly always."""
QUERY_KEY_GAIN = 1.6
"""Attention scores with a standard deviation of about 2.5: a wrong position or page changes the text."""
OUTPUT_GAIN = 2.5
"""Lets the layers outweigh the embedding, or a tied model would repeat its last token for ever."""


@dataclass(frozen=True)
class TensorRule:
    """One tensor of a checkpoint, once or once a layer.

    Attributes:
        name: with `{layer}` where the layer's number goes.
        shape: an axis letter each, see `tiny_model._axes`.
        init: a key of `tiny_model._INITS`: `matmul` draws with std `gain / sqrt(last axis)`, `embedding` and `bias`
            with std `gain`, and `norm` within `gain` ± 0.2.
        gain: scale of the draw.
    """

    name: str
    shape: str
    init: str = "matmul"
    gain: float = 1.0


@dataclass(frozen=True)
class Architecture:
    """How a family's checkpoint differs: its tensors, and config fields beyond `BASE_CONFIG` (None: without it)."""

    model_type: str
    tensors: tuple[TensorRule, ...]
    config: Mapping[str, Any] = field(default_factory=dict)


def _in_layer(part: str, shape: str, init: str = "matmul", gain: float = 1.0) -> TensorRule:
    return TensorRule("model.layers.{layer}." + part, shape, init, gain)


def _norm(part: str, shape: str = "H", gain: float = 1.0) -> TensorRule:
    return _in_layer(part + ".weight", shape, "norm", gain)


_EMBEDDING = TensorRule("model.embed_tokens.weight", "VH", "embedding", EMBEDDING_STD)
_ATTENTION = (
    _in_layer("self_attn.q_proj.weight", "QH", gain=QUERY_KEY_GAIN),
    _in_layer("self_attn.k_proj.weight", "KH", gain=QUERY_KEY_GAIN),
    _in_layer("self_attn.v_proj.weight", "KH"),
    _in_layer("self_attn.o_proj.weight", "HQ", gain=OUTPUT_GAIN),
)
_MLP = (
    _in_layer("mlp.gate_proj.weight", "FH"),
    _in_layer("mlp.up_proj.weight", "FH"),
    _in_layer("mlp.down_proj.weight", "HF", gain=OUTPUT_GAIN),
)
_ENDS = (
    TensorRule("model.norm.weight", "H", "norm"),
    TensorRule("lm_head.weight", "VH", "embedding", EMBEDDING_STD),
)
_PRE_NORMS = (_norm("input_layernorm"), _norm("post_attention_layernorm"))
_LLAMA = (_EMBEDDING, _PRE_NORMS[0], *_ATTENTION, _PRE_NORMS[1], *_MLP, *_ENDS)
_SANDWICH = (
    *_LLAMA,
    _norm("pre_feedforward_layernorm"),
    _norm("post_feedforward_layernorm"),
)
_HEAD_NORMS = (_norm("self_attn.q_norm", "D", 1.5), _norm("self_attn.k_norm", "D", 1.5))
_QKV_BIASES = tuple(
    _in_layer(f"self_attn.{name}_proj.bias", shape, "bias", 0.5) for name, shape in zip("qkv", "QKK", strict=True)
)


def _changed(rules: tuple[TensorRule, ...], **gains: float) -> tuple[TensorRule, ...]:
    """The rules with other gains: for norms that add 1 to their weight, or embeddings that are multiplied."""
    return tuple(replace(rule, gain=gains.get(rule.name.split(".")[-2], rule.gain)) for rule in rules)


_OFFSET_NORMS = {
    "input_layernorm": 0.0,
    "post_attention_layernorm": 0.5,
    "pre_feedforward_layernorm": 0.0,
    "post_feedforward_layernorm": 0.5,
    "q_norm": 0.5,
    "k_norm": 0.5,
}
_QKV = _in_layer("self_attn.qkv_proj.weight", "AH", gain=1.4)
_FUSED_MLP = (_in_layer("mlp.gate_up_proj.weight", "GH"), _MLP[-1])
_LAYER_NORM = {"rms_norm_eps": None, "layer_norm_eps": 1e-5}

ARCHITECTURES: dict[str, Architecture] = {
    "LlamaForCausalLM": Architecture("llama", _LLAMA, {"attention_bias": False, "mlp_bias": False}),
    "Qwen2ForCausalLM": Architecture("qwen2", (*_LLAMA, *_QKV_BIASES), {"use_sliding_window": False}),
    "Qwen3ForCausalLM": Architecture(
        "qwen3",
        (*_LLAMA, *_HEAD_NORMS),
        {"attention_bias": False, "use_sliding_window": False, "head_dim": 32},
    ),
    "MistralForCausalLM": Architecture("mistral", _LLAMA, {"sliding_window": WINDOW}),
    "GemmaForCausalLM": Architecture(
        "gemma",
        _changed(_LLAMA, **_OFFSET_NORMS, embed_tokens=0.1, norm=2.0),
        {"hidden_act": "gelu_pytorch_tanh"},
    ),
    "Gemma2ForCausalLM": Architecture(
        "gemma2",
        _changed(_SANDWICH, **_OFFSET_NORMS, embed_tokens=0.04, norm=8.0),
        {
            "hidden_act": None,
            "hidden_activation": "gelu_pytorch_tanh",
            "num_hidden_layers": 4,
            "query_pre_attn_scalar": 24,
            "attn_logit_softcapping": 4.0,
            "final_logit_softcapping": 6.0,
            "sliding_window": WINDOW,
        },
    ),
    "Gemma3ForCausalLM": Architecture(
        "gemma3_text",
        _changed((*_SANDWICH, *_HEAD_NORMS), **_OFFSET_NORMS, embed_tokens=0.04, norm=8.0),
        {
            "hidden_act": None,
            "hidden_activation": "gelu_pytorch_tanh",
            "num_hidden_layers": 6,
            "query_pre_attn_scalar": 24,
            "rope_theta": 1000000.0,
            "rope_local_base_freq": 10000.0,
            "rope_scaling": {"rope_type": "linear", "factor": 8.0},
            "sliding_window": WINDOW,
            "sliding_window_pattern": 3,
        },
    ),
    "Phi3ForCausalLM": Architecture(
        "phi3",
        (_EMBEDDING, *_PRE_NORMS, _QKV, _ATTENTION[-1], *_FUSED_MLP, *_ENDS),
        {"pad_token_id": 0, "partial_rotary_factor": 0.75},
    ),
    "Olmo2ForCausalLM": Architecture(
        "olmo2",
        (
            _EMBEDDING,
            *_ATTENTION,
            *_MLP,
            _norm("self_attn.q_norm", "Q", 1.5),
            _norm("self_attn.k_norm", "K", 1.5),
            _norm("post_attention_layernorm"),
            _norm("post_feedforward_layernorm"),
            *_ENDS,
        ),
        {"attention_bias": False, "pad_token_id": 0},
    ),
    "GraniteForCausalLM": Architecture(
        "granite",
        _LLAMA,
        {
            "attention_multiplier": 0.2,
            "embedding_multiplier": 0.3,
            "residual_multiplier": 0.7,
            "logits_scaling": 0.6,
            "attention_bias": False,
            "mlp_bias": False,
        },
    ),
    "Cohere2ForCausalLM": Architecture(
        "cohere2",
        (_EMBEDDING, _norm("input_layernorm"), *_ATTENTION, *_MLP, *_ENDS),
        {
            **_LAYER_NORM,
            "attention_bias": False,
            "logit_scale": 0.8,
            "num_hidden_layers": 4,
            "pad_token_id": 0,
            "sliding_window": WINDOW,
        },
    ),
    "StableLmForCausalLM": Architecture(
        "stablelm",
        (
            *_LLAMA,
            *_QKV_BIASES,
            _in_layer("input_layernorm.bias", "H", "bias", 0.2),
            _in_layer("post_attention_layernorm.bias", "H", "bias", 0.2),
            TensorRule("model.norm.bias", "H", "bias", 0.2),
        ),
        {**_LAYER_NORM, "use_qkv_bias": True, "partial_rotary_factor": 0.25},
    ),
    "Glm4ForCausalLM": Architecture(
        "glm4",
        (
            _EMBEDDING,
            *_PRE_NORMS,
            *_ATTENTION,
            *_QKV_BIASES,
            *_FUSED_MLP,
            _norm("post_self_attn_layernorm"),
            _norm("post_mlp_layernorm"),
            *_ENDS,
        ),
        {"attention_bias": True, "partial_rotary_factor": 0.5, "pad_token_id": 0},
    ),
    "SmolLM3ForCausalLM": Architecture(
        "smollm3",
        _LLAMA,
        {"num_hidden_layers": 4, "attention_bias": False, "mlp_bias": False, "pad_token_id": 0},
    ),
}
