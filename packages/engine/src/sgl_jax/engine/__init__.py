"""The SGL-JAX engine: loads a model folder and generates.

    from sgl_jax.engine import Engine, SamplingParams

Importing this package costs nothing; jax is imported when an engine is made (PEP 562).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sgl_jax.engine.async_engine import AsyncEngine
    from sgl_jax.engine.completion import Chunk, Completion, Embedding
    from sgl_jax.engine.config.engine_config import EngineConfig
    from sgl_jax.engine.engine import Engine
    from sgl_jax.engine.errors import (
        ChatTemplateError,
        ConfigError,
        ContextLengthError,
        EngineDeadError,
        InvalidRequestError,
        ModelLoadError,
        QueueFullError,
        SglJaxError,
    )
    from sgl_jax.engine.grammar import Grammar
    from sgl_jax.engine.sampling_params import SamplingParams

_HOMES = {
    "AsyncEngine": "async_engine",
    "Chunk": "completion",
    "Completion": "completion",
    "Embedding": "completion",
    "Engine": "engine",
    "EngineConfig": "config.engine_config",
    "Grammar": "grammar",
    "SamplingParams": "sampling_params",
    **dict.fromkeys(
        (
            "ChatTemplateError",
            "ConfigError",
            "ContextLengthError",
            "EngineDeadError",
            "InvalidRequestError",
            "ModelLoadError",
            "QueueFullError",
            "SglJaxError",
        ),
        "errors",
    ),
}

__all__ = [
    "AsyncEngine",
    "ChatTemplateError",
    "Chunk",
    "Completion",
    "ConfigError",
    "ContextLengthError",
    "Embedding",
    "Engine",
    "EngineConfig",
    "EngineDeadError",
    "Grammar",
    "InvalidRequestError",
    "ModelLoadError",
    "QueueFullError",
    "SamplingParams",
    "SglJaxError",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
