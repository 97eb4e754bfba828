"""Settings of the whole test suite that must be in place before jax is imported."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.parity.table import parity_table

# Compile time is nearly all that tiny models cost. Unoptimised code compiles four times faster and computes the
# same; servers that tests start as processes of their own run as users run them (see tests/e2e).
FAST_COMPILE = (
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_cpu_use_fusion_emitters=false",
)
os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *FAST_COMPILE]).strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["SGL_JAX_KERNELS_FOR"] = "all"  # tests go through the instruction sets


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


SERVER_TESTS = ("tests/e2e/", "tests/contract/")


class ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """For `-n 2`: processes share the suite file by file; all tests of the one real server stay together."""

    def _split_scope(self, nodeid: str) -> str:
        return "server" if nodeid.startswith(SERVER_TESTS) else nodeid.split("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """Our own, because `--dist=loadgroup` does not reach the ids of newer pytests."""
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The real server's tests take longest, so they begin."""
    items.sort(key=lambda item: not item.nodeid.startswith(SERVER_TESTS))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the parity tests found, as the table in docs/guides/models.md."""
    passed = (report for report in terminalreporter.getreports("passed") if report.when == "call")
    lines = list(parity_table(pair for report in passed for pair in report.user_properties))
    if lines:
        terminalreporter.section("largest distance of log-probabilities from transformers'")
        terminalreporter.write_line("\n".join(lines))
