"""OpenTelemetry: the spans of a request."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import httpx
import pytest

from sgl_jax.engine.messages import Phase
from sgl_jax.engine.text.chat_template import ChatTemplate
from sgl_jax.server.app import create_app
from sgl_jax.server.context import ServerContext
from sgl_jax.server.limits import Limits

pytest.importorskip("opentelemetry.sdk", reason="the extra [otel] is not installed")

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from sgl_jax.server.traces import MOST_SEQUENCES, Traces

pytestmark = pytest.mark.anyio

HTTP_SPAN = "POST /v1/completions"


class Traced:
    """A server whose spans stay here."""

    def __init__(self, engine: Any) -> None:
        self._exporter = InMemorySpanExporter()
        traces = Traces("http://127.0.0.1:1", "my-model", SimpleSpanProcessor(self._exporter))
        context = ServerContext(
            engine=engine,
            tokenizer=engine.tokenizer,
            chat_template=ChatTemplate.of(engine.tokenizer),
            served_model_name="my-model",
            phase=lambda: Phase("ready"),
            limits=Limits(),
            traces=traces,
        )
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app=create_app(context)), base_url="http://test")

    def spans(self) -> list[ReadableSpan]:
        """In the order of their beginnings."""
        return sorted(self._exporter.get_finished_spans(), key=lambda span: span.start_time or 0)


@pytest.fixture
def traced(engine: Any) -> Traced:
    return Traced(engine)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_is_queue_prefill_and_decode(traced: Traced, stream: bool) -> None:
    await traced.http.post("/v1/completions", json={"prompt": "Hi", "max_tokens": 4, "stream": stream})
    request, *parts = traced.spans()
    assert request.name == HTTP_SPAN
    assert request.attributes is not None
    assert request.attributes["http.response.status_code"] == 200
    assert [span.name for span in parts] == ["queue", "prefill", "decode"]
    for span in parts:
        assert span.parent is not None
        assert span.parent.span_id == request.context.span_id
        assert span.attributes is not None
        assert span.attributes["gen_ai.request.model"] == "my-model"
        assert span.attributes["gen_ai.usage.input_tokens"] == 2
    # One after the other, and within the request.
    times = [time for span in parts for time in (span.start_time, span.end_time)]
    assert times[1:-1:2] == times[2::2]
    assert times == sorted(times, key=lambda time: time or 0)
    last = parts[-1].attributes
    assert last is not None
    assert last["gen_ai.usage.output_tokens"] == 4
    assert last["gen_ai.response.finish_reasons"] == ("length",)


async def test_it_continues_the_callers_trace(traced: Traced) -> None:
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    headers = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}
    await traced.http.post("/v1/completions", json={"prompt": "Hi", "max_tokens": 1}, headers=headers)
    assert {format(span.context.trace_id, "032x") for span in traced.spans()} == {trace_id}


async def test_each_sequence_has_its_own_up_to_a_bound(traced: Traced) -> None:
    await traced.http.post("/v1/completions", json={"prompt": "Hi", "max_tokens": 2, "n": MOST_SEQUENCES + 4})
    sequences = [
        span.attributes["sgl_jax.sequence"] for span in traced.spans() if span.attributes and span.name == "queue"
    ]
    assert sorted(sequences) == list(range(MOST_SEQUENCES))


async def test_failures_are_marked(traced: Traced, engine: Any) -> None:
    engine.script = lambda request: [RuntimeError("oops")]
    await traced.http.post("/v1/completions", json={"prompt": "Hi"})
    spans = {span.name: span for span in traced.spans()}
    assert set(spans) == {HTTP_SPAN, "queue", "prefill"}
    assert not spans["prefill"].status.is_ok
    assert not spans[HTTP_SPAN].status.is_ok


async def test_probes_leave_no_traces(traced: Traced) -> None:
    for path in ("/health", "/readyz", "/metrics"):
        await traced.http.get(path)
    assert traced.spans() == []


def test_without_traces_nothing_of_it_is_loaded() -> None:
    script = (
        "import sys\n"
        "import sgl_jax.server.web\n"
        "import tools.openapi_snapshot as snapshot\n"
        "snapshot.current()\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
