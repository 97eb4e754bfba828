from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.errors import ConfigError, EngineDeadError, ModelLoadError
from sgl_jax.engine.messages import GenerateRequest, Phase
from sgl_jax.engine.sampling_params import SamplingParams
from sgl_jax.server.ipc import supervisor
from sgl_jax.server.ipc.client import ZmqEngineClient
from sgl_jax.server.ipc.supervisor import LONGEST_PAUSE_SECONDS, EngineSupervisor, pause_before

STUB = (sys.executable, str(Path(__file__).with_name("stub_worker.py")))
Runner = Callable[[Awaitable[None]], None]


class Workers:
    """Starts a stub worker of each mode in turn, then of the last one again and again; remembers them all."""

    def __init__(self, *modes: str) -> None:
        self._modes = modes
        self.started: list[ZmqEngineClient] = []

    async def start(self, on_phase: Callable[[Phase], None]) -> ZmqEngineClient:
        mode = self._modes[min(len(self.started), len(self._modes) - 1)]
        if mode == "no-process":
            raise OSError("Resource temporarily unavailable")
        config = EngineConfig(model_path=mode, device="cpu")
        self.started.append(await ZmqEngineClient.start(config, command=STUB, on_phase=on_phase))
        return self.started[-1]

    def leftovers(self) -> list[object]:
        """Processes and folders that are still there."""
        pids = [worker.worker_pid for worker in self.started]
        return [
            *(pid for pid in pids if pid is not None and Path(f"/proc/{pid}").exists()),
            *(worker.folder for worker in self.started if worker.folder.exists()),
        ]


@asynccontextmanager
async def supervised(workers: Workers, *, max_restarts: int = 3) -> AsyncIterator[EngineSupervisor]:
    engine = await EngineSupervisor.start(workers.start, max_restarts=max_restarts)
    try:
        yield engine
    finally:
        await engine.close()
        assert workers.leftovers() == []


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "pause_before", lambda start: 0.0)


async def generate(engine: EngineSupervisor, name: str, count: int | None = 3) -> list[int]:
    sampling = SamplingParams(max_new_tokens=count)
    await engine.submit(GenerateRequest(request_id=name, prompt_ids=[100], sampling=sampling))
    return [token async for delta in engine.outputs(name) for token in delta.token_ids]


async def until_ready(engine: EngineSupervisor) -> None:
    while engine.phase().name != "ready":
        await asyncio.sleep(0.01)


def kill(engine: EngineSupervisor) -> None:
    assert engine.worker_pid is not None
    os.kill(engine.worker_pid, signal.SIGKILL)


def test_another_worker_takes_the_place_of_a_dead_one(run: Runner) -> None:
    async def scenario() -> None:
        workers = Workers("ok")
        async with supervised(workers) as engine:
            info = await engine.wait_ready()
            endless = asyncio.create_task(generate(engine, "endless", None))
            assert await generate(engine, "before") == [100, 101, 102]
            kill(engine)
            with pytest.raises(EngineDeadError, match="killed by SIGKILL"):
                await endless
            assert engine.phase().name != "dead"
            with pytest.raises(EngineDeadError):
                await generate(engine, "too early")
            await until_ready(engine)
            assert engine.info() == info
            assert await generate(engine, "endless") == [100, 101, 102]
            assert (engine.restarts, engine.failure) == (1, None)
            first, second = workers.started
            assert first.folder != second.folder
            assert not first.folder.exists()

    run(scenario())


def test_a_pause_outlives_the_worker(run: Runner) -> None:
    async def scenario() -> None:
        async with supervised(Workers("ok")) as engine:
            await engine.wait_ready()
            assert await generate(engine, "before") == [100, 101, 102]
            await engine.control("pause")
            kill(engine)
            while not engine.restarts:
                await asyncio.sleep(0.01)
            await until_ready(engine)
            waiting = asyncio.create_task(generate(engine, "paused"))
            stats = (await engine.control("stats")).stats
            while stats is not None and not stats.running:  # until it is there
                stats = (await engine.control("stats")).stats
            assert stats is not None
            assert stats.steps_total == 0
            await engine.control("continue")
            assert await waiting == [100, 101, 102]

    run(scenario())


