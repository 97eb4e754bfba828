"""Copies of pages: the right ones, in all layers, one after the other, and never of a whole pool."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgl_jax.engine.attention.api import Pages
from sgl_jax.engine.attention.native import native_copy_pages
from sgl_jax.engine.execution.copy_pages import make_copy_pages, pack_copies
from sgl_jax.engine.plan import PageCopy

PAGES = 50
COPIES = [PageCopy(3, 7), PageCopy(7, 1), PageCopy(4, 3), PageCopy(49, 0)]
"""The second needs the first, and the third must not come before it."""


@pytest.fixture(params=["xla", "native"])
def copier(request):
    if request.param == "xla":
        return None
    request.getfixturevalue("kernels")
    return native_copy_pages


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_pages_are_copied_in_place_in_every_layer(copier, layers, dtype):
    rng = np.random.default_rng(0)
    shape = (layers * PAGES, 16, 2, 64)
    stored = rng.integers(0, 100, shape).astype(np.uint16 if dtype == "bfloat16" else np.int8)
    scale = rng.random(shape[:3], np.float32) if dtype == "int8" else None

    def pages():
        return Pages(jnp.array(stored), None if scale is None else jnp.array(scale), jnp.dtype(dtype))

    pools = ((pages(), None), (pages(), pages()))
    program = jax.jit(make_copy_pages(PAGES, copier), donate_argnums=0).lower(pools, pack_copies(COPIES)).compile()
    assert program.memory_analysis().temp_size_in_bytes < 4 * layers * stored[0].nbytes + 4096
    before = pools[1][1].stored.unsafe_buffer_pointer()
    after = program(pools, pack_copies(COPIES))
    assert after[1][1].stored.unsafe_buffer_pointer() == before
    for array in (stored, scale):
        if array is not None:
            by_layer = array.reshape(layers, PAGES, *array.shape[1:])
            for source, target in COPIES:
                by_layer[:, target] = by_layer[:, source]
    assert after[0][1] is None
    for found in (after[0][0], *after[1]):
        np.testing.assert_array_equal(found.stored, stored)
        if scale is not None:
            np.testing.assert_array_equal(found.scale, scale)
