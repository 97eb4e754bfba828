"""`client.health`: is the server up, and does it take requests?"""

from __future__ import annotations

import json
from typing import Generic, TypeVar, Unpack

from sgl_jax.client._endpoint import Endpoint, Run
from sgl_jax.client._requests import Reply
from sgl_jax.client.types.params import RequestOptions
from sgl_jax.client.types.server import Health

HealthT = TypeVar("HealthT")


def _health(reply: Reply) -> Health:
    """Servers answer with an object, with text or with nothing; the status counts."""
    try:
        body = json.loads(reply.body)
    except ValueError:
        body = None
    fields = body if isinstance(body, dict) else {}
    error = fields.get("error")
    if isinstance(error, dict):  # the common shape of a 503
        fields = {"status": error.get("message"), **fields}
    return Health.model_validate({**fields, "ok": reply.ok})


# 503 is an answer here: not now
HEALTH = Endpoint("GET", "/health", parse=_health, accept=frozenset({503}))
READY = Endpoint("GET", "/readyz", parse=_health, accept=frozenset({503}))


class HealthChecks(Generic[HealthT]):
    """`client.health()` and `client.health.ready()`."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def __call__(self, **options: Unpack[RequestOptions]) -> HealthT:
        """Whether the process is up, and its phase of starting."""
        health: HealthT = self._run(HEALTH.call(params=options))
        return health

    def ready(self, **options: Unpack[RequestOptions]) -> HealthT:
        """Whether the server is warm and takes requests: `.ok`. Raises `NotFoundError` on servers without `/readyz`."""
        health: HealthT = self._run(READY.call(params=options))
        return health
