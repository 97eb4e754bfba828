"""Phi-3 and Phi-4: the shared decoder with projections that are fused in the checkpoint already."""

from __future__ import annotations

from typing import ClassVar

from sgl_jax.engine.models.mistral import MistralForCausalLM


class Phi3ForCausalLM(MistralForCausalLM):
    """`Phi3ForCausalLM` of Hugging Face checkpoints."""

    FUSED: ClassVar[dict[str, tuple[str, ...]]] = {}
