"""What the kernels of this folder cannot do, without importing Pallas to say so."""

from __future__ import annotations

import math

import jax

from sgl_jax.engine.attention.api import Pages

MOST_DIMENSIONS = 1024
_AMPERE, _ADA = (8, 0), (8, 9)
_MOST_SIGNED = 1 << 31


def beyond_indices(pages: Pages) -> bool:
    """Whether a pool has more elements than Pallas can count.

    It counts in 32 bits up to 4 GiB, and Triton takes these as signed.
    """
    return _is_beyond(math.prod(pages.shape), pages.stored.dtype.itemsize)


def countable_pages(num_pages: int, page_elements: int, itemsize: int) -> int:
    """The most pages of a layer, at most so many, that are not `beyond_indices`."""
    return _MOST_SIGNED // page_elements if _is_beyond(num_pages * page_elements, itemsize) else num_pages


def _is_beyond(elements: int, itemsize: int) -> bool:
    return itemsize == 1 and _MOST_SIGNED < elements <= 1 << 32


def why_no_pallas(device: jax.Device, head_dim: int, kv_cache_dtype: str) -> str | None:
    """Why the kernels cannot serve a model on a GPU, or None where they can.

    Args:
        device: any device; of others than GPUs nothing is said.
        head_dim: dimensions of a key.
        kv_cache_dtype: as in `EngineConfig`.
    """
    if device.platform != "gpu":
        return None
    major, _, minor = str(getattr(device, "compute_capability", "")).partition(".")
    if not (major.isdigit() and minor.isdigit()):
        return f"the kernels are for NVIDIA GPUs, not for {device.device_kind}"
    capability = int(major), int(minor)
    if capability < _AMPERE:
        return f"the kernels need compute capability 8.0, {device.device_kind} has {major}.{minor}"
    if kv_cache_dtype == "fp8_e4m3" and capability < _ADA:
        return f"keys and values of fp8_e4m3 need compute capability 8.9, {device.device_kind} has {major}.{minor}"
    if head_dim > MOST_DIMENSIONS:
        return f"a head of {head_dim} dimensions does not fit into registers"
    return None
