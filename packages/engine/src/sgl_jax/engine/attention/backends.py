"""Which backend computes: the choice by name and machine."""

from __future__ import annotations

import functools
import logging
from typing import NamedTuple, Protocol

import jax

from sgl_jax.engine.attention import kv_write
from sgl_jax.engine.attention.api import AttendProjected, AttentionBackend, Pages, StoreProjected
from sgl_jax.engine.attention.cudnn import fresh_attention
from sgl_jax.engine.attention.native import (
    native_attend_projected,
    native_attention,
    native_copy_pages,
    native_store_projected,
    native_write,
)
from sgl_jax.engine.attention.reference import reference_attention
from sgl_jax.engine.attention.xla import xla_attention
from sgl_jax.engine.errors import ConfigError

logger = logging.getLogger(__name__)


class PageWriter(Protocol):
    """Brings keys or values into their pages; see `kv_write.write`."""

    def __call__(self, pages: Pages, vectors_tkd: jax.Array, slots: jax.Array) -> Pages:
        """The pages with float[T, K, D] written to slots int32[T]."""


class PageCopier(Protocol):
    """Copies pages of a pool in all layers; see `copy_pages`."""

    def __call__(self, pool: jax.Array, copies: jax.Array, *, num_pages: int) -> jax.Array:
        """The pool after the packed copies; `num_pages` are a layer's."""


class FreshPrompts(NamedTuple):
    """Another backend for steps that hold whole prompts, of which nothing was computed before, and nothing else.

    Attributes:
        attend: serves steps of R such rows whose T tokens have T / R places each.
        rows: the R to compile steps for.
        least_tokens: and the least T; in shorter steps attention is too small a part to have programs of its own.
    """

    attend: AttentionBackend
    rows: tuple[int, ...]
    least_tokens: int


class PagedAttention(NamedTuple):
    """Both halves of attention over a paged cache; what does more at once, and what serves some steps only."""

    attend: AttentionBackend
    write: PageWriter
    store_projected: StoreProjected | None = None
    attend_projected: AttendProjected | None = None
    fresh: FreshPrompts | None = None
    copy_pages: PageCopier | None = None

    @property
    def for_fresh_prompts(self) -> PagedAttention:
        """What serves a step of these."""
        return self if self.fresh is None else self._replace(attend=self.fresh.attend)


XLA = PagedAttention(xla_attention, kv_write.write)
REFERENCE = PagedAttention(reference_attention, kv_write.write)
_FRESH_ROWS = (1, 4)
_FRESH_TOKENS = 1024


def choose(
    name: str,
    *,
    has_kernels: bool,
    exact: bool = False,
    platform: str = "cpu",
    without_pallas: str | None = None,
    without_cudnn: str | None = None,
) -> PagedAttention:
    """What `--attention-backend=NAME` means on a device.

    Args:
        name: the flag.
        has_kernels: whether the native CPU kernels are loaded.
        exact: see `native.native_attention`.
        platform: of the device, `cpu` or `gpu`.
        without_pallas: why our GPU kernels cannot serve there, see `pallas_gpu.limits`.
        without_cudnn: why cuDNN cannot, see `cudnn`.

    Raises:
        ConfigError: what was asked for by name cannot be had; the message says why.
    """
    if name == "reference":
        return REFERENCE
    if name == "xla":
        return XLA
    if name == "pallas":
        if platform != "gpu":
            logger.warning("--attention-backend=pallas interprets GPU kernels here: correct, very slow, and for tests.")
        elif without_pallas is not None:
            raise ConfigError(f"--attention-backend=pallas: {without_pallas}. Use --attention-backend=xla.")
        return pallas(interpret=platform != "gpu")
    if name == "cudnn":
        if (reason := without_cudnn or without_pallas) is not None:
            raise ConfigError(f"--attention-backend=cudnn: {reason}. Use --attention-backend=auto.")
        return with_cudnn(pallas())
    if platform == "gpu":
        if without_pallas is None:
            return pallas()
        logger.warning("attention by plain XLA, whose loops no CUDA graph holds: %s", without_pallas)
    return native(exact=exact) if has_kernels else XLA


def native(*, exact: bool = False) -> PagedAttention:
    """The CPU kernels, which must be loaded."""
    attend = functools.partial(native_attention, exact=exact)
    return PagedAttention(
        *(attend, native_write, native_store_projected, native_attend_projected), copy_pages=native_copy_pages
    )


def pallas(*, interpret: bool = False) -> PagedAttention:
    """The GPU kernels; or, for tests on any device, what they compute."""
    # Here, because importing Pallas takes time that no engine on CPU should spend.
    from sgl_jax.engine.attention.pallas_gpu.attention import pallas_attention
    from sgl_jax.engine.attention.pallas_projected import store_projected

    if interpret:
        attend = functools.partial(pallas_attention, interpret=True)
        return PagedAttention(attend, kv_write.write, functools.partial(store_projected, interpret=True))
    return PagedAttention(pallas_attention, kv_write.write, store_projected)


def with_cudnn(backend: PagedAttention) -> PagedAttention:
    """A backend that leaves fresh prompts to cuDNN."""
    attend = functools.partial(fresh_attention, otherwise=backend.attend)
    return backend._replace(fresh=FreshPrompts(attend, _FRESH_ROWS, _FRESH_TOKENS))
