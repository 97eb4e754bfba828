"""`sgl-jax top` in front of a server."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from sgl_jax.engine.errors import ConfigError
from sgl_jax.server.app import AppOptions
from sgl_jax.server.auth import Keys
from sgl_jax.server.cli import main
from sgl_jax.server.top import command
from sgl_jax.server.top.command import top


def look(*arguments: str) -> tuple[int, str]:
    """Exit code and text of one picture."""
    output = io.StringIO()
    code = top(["--once", "--interval=0.01", *arguments], output)
    return code, output.getvalue()


def test_it_shows_the_model_and_its_work(make_app: Callable[..., FastAPI], serve: Callable[[FastAPI], str]) -> None:
    url = serve(make_app(options=AppOptions(keys=Keys("secret"))))
    httpx.post(f"{url}/v1/completions", json={"prompt": "Hi"}, headers={"Authorization": "Bearer secret"})
    code, text = look(url.removeprefix("http://"))
    assert code == 0
    for part in ("org/tiny", url, "ready", "running", "tokens/s", "KV pool in use", " 25%", "first token", "p99"):
        assert part in text


def test_a_dead_engine_is_shown(make_app: Callable[..., FastAPI], serve: Callable[[FastAPI], str], engine: Any) -> None:
    engine.dead = True
    code, text = look(serve(make_app()))
    assert code == 0
    assert "not ready" in text


def test_a_server_that_is_not_there_or_has_no_metrics(
    make_app: Callable[..., FastAPI], serve: Callable[[FastAPI], str]
) -> None:
    code, text = look("http://127.0.0.1:1")
    assert code == 1
    assert "does not answer" in text
    code, text = look(serve(make_app(options=AppOptions(metrics=False))))
    assert code == 1
    assert "--no-enable-metrics" in text.replace("\n", " ")


def test_it_goes_on_until_it_is_told_to_end(
    make_app: Callable[..., FastAPI],
    serve: Callable[[FastAPI], str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise KeyboardInterrupt

    url = serve(make_app())
    monkeypatch.setattr(command, "time", SimpleNamespace(sleep=pause, monotonic=time.monotonic))
    assert main(["top", url, "--interval=7"]) == 130
    assert pauses == [7.0] * 3
    assert capsys.readouterr().out.count("org/tiny") == 3


@pytest.mark.parametrize("arguments", [["--interval=0"], ["--interval=x"], ["--unknown"], ["a", "b"]])
def test_mistakes_are_explained(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError):
        top(arguments)
    assert main(["top", *arguments]) == 2
    assert "sgl-jax top: error: " in capsys.readouterr().err
