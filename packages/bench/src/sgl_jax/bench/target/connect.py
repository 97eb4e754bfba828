"""Gets hold of a server before anything is measured: is it there, is it ready, which model does it serve?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from sgl_jax.bench.errors import UnusableServerError
from sgl_jax.bench.target.options import TargetOptions
from sgl_jax.bench.target.target import Target
from sgl_jax.bench.wire.address import ServerAddress
from sgl_jax.bench.wire.errors import WireError
from sgl_jax.bench.wire.json_body import json_body
from sgl_jax.bench.wire.pool import ConnectionPool

_PROBE_SECONDS = 10.0
_CONNECT_SECONDS = 30.0


def _ignore(line: str) -> None:
    """Say nothing."""


@asynccontextmanager
async def connect(options: TargetOptions, say: Callable[[str], object] = _ignore) -> AsyncIterator[Target]:
    """Find out which model is served, and yield the target.

    Args:
        options: where and how.
        say: told what a server that is not ready yet is doing.

    Raises:
        UnusableServerError: nobody answers, the key is refused, or no model can be named.
    """
    try:
        address = ServerAddress.parse(options.root)
    except ValueError as error:
        raise UnusableServerError(f"--url {options.url}: {error}") from error
    if options.wait_ready:
        await _wait_until_ready(options, say)
    async with ConnectionPool(address, min(_CONNECT_SECONDS, options.timeout)) as pool:
        model = await _served_model(Target(pool, options), options)
        yield Target(pool, replace(options, model=model))


async def _wait_until_ready(options: TargetOptions, say: Callable[[str], object]) -> None:
    # Imported here: the client brings httpx and pydantic, which take longer to import than a small run takes.
    from sgl_jax.client import AsyncSglJax, SglJaxClientError

    async with AsyncSglJax(options.root, api_key=options.api_key) as client:
        try:
            await client.wait_until_ready(
                options.wait_ready, on_progress=lambda phase: say(f"The server is {phase}...")
            )
        except SglJaxClientError as error:
            raise UnusableServerError(f"{options.root} is not ready: {error}") from error


async def _served_model(target: Target, options: TargetOptions) -> str:
    """Return the model to ask for. Asks the server even when the name is given: that is how an absent one shows."""
    try:
        reply = await target.get("/v1/models", _PROBE_SECONDS)
    except (WireError, TimeoutError) as error:
        reason = str(error) or f"no answer within {_PROBE_SECONDS:g} s"
        raise UnusableServerError(
            f"cannot reach a server at {options.root} ({reason}): start one there, or correct --url"
        ) from error
    if reply.status in (401, 403):
        raise UnusableServerError(f"{options.root} refuses the API key: pass the right one with --api-key")
    if options.model is not None:
        return options.model
    if not reply.ok:
        raise UnusableServerError(
            f"{options.root} does not list its models (HTTP {reply.status}): name one with --model"
        )
    match json_body(reply):
        case {"data": [{"id": str(name)}, *_]}:
            return name
        case {"data": []}:
            raise UnusableServerError(f"{options.root} serves no model: name one with --model")
        case _:
            raise UnusableServerError(
                f"{options.root} does not answer as an OpenAI-compatible server: correct --url, or name a --model"
            )
