"""The kernels, built once for all test sessions on this machine."""

from __future__ import annotations

import pytest

from sgl_jax.engine.cpu_kernels import library
from sgl_jax.engine.execution.device_env import kernels_folder


@pytest.fixture(scope="session")
def kernels():
    try:
        return library.load(kernels_folder())
    except library.Unavailable as reason:
        pytest.skip(f"no native kernels on this machine: {reason}")


@pytest.fixture
def each_isa(kernels):
    """Goes through the instruction sets that this machine has; a program once compiled serves them all."""

    def names():
        for number, name in enumerate(library.ISAS):
            if kernels.handle.sgl_limit_isa(number) == number:
                yield name

    yield names
    kernels.handle.sgl_limit_isa(len(library.ISAS) - 1)
