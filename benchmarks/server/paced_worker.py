"""An engine process whose steps come at a fixed pace, and whose tokens say which step drew them.

The scheduler, the core and the worker are the real ones; only the device is made up. Run in the real worker's
place, with two files named in the environment: `SGL_JAX_BENCH_TOKENS` holds the token ids of the steps (JSON, used
in a circle), and `SGL_JAX_BENCH_STEPS` takes the clock at the end of each step (doubles, one after the other).
"""

from __future__ import annotations

import json
import os
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sgl_jax.engine import core
from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.execution.fake import FakeExecutor, fake_executor
from sgl_jax.engine.plan import StepPlan, StepResult
from sgl_jax.server.ipc import worker

STEPS_PER_SECOND = float(os.environ["SGL_JAX_BENCH_PACE"])


class PacedExecutor(FakeExecutor):
    """Ends a step every 1 / `STEPS_PER_SECOND` seconds, or at once when it was idle before."""

    token_ids: list[int]
    steps = 0
    due = 0.0

    def dispatch(self, plan: StepPlan) -> PacedStep:  # type: ignore[override]
        return PacedStep(self, len(plan.slots))


class PacedStep:
    """A step on its way."""

    def __init__(self, executor: PacedExecutor, rows: int) -> None:
        self._executor = executor
        self._rows = rows

    def collect(self) -> StepResult:
        executor = self._executor
        executor.due = max(executor.due + 1 / STEPS_PER_SECOND, time.monotonic())
        time.sleep(max(0.0, executor.due - time.monotonic()))
        token_id = executor.token_ids[executor.steps % len(executor.token_ids)]
        executor.steps += 1
        log.write(struct.pack("d", time.monotonic()))
        return StepResult(np.full(self._rows, token_id, np.int32))


def paced(make: Callable[[EngineConfig, ModelSpec], FakeExecutor]) -> Callable[[EngineConfig, ModelSpec], FakeExecutor]:
    def make_paced(config: EngineConfig, spec: ModelSpec) -> FakeExecutor:
        executor = make(config, spec)
        executor.__class__ = PacedExecutor
        assert isinstance(executor, PacedExecutor)
        executor.token_ids = json.loads(Path(os.environ["SGL_JAX_BENCH_TOKENS"]).read_text())
        return executor

    return make_paced


if __name__ == "__main__":
    with open(os.environ["SGL_JAX_BENCH_STEPS"], "ab", buffering=0) as log:
        core.fake_executor = paced(fake_executor)
        sys.exit(worker.main())
