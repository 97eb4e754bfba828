from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import pytest

from sgl_jax.server import logs


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    names = ("", "sgl_jax", "uvicorn.access", "uvicorn.error")
    root = logging.getLogger()
    handlers, levels = root.handlers[:], [logging.getLogger(name).level for name in names]
    yield
    root.handlers[:] = handlers
    logging.getLogger("uvicorn.access").filters.clear()
    for name, level in zip(names, levels, strict=True):
        logging.getLogger(name).setLevel(level)


def test_all_parts_share_one_format(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("info")
    logging.getLogger("sgl_jax.server.launch").info("listening on %s", "x")
    logging.getLogger("sgl_jax.engine.core").warning("low memory")
    logging.getLogger("uvicorn.access").info('%s - "%s %s HTTP/%s" %d', "1.2.3.4:5", "GET", "/docs", "1.1", 200)
    lines = capfd.readouterr().err.splitlines()
    stamp = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    assert len(lines) == 3
    for line, rest in zip(
        lines,
        ("INFO     server listening on x", "WARNING  engine low memory", 'INFO     http   1.2.3.4:5 - "GET /docs'),
        strict=True,
    ):
        assert re.match(f"{stamp} ", line)
        assert rest in line


def test_the_level_silences_what_is_below(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("warning")
    logging.getLogger("sgl_jax.server.launch").info("quiet")
    logging.getLogger("uvicorn.access").info("quiet")
    logging.getLogger("somebody.else").info("quiet")
    logging.getLogger("somebody.else").warning("loud")
    assert [line.split()[-1] for line in capfd.readouterr().err.splitlines()] == ["loud"]


@pytest.mark.parametrize(
    ("method", "path", "level"),
    [
        ("GET", "/health", "DEBUG"),
        ("GET", "/readyz?verbose=1", "DEBUG"),
        ("HEAD", "/ping", "DEBUG"),
        ("GET", "/metrics", "DEBUG"),
        ("GET", "/health_generate", "INFO"),
        ("POST", "/health", "INFO"),
        ("GET", "/v1/models", "INFO"),
    ],
)
def test_probes_are_logged_at_debug_only(capfd: pytest.CaptureFixture[str], method: str, path: str, level: str) -> None:
    shown = {}
    for configured in ("info", "debug"):
        logs.configure(configured)
        logging.getLogger("uvicorn.access").info('%s - "%s %s HTTP/%s" %d', "1.2.3.4:5", method, path, "1.1", 200)
        shown[configured] = capfd.readouterr().err
    assert f" {level} " in shown["debug"]
    assert bool(shown["info"]) == (level == "INFO")
