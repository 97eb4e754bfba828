"""Products and rows of arranged matrices, against NumPy, in every instruction set."""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sgl_jax.engine.cpu_kernels import layout, library, products
from sgl_jax.engine.quantization.formats import FORMATS, GROUP
from sgl_jax.engine.quantization.pack import pack

MATRICES = 2
PAIRS_OF_BFLOAT16 = ("avx512bf16", "amx")
CHECK = settings(
    max_examples=8, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
ODD = st.integers(1, 70)


def arranged(form, rng, rows, width):
    """Tiles of a few matrices, and what they stand for: float32[MATRICES, rows, width]."""
    values = rng.standard_normal((MATRICES, rows, width)).astype(np.float32)
    if form == "f32":
        return layout.arrange(form, {"": values}, values.shape), values
    if form == "bf16":
        return layout.arrange(form, {"": values}, values.shape), rounded(values)
    packing = FORMATS[form]
    parts = pack(values, packing)
    return layout.arrange(form, parts, values.shape), unpacked(parts, packing)


def rounded(values):
    return values.astype(ml_dtypes.bfloat16).astype(np.float32)


def unpacked(parts, packing):
    outer = parts["codes"].shape[:-1]
    codes = parts["codes"].reshape(*outer, -1, GROUP // 2 if packing.paired else GROUP)
    if packing.paired:
        codes = np.concatenate([codes & 0x0F, codes >> 4], axis=-1)
    values = (codes.astype(np.float32) - packing.zero) * parts["scales"].astype(np.float32)[..., None]
    if packing.has_minima:
        values = values + parts["minima"].astype(np.float32)[..., None]
    return values.reshape(*outer, -1)


def coded(x):
    """Activations as they are after they were brought to eight bits, group by group."""
    groups = x.reshape(x.shape[0], -1, GROUP)
    largest = np.abs(groups).max(-1, keepdims=True)
    codes = np.rint(groups * (np.float32(127) / largest))
    return (codes * (largest / np.float32(127))).reshape(x.shape)


@functools.partial(jax.jit, static_argnums=(3, 4, 5))
def product(x, tiles, index, form, rows, exact, counts=None):
    return products.matmul(x, products.Stack(tiles, form, rows), index, exact=exact, counts=counts)


def counts(live, decoded):
    return np.asarray([live, decoded], np.int32)


@pytest.mark.parametrize("form", layout.FORMATS)
@CHECK
@given(data=st.data(), seed=st.integers(0, 1 << 16))
def test_products_are_those_of_numpy(each_isa, form, data, seed):
    tokens, rows = data.draw(ODD, "tokens"), data.draw(ODD, "rows")
    width = data.draw(ODD, "width") if form not in layout.GROUPED else GROUP * data.draw(st.integers(1, 5), "groups")
    index, exact = data.draw(st.integers(0, MATRICES - 1), "index"), data.draw(st.booleans(), "exact")
    decoded = data.draw(st.integers(0, tokens), "decoded")
    rng = np.random.default_rng(seed)
    tiles, meant = arranged(form, rng, rows, width)
    x = rng.standard_normal((tokens, width)).astype(np.float32)
    for isa in each_isa():
        taken = x
        if form in layout.GROUPED and not exact:
            taken = coded(x)
        elif form == "bf16" and isa in PAIRS_OF_BFLOAT16:
            taken = rounded(x)
        wanted = taken @ meant[index].T
        allowed = np.full_like(wanted, 3e-6 * max(np.abs(wanted).max(), 30))
        if form in layout.GROUPED and not exact and isa == "amx":  # prompts: both sides become bfloat16
            wanted[decoded:] = rounded(x[decoded:]) @ meant[index].T
            allowed[decoded:] += 2.0**-8 * np.abs(x[decoded:]) @ np.abs(meant[index]).T
        found = np.asarray(product(x, tiles, np.int32(index), form, rows, exact, counts(tokens, decoded)))
        np.testing.assert_array_less(np.abs(found - wanted), allowed, err_msg=isa)


@pytest.mark.parametrize(("tokens", "width"), [(15, 96), (61, 352)], ids=["few", "many"])
@pytest.mark.parametrize("form", layout.FORMATS)
def test_a_row_does_not_depend_on_its_neighbours(each_isa, form, tokens, width):
    rng = np.random.default_rng(3)
    tiles, _ = arranged(form, rng, 50, width)
    x = rng.standard_normal((tokens, width)).astype(np.float32)
    for _ in each_isa():
        for decoded in (tokens, tokens - 5, 0):
            together = product(x, tiles, np.int32(1), form, 50, False, counts(tokens, decoded))
            for row in (0, tokens // 2, tokens - 6, tokens - 1):
                own = counts(1, row < decoded)
                alone = product(x[row : row + 1], tiles, np.int32(1), form, 50, False, own)
                np.testing.assert_array_equal(alone[0], together[row])


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("form", layout.FORMATS)
def test_what_is_no_number_stays_none_and_harms_no_other_row(each_isa, form, exact):
    tiles, _ = arranged(form, np.random.default_rng(4), 20, 64)
    for isa, tokens in itertools.product(each_isa(), (5, 40)):
        x = np.ones((tokens, 64), np.float32)
        x[1, 40], x[3, 0] = np.nan, np.inf
        for decoded in (tokens, 0):
            found = np.asarray(product(x, tiles, np.int32(0), form, 20, exact, counts(tokens, decoded)))
            assert np.isnan(found[1]).all(), isa
            assert not np.isfinite(found[3]).any()
            assert np.isfinite(np.delete(found, (1, 3), axis=0)).all()


def test_zeros_and_the_smallest_numbers_give_zeros(each_isa):
    tiles, _ = arranged("q4_1", np.random.default_rng(5), 20, 64)
    x = np.zeros((2, 64), np.float32)
    x[1] = 1e-40
    for _ in each_isa():
        found = np.asarray(product(x, tiles, np.int32(0), "q4_1", 20, False))
        assert np.abs(found).max() < 1e-30


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_padding_costs_nothing_and_becomes_zeros(kernels, threads):
    library.set_threads(threads)
    tiles, _ = arranged("q4_1", np.random.default_rng(6), 50, 96)
    x = np.random.default_rng(7).standard_normal((13, 96)).astype(np.float32)
    whole = np.asarray(product(x, tiles, np.int32(1), "q4_1", 50, False))
    x[9:] = np.nan
    for live in (0, 1, 9, 100):
        found = np.asarray(product(x, tiles, np.int32(1), "q4_1", 50, False, counts(live, live)))
        np.testing.assert_array_equal(found[: min(live, 9)], whole[: min(live, 9)])
        if live < 10:
            assert not found[live:].any()
    library.set_threads(library.available_cores())


@pytest.mark.parametrize("form", layout.FORMATS)
def test_no_tokens_give_no_rows(kernels, form):
    tiles, _ = arranged(form, np.random.default_rng(6), 20, 64)
    assert product(np.zeros((0, 64), np.float32), tiles, np.int32(0), form, 20, False).shape == (0, 20)


@pytest.mark.parametrize("form", layout.FORMATS)
def test_rows_are_looked_up_and_clamped(kernels, form):
    tiles, meant = arranged(form, np.random.default_rng(7), 37, 96)
    wanted = np.asarray([5, 36, 0, 1000, -3], np.int32)
    taken = products.take_rows(jnp.asarray(tiles), jnp.int32(1), jnp.asarray(wanted), form, (37, 96))
    np.testing.assert_allclose(taken, meant[1][np.clip(wanted, 0, 36)], rtol=1e-6)


def test_a_stack_of_another_shape_is_refused(kernels):
    tiles, _ = arranged("f32", np.random.default_rng(8), 20, 64)
    with pytest.raises(jax.errors.JaxRuntimeError, match="stack of tiles does not fit"):
        jax.block_until_ready(product(np.ones((1, 64), np.float32), tiles[:, :1], np.int32(0), "f32", 49, False))
