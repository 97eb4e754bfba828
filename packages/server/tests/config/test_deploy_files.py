"""The files in `deploy/`: their flags are the server's, and nobody kills a server that still drains."""

from __future__ import annotations

import configparser
import json
import re
import shlex
from pathlib import Path

import yaml

from sgl_jax.server.command_line import parse_launch
from sgl_jax.server.ipc.process import STOP_SECONDS
from sgl_jax.server.launch import LAST_ANSWERS_SECONDS

DEPLOY = Path(__file__).parents[4] / "deploy"
MARGIN = STOP_SECONDS + LAST_ANSWERS_SECONDS
"""What an ordered end takes beyond the drain time."""


def dockerfile() -> dict[str, list[str]]:
    """The last arguments of each exec-form instruction."""
    text = (DEPLOY / "Dockerfile").read_text()
    found = re.findall(r"^(?:HEALTHCHECK .*)?(ENTRYPOINT|CMD) (\[.*\])$", text, flags=re.MULTILINE)
    return {name: json.loads(words) for name, words in found}


def test_the_image_listens_on_its_exposed_port() -> None:
    image = dockerfile()
    assert image["ENTRYPOINT"][:2] == ["sgl-jax", "serve"]
    config = parse_launch([*image["ENTRYPOINT"][2:], *image["CMD"]])
    assert config.server.host == "0.0.0.0"
    text = (DEPLOY / "Dockerfile").read_text()
    assert f"EXPOSE {config.server.port}\n" in text
    assert f"http://127.0.0.1:{config.server.port}/readyz" in text


def test_the_compose_file_fits_the_image() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    service = compose["services"]["sgl-jax"]
    config = parse_launch([*dockerfile()["ENTRYPOINT"][2:], *service["command"]])
    assert service["ports"] == [f"127.0.0.1:{config.server.port}:{config.server.port}"]
    assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).samefile(DEPLOY / "Dockerfile")
    assert any(f":{config.engine.model_path}:ro" in volume for volume in service["volumes"])
    assert float(service["stop_grace_period"].removesuffix("s")) > config.server.drain_seconds + MARGIN


def test_the_unit_gives_the_server_time_to_drain() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(DEPLOY / "sgl-jax.service")
    program, command, flag = shlex.split(unit["Service"]["ExecStart"])
    assert (Path(program).name, command) == ("sgl-jax", "serve")
    name, _, path = flag.partition("=")
    assert (name, Path(path).name) == ("--config", "server_config.yaml")
    config = parse_launch([f"--config={DEPLOY / 'server_config.yaml'}"])
    assert float(unit["Service"]["TimeoutStopSec"]) > config.server.drain_seconds + MARGIN
    assert unit["Service"]["KillMode"] == "mixed"
