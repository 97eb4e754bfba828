"""Memory under zeros is given back, and is zeros still."""

from __future__ import annotations

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgl_jax.engine.execution import host_memory

MIB = 1 << 20


def resident_bytes():
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep it")
def test_zeros_take_memory_as_they_are_written_to():
    array = jax.block_until_ready(jnp.zeros((64, MIB), jnp.uint8))
    before = resident_bytes()
    host_memory.forget_zeros(array)
    assert before - resident_bytes() > 60 * MIB
    write = jax.jit(lambda array: array.at[3, 5].set(7), donate_argnums=0)
    array = jax.block_until_ready(write(array))
    assert before - resident_bytes() > 50 * MIB, "the update was made in a copy"
    assert int(array.sum(dtype=jnp.uint32)) == 7


@pytest.mark.parametrize("size", [0, 1, 100, 5000])
def test_what_fills_no_page_stays_as_it_is(size):
    array = jnp.zeros(size, jnp.int8)
    host_memory.forget_zeros(array)
    assert np.array_equal(array, np.zeros(size))


def test_what_was_freed_can_be_given_back():
    host_memory.give_back()
