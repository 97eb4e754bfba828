"""Which file knows which architecture: data, imported on demand."""

from __future__ import annotations

import importlib

from sgl_jax.engine.errors import ModelLoadError
from sgl_jax.engine.models.decoder import Decoder

MODELS = {
    "Cohere2ForCausalLM": "cohere2:Cohere2ForCausalLM",
    "DeepseekV3ForCausalLM": "deepseek_v3:DeepseekV3ForCausalLM",
    "GemmaForCausalLM": "gemma:GemmaForCausalLM",
    "Gemma2ForCausalLM": "gemma2:Gemma2ForCausalLM",
    "Gemma3ForCausalLM": "gemma3:Gemma3ForCausalLM",
    "Gemma3ForConditionalGeneration": "gemma3:Gemma3ForConditionalGeneration",
    "Glm4ForCausalLM": "glm4:Glm4ForCausalLM",
    "GptOssForCausalLM": "gpt_oss:GptOssForCausalLM",
    "GraniteForCausalLM": "granite:GraniteForCausalLM",
    "LlamaForCausalLM": "llama:LlamaForCausalLM",
    "MistralForCausalLM": "mistral:MistralForCausalLM",
    "MixtralForCausalLM": "mixtral:MixtralForCausalLM",
    "Olmo2ForCausalLM": "olmo2:Olmo2ForCausalLM",
    "Phi3ForCausalLM": "phi3:Phi3ForCausalLM",
    "Qwen2ForCausalLM": "qwen2:Qwen2ForCausalLM",
    "Qwen2MoeForCausalLM": "qwen2_moe:Qwen2MoeForCausalLM",
    "Qwen3ForCausalLM": "qwen3:Qwen3ForCausalLM",
    "Qwen3MoeForCausalLM": "qwen3_moe:Qwen3MoeForCausalLM",
    "SmolLM3ForCausalLM": "smollm3:SmolLM3ForCausalLM",
    "StableLmForCausalLM": "stablelm:StableLmForCausalLM",
}


def model_class(architecture: str) -> type[Decoder]:
    """The class for a Hugging Face architecture name.

    Raises:
        ModelLoadError: unknown; the message lists what is known.
    """
    if architecture not in MODELS:
        raise ModelLoadError(f"architecture {architecture!r} is not supported; supported: {', '.join(sorted(MODELS))}.")
    module, name = MODELS[architecture].split(":")
    found: type[Decoder] = getattr(importlib.import_module(f"sgl_jax.engine.models.{module}"), name)
    return found
