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
ROUTER_GAIN = 1.5
"""Tokens differ in the experts that they ask, and experts in how much they are heeded."""
OUTPUT_GAIN = 2.5
"""Lets the layers outweigh the embedding, or a tied model would repeat its last token for ever."""


@dataclass(frozen=True)
class TensorRule:
    """One tensor of a checkpoint, once or once a layer.

    Attributes:
        name: with `{layer}` and `{expert}` where their numbers go.
        shape: an axis letter each, see `tiny_model._axes`.
        init: a key of `tiny_model._INITS`: `matmul` draws with std `gain / sqrt(last axis)`, `embedding` and `bias`
            with std `gain`, and `norm` within `gain` ± 0.2.
        gain: scale of the draw.
        layers: which layers have it: `all`, those with experts (`sparse`) or those without (`dense`).
        when: a field of the config that must be true for it, or with a `-` before it, false.
    """

    name: str
    shape: str
    init: str = "matmul"
    gain: float = 1.0
    layers: str = "all"
    when: str = ""


@dataclass(frozen=True)
class Architecture:
    """How a family's checkpoint differs.

    Attributes:
        model_type: as in `config.json`.
        tensors: all of them.
        config: fields beyond `BASE_CONFIG` (None: without it).
        around: what else `config.json` says, where these fields are its `text_config`.
    """

    model_type: str
    tensors: tuple[TensorRule, ...]
    config: Mapping[str, Any] = field(default_factory=dict)
    around: Mapping[str, Any] | None = None


def _in_layer(part: str, shape: str, init: str = "matmul", gain: float = 1.0, when: str = "") -> TensorRule:
    return TensorRule("model.layers.{layer}." + part, shape, init, gain, when=when)


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


def _of_layers(which: str, *rules: TensorRule) -> tuple[TensorRule, ...]:
    return tuple(replace(rule, layers=which) for rule in rules)


def _gated(module: str, inner: str) -> tuple[TensorRule, ...]:
    """A feed-forward block of another name and width than `_MLP`."""
    return (
        _in_layer(f"{module}.gate_proj.weight", f"{inner}H"),
        _in_layer(f"{module}.up_proj.weight", f"{inner}H"),
        _in_layer(f"{module}.down_proj.weight", f"H{inner}", gain=OUTPUT_GAIN),
    )


