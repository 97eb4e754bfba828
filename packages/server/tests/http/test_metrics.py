"""`GET /metrics`, read as Prometheus reads it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from sgl_jax.engine.messages import Phase
from sgl_jax.server.app import AppOptions
from sgl_jax.server.metrics.catalog import CATALOG

pytestmark = pytest.mark.anyio

PROMPT = {"prompt": "Hi", "max_tokens": 4}


def by_name(families: Iterable[Family]) -> dict[str, Family]:
    return {family.name: family for family in families}


async def scrape(http: httpx.AsyncClient) -> dict[str, Family]:
    answer = await http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return by_name(parse_text(answer.text))


def value(families: dict[str, Family], sample: str, **labels: str) -> float:
    """The only sample of that name with these labels."""
    found = [
        one.value
        for family in families.values()
        for one in family.samples
        if one.name == sample and labels.items() <= one.labels.items()
    ]
    assert len(found) == 1, (sample, found)
    return float(found[0])


async def test_everything_in_the_catalogue_is_there(http: httpx.AsyncClient) -> None:
    await http.post("/v1/completions", json=PROMPT)
    families = await scrape(http)
    for metric in CATALOG:
        family = families[metric.name]
        assert (family.type, family.documentation) == (metric.kind, metric.help)
        for sample in family.samples:
            assert sample.labels["model_name"] == "org/tiny"
            assert set(sample.labels) - {"le"} == {"model_name", *metric.labels}
    assert "process_cpu_seconds" in families


async def test_openmetrics_is_spoken_too(http: httpx.AsyncClient) -> None:
    await http.post("/v1/completions", json=PROMPT)
    answer = await http.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert {metric.name for metric in CATALOG} <= set(by_name(parse_openmetrics(answer.text)))


async def test_sequences_and_their_tokens_are_counted(http: httpx.AsyncClient) -> None:
    await http.post("/v1/completions", json={**PROMPT, "n": 2})
    await http.post("/v1/completions", json={"prompt": "Hi", "max_tokens": 100, "stream": True})
    families = await scrape(http)
    assert value(families, "sglang:num_requests_total") == 3
    assert value(families, "sgl_jax_sequences_total", outcome="length") == 2
    assert value(families, "sgl_jax_sequences_total", outcome="stop") == 1
    assert value(families, "sglang:num_aborted_requests_total") == 0
    assert value(families, "sglang:token_usage") == 0.25
    assert value(families, "sglang:num_used_tokens") == 0.25 * value(families, "sglang:max_total_num_tokens")
    generated = value(families, "sglang:generation_tokens_total")
    for name in ("time_to_first_token", "e2e_request_latency", "queue_time"):
        assert value(families, f"sglang:{name}_seconds_count") == 3
    assert value(families, "sglang:inter_token_latency_seconds_count") == generated - 3
    assert value(families, "sglang:inter_token_latency_seconds_bucket", le="+Inf") == generated - 3


async def test_answers_are_counted_by_route_and_status(http: httpx.AsyncClient) -> None:
    await http.post("/v1/completions", json=PROMPT)
    await http.post("/v1/completions", json={"prompt": ""})
    await http.get("/v1/models/org/tiny")
    await http.request("BREW", "/no/such/route")
    families = await scrape(http)
    for method, route, status in (
        ("POST", "/v1/completions", "200"),
        ("POST", "/v1/completions", "400"),
        ("GET", "/v1/models/{model_id:path}", "200"),
        ("other", "none", "404"),
    ):
        assert value(families, "sgl_jax_http_responses_total", method=method, route=route, status=status) == 1


async def test_failures_and_leavers_are_counted(
    http: httpx.AsyncClient, engine: Any, make_app: Callable[..., FastAPI]
) -> None:
    engine.script = lambda request: [*engine.say(request)[:1], RuntimeError("oops")]
    await http.post("/v1/completions", json=PROMPT)
    engine.script = lambda request: [asyncio.Event()]
    asking = asyncio.create_task(http.post("/v1/completions", json=PROMPT))
    while len(engine.submitted) < 2:
        await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    families = await scrape(http)
    assert value(families, "sgl_jax_sequences_total", outcome="error") == 1
    assert value(families, "sgl_jax_sequences_total", outcome="disconnect") == 1
    assert value(families, "sglang:num_aborted_requests_total") == 1


async def test_probes_of_the_server_itself_do_not_count(http: httpx.AsyncClient) -> None:
    assert (await http.get("/health_generate")).status_code == 200
    assert value(await scrape(http), "sglang:num_requests_total") == 0


async def test_without_an_engine_the_rest_is_still_told(
    http: httpx.AsyncClient, engine: Any, phase: list[Phase]
) -> None:
    assert value(await scrape(http), "sgl_jax_ready") == 1
    engine.dead, phase[0] = True, Phase("dead")
    families = await scrape(http)
    assert value(families, "sgl_jax_ready") == 0
    assert "sglang:num_running_reqs" not in families
    assert value(families, "sglang:num_requests_total") == 0


async def test_a_busy_engine_is_not_waited_for(
    http: httpx.AsyncClient, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sgl_jax.server.metrics.route.ENGINE_SECONDS", 0.01)
    await http.post("/v1/completions", json=PROMPT)
    before = await scrape(http)

    async def never(verb: str) -> Any:
        await asyncio.Event().wait()

    engine.control = never
    after = await scrape(http)
    assert value(before, "sglang:generation_tokens_total") == value(after, "sglang:generation_tokens_total") == 4


async def test_it_can_be_switched_off(
    make_app: Callable[..., FastAPI], connect: Callable[[FastAPI], httpx.AsyncClient]
) -> None:
    async with connect(make_app(options=AppOptions(metrics=False))) as client:
        assert (await client.get("/metrics")).status_code == 404
