"""Where the server is and how to speak to it: everything about a client that is not a socket."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias, TypedDict
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from sgl_jax.client.types.params import Timeout

TimeoutOption: TypeAlias = "Timeout | tuple[float, float, float, float]"

DEFAULT_BASE_URL = "http://127.0.0.1:30000"
DEFAULT_TIMEOUT = (5.0, 600.0, 600.0, 600.0)
"""Seconds for connect, read, write, pool: a server that is there connects at once, but a long answer takes its time."""
DEFAULT_MAX_RETRIES = 2


class OptionChanges(TypedDict, total=False):
    """What `client.with_options(...)` may change."""

    api_key: str | None
    timeout: Timeout
    deadline: float | None
    max_retries: int
    default_headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """Checked options of a client.

    Attributes:
        root: the server's URL without a trailing `/` or `/v1`.
        api_key: sent as a bearer token; kept out of `repr`.
        timeout: as httpx takes it.
        deadline: seconds for all of a call; None for no limit.
        max_retries: repeats after the first try; see `_retries` for what is repeated.
        default_headers: sent with every request.
    """

    root: str
    api_key: str | None = field(default=None, repr=False)
    timeout: TimeoutOption = DEFAULT_TIMEOUT
    deadline: float | None = None
    max_retries: int = DEFAULT_MAX_RETRIES
    default_headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        url = urlsplit(self.root)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError(f"base_url must look like http://127.0.0.1:30000, got {self.root!r}.")
        _ = url.port  # raises ValueError unless it is a number in range
        if self.max_retries < 0:
            raise ValueError(f"max_retries must be at least 0, got {self.max_retries}.")
        if self.deadline is not None and not self.deadline > 0:
            raise ValueError(f"deadline must be above 0 seconds, or None, got {self.deadline}.")

    @classmethod
    def of(
        cls,
        base_url: str | None,
        *,
        api_key: str | None,
        timeout: TimeoutOption,
        deadline: float | None,
        max_retries: int,
        default_headers: Mapping[str, str] | None,
    ) -> ClientOptions:
        """Options from a constructor's arguments; what is None comes from the environment.

        Raises `ValueError` for a URL without a scheme, or a negative `max_retries`.
        """
        url = base_url or os.environ.get("SGL_JAX_BASE_URL") or DEFAULT_BASE_URL
        return cls(
            root=url.rstrip("/").removesuffix("/v1").rstrip("/"),
            api_key=api_key if api_key is not None else os.environ.get("SGL_JAX_API_KEY"),
            timeout=timeout,
            deadline=deadline,
            max_retries=max_retries,
            default_headers=dict(default_headers or {}),
        )

    def changed(self, changes: OptionChanges) -> ClientOptions:
        """A copy with `changes`; headers are added to those that stand."""
        return ClientOptions(
            root=self.root,
            api_key=changes.get("api_key", self.api_key),
            timeout=changes.get("timeout", self.timeout),
            deadline=changes.get("deadline", self.deadline),
            max_retries=changes.get("max_retries", self.max_retries),
            default_headers={**self.default_headers, **changes.get("default_headers", {})},
        )
