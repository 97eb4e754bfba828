from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sgl_jax.engine.errors import ConfigError
from sgl_jax.server import logs
from sgl_jax.server.logs import LogConfig


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    names = ("", "sgl_jax", "uvicorn.error")
    root = logging.getLogger()
    handlers, levels = root.handlers[:], [logging.getLogger(name).level for name in names]
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    for name, level in zip(names, levels, strict=True):
        logging.getLogger(name).setLevel(level)


def test_all_parts_share_one_format(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogConfig())
    logging.getLogger("sgl_jax.server.launch").info("listening on %s", "x")
    logging.getLogger("sgl_jax.engine.core").warning("low memory")
    logging.getLogger("sgl_jax.http").info("GET /docs", extra={"fields": {"status": 200}})
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
    lines = capfd.readouterr().err.splitlines()
    stamp = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    expected = (
        "INFO     server listening on x",
        "WARNING  engine low memory",
        "INFO     http   GET /docs",
        "WARNING  http   Invalid",
    )
    assert len(lines) == len(expected)
    for line, rest in zip(lines, expected, strict=True):
        assert re.match(f"{stamp} {rest}", line)


def test_json_is_one_object_a_line(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogConfig(format="json"))
    logging.getLogger("sgl_jax.http").info("two\nlines", extra={"fields": {"status": 200}})
    try:
        raise ValueError("oops")
    except ValueError:
        logging.getLogger("sgl_jax.server.x").exception("it failed")
    first, second = (json.loads(line) for line in capfd.readouterr().err.splitlines())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first.pop("time"))
    assert first == {"level": "info", "part": "http", "message": "two\nlines", "status": 200}
    assert (second["level"], second["part"], second["message"]) == ("error", "server", "it failed")
    assert "ValueError: oops" in second["exception"]


def test_a_file_takes_the_log_too_and_may_be_moved_away(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "server.log"
    file.write_text("before\n")
    logs.configure(LogConfig(file=str(file)))
    logging.getLogger("sgl_jax.server").info("one")
    file.rename(tmp_path / "server.log.1")
    logging.getLogger("sgl_jax.server").info("two")
    assert [line.split()[-1] for line in (tmp_path / "server.log.1").read_text().splitlines()] == ["before", "one"]
    assert [line.split()[-1] for line in file.read_text().splitlines()] == ["two"]
    assert len(capfd.readouterr().err.splitlines()) == 2


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written: Is a directory"):
        logs.configure(LogConfig(file=str(tmp_path)))


def test_the_level_silences_what_is_below(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogConfig(level="warning"))
    logging.getLogger("sgl_jax.server.launch").info("quiet")
    logging.getLogger("sgl_jax.http").info("quiet")
    logging.getLogger("somebody.else").info("quiet")
    logging.getLogger("somebody.else").warning("loud")
    assert [line.split()[-1] for line in capfd.readouterr().err.splitlines()] == ["loud"]
