"""The model that the benchmarks run on, and how a core is driven without text."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sgl_jax.engine.config.default_model import find_default_model
from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.core import EngineCore
from sgl_jax.engine.execution import device_env
from sgl_jax.engine.messages import GenerateRequest
from sgl_jax.engine.sampling_params import SamplingParams
from sgl_jax.engine.startup import build_core


def make_core(**options: object) -> EngineCore:
    """A warm core over SmolLM2 as it is shipped, with the settings of `sgl-jax serve`."""
    model = find_default_model()
    assert model is not None, "uv sync installs the model"
    config = EngineConfig(model_path=str(model), device="cpu", **options)  # type: ignore[arg-type]
    device_env.apply(config)
    return build_core(config, lambda phase: None)


def drive(core: EngineCore, prompts: Sequence[list[int]], new_tokens: int, **how: float) -> dict[str, list[float]]:
    """Runs requests together, greedy unless `how` says more; returns when their tokens arrived, from submission."""
    sampling = SamplingParams(**{"temperature": 0.0, **how}, max_new_tokens=new_tokens, ignore_eos=True)  # type: ignore[arg-type]
    begin = time.perf_counter()
    arrivals: dict[str, list[float]] = {}
    for number, prompt in enumerate(prompts):
        arrivals[str(number)] = []
        core.submit(GenerateRequest(request_id=str(number), prompt_ids=prompt, sampling=sampling))
    while core.has_work():
        outputs = core.step()
        now = time.perf_counter() - begin
        for request_id, delta in zip(outputs.request_ids, outputs.deltas, strict=True):
            arrivals[request_id] += [now] * len(delta.token_ids)
    return arrivals
