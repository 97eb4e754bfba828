"""`GET /v1/models`."""

from __future__ import annotations

from typing import Literal

import msgspec


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """One served model. `max_model_len` is null until the engine is ready."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "sgl-jax"
    root: str
    max_model_len: int | None = None


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    """All served models."""

    object: Literal["list"] = "list"
    data: list[ModelCard]
