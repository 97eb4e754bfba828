"""One request's embedding: gathered chunk by chunk as its text is computed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sgl_jax.engine.config.pooling import Pooling
from sgl_jax.engine.messages import GenerateRequest
from sgl_jax.engine.plan import SlotPlan

_SHORTEST = 1e-12
"""Vectors shorter than this stay as they are; dividing by their length would only make noise."""


@dataclass(slots=True)
class TextPooling:
    """What one request wants of its tokens' outputs, and their sum so far.

    Attributes:
        pooling: the model's way.
        num_tokens: length of the text.
        dimensions: how many of the first values are wanted; None is all.
        complete: whether every output that counts is in the sum.
    """

    pooling: Pooling
    num_tokens: int
    dimensions: int | None = None
    complete: bool = False
    _sum: npt.NDArray[np.float64] | None = None

    @classmethod
    def of(cls, message: GenerateRequest, pooling: Pooling | None) -> TextPooling | None:
        """What a request wants; None when it does not want an embedding, or the engine (`pooling`) makes none."""
        if message.embedding is None or pooling is None:
            return None
        return cls(pooling, len(message.prompt_ids), message.embedding.dimensions)

    @property
    def num_reusable(self) -> int:
        """Leading tokens that need not be computed: the cache may have them."""
        return self.num_tokens - 1 if self.pooling.reuses_prefixes else 0

    def span(self, start: int, end: int) -> tuple[int, int] | None:
        """Which of the tokens computed from `start` to `end` count, seen from `start`."""
        match self.pooling.method:
            case "last":
                return (end - start - 1, end - start) if end == self.num_tokens else None
            case "cls":
                return (0, 1) if start == 0 else None
            case "mean":
                return (0, end - start)

    def take(self, plan: SlotPlan, pooled: npt.NDArray[np.float32] | None) -> None:
        """Adds what a step found, float32[hidden]. After a preemption, the sum begins anew with the text."""
        if plan.start == 0:
            self._sum = None
        if plan.pooled is not None:
            assert pooled is not None
            self._sum = pooled.astype(np.float64) if self._sum is None else self._sum + pooled
        self.complete = plan.start + plan.num_tokens == self.num_tokens

    def vector(self) -> bytes:
        """The embedding, little-endian float32, once it is complete."""
        assert self.complete
        assert self._sum is not None
        vector = self._sum / self.num_tokens if self.pooling.method == "mean" else self._sum
        vector = vector[: self.dimensions]
        length = float(np.linalg.norm(vector))
        if self.pooling.normalize and length > _SHORTEST:
            vector = vector / length
        return vector.astype("<f4").tobytes()
