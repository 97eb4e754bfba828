"""What a run measures: the sizes for an H200, and tiny ones that prove the benchmarks themselves on any machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from tools.qwen3_shapes import MODELS

_TINY = {
    **MODELS["Qwen3-0.6B"],
    "vocab_size": 512,
    "head_dim": 16,
    "num_key_value_heads": 2,
    "num_attention_heads": 4,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "max_position_embeddings": 512,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """Sizes.

    Attributes:
        device: as `--device` of the engine.
        tiny: whether this only proves that the benchmarks work.
        models: name -> `config.json`.
        batches: sequences of a step.
        context: tokens that a sequence has before it is timed.
        new_tokens: that are drawn, and timed.
        long_prompt: of the prefill experiment, besides `context`.
        contexts: of the attention experiment.
        copy_bytes: what the copy bandwidth is measured with.
        tokens_of_products: of the GEMM table.
        products: name -> inputs and outputs of its matrices.
        seconds: how long a single thing is timed.
        peer_python: an interpreter that has torch and transformers.
    """

    device: str
    tiny: bool
    models: Mapping[str, Mapping[str, Any]]
    batches: tuple[int, ...]
    context: int
    new_tokens: int
    long_prompt: int
    contexts: tuple[int, ...]
    copy_bytes: int
    tokens_of_products: tuple[int, ...]
    products: Mapping[str, tuple[int, int]]
    seconds: float
    peer_python: str | None


def make_settings(*, tiny: bool, device: str, peer_python: str | None) -> Settings:
    """For an H200, or tiny."""
    if tiny:
        return Settings(
            device=device,
            tiny=True,
            models={"tiny": _TINY},
            batches=(1, 2),
            context=24,
            new_tokens=6,
            long_prompt=48,
            contexts=(32,),
            copy_bytes=1 << 20,
            tokens_of_products=(1, 4),
            products={"gate_up": (64, 256)},
            seconds=0.005,
            peer_python=peer_python,
        )
    return Settings(
        device=device,
        tiny=False,
        models=MODELS,
        batches=(1, 32, 256),
        context=1024,
        new_tokens=48,
        long_prompt=8192,
        contexts=(1024, 8192),
        copy_bytes=8 << 30,
        tokens_of_products=(1, 8, 32, 64, 256),
        products={"gate_up": (4096, 24576), "down": (12288, 4096)},
        seconds=0.15,
        peer_python=peer_python,
    )
