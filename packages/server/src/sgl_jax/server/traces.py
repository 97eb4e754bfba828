"""OpenTelemetry traces: what became of a request, and how long each part of it took.

FastAPI makes the span of the HTTP request, as a child of the caller's (`traceparent`). Below it, each sequence has
`queue`, `prefill` and `decode`. They are written when the sequence has ended, so that a token costs nothing.

Needs the extra `[otel]`; nothing imports this module unless traces are wanted.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence

from opentelemetry import context as current
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import StatusCode, Tracer
from opentelemetry.util.types import AttributeValue

from sgl_jax.engine.messages import GenerateRequest
from sgl_jax.server.metrics.counters import Timeline

MOST_SEQUENCES = 16
"""Of one request: a batch of a thousand prompts needs no three thousand spans."""
EXPORT_SECONDS = 5
LAST_EXPORT_SECONDS = 1.0
"""How long what is left may take to leave when the server ends."""


class Traces:
    """Makes the spans of sequences, and sends them off in batches from a thread of its own.

    Args:
        endpoint: URL that takes OTLP over HTTP, e.g. `http://localhost:4318/v1/traces`.
        model: the served model's name.
        processor: takes the finished spans instead; for tests.
    """

    def __init__(self, endpoint: str, model: str, processor: SpanProcessor | None = None) -> None:
        resource = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME") or "sgl-jax"})
        self.provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=endpoint, timeout=EXPORT_SECONDS)
        self.provider.add_span_processor(processor or BatchSpanProcessor(exporter))
        self._tracer = self.provider.get_tracer("sgl_jax.server")
        self._model = model

    def begin(self, requests: Sequence[GenerateRequest]) -> Callable[[int, Timeline], None]:
        """What to call at the end of each sequence, with its index. Belongs below the span that is current now."""
        parent = current.get_current()

        def end(index: int, timeline: Timeline) -> None:
            if index < MOST_SEQUENCES:
                _write(self._tracer, parent, timeline, self._attributes(requests[index], index))

        return end

    def close(self) -> None:
        """Sends what is left, for a bounded time."""
        closing = threading.Thread(target=self.provider.shutdown, name="traces-close", daemon=True)
        closing.start()
        closing.join(LAST_EXPORT_SECONDS)

    def _attributes(self, request: GenerateRequest, index: int) -> dict[str, AttributeValue]:
        return {
            "gen_ai.request.model": self._model,
            "gen_ai.usage.input_tokens": len(request.prompt_ids),
            "sgl_jax.request_id": request.request_id,
            "sgl_jax.sequence": index,
        }


def _write(tracer: Tracer, parent: current.Context, timeline: Timeline, attributes: dict[str, AttributeValue]) -> None:
    # Spans want the time of day.
    offset = time.time_ns() - int(time.perf_counter() * 1e9)
    first = timeline.ended if timeline.first_token is None else timeline.first_token
    admitted = timeline.started + timeline.queue_seconds
    parts = [("queue", timeline.started, admitted), ("prefill", admitted, first)]
    if timeline.first_token is not None:
        parts.append(("decode", first, timeline.ended))
    for name, begin, end in parts:
        span = tracer.start_span(name, parent, attributes=attributes, start_time=offset + int(begin * 1e9))
        if name == parts[-1][0]:
            span.set_attribute("gen_ai.usage.output_tokens", timeline.tokens)
            span.set_attribute("gen_ai.response.finish_reasons", [timeline.outcome])
            if timeline.outcome == "error":
                span.set_status(StatusCode.ERROR)
        span.end(offset + int(end * 1e9))
