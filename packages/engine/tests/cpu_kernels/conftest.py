"""The instruction sets of the kernels."""

from __future__ import annotations

import pytest

from sgl_jax.engine.cpu_kernels import library


@pytest.fixture
def each_isa(kernels):
    """Goes through the instruction sets that this machine has; a program once compiled serves them all."""

    def names():
        for number, name in enumerate(library.ISAS):
            if kernels.handle.sgl_limit_isa(number) == number:
                yield name

    yield names
    kernels.handle.sgl_limit_isa(len(library.ISAS) - 1)
