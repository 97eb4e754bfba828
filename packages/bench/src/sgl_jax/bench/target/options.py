"""Which server is measured, and how its answers are sampled."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

Endpoint = Literal["chat", "completions"]


@dataclass(frozen=True, slots=True)
class TargetOptions:
    """Where requests go and how their answers are sampled.

    Attributes:
        url: the server's root, with or without `/v1`.
        model: the model's name; None means the first that the server lists.
        endpoint: which route is measured.
        temperature: sampling temperature.
        seed: sent with every request, plus the request's index, so that a run can be repeated; None sends none.
        ignore_eos: generate up to `max_tokens`, whatever the model says. An extension; not every server has it.
        api_key: bearer token; None means `$SGL_JAX_API_KEY`, if that is set.
        timeout: seconds that one request may take in all.
        wait_ready: seconds to wait for the server to take requests; 0 expects it to be ready.
    """

    url: str
    model: str | None = None
    endpoint: Endpoint = "chat"
    temperature: float = 0.7
    seed: int | None = None
    ignore_eos: bool = False
    api_key: str | None = None
    timeout: float = 600.0
    wait_ready: float = 0.0

    @property
    def root(self) -> str:
        """The URL with a scheme, without `/v1` and trailing slashes."""
        url = self.url if "://" in self.url else f"http://{self.url}"
        return url.rstrip("/").removesuffix("/v1").rstrip("/")

    @property
    def bearer(self) -> str | None:
        """The token to send."""
        return self.api_key or os.environ.get("SGL_JAX_API_KEY") or None
