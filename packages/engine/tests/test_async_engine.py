"""The asyncio facade on the device that only pretends: the same thread, scheduler and core, no jax."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from sgl_jax.engine.async_engine import AsyncEngine
from sgl_jax.engine.errors import (
    ContextLengthError,
    EngineDeadError,
    InvalidRequestError,
    ModelLoadError,
    QueueFullError,
)
from sgl_jax.engine.execution.fake import FakeExecutor, script
from sgl_jax.engine.messages import GenerateRequest, TokenDelta
from sgl_jax.engine.plan import StepPlan
from sgl_jax.engine.sampling_params import SamplingParams
from tools.tiny_model import make_tiny_model

PATIENCE = 60.0
"""Seconds after which a test is stuck; never what a test measures."""
ENDLESS = SamplingParams(max_new_tokens=30_000, ignore_eos=True)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model whose window is long enough for a request that does not end by itself."""
    return make_tiny_model(tmp_path_factory.mktemp("tiny"), seed=1, max_position_embeddings=40_000)


@pytest.fixture
def run() -> Callable[[Awaitable[None]], None]:
    def run_it(work: Awaitable[None]) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(PATIENCE):
                await work

        asyncio.run(bounded())

    return run_it


def request(name: str, prompt: list[int], count: int, seed: int = 0) -> GenerateRequest:
    sampling = SamplingParams(max_new_tokens=count, ignore_eos=True, seed=seed)
    return GenerateRequest(request_id=name, prompt_ids=prompt, sampling=sampling)


def endless(name: str) -> GenerateRequest:
    return GenerateRequest(request_id=name, prompt_ids=[5], sampling=ENDLESS)


async def collect(engine: AsyncEngine, name: str) -> list[TokenDelta]:
    return [delta async for delta in engine.outputs(name)]


async def until_idle(engine: AsyncEngine) -> None:
    """Waits until nothing runs, and every page is free again."""
    while True:
        stats = (await engine.control("stats")).stats
        assert stats is not None
        if stats.running == stats.waiting == 0:
            assert stats.pages_free == stats.pages_total
            return


@asynccontextmanager
async def reading(engine: AsyncEngine, *names: str) -> AsyncIterator[list[asyncio.Task[list[TokenDelta]]]]:
    """Readers of endless requests, all of which have begun."""
    tasks = []
    for name in names:
        await engine.submit(endless(name))
        tasks.append(asyncio.create_task(collect(engine, name)))
    while True:
        stats = (await engine.control("stats")).stats
        assert stats is not None
        if stats.running == len(names):
            break
    yield tasks
    await asyncio.gather(*tasks, return_exceptions=True)


def test_concurrent_requests_each_get_their_own_tokens(model, run):
    async def scenario():
        async with AsyncEngine(model, device="fake") as engine:

            async def tokens(index):
                await engine.submit(request(str(index), list(range(index + 1)), 20, seed=index))
                return [token for delta in await collect(engine, str(index)) for token in delta.token_ids]

            vocab_size = engine.info().vocab_size
            for index, found in enumerate(await asyncio.gather(*map(tokens, range(40)))):
                assert found == script(list(range(index + 1)), 20, vocab_size=vocab_size, seed=index)

    run(scenario())