_ENDS_AND_ATTENTION = (_EMBEDDING, *_PRE_NORMS, *_ATTENTION, *_ENDS)
_LATENT_ATTENTION = (
    _in_layer("self_attn.q_proj.weight", "XH", gain=QUERY_KEY_GAIN, when="-q_lora_rank"),
    _in_layer("self_attn.q_a_proj.weight", "LH", when="q_lora_rank"),
    _in_layer("self_attn.q_a_layernorm.weight", "L", "norm", when="q_lora_rank"),
    _in_layer("self_attn.q_b_proj.weight", "XL", gain=QUERY_KEY_GAIN, when="q_lora_rank"),
    _in_layer("self_attn.kv_a_proj_with_mqa.weight", "CH", gain=1.2),
    _in_layer("self_attn.kv_a_layernorm.weight", "R", "norm", gain=1.2),
    _in_layer("self_attn.kv_b_proj.weight", "BR"),
    _in_layer("self_attn.o_proj.weight", "HY", gain=OUTPUT_GAIN),
)
_MIXTRAL_EXPERTS = (
    _in_layer("block_sparse_moe.gate.weight", "EH", gain=ROUTER_GAIN),
    _in_layer("block_sparse_moe.experts.{expert}.w1.weight", "FH"),
    _in_layer("block_sparse_moe.experts.{expert}.w3.weight", "FH"),
    _in_layer("block_sparse_moe.experts.{expert}.w2.weight", "HF", gain=OUTPUT_GAIN),
)
_QWEN_EXPERTS = (
    *_of_layers("dense", *_MLP),
    *_of_layers("sparse", _in_layer("mlp.gate.weight", "EH", gain=ROUTER_GAIN), *_gated("mlp.experts.{expert}", "M")),
)
_QWEN_MOE = {
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
    "moe_intermediate_size": 48,
    "num_experts": 8,
    "num_experts_per_tok": 3,
    "use_sliding_window": False,
}
_GEMMA3 = _changed((*_SANDWICH, *_HEAD_NORMS), **_OFFSET_NORMS, embed_tokens=0.04, norm=8.0)
_GEMMA3_CONFIG = {
    "hidden_act": None,
    "hidden_activation": "gelu_pytorch_tanh",
    "num_hidden_layers": 6,
    "query_pre_attn_scalar": 24,
    "rope_theta": 1000000.0,
    "rope_local_base_freq": 10000.0,
    "rope_scaling": {"rope_type": "linear", "factor": 8.0},
    "sliding_window": WINDOW,
    "sliding_window_pattern": 3,
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
    "MixtralForCausalLM": Architecture(
        "mixtral",
        (*_ENDS_AND_ATTENTION, *_MIXTRAL_EXPERTS),
        {"num_local_experts": 6, "num_experts_per_tok": 2, "sliding_window": None},
    ),
    "Qwen2MoeForCausalLM": Architecture(
        "qwen2_moe",
        (
            *_ENDS_AND_ATTENTION,
            *_QKV_BIASES,
            *_QWEN_EXPERTS,
            *_of_layers(
                "sparse",
                *_gated("mlp.shared_expert", "S"),
                _in_layer("mlp.shared_expert_gate.weight", "1H", gain=2.0),
            ),
        ),
        {**_QWEN_MOE, "norm_topk_prob": False, "shared_expert_intermediate_size": 96},
    ),
    "Qwen3MoeForCausalLM": Architecture(
        "qwen3_moe",
        (*_ENDS_AND_ATTENTION, *_HEAD_NORMS, *_QWEN_EXPERTS),
        {**_QWEN_MOE, "attention_bias": False, "head_dim": 32, "norm_topk_prob": True},
    ),
    "GptOssForCausalLM": Architecture(
        "gpt_oss",
        (
            *_ENDS_AND_ATTENTION,
            *_QKV_BIASES,
            _in_layer("self_attn.o_proj.bias", "H", "bias", 0.3),
            _in_layer("self_attn.sinks", "N", "bias", 1.5),
            _in_layer("mlp.router.weight", "EH", gain=ROUTER_GAIN),
            _in_layer("mlp.router.bias", "E", "bias", 0.5),
            _in_layer("mlp.experts.gate_up_proj", "EHG", gain=2.0),
            _in_layer("mlp.experts.gate_up_proj_bias", "EG", "bias", 0.3),
            _in_layer("mlp.experts.down_proj", "EFH", gain=1.5),
            _in_layer("mlp.experts.down_proj_bias", "EH", "bias", 0.3),
        ),
        {
            "attention_bias": True,
            "num_hidden_layers": 4,
            "num_local_experts": 6,
            "num_experts_per_tok": 2,
            "rope_scaling": {
                "rope_type": "yarn",
                "factor": 8.0,
                "beta_fast": 16.0,
                "beta_slow": 1.0,
                "truncate": False,
                "original_max_position_embeddings": 64,
            },
            "sliding_window": WINDOW,
            "swiglu_alpha": 1.3,
            "swiglu_limit": 1.5,
        },
    ),
    "DeepseekV3ForCausalLM": Architecture(
        "deepseek_v3",
        (
            _EMBEDDING,
            *_PRE_NORMS,
            *_ENDS,
            *_LATENT_ATTENTION,
            *_QWEN_EXPERTS,
            *_of_layers(
                "sparse",
                *_gated("mlp.shared_experts", "S"),
                _in_layer("mlp.gate.e_score_correction_bias", "E", "bias", 0.2),
            ),
            TensorRule("model.layers.61.enorm.weight", "H", "norm"),  # of a layer that guesses further tokens
        ),
        {
            "attention_bias": False,
            "first_k_dense_replace": 1,
            "head_dim": None,
            "kv_lora_rank": 32,
            "moe_intermediate_size": 48,
            "n_group": 4,
            "n_routed_experts": 8,
            "n_shared_experts": 2,
            "norm_topk_prob": True,
            "num_experts_per_tok": 3,
            "num_key_value_heads": 4,
            "q_lora_rank": 40,
            "qk_nope_head_dim": 24,
            "qk_rope_head_dim": 16,
            "rope_scaling": {
                "type": "yarn",
                "factor": 8.0,
                "beta_fast": 16,
                "beta_slow": 1,
                "mscale": 1.0,
                "mscale_all_dim": 0.7,
                "original_max_position_embeddings": 64,
            },
            "routed_scaling_factor": 1.7,
            "topk_group": 2,
            "v_head_dim": 20,
        },
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
    "Gemma3ForCausalLM": Architecture("gemma3_text", _GEMMA3, _GEMMA3_CONFIG),
    "Gemma3ForConditionalGeneration": Architecture(
        "gemma3_text",
        (
            *(replace(rule, name=f"language_model.{rule.name}") for rule in _GEMMA3),
            TensorRule("multi_modal_projector.mm_soft_emb_norm.weight", "H", "norm"),
            TensorRule("vision_tower.vision_model.post_layernorm.bias", "H", "bias"),
        ),
        _GEMMA3_CONFIG,
        around={
            "model_type": "gemma3",
            "eos_token_id": [2, 0],
            "mm_tokens_per_image": 4,
            "vision_config": {
                "hidden_size": 64,
                "image_size": 8,
                "intermediate_size": 64,
                "model_type": "siglip_vision_model",
                "num_attention_heads": 2,
                "num_hidden_layers": 1,
                "patch_size": 4,
                "vision_use_head": False,
            },
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
