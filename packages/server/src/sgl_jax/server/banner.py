"""What the server says once it is ready: where it is, and how to talk to it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TextIO

from rich.console import Console
from rich.text import Text

_ANY_ADDRESS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}


def base_url(host: str, port: int, *, secure: bool = False) -> str:
    """URL under which this machine reaches a server that listens on `host`."""
    shown = _ANY_ADDRESS.get(host, f"[{host}]" if ":" in host else host)
    return f"http{'s' if secure else ''}://{shown}:{port}"


def curl_line(url: str, model: str) -> str:
    """One line for a POSIX shell that asks the model to say hello."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hello!"}]}, ensure_ascii=False)
    quoted = body.replace("'", "'\\''")
    return f"curl {url}/v1/chat/completions -H 'Content-Type: application/json' -d '{quoted}'"


def client_lines(url: str) -> tuple[str, ...]:
    """The same with the Python client."""
    return (
        "from sgl_jax.client import SglJax",
        f'client = SglJax("{url}")',
        'print(client.chat("Hello!").text)',
    )


def show_banner(url: str, model: str, facts: Mapping[str, str], stream: TextIO | None = None) -> None:
    """Prints the banner. Lines are never wrapped: they are there to be copied.

    Args:
        url: base URL of the server.
        model: the model's name in the API.
        facts: start-up facts of the engine, in display order.
        stream: where to, stderr by default, like the log.
    """
    console = Console(file=stream or sys.stderr, soft_wrap=True, highlight=False)
    console.print()
    console.print(Text.assemble(("SGL-JAX is ready", "bold green"), "  ", (url, "bold cyan"), f"  model {model}"))
    if facts:
        width = max(map(len, facts))
        for name, value in facts.items():
            console.print(Text(f"  {name:<{width}}  {value}", style="dim"))
    for title, lines in (("shell", (curl_line(url, model),)), ("Python", client_lines(url))):
        console.print(Text(f"\n  from {title}:", style="dim"))
        for line in lines:
            # Not indented: Python would refuse the copy.
            console.print(Text(line))
    console.print(Text(f"\n  API reference: {url}/docs\n", style="dim"))