def test_workers_that_answer_are_replaced_without_end(run: Runner, no_pauses: None) -> None:
    async def scenario() -> None:
        workers = Workers("ok")
        async with supervised(workers, max_restarts=1) as engine:
            for number in range(4):
                await until_ready(engine)
                assert await generate(engine, f"r{number}") == [100, 101, 102]
                kill(engine)
                while engine.restarts == number:
                    await asyncio.sleep(0.01)

    run(scenario())


def test_workers_that_never_answer_are_given_up(run: Runner, no_pauses: None) -> None:
    async def scenario() -> None:
        workers = Workers("ok", "load-error")
        async with supervised(workers, max_restarts=2) as engine:
            await engine.wait_ready()
            assert await generate(engine, "a") == [100, 101, 102]
            kill(engine)
            failure = await engine.wait_dead()
            assert isinstance(failure, ModelLoadError)
            assert (engine.failure, engine.phase(), engine.was_ready) == (failure, Phase("dead"), True)
            assert len(workers.started) == 3
            with pytest.raises(EngineDeadError, match=r"config\.json is missing"):
                await generate(engine, "b")

    run(scenario())


@pytest.mark.parametrize("mode", ["config-error", "bug"])
def test_what_cannot_start_once_is_not_tried_again(run: Runner, mode: str) -> None:
    async def scenario() -> None:
        workers = Workers(mode)
        async with supervised(workers) as engine:
            with pytest.raises((ConfigError, EngineDeadError)):
                await engine.wait_ready()
            await engine.wait_dead()
            assert (len(workers.started), engine.was_ready, engine.phase()) == (1, False, Phase("dead"))

    run(scenario())


def test_a_system_without_processes_to_give_ends_it(run: Runner) -> None:
    async def scenario() -> None:
        async with supervised(Workers("ok", "no-process")) as engine:
            await engine.wait_ready()
            kill(engine)
            assert "could not be started again: Resource temporarily" in str(await engine.wait_dead())

    run(scenario())


def test_without_restarts_the_first_death_is_the_last(run: Runner) -> None:
    async def scenario() -> None:
        workers = Workers("ok")
        async with supervised(workers, max_restarts=0) as engine:
            await engine.wait_ready()
            kill(engine)
            assert "killed by SIGKILL" in str(await engine.wait_dead())
            assert len(workers.started) == 1

    run(scenario())


@pytest.mark.parametrize("moment", ["at once", "while it pauses", "while it starts"])
def test_it_ends_in_order_in_the_middle_of_a_restart(run: Runner, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    async def scenario() -> None:
        pause = 3600.0 if moment == "while it pauses" else 0.0
        monkeypatch.setattr(supervisor, "pause_before", lambda start: pause)
        workers = Workers("ok", "slow-build")
        async with supervised(workers) as engine:
            await engine.wait_ready()
            kill(engine)
            if moment != "at once":
                await workers.started[0].wait_dead()
                await asyncio.sleep(0.05)
            while moment == "while it starts" and engine.restarts == 0:
                await asyncio.sleep(0.001)
            await asyncio.gather(engine.close(), engine.close())
            assert engine.failure is not None

    run(scenario())


def test_killed_by_us_it_does_not_come_back(run: Runner) -> None:
    async def scenario() -> None:
        workers = Workers("ok")
        async with supervised(workers) as engine:
            await engine.wait_ready()
            engine.kill()
            await engine.wait_dead()
            assert len(workers.started) == 1

    run(scenario())


def test_pauses_grow_and_are_bounded() -> None:
    assert [pause_before(start) for start in range(1, 6)] == [0, 1, 2, 4, 8]
    assert pause_before(10_000) == LONGEST_PAUSE_SECONDS
