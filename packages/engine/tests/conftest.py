"""A tiny model with real files, and the native kernels."""

from __future__ import annotations

import pytest

from sgl_jax.engine.cpu_kernels import compiler, library
from sgl_jax.engine.execution.device_env import kernels_folder
from tools.tiny_model import make_tiny_model


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """A seeded Llama of 2-3 layers with grouped heads."""
    return make_tiny_model(tmp_path_factory.mktemp("tiny"), seed=1)


@pytest.fixture(scope="session")
def kernels():
    """The kernels, built once for all test sessions on this machine. One that a compiler refuses is a failure."""
    if compiler.find_compiler() is None:
        pytest.skip("no native kernels: this machine has no C++ compiler")
    return library.load(kernels_folder())
