"""Packing rounds to the nearest code, and nothing else."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgl_jax.engine.quantization import pack as module
from sgl_jax.engine.quantization.formats import FORMATS, FP8, GROUP, INT8, Q4_0, Q4_1, Q8_0, PackFormat
from sgl_jax.engine.quantization.matrix import unpack
from sgl_jax.engine.quantization.pack import pack, widen

forms = pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)


def values_of(parts: dict[str, np.ndarray], form: PackFormat) -> np.ndarray:
    return np.asarray(unpack({name: jnp.asarray(part) for name, part in parts.items()}, form))


def step_of(parts: dict[str, np.ndarray], form: PackFormat, columns: int) -> np.ndarray:
    """The distance of neighbouring codes at each value."""
    scales = parts["scales"].astype(np.float32)
    return np.repeat(scales, GROUP, axis=1) if form.grouped else np.repeat(scales[:, None], columns, axis=1)


@forms
@settings(deadline=None, max_examples=40)  # new shapes compile
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.sampled_from([1, 9]),
    groups=st.sampled_from([1, 3]),
    scale=st.floats(1e-3, 1e3),
)
def test_values_come_back_within_half_a_step(form: PackFormat, seed: int, rows: int, groups: int, scale: float) -> None:
    values = np.random.default_rng(seed).standard_normal((rows, groups * GROUP)).astype(np.float32) * np.float32(scale)
    parts = pack(values, form)
    error = np.abs(values_of(parts, form) - values)
    step = step_of(parts, form, values.shape[1])
    # Scales and minima are rounded to float16: the ends of a range move by a thousandth.
    slack = 2**-10 * np.abs(values).max() if form.grouped else 1e-5 * np.abs(values).max()
    nearest = np.abs(values) * 2**-4 + step * 2**-10 if form == FP8 else 0.5 * step
    assert (error <= nearest + slack).all()


@forms
def test_parts_are_as_announced(form: PackFormat) -> None:
    values = np.random.default_rng(0).standard_normal((3, 5, 64)).astype(np.float32)
    parts = pack(values, form)
    assert {name: (part.shape, part.dtype) for name, part in parts.items()} == form.parts(values.shape)
    for expert in range(3):
        for name, part in pack(values[expert], form).items():
            np.testing.assert_array_equal(parts[name][expert], part)


@pytest.mark.parametrize(
    ("form", "bits"), [(INT8, 8 + 32 / 4096), (FP8, 8 + 32 / 4096), (Q8_0, 8.5), (Q4_0, 4.5), (Q4_1, 5.0)]
)
def test_bits_a_value(form: PackFormat, bits: float) -> None:
    shapes = form.parts((8, 4096)).values()
    assert sum(np.prod(shape) * dtype.itemsize for shape, dtype in shapes) * 8 == bits * 8 * 4096


@forms
def test_zeros_stay_zeros(form: PackFormat) -> None:
    values = np.zeros((2, 64), np.float32)
    values[1, 32:] = np.linspace(-1, 1, 32)
    found = values_of(pack(values, form), form)
    assert not found[0].any()
    if form.grouped:
        assert not found[1, :32].any()


@forms
def test_packing_what_was_packed_changes_nothing(form: PackFormat) -> None:
    values = np.random.default_rng(1).standard_normal((4, 96)).astype(np.float32)
    once = values_of(pack(values, form), form)
    np.testing.assert_allclose(values_of(pack(once, form), form), once, rtol=0, atol=2e-3)


@forms
def test_large_matrices_are_packed_in_strides(form: PackFormat, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(2).standard_normal((11, 64)).astype(np.float32)
    whole = pack(values, form)
    monkeypatch.setattr(module, "VALUES_AT_A_TIME", 3 * 64)
    for name, part in pack(values, form).items():
        np.testing.assert_array_equal(part, whole[name])


def test_widening_is_exact() -> None:
    values = np.random.default_rng(3).standard_normal((4, 96)).astype(np.float32)
    parts = pack(values, Q4_0)
    assert Q4_0.widens_to(Q4_1)
    np.testing.assert_array_equal(values_of(dict(widen(parts, Q4_0, Q4_1)), Q4_1), values_of(parts, Q4_0))
    assert widen(parts, Q4_0, Q4_0) is parts
    assert not Q4_1.widens_to(Q4_0)
    assert not Q4_1.widens_to(Q8_0)


def test_rows_of_broken_groups_do_not_fit() -> None:
    assert INT8.fits((8, 50))
    assert Q4_1.fits((8, 64))
    assert not Q4_1.fits((8, 50))
    assert not Q4_1.fits((64,))
