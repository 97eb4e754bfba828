"""Which file knows which architecture: data, imported on demand."""

from __future__ import annotations

import importlib

from sgl_jax.engine.errors import ModelLoadError
from sgl_jax.engine.models.decoder import Decoder

MODELS = {
    "LlamaForCausalLM": "llama:LlamaForCausalLM",
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
