"""One real server for all tests here: SmolLM2, on the CPU, over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.server_process import PATIENCE, ServerProcess


@pytest.fixture(scope="session")
def environ(request: pytest.FixtureRequest) -> dict[str, str]:
    """Of all processes started here. Compiled steps go into pytest's own cache, which stays."""
    return {
        "JAX_COMPILATION_CACHE_DIR": str(request.config.cache.mkdir("xla")),
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PLATFORMS": "cpu",
        "SGL_JAX_KERNELS_FOR": "machine",  # as users have them; the suite's own are for all instruction sets
        "XLA_FLAGS": "",  # the suite's own (conftest.py) compile fast and run a hundred times slower
    }


@pytest.fixture(scope="session")
def server(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The server that all tests share; none may end or harm it."""
    # Its chat template knows no tools, so that nothing else changes.
    server = ServerProcess(tmp_path_factory.mktemp("server") / "log", "--tool-call-parser=hermes", environ=environ)
    try:
        server.wait_ready()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def url(server: ServerProcess) -> str:
    """Base URL of the server that all tests share."""
    return server.url


@pytest.fixture(scope="session")
def http(url: str) -> Iterator[httpx.Client]:
    """A plain HTTP client for it."""
    with httpx.Client(base_url=url, timeout=PATIENCE) as client:
        yield client


@pytest.fixture(scope="session")
def model(http: httpx.Client) -> str:
    """Its model's name."""
    name: str = http.get("/v1/models").json()["data"][0]["id"]
    return name


@pytest.fixture(scope="session")
def stats(http: httpx.Client) -> Callable[[], dict[str, Any]]:
    """Its engine's counters, now."""

    def read() -> dict[str, Any]:
        counters: dict[str, Any] = http.get("/get_server_info").json()["stats"]
        return counters

    return read


@pytest.fixture
def start(environ: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Starts a ready server of one's own with further flags; steps are compiled when they are needed."""
    started: list[ServerProcess] = []

    def start(*flags: str) -> ServerProcess:
        server = ServerProcess(tmp_path / f"log-{len(started)}", "--skip-server-warmup", *flags, environ=environ)
        started.append(server)
        server.wait_ready()
        return server

    yield start
    for server in started:
        server.close()
