from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing

import pytest

from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.errors import ConfigError, EngineDeadError, InvalidRequestError, ModelLoadError
from sgl_jax.engine.messages import GenerateRequest, Phase, TokenDelta
from sgl_jax.engine.sampling_params import SamplingParams
from sgl_jax.server.ipc.client import ZmqEngineClient
from sgl_jax.server.ipc.wire import Event
from sgl_jax.server.logs import LogConfig

Starter = Callable[..., AbstractAsyncContextManager[ZmqEngineClient]]
Runner = Callable[[Awaitable[None]], None]


def request(name: str, first: int = 100, count: int | None = 5) -> GenerateRequest:
    return GenerateRequest(request_id=name, prompt_ids=[first], sampling=SamplingParams(max_new_tokens=count))


async def collect(client: ZmqEngineClient, name: str) -> list[TokenDelta]:
    return [delta async for delta in client.outputs(name)]


async def generate(client: ZmqEngineClient, asked: GenerateRequest) -> list[int]:
    await client.submit(asked)
    return [token for delta in await collect(client, asked.request_id) for token in delta.token_ids]


async def until_idle(client: ZmqEngineClient) -> None:
    while True:
        reply = await client.control("stats")
        assert reply.stats is not None
        if reply.stats.running == 0:
            return


def test_phases_are_heard_in_order_and_ready_means_usable(started: Starter, run: Runner) -> None:
    async def scenario() -> None:
        phases: list[Phase] = []
        async with started(ready=False, on_phase=phases.append) as client:
            assert client.phase() == Phase("starting")
            with pytest.raises(EngineDeadError, match=r"not ready yet \(starting\)"):
                await client.submit(request("early"))
            info = await client.wait_ready()
            assert info.device == "stub"
            assert client.info() == info
            assert client.phase() == Phase("ready")
            assert phases == [Phase("loading"), Phase("compiling", 1, 2), Phase("ready")]

    run(scenario())


def test_many_requests_each_get_their_own_tokens(started: Starter, run: Runner) -> None:
    async def scenario() -> None:
        async with started() as client:
            asked = [request(f"r{index}", first=index, count=index % 7 + 1) for index in range(50)]
            answers = await asyncio.gather(*(generate(client, one) for one in asked))
            for index, tokens in enumerate(answers):
                assert tokens == list(range(index, index + index % 7 + 1))

    run(scenario())


def test_a_reader_that_comes_late_misses_nothing(started: Starter, run: Runner) -> None:
    async def scenario() -> None:
        async with started() as client:
            await client.submit(request("late", count=20))
            await until_idle(client)
            deltas = await collect(client, "late")
            assert [token for delta in deltas for token in delta.token_ids] == list(range(100, 120))
            assert deltas[-1].finish is not None

    run(scenario())


def test_leaving_the_iteration_aborts(started: Starter, run: Runner) -> None:
    async def scenario() -> None:
        async with started() as client:
            await client.submit(request("endless", count=None))
            async with aclosing(client.outputs("endless")) as outputs:
                async for _ in outputs:
                    break
            await until_idle(client)
            assert await generate(client, request("other", count=2)) == [100, 101]

    run(scenario())


def test_abort_ends_whoever_waits(started: Starter, run: Runner) -> None:
    async def scenario() -> None:
        async with started() as client:
            await client.submit(request("endless", count=None))
            reading = asyncio.create_task(collect(client, "endless"))
            await client.control("ping")
            await client.abort(["endless", "unknown"])
            finish = (await reading)[-1].finish
            assert finish is not None
            assert finish.reason == "abort"
            await until_idle(client)
            await client.abort(["endless"])

    run(scenario())


def test_abort_before_the_first_iteration_is_heard(started: Starter, run: Runner) -> None:
    async def scenario() -> None:
        async with started() as client:
            await client.submit(request("endless", count=None))
            outputs = client.outputs("endless")
            await client.abort(["endless"])
            finishes = [delta.finish async for delta in outputs]
            assert [finish and finish.reason for finish in finishes] == ["abort"]
            await until_idle(client)

    run(scenario())


def test_outputs_of_an_unknown_id_are_refused_at_once(started: Starter, run: Runner) -> None:
    async def scenario() -> None:
        async with started() as client:
            with pytest.raises(InvalidRequestError, match="submit it first"):
                client.outputs("never")
            await generate(client, request("over", count=1))
            with pytest.raises(InvalidRequestError, match="submit it first"):
                client.outputs("over")

    run(scenario())


def test_an_id_in_use_is_refused(started: Starter, run: Runner) -> None:
    async def scenario() -> None:
        async with started() as client:
            await client.submit(request("same", count=None))
            with pytest.raises(InvalidRequestError, match="in use"):
                await client.submit(request("same"))
            await client.abort(["same"])
            assert await generate(client, request("other", count=1)) == [100]

    run(scenario())


def test_a_request_that_the_core_cannot_take_ends_alone(started: Starter, run: Runner) -> None:
    async def scenario() -> None:
        async with started() as client:
            await client.submit(request("unlucky", first=666))
            other = asyncio.create_task(generate(client, request("lucky", first=14, count=3)))
            finish = (await collect(client, "unlucky"))[-1].finish
            assert finish is not None
            assert (finish.reason, finish.code) == ("error", "internal")
            assert await other == [14, 15, 16]

    run(scenario())


