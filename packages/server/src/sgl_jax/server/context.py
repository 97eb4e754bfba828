"""What every route needs, handed over explicitly: there is no global state in the web process."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sgl_jax.engine.messages import EngineClient, EngineInfo, Phase
from sgl_jax.engine.text.chat_template import ChatTemplate
from sgl_jax.engine.text.tokenizer import Tokenizer
from sgl_jax.server.errors import ApiError, bad_request, unavailable
from sgl_jax.server.limits import Limits
from sgl_jax.server.live import LiveRequests
from sgl_jax.server.metrics.counters import Counters
from sgl_jax.server.parsing.chat_format import ChatFormat
from sgl_jax.server.unknown_fields import UnknownFields

if TYPE_CHECKING:
    from sgl_jax.server.traces import Traces  # OpenTelemetry, which need not be installed


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerContext:
    """One server's parts.

    Attributes:
        engine: where requests go.
        tokenizer: text <-> ids.
        chat_template: messages -> text; None when the model has none.
        served_model_name: the model's name in the API.
        chat_format: how its answers say more than text, and its template hears of it.
        phase: how far the engine has come; asked on every request, so it must be cheap.
        restarts: how many engines have replaced a dead one.
        limits: what one client may cost.
        incremental_stream: whether `/generate` streams deltas unless a request says otherwise.
        stream_interval: how many tokens a streamed piece waits for, but for the first.
        created: Unix time of start-up, the model's `created` in `/v1/models`.
        live: requests in flight by public id.
        unknown_fields: request fields that were already warned about.
        counters: what the web process counts, for `/metrics`.
        traces: where the times of each sequence go, too; None when nobody wants them.
    """

    engine: EngineClient
    tokenizer: Tokenizer
    served_model_name: str
    phase: Callable[[], Phase]
    chat_template: ChatTemplate | None = None
    chat_format: ChatFormat = field(default_factory=ChatFormat)
    restarts: Callable[[], int] = lambda: 0
    limits: Limits = field(default_factory=Limits)
    incremental_stream: bool = False
    stream_interval: int = 1
    created: int = field(default_factory=lambda: int(time.time()))
    live: LiveRequests = field(default_factory=LiveRequests)
    unknown_fields: UnknownFields = field(default_factory=UnknownFields)
    counters: Counters = field(default_factory=Counters)
    traces: Traces | None = None

    def ready_info(self) -> EngineInfo:
        """Facts of the ready engine.

        Raises:
            ApiError: 503 while the engine starts.
            EngineDeadError: it died; the message says why.
        """
        phase = self.phase()
        if phase.name not in ("ready", "dead"):
            raise unavailable(f"The model is not ready yet ({phase}); try again soon, or watch GET /health.")
        return self.engine.info()

    @property
    def max_sequences(self) -> int:
        """Sequences of one HTTP request, at most: of more, some would be refused however idle the engine is.

        Raises:
            EngineDeadError: as `ready_info`.
        """
        return min(self.limits.max_sequences, self.engine.info().max_running_requests + self.limits.queued_sequences)

    def generating_info(self) -> EngineInfo:
        """The same, for routes that generate.

        Raises:
            ApiError: 400 when the engine makes embeddings only; or as `ready_info`.
            EngineDeadError: as `ready_info`.
        """
        info = self.ready_info()
        if info.is_embedding:
            raise bad_request(
                f"{self.served_model_name!r} is served with --is-embedding and generates no text; use /v1/embeddings "
                "or /v1/rerank, or start the server without that flag.",
                "model",
            )
        return info

    def check_model(self, name: str | None) -> None:
        """Accepts the served name, `default`, or none at all.

        Raises:
            ApiError: 404 for any other model.
        """
        if name not in (None, "", "default", self.served_model_name):
            message = f"The model {name!r} does not exist; this server serves {self.served_model_name!r}."
            raise ApiError(404, message, param="model", code="model_not_found")
