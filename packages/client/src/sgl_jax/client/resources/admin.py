"""`client.admin`: for those who run the server. Where it has an `--admin-api-key`, that is the client's `api_key`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar, Unpack

from sgl_jax.client._endpoint import Endpoint, ModelT, Run, json_as
from sgl_jax.client._requests import Reply
from sgl_jax.client.types.admin import Aborted, Done, ModelInfo, ServerInfo
from sgl_jax.client.types.metrics import Metrics
from sgl_jax.client.types.params import RequestOptions

MetricsT = TypeVar("MetricsT")
ServerInfoT = TypeVar("ServerInfoT")
ModelInfoT = TypeVar("ModelInfoT")
DoneT = TypeVar("DoneT")
AbortedT = TypeVar("AbortedT")


def _json_or_words(model: type[ModelT]) -> Callable[[Reply], ModelT]:
    """A `parse` for answers in place of which other servers send a few words, or nothing but their status."""
    return lambda reply: model.model_validate_json(reply.body if reply.body.startswith(b"{") else b"{}")


METRICS = Endpoint("GET", "/metrics", parse=lambda reply: Metrics.parse(reply.body.decode()))
SERVER_INFO = Endpoint("GET", "/get_server_info", parse=json_as(ServerInfo))
MODEL_INFO = Endpoint("GET", "/get_model_info", parse=json_as(ModelInfo))
FLUSH_CACHE = Endpoint("POST", "/flush_cache", parse=_json_or_words(Done), repeatable=True)
ABORT = Endpoint("POST", "/abort_request", parse=_json_or_words(Aborted), repeatable=True)


class Admin(Generic[MetricsT, ServerInfoT, ModelInfoT, DoneT, AbortedT]):
    """`client.admin.metrics()` and the like. Liveness and readiness are `client.health`."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def metrics(self, **options: Unpack[RequestOptions]) -> MetricsT:
        """The server's Prometheus metrics, parsed."""
        metrics: MetricsT = self._run(METRICS.call(params={"extra_headers": {"accept": "text/plain"}, **options}))
        return metrics

    def server_info(self, **options: Unpack[RequestOptions]) -> ServerInfoT:
        """Version, phase, settings and counters of the server."""
        info: ServerInfoT = self._run(SERVER_INFO.call(params=options))
        return info

    def model_info(self, **options: Unpack[RequestOptions]) -> ModelInfoT:
        """Facts about the served model."""
        info: ModelInfoT = self._run(MODEL_INFO.call(params=options))
        return info

    def flush_cache(self, **options: Unpack[RequestOptions]) -> DoneT:
        """Forgets all cached prefixes; running requests keep theirs."""
        done: DoneT = self._run(FLUSH_CACHE.call({}, options))
        return done

    def abort(self, rid: str, **options: Unpack[RequestOptions]) -> AbortedT:
        """Ends the requests that were sent with this `rid`, or whose answer has this `id`."""
        aborted: AbortedT = self._run(ABORT.call({"rid": rid}, options))
        return aborted

    def abort_all(self, **options: Unpack[RequestOptions]) -> AbortedT:
        """Ends all requests."""
        aborted: AbortedT = self._run(ABORT.call({"abort_all": True}, options))
        return aborted