def test_control_is_answered_while_busy_and_while_idle(started: Starter, run: Runner) -> None:
    async def scenario() -> None:
        async with started() as client:
            assert (await client.control("ping")).error is None
            await client.submit(request("endless", count=None))
            reply = await client.control("stats")
            assert reply.stats is not None
            assert reply.stats.running == 1
            assert (await client.control("flush_cache")).error is None

    run(scenario())


def test_an_engine_that_is_faster_than_its_readers_starves_nobody(
    started: Starter, run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with started() as client:
            handled = 0
            handle = client._handle

            def slow_handle(event: Event) -> None:
                nonlocal handled
                handled += 1
                time.sleep(0.001)
                handle(event)

            monkeypatch.setattr(client, "_handle", slow_handle)
            await client.submit(request("endless", count=3000))
            time.sleep(0.5)  # frames pile up
            await asyncio.sleep(0.01)
            assert handled < 1000
            await client.abort(["endless"])

    run(scenario())


@pytest.mark.parametrize(
    ("mode", "kind", "says"),
    [
        ("config-error", ConfigError, r"^--max-seq-len is too large for this model\.$"),
        ("load-error", ModelLoadError, r"^config\.json is missing\.$"),
        ("bug", EngineDeadError, "ZeroDivisionError: oops"),
    ],
)
def test_a_failed_start_says_why(
    started: Starter, run: Runner, capfd: pytest.CaptureFixture[str], mode: str, kind: type[Exception], says: str
) -> None:
    async def scenario() -> None:
        async with started(mode, ready=False) as client:
            with pytest.raises(kind, match=says):
                await client.wait_ready()
            assert not client.was_ready
            assert client.phase() == Phase("dead")

    run(scenario())
    assert ("Traceback" in capfd.readouterr().err) == (mode == "bug")


def test_debug_shows_the_traceback_of_a_known_error_too(
    started: Starter, run: Runner, capfd: pytest.CaptureFixture[str]
) -> None:
    async def scenario() -> None:
        async with started("load-error", ready=False, log=LogConfig(level="debug")) as client:
            await client.wait_dead()

    run(scenario())
    assert "Traceback" in capfd.readouterr().err


async def _all_fail(client: ZmqEngineClient, cause: Callable[[], None], says: str) -> None:
    readers = []
    for index in range(5):
        await client.submit(request(f"r{index}", count=None))
        readers.append(asyncio.create_task(collect(client, f"r{index}")))
    cause()
    for result in await asyncio.gather(*readers, return_exceptions=True):
        assert isinstance(result, EngineDeadError)
        assert says in str(result)
    assert client.phase() == Phase("dead")
    for attempt in (client.submit(request("later")), client.control("ping")):
        with pytest.raises(EngineDeadError, match=says):
            await attempt
    with pytest.raises(EngineDeadError, match=says):
        client.info()


def test_a_killed_worker_fails_everybody(started: Starter, run: Runner) -> None:
    async def scenario() -> None:
        async with started() as client:
            pid = client.worker_pid
            assert pid is not None
            await _all_fail(client, lambda: os.kill(pid, signal.SIGKILL), "killed by SIGKILL")

    run(scenario())


def test_a_submit_before_the_death_is_noticed_fails_too(started: Starter, run: Runner) -> None:
    async def scenario() -> None:
        async with started() as client:
            assert client.worker_pid is not None
            os.kill(client.worker_pid, signal.SIGKILL)
            # Blocks the event loop on purpose: ZMQ's own thread sees the end, our task does not.
            time.sleep(0.3)
            with pytest.raises(EngineDeadError, match="killed by SIGKILL"):
                await generate(client, request("late"))

    run(scenario())


def test_a_crash_in_a_step_fails_everybody_with_the_reason(started: Starter, run: Runner) -> None:
    async def scenario() -> None:
        async with started("crash") as client:
            await _all_fail(client, lambda: None, "RuntimeError: the device is gone")

    run(scenario())


def test_a_worker_that_ends_by_itself_is_reported(run: Runner) -> None:
    async def scenario() -> None:
        client = await ZmqEngineClient.start(EngineConfig(model_path="m"), command=("/bin/sh", "-c", "exit 5"))
        try:
            with pytest.raises(EngineDeadError, match="exit code 5"):
                await client.wait_ready()
        finally:
            await client.close()

    run(scenario())


def test_closing_fails_what_runs_and_is_idempotent(started: Starter, run: Runner) -> None:
    async def scenario() -> None:
        async with started() as client:
            await client.submit(request("endless", count=None))
            reading = asyncio.create_task(collect(client, "endless"))
            await asyncio.gather(client.close(), client.close())
            with pytest.raises(EngineDeadError, match="shutting down"):
                await reading
            await client.abort(["endless"])

    run(scenario())


@pytest.mark.parametrize("mode", ["ok", "stuck", "slow-build"])
def test_closing_leaves_neither_process_nor_folder(started: Starter, run: Runner, mode: str) -> None:
    async def scenario() -> None:
        async with started(mode, ready=mode != "slow-build") as client:
            folder, pid = client.folder, client.worker_pid
            assert pid is not None
            assert folder.stat().st_mode & 0o777 == 0o700
            if mode == "stuck":
                await client.submit(request("any"))
            os.kill(pid, 0)
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        assert not folder.exists()

    run(scenario())


def test_it_works_on_uvloop_too(started: Starter) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def scenario() -> None:
        async with started() as client:
            assert await generate(client, request("a", count=3)) == [100, 101, 102]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())
