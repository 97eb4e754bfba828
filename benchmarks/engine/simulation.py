"""A thousand seeded workloads of two thousand requests each on the fake executor, integrity checked as they run.

Random pools, budgets, policies, windows, shared prefixes, aborts. Every answer must equal the script; `wait`
is the longest time in steps from submission to the first token, under first come first served.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from sgl_jax.engine.core import EngineCore
from sgl_jax.engine.execution.fake import FakeExecutor, script
from sgl_jax.engine.messages import GenerateRequest
from sgl_jax.engine.plan import StepLimits
from sgl_jax.engine.sampling_params import SamplingParams

WORKLOADS, REQUESTS, VOCAB = 1000, 2000, 40


def workload(seed: int) -> dict[str, int]:
    """Runs one workload to its end; raises AssertionError for any leak, loss, deadlock or wrong token."""
    chance = random.Random(seed)
    page_size = chance.choice([1, 4, 16])
    num_pages = chance.randrange(80 // page_size + 2, 600 // page_size + 3)
    slots = chance.randrange(1, 17)
    window = chance.choice([None, None, chance.randrange(1, 100)])
    core = _core(chance, num_pages, page_size, slots, window)
    longest = min(num_pages * page_size, 120)
    prefixes = [[chance.randrange(VOCAB) for _ in range(chance.randrange(1, longest // 2))] for _ in range(6)]
    expected: dict[str, list[int]] = {}
    answers: dict[str, list[int]] = {}
    submitted: dict[str, int] = {}
    waits = [0]
    arrivals = _arrivals(chance)
    left, steps, work = REQUESTS, 0, 0
    while left or core.has_work():
        for _ in range(min(next(arrivals), left)):
            left -= 1
            request_id = str(left)
            prompt = [*chance.choice(prefixes), *(chance.randrange(VOCAB) for _ in range(chance.randrange(1, 12)))]
            wanted = chance.randrange(1, longest - len(prompt) + 1) if len(prompt) < longest else 1
            prompt = prompt[: longest - 1]
            sampling = SamplingParams(max_new_tokens=min(wanted, 30, longest - len(prompt)), ignore_eos=True, seed=left)
            core.submit(GenerateRequest(request_id=request_id, prompt_ids=prompt, sampling=sampling))
            expected[request_id] = script(
                prompt, sampling.max_new_tokens or 0, vocab_size=VOCAB, seed=left, window=window
            )
            answers[request_id] = []
            submitted[request_id] = steps
            work += len(prompt) + len(expected[request_id])
        if expected and chance.random() < 0.02:
            gone = chance.choice(list(expected))
            core.abort([gone])
            del expected[gone], answers[gone]
            submitted.pop(gone, None)
        outputs = core.step()
        steps += 1
        if steps % 16 == 0:
            core.check_integrity()
        for request_id, delta in zip(outputs.request_ids, outputs.deltas, strict=True):
            if request_id in submitted:
                waits.append(steps - submitted.pop(request_id))
            answers[request_id] += delta.token_ids
            if delta.finish is not None:
                assert answers.pop(request_id) == expected.pop(request_id), f"seed {seed}: wrong tokens"
        assert steps < 20 * work + 10000, f"seed {seed}: no end"
    core.check_integrity()
    stats = core.stats()
    assert not expected, f"seed {seed}: lost requests"
    assert stats.pages_free == stats.pages_total, f"seed {seed}: lost pages"
    return {"steps": steps, "preempted": stats.preempted_total, "wait": max(waits), "cached": stats.cached_tokens_total}


def _core(chance: random.Random, num_pages: int, page_size: int, slots: int, window: int | None) -> EngineCore:
    executor = FakeExecutor(
        num_pages=num_pages,
        page_size=page_size,
        max_slots=slots,
        max_pages_per_slot=num_pages,
        vocab_size=VOCAB,
        limits=StepLimits(chance.randrange(slots, 80), chance.randrange(1, 80)),
        window=window,
    )
    return EngineCore(executor, executor.info(), overlap=chance.random() < 0.7, prefix_cache=chance.random() < 0.8)


def _arrivals(chance: random.Random) -> Iterator[int]:
    """Requests that come before each step: a trickle with bursts."""
    rate = chance.choice([0.1, 0.5, 2.0])
    while True:
        yield chance.randrange(30) if chance.random() < 0.01 else int(chance.random() < rate)


def run() -> list[dict[str, object]]:
    with ProcessPoolExecutor(os.cpu_count()) as processes:
        results = list(processes.map(workload, range(WORKLOADS), chunksize=10))
    return [
        {
            "workloads": WORKLOADS,
            "requests each": REQUESTS,
            "steps": sum(result["steps"] for result in results),
            "preemptions": sum(result["preempted"] for result in results),
            "cached prompt tokens": sum(result["cached"] for result in results),
            "longest wait, steps": max(result["wait"] for result in results),
            "violations": 0,
        }
    ]
