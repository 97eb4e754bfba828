"""After warm-up nothing compiles, whatever comes. Counted by JAX itself, and not only by our own counter."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import jax.monitoring
import pytest

from sgl_jax.engine.engine import Engine
from sgl_jax.engine.sampling_params import SamplingParams

COMPILE = "/jax/core/compile/backend_compile_duration"
TRACE = "/jax/core/compile/jaxpr_trace_duration"


@pytest.fixture
def events() -> Iterator[Counter[str]]:
    """How often JAX traced and compiled something, in this process, since the test began."""
    counts: Counter[str] = Counter()

    def listen(event: str, duration_secs: float, **kwargs: str | int) -> None:
        counts[event] += 1

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield counts
    jax.monitoring.unregister_event_duration_listener(listen)


def mixed_sampling(rng: random.Random) -> SamplingParams:
    return SamplingParams(
        max_new_tokens=rng.choice([0, 1, 2, 3, 5, 8, 20]),
        temperature=rng.choice([0.0, 0.0, 0.7, 1.5]),
        top_k=rng.choice([-1, 1, 5]),
        top_p=rng.choice([1.0, 0.8]),
        min_p=rng.choice([0.0, 0.1]),
        seed=rng.choice([None, 7]),
        logprobs=rng.choice([None, None, 0, 5]),
        prompt_logprobs=rng.choice([None, None, None, 0, 3]),
        prompt_logprobs_from=rng.choice([0, 0, 20]),
        ignore_eos=rng.random() < 0.5,
        repetition_penalty=rng.choice([1.0, 1.0, 1.2]),
        logit_bias=rng.choice([{}, {}, {5: 1.0, 6: -2.0}]),
    )


def test_200_mixed_requests_compile_nothing(tiny_folder: Path, events: Counter[str]) -> None:
    rng = random.Random(0)
    with Engine(
        tiny_folder,
        device="cpu",
        max_seq_len=512,
        max_total_tokens=512,  # too few for all that run at once: some are preempted
        max_running_requests=4,
        chunked_prefill_size=32,
        precompile_bs_paddings=(1, 4),
    ) as engine:
        assert events[COMPILE] > 0, "JAX no longer reports compilations under this name"
        assert events[TRACE] > 0, "JAX no longer reports traces under this name"
        events.clear()
        requests = 0
        while requests < 200:
            batch = rng.randint(1, 20)
            prompts = [
                [rng.randrange(3, 500) for _ in range(rng.choice([1, 2, 15, 16, 17, 33, 100, 400]))]
                for _ in range(batch)
            ]
            completions = engine.generate(prompt_ids=prompts, sampling=[mixed_sampling(rng) for _ in prompts])
            assert len(completions) == batch
            requests += batch
        assert events[COMPILE] == 0
        assert events[TRACE] == 0
        assert engine.stats().compiles_after_warmup == 0
        assert engine.stats().preempted_total > 0, "preemption was meant to be among it"
