from __future__ import annotations

import asyncio
import json
from typing import cast

import pytest

from sgl_jax.bench.server_side.scraper import Scraper
from sgl_jax.bench.target.target import Target
from sgl_jax.bench.wire.connection import Reply
from sgl_jax.bench.wire.errors import BrokenAnswerError


class _Server:
    """Stands in for the target's GET: `/get_server_info` with a rising counter, and whatever `/metrics` is to do."""

    def __init__(self, metrics: Reply | Exception) -> None:
        self.asked: list[str] = []
        self._metrics = metrics

    async def get(self, path: str, timeout: float) -> Reply:
        self.asked.append(path)
        if path == "/get_server_info":
            return Reply(200, {}, json.dumps({"version": "1", "stats": {"running": len(self.asked)}}).encode())
        if isinstance(self._metrics, Exception):
            raise self._metrics
        return self._metrics


def _scrape(server: _Server, interval: float) -> Scraper:
    async def main() -> Scraper:
        async with Scraper(cast("Target", server), interval) as scraper:
            await asyncio.sleep(0.05)
        return scraper

    return asyncio.run(main())


def test_a_run_is_sampled_at_its_begin_meanwhile_and_at_its_end() -> None:
    scraper = _scrape(_Server(Reply(200, {}, b"x_num_queue_reqs 3\n")), 0.01)
    samples = scraper.series().samples
    assert len(samples) >= 3
    assert [sample.time for sample in samples] == sorted(sample.time for sample in samples)
    assert {sample.waiting for sample in samples} == {3.0}
    assert scraper.info is not None
    assert scraper.info["version"] == "1"


def test_a_route_that_is_not_there_is_asked_for_once() -> None:
    server = _Server(Reply(404, {}, b""))
    assert len(_scrape(server, 0.01).series().samples) >= 3
    assert server.asked.count("/metrics") == 1


@pytest.mark.parametrize("error", [BrokenAnswerError("gone"), TimeoutError()])
def test_a_server_that_does_not_answer_is_asked_again(error: Exception) -> None:
    server = _Server(error)
    assert len(_scrape(server, 0.01).series().samples) >= 3
    assert server.asked.count("/metrics") >= 3


def test_without_an_interval_only_the_description_is_read() -> None:
    server = _Server(Reply(404, {}, b""))
    scraper = _scrape(server, 0.0)
    assert scraper.info is not None
    assert scraper.series().samples == ()
    assert len(server.asked) == 2
