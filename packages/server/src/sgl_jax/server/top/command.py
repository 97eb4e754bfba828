"""The command itself: `sgl-jax top [URL]`."""

from __future__ import annotations

import argparse
import os
import sys
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Sequence
from typing import NoReturn, TextIO

from rich.console import Console, RenderableType
from rich.live import Live

from sgl_jax.engine.errors import ConfigError
from sgl_jax.server.top.sample import Sample, parse
from sgl_jax.server.top.screen import draw, unreachable
from sgl_jax.server.top.window import Window

HISTORY = 60
SECONDS = 5.0
"""How long the server may take to answer."""


class UnreachableError(Exception):
    """The server does not answer, or not with metrics."""


class Watch:
    """Asks a server again and again, and draws what happened meanwhile.

    Args:
        url: base URL of the server.
        key: its API key, for servers behind a proxy that wants one; the server itself does not.
    """

    def __init__(self, url: str, key: str | None = None) -> None:
        self._url = url.rstrip("/")
        self._key = key
        self._last: Sample | None = None
        self._speeds: deque[float] = deque(maxlen=HISTORY)

    def look(self) -> RenderableType:
        """The picture now. Raises `UnreachableError`."""
        sample = self._ask()
        window = Window(self._last or sample, sample)
        self._last = sample
        speed = window.rate("sglang:generation_tokens_total")
        if speed is not None:
            self._speeds.append(speed)
        return draw(self._url, window, self._speeds)

    def _ask(self) -> Sample:
        request = urllib.request.Request(f"{self._url}/metrics")
        if self._key is not None:
            request.add_header("Authorization", f"Bearer {self._key}")
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                return parse(answer.read().decode(), time.monotonic())
        except urllib.error.HTTPError as error:
            hint = "; the server was started with --no-enable-metrics" if error.code == 404 else ""
            raise UnreachableError(f"GET {self._url}/metrics answered {error.code}{hint}.") from error
        except (OSError, ValueError) as error:
            raise UnreachableError(f"{self._url} does not answer: {getattr(error, 'reason', error)}.") from error


def top(arguments: Sequence[str], output: TextIO | None = None) -> int:
    """Runs the command until Ctrl-C, or once; returns its exit code.

    Raises:
        ConfigError: for an unknown flag, or one with a value that cannot work.
    """
    given = _parse(arguments)
    console = Console(file=output or sys.stdout)
    watch = Watch(given.url, given.api_key)
    if given.once:
        try:
            watch.look()
            time.sleep(given.interval)  # rates need two looks
            console.print(watch.look())
        except UnreachableError as error:
            console.print(unreachable(given.url, str(error)))
            return 1
        return 0
    if console.is_terminal:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            _repeat(watch, given, lambda picture: live.update(picture, refresh=True))
    else:  # a pipe: one picture after the other
        _repeat(watch, given, console.print)
    return 0


def _repeat(watch: Watch, given: argparse.Namespace, show: Callable[[RenderableType], None]) -> None:
    while True:
        try:
            show(watch.look())
        except UnreachableError as error:
            show(unreachable(given.url, str(error)))
        time.sleep(given.interval)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(message[:1].upper() + message[1:] + ".")


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = _Parser(
        prog="sgl-jax top", description="Watches a running server through its /metrics.", allow_abbrev=False
    )
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:30000", help="base URL (default: %(default)s)")
    parser.add_argument("--interval", type=float, default=1.0, metavar="SECONDS", help="pause (default: %(default)s)")
    parser.add_argument("--once", action="store_true", help="print one picture and end")
    key = os.environ.get("SGL_JAX_API_KEY") or None
    parser.add_argument("--api-key", default=key, metavar="KEY", help="for a proxy (default: $SGL_JAX_API_KEY)")
    given = parser.parse_args(list(arguments))
    if not given.url.startswith(("http://", "https://")):
        given.url = f"http://{given.url}"
    if given.interval <= 0:
        raise ConfigError(f"--interval must be above 0, got {given.interval}.")
    return given
