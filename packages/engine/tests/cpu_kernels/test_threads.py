"""The thread pool: every piece is done once, whoever asks at the same time, and after a fork."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pytest

from sgl_jax.engine.cpu_kernels import layout, library, products

FORK = """
import ctypes, os, sys
probe = ctypes.CDLL(sys.argv[1])
probe.sgl_probe_threads.restype = ctypes.c_int64
call = lambda: probe.sgl_probe_threads(ctypes.c_int64(1000), ctypes.c_int64(3))
probe.sgl_set_num_threads(4)
assert call() == 499500
child = os.fork()
if child == 0:
    os._exit(0 if all(call() == 499500 for _ in range(100)) else 1)
status = os.waitpid(child, 0)[1]
assert os.waitstatus_to_exitcode(status) == 0 and call() == 499500
"""


@pytest.fixture
def probe(kernels):
    """A loop that sums the numbers below `count`."""
    function = kernels.handle.sgl_probe_threads
    function.restype, function.argtypes = ctypes.c_int64, [ctypes.c_int64, ctypes.c_int64]
    yield function
    library.set_threads(library.available_cores())


@pytest.mark.parametrize("threads", [1, 2, 5, 16])
def test_each_piece_is_done_once(probe, threads):
    library.set_threads(threads)
    for count in (0, 1, 2, 7, 64, 1000, 12345):
        for grain in (1, 3, 1000):
            assert probe(count, grain) == count * (count - 1) // 2


def test_loops_may_begin_at_the_same_time(probe):
    library.set_threads(4)  # more than there are cores, perhaps
    with ThreadPoolExecutor(6) as threads:
        sums = list(threads.map(lambda count: probe(count, 1), [1000 + i % 7 for i in range(600)]))
    assert sums == [count * (count - 1) // 2 for count in [1000 + i % 7 for i in range(600)]]


def test_a_child_of_fork_has_a_pool_of_its_own(kernels):
    subprocess.run([sys.executable, "-c", FORK, str(kernels.path)], check=True, timeout=60)


def test_two_products_of_one_program_may_run_at_the_same_time(kernels):
    library.set_threads(4)
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((8, 512, 64)).astype(np.float32)
    tiles = layout.arrange("f32", {"": weights}, weights.shape)
    x = rng.standard_normal((4, 64)).astype(np.float32)

    @jax.jit
    def independent(x, tiles):
        stack = products.Stack(tiles, "f32", 512)
        return [products.matmul(x, stack, np.int32(i), exact=True) for i in range(len(weights))]

    for _ in range(20):
        for found, weight in zip(independent(x, tiles), weights, strict=True):
            np.testing.assert_allclose(found, x @ weight.T, rtol=0, atol=1e-4)
    library.set_threads(library.available_cores())
