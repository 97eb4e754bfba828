"""Host work of one decode step with 32 running requests: median over 2,000 steps, fake executor."""

from __future__ import annotations

import statistics
import time

from sgl_jax.engine.cache.prefix_cache import PrefixCache
from sgl_jax.engine.execution.batch import Layout
from sgl_jax.engine.execution.buckets import Bucket
from sgl_jax.engine.execution.fake import FakeExecutor
from sgl_jax.engine.messages import GenerateRequest
from sgl_jax.engine.plan import StepLimits
from sgl_jax.engine.sampling_params import SamplingParams
from sgl_jax.engine.scheduling.request import Request
from sgl_jax.engine.scheduling.scheduler import Scheduler

RUNNING, STEPS, PAGE = 32, 2000, 16


def run() -> list[dict[str, object]]:
    limits = StepLimits(512, 512)
    shape = {"num_pages": 8192, "page_size": PAGE, "max_slots": RUNNING, "max_pages_per_slot": 256}
    executor = FakeExecutor(**shape, vocab_size=49152, limits=limits)
    scheduler = Scheduler(PrefixCache(8192, PAGE), page_size=PAGE, max_slots=RUNNING, limits=limits)
    for number in range(RUNNING):
        message = GenerateRequest(
            request_id=str(number), prompt_ids=[number] * 40, sampling=SamplingParams(temperature=0)
        )
        scheduler.add(Request.create(message, max_tokens=4096, eos=frozenset((2,)), seed=0))
    layout = Layout(Bucket(RUNNING, RUNNING, True), PAGE, RUNNING)
    times: dict[str, list[float]] = {"schedule": [], "pack": [], "commit": []}
    for _ in range(STEPS):
        clock = [time.perf_counter()]
        step = scheduler.schedule()
        assert step is not None
        clock.append(time.perf_counter())
        if len(step.plan.slots) == step.plan.num_tokens:
            layout.pack(step.plan)
        clock.append(time.perf_counter())
        result = executor.dispatch(step.plan).collect()
        after = time.perf_counter()
        scheduler.commit(step, result)
        times["schedule"].append(clock[1] - clock[0])
        times["pack"].append(clock[2] - clock[1])
        times["commit"].append(time.perf_counter() - after)
    medians = {name: statistics.median(values) * 1e6 for name, values in times.items()}
    medians["all"] = statistics.median(map(sum, zip(*times.values(), strict=True))) * 1e6
    return [{"part": name, "median µs": round(value)} for name, value in medians.items()]
