"""Which backend computes: the choice by name and machine."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import jax

from sgl_jax.engine.attention import kv_write
from sgl_jax.engine.attention.api import AttentionBackend, Pages
from sgl_jax.engine.attention.native import native_attention, native_write
from sgl_jax.engine.attention.reference import reference_attention
from sgl_jax.engine.attention.xla import xla_attention


class PageWriter(Protocol):
    """Brings keys or values into their pages; see `kv_write.write`."""

    def __call__(self, pages: Pages, vectors_tkd: jax.Array, slots: jax.Array) -> Pages:
        """The pages with float[T, K, D] written to slots int32[T]."""


class PagedAttention(NamedTuple):
    """Both halves of attention over a paged cache."""

    attend: AttentionBackend
    write: PageWriter


XLA = PagedAttention(xla_attention, kv_write.write)
REFERENCE = PagedAttention(reference_attention, kv_write.write)
NATIVE = PagedAttention(native_attention, native_write)


def choose(name: str, *, has_kernels: bool) -> PagedAttention:
    """What `--attention-backend=NAME` means where the native CPU kernels are loaded, or are not."""
    if name == "reference":
        return REFERENCE
    return NATIVE if has_kernels and name != "xla" else XLA