def test_concurrent_streams_of_texts_and_conversations(model, run):
    async def scenario():
        async with AsyncEngine(model, device="fake") as engine:
            prompts = ["Once upon a time", [{"role": "user", "content": "Hello!"}]]

            async def whole(prompt, seed):
                chunks = [chunk async for chunk in engine.stream(prompt, SamplingParams(max_new_tokens=9, seed=seed))]
                assert [chunk.finish is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
                return "".join(chunk.text for chunk in chunks), [i for chunk in chunks for i in chunk.token_ids]

            asked = [(prompt, seed) for seed in range(5) for prompt in prompts]
            together = await asyncio.gather(*(whole(*one) for one in asked))
            assert together == [await whole(*one) for one in asked]
            assert len({text for text, _ in together}) == len(asked)

    run(scenario())


def test_a_stop_string_ends_the_stream_and_the_request(model, run):
    async def scenario():
        async with AsyncEngine(model, device="fake") as engine:
            sampling = SamplingParams(max_new_tokens=60, ignore_eos=True, seed=1)
            free = "".join([chunk.text async for chunk in engine.stream("a", sampling)])
            stop = free[10:13]
            sampling = SamplingParams(max_new_tokens=30_000, ignore_eos=True, seed=1, stop=(stop,))
            chunks = [chunk async for chunk in engine.stream("a", sampling)]
            assert "".join(chunk.text for chunk in chunks) == free[: free.index(stop)]
            assert chunks[-1].finish.matched == stop
            await until_idle(engine)

    run(scenario())


def test_leaving_a_stream_early_aborts(model, run):
    async def scenario():
        async with AsyncEngine(model, device="fake") as engine:
            async for _ in engine.stream("Once", ENDLESS):
                break
            await until_idle(engine)
            async with aclosing(engine.stream("Once", ENDLESS)) as chunks:
                with contextlib.suppress(ZeroDivisionError):
                    async for _ in chunks:
                        raise ZeroDivisionError
            await until_idle(engine)

    run(scenario())


def test_a_cancelled_reader_aborts(model, run):
    async def scenario():
        async with AsyncEngine(model, device="fake") as engine:
            async with reading(engine, "a") as (task,):
                task.cancel()
            await until_idle(engine)

    run(scenario())


def test_abort_ends_whoever_reads_and_nobody_else(model, run):
    async def scenario():
        async with AsyncEngine(model, device="fake") as engine:
            async with reading(engine, "a", "b") as (first, second):
                await engine.abort(["a", "unknown"])
                assert (await first)[-1].finish.reason == "abort"
                assert not second.done()
                await engine.abort(["b", "a"])
                assert (await second)[-1].finish.reason == "abort"
            await until_idle(engine)

    run(scenario())


def test_abort_before_the_first_step_is_heard_by_an_iteration_made_before(model, run):
    async def scenario():
        async with AsyncEngine(model, device="fake") as engine:
            await engine.submit(endless("a"))
            outputs = engine.outputs("a")
            await engine.abort(["a"])
            assert [delta.finish.reason async for delta in outputs] == ["abort"]
            await until_idle(engine)

    run(scenario())


def test_unknown_and_doubled_ids_are_refused_at_once(model, run):
    async def scenario():
        async with AsyncEngine(model, device="fake") as engine:
            with pytest.raises(InvalidRequestError, match="submit it first"):
                engine.outputs("never")
            await engine.submit(request("a", [1], 3))
            with pytest.raises(InvalidRequestError, match="in use"):
                await engine.submit(request("a", [1], 3))
            assert (await collect(engine, "a"))[-1].finish.reason == "length"
            with pytest.raises(InvalidRequestError, match="submit it first"):
                engine.outputs("a")

    run(scenario())


@pytest.mark.parametrize(
    ("prompt", "sampling", "kind"),
    [
        ("", SamplingParams(), InvalidRequestError),
        ("a", SamplingParams(temperature=-1.0), InvalidRequestError),
        ("a", SamplingParams(max_new_tokens=10**6), ContextLengthError),
    ],
)
def test_a_refusal_is_raised_and_harms_nobody(model, run, prompt, sampling, kind):
    async def scenario():
        async with AsyncEngine(model, device="fake") as engine:
            with pytest.raises(InvalidRequestError) as refused:
                async for _ in engine.stream(prompt, sampling):
                    pass
            assert type(refused.value) is kind
            assert refused.value.param
            assert [chunk async for chunk in engine.stream("a", SamplingParams(max_new_tokens=2))]

    run(scenario())


def test_a_full_queue_is_an_error_of_its_own(model, run):
    async def scenario():
        narrow = {"max_running_requests": 1, "max_queued_requests": 1}
        async with AsyncEngine(model, device="fake", **narrow) as engine, reading(engine, "a") as tasks:
            await engine.submit(endless("b"))
            with pytest.raises(QueueFullError):
                await anext(engine.stream("a", ENDLESS))
            await engine.abort(["a", "b"])
            await asyncio.gather(*tasks)

    run(scenario())


def test_control(model, run):
    async def scenario():
        async with AsyncEngine(model, device="fake") as engine:
            assert (await engine.control("ping")).error is None
            assert (await engine.control("flush_cache")).error is None
            assert (await engine.control("stats")).stats.compiles_after_warmup == 0

    run(scenario())


def test_a_paused_engine_takes_requests_and_computes_none(model, run):
    async def scenario():
        async with AsyncEngine(model, device="fake") as engine:
            await engine.control("pause")
            stream = engine.stream("a", SamplingParams(max_new_tokens=3, ignore_eos=True))
            first = asyncio.ensure_future(anext(stream))
            while (stats := (await engine.control("stats")).stats).waiting == 0:
                await asyncio.sleep(0)
            assert (stats.running, stats.generated_tokens_total) == (0, 0)
            assert not first.done()
            with pytest.raises(InvalidRequestError):
                await anext(engine.stream("a", SamplingParams(top_p=0.0)))
            await engine.control("continue")
            tokens = (await first).token_ids + [token async for chunk in stream for token in chunk.token_ids]
            assert len(tokens) == 3
            assert (await engine.control("start_profile")).error.startswith("The fake engine has no device")

    run(scenario())


@pytest.fixture
def broken_device(monkeypatch):
    """Lets a running engine's device break: from then on every step fails."""
    broken = []
    whole = FakeExecutor.dispatch

    def dispatch(self: FakeExecutor, plan: StepPlan) -> object:
        if broken:
            raise RuntimeError("the device is gone")
        return whole(self, plan)

    monkeypatch.setattr(FakeExecutor, "dispatch", dispatch)
    return lambda: broken.append(True)


def test_a_crash_reaches_everybody_who_waits(model, run, broken_device, caplog):
    async def scenario():
        async with AsyncEngine(model, device="fake") as engine:
            async with reading(engine, "a", "b", "c") as tasks:
                broken_device()
                for found in await asyncio.gather(*tasks, return_exceptions=True):
                    assert isinstance(found, EngineDeadError)
                    assert "the device is gone" in str(found)
            for late in (engine.submit(endless("late")), engine.control("ping"), anext(engine.stream("late"))):
                with pytest.raises(EngineDeadError, match="the device is gone"):
                    await late
            with pytest.raises(EngineDeadError, match="the device is gone"):
                engine.info()
            await engine.abort(["a"])

    run(scenario())
    assert "the engine stopped" in caplog.text


def test_a_question_that_the_crash_overtakes_is_answered_too(model, run, broken_device, caplog):
    async def scenario():
        async def ask_on_and_on(engine):
            while True:
                await engine.control("stats")

        async with AsyncEngine(model, device="fake") as engine, reading(engine, "a") as tasks:
            broken_device()
            with pytest.raises(EngineDeadError):
                await ask_on_and_on(engine)
            with pytest.raises(EngineDeadError):
                await tasks[0]

    run(scenario())
    assert "the engine stopped" in caplog.text


def test_closing_fails_what_runs_and_is_idempotent(model, run):
    async def scenario():
        engine = AsyncEngine(model, device="fake")
        with pytest.raises(EngineDeadError, match="not started"):
            engine.info()
        async with engine:
            async with reading(engine, "a") as tasks:
                await engine.close()
                with pytest.raises(EngineDeadError, match="closed"):
                    await tasks[0]
            await engine.close()
            with pytest.raises(EngineDeadError, match="closed"):
                await engine.submit(endless("b"))

    run(scenario())


def test_phases_are_told(model, run):
    phases = []

    async def scenario():
        async with AsyncEngine(model, device="fake", on_phase=phases.append):
            pass

    run(scenario())
    assert [phase.name for phase in phases] == ["loading", "compiling", "ready"]


def test_a_model_that_cannot_be_loaded_says_so(tmp_path, run):
    (tmp_path / "config.json").write_text(json.dumps({}))

    async def scenario():
        with pytest.raises(ModelLoadError):
            async with AsyncEngine(tmp_path, device="fake"):
                pass

    run(scenario())
