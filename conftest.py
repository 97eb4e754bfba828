"""Settings of the whole test suite that must be in place before jax is imported."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

import pytest

# Compile time is nearly all that tiny models cost. Unoptimised code compiles four times faster and computes the
# same; servers that tests start as processes of their own run as users run them (see tests/e2e).
FAST_COMPILE = (
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_cpu_use_fusion_emitters=false",
)
os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *FAST_COMPILE]).strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")


def _share_compiled_programs() -> None:
    """Programs compiled by one test serve the others, in all processes of `-n`, until the run ends."""
    if "SGL_JAX_TEST_COMPILED" in os.environ:  # set by the process that started this one
        return
    folder = tempfile.mkdtemp(prefix="sgl-jax-tests-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["SGL_JAX_TEST_COMPILED"] = folder
    os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"


_share_compiled_programs()


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """For `-n 2`: processes share the suite file by file; all tests of the one real server stay together and begin."""

    def needs_the_server(item: pytest.Item) -> bool:
        return item.path.parent.name in ("e2e", "contract")

    for item in items:
        item.add_marker(pytest.mark.xdist_group("server" if needs_the_server(item) else str(item.path)))
    items.sort(key=lambda item: not needs_the_server(item))
