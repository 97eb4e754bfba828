"""What a family's `config.json` means where it is silent: the defaults of its class in `transformers`. Data only."""

from __future__ import annotations

from typing import Any

HEADLESS, WITH_HEAD = "Model", "ForCausalLM"

_GEMMA = {"tie_word_embeddings": True, "head_dim": 256, "hidden_act": "gelu_pytorch_tanh"}
_GEMMA2 = {**_GEMMA, "sliding_window": 4096, "query_pre_attn_scalar": 256}
_GPT_OSS_YARN = {
    "rope_type": "yarn",
    "factor": 32.0,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "truncate": False,
    "original_max_position_embeddings": 4096,
}
_QWEN_MOE = {"decoder_sparse_step": 1, "max_window_layers": 28, "sliding_window": 4096}
_GEMMA3 = {
    **_GEMMA2,
    "vocab_size": 262_208,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "max_position_embeddings": 131_072,
    "bos_token_id": 2,
    "eos_token_id": 1,
    "rope_theta": 1_000_000.0,
    "rope_local_base_freq": 10_000.0,
}
FAMILY_DEFAULTS: dict[str, dict[str, Any]] = {
    "MistralForCausalLM": {"sliding_window": 4096},
    "MixtralForCausalLM": {
        "num_local_experts": 8,
        "num_experts_per_tok": 2,
        "rms_norm_eps": 1e-5,
        "rope_theta": 1_000_000.0,
    },
    "Qwen2MoeForCausalLM": {
        **_QWEN_MOE,
        "num_experts": 60,
        "num_experts_per_tok": 4,
        "moe_intermediate_size": 1408,
        "shared_expert_intermediate_size": 5632,
    },
    "Qwen3MoeForCausalLM": {
        **_QWEN_MOE,
        "num_experts": 128,
        "num_experts_per_tok": 8,
        "moe_intermediate_size": 768,
    },
    "GemmaForCausalLM": _GEMMA,
    "Gemma2ForCausalLM": {**_GEMMA2, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0},
    "Gemma3ForCausalLM": _GEMMA3,
    "Gemma3ForConditionalGeneration": _GEMMA3,
    "DeepseekV3ForCausalLM": {
        "first_k_dense_replace": 3,
        "kv_lora_rank": 512,
        "max_position_embeddings": 4096,
        "moe_intermediate_size": 2048,
        "n_group": 8,
        "n_routed_experts": 256,
        "n_shared_experts": 1,
        "norm_topk_prob": True,
        "num_experts_per_tok": 8,
        "q_lora_rank": 1536,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "rope_interleave": True,
        "routed_scaling_factor": 2.5,
        "topk_group": 4,
        "v_head_dim": 128,
    },
    "Cohere2ForCausalLM": {"tie_word_embeddings": True, "sliding_window": 4096, "logit_scale": 0.0625},
    "GptOssForCausalLM": {
        "attention_bias": True,
        "head_dim": 64,
        "num_key_value_heads": 8,
        "num_local_experts": 128,
        "num_experts_per_tok": 4,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
        "rope_theta": 150_000.0,
        "rope_scaling": _GPT_OSS_YARN,
        "sliding_window": 128,
        "swiglu_alpha": 1.702,
        "swiglu_limit": 7.0,
    },
    "Glm4ForCausalLM": {"partial_rotary_factor": 0.5, "attention_bias": True},
    "SmolLM3ForCausalLM": {"tie_word_embeddings": True, "rope_theta": 2_000_000.0},
    "StableLmForCausalLM": {"partial_rotary_factor": 0.25},
}


def with_head(architecture: str) -> str:
    """The name of a family's class with an output head, given that or the one without (`Qwen3Model`)."""
    return architecture.removesuffix(HEADLESS) + WITH_HEAD if architecture.endswith(HEADLESS) else architecture
