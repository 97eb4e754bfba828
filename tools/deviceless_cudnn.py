"""cuDNN as if it were installed, and the card there: JAX lowers no call of it otherwise. For tests and tools only."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from unittest import mock

from jax._src.cudnn import fused_attention_stablehlo as fused

_VERSION = 91300
_CAPABILITY = (9, 0)


@contextlib.contextmanager
def cudnn_as_if_there() -> Iterator[None]:
    """While it lasts, JAX believes in cuDNN 9.13 and an H200."""

    def is_at_least(capability: str) -> bool:
        major, minor = capability.split(".")
        return (int(major), int(minor)) <= _CAPABILITY

    with (
        mock.patch.object(fused, "check_cudnn_version", return_value=_VERSION),
        mock.patch.object(fused, "check_compute_capability", is_at_least),
    ):
        yield
