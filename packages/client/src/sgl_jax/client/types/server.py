"""What the server says about itself: `GET /v1/models` and `GET /health`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field

from sgl_jax.client.types._base import ServerModel


class ModelCard(ServerModel):
    """One served model; `max_model_len` is its longest prompt plus output, in tokens."""

    id: str
    object: str = "model"
    created: int = 0
    owned_by: str = ""
    root: str | None = None
    max_model_len: int | None = None


class ModelList(ServerModel):
    """The served models, in `data`; iterating gives them one by one."""

    object: str = "list"
    data: list[ModelCard] = Field(default_factory=list)

    def __iter__(self) -> Iterator[ModelCard]:  # type: ignore[override]  # as openai's pages do
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)


class Health(ServerModel):
    """Whether the server takes requests, and where it is on the way there.

    `ok` is the HTTP status' verdict; the other fields are what the body says, if it says anything.
    """

    ok: bool
    status: str | None = None
    phase: Any = None

    @property
    def description(self) -> str:
        """One phrase for people: `"compiling 3/12"`, `"ready"`, or `"starting"` for want of better."""
        phase = self.phase
        if isinstance(phase, dict):
            name, done, total = phase.get("name"), phase.get("done", 0), phase.get("total")
            phase = f"{name} {done}/{total}" if total else name
        for text in (phase, self.status):
            if isinstance(text, str) and text:
                return text
        return "ready" if self.ok else "starting"
