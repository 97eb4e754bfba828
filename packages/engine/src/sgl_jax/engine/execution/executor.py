"""Runs plans on a JAX device: pick the bucket, pack, dispatch, and hand back a pending result."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed

import jax
import jax.numpy as jnp
import numpy as np

from sgl_jax.engine.execution import compile_cache
from sgl_jax.engine.execution.batch import Layout, PageDelta
from sgl_jax.engine.execution.buckets import Bucket, BucketLadder
from sgl_jax.engine.execution.step import (
    DeviceState,
    Drawn,
    Params,
    Pools,
    StepFunction,
    StepModel,
    make_step,
    write_pages,
)
from sgl_jax.engine.plan import ProgressCallback, StepLimits, StepPlan, StepResult

logger = logging.getLogger(__name__)

_DELTA_CHUNK = 256
_COMPILE_THREADS = 4
_GPU_WARM_RUNS = 3
"""XLA runs a step plainly first, captures its CUDA graph the second time and replays it from the third on."""


class DeviceExecutor:
    """Implements `plan.Executor`. Holds everything that lives on the device.

    Args:
        model: what to run.
        params: its leaves, see `step.Params`.
        pools: zeroed KV pages.
        page_size, num_pages: shape of each layer's pool.
        max_slots: requests that may run at once.
        max_seq_len: longest sequence, in tokens.
        limits: bounds of a step.
        device: where all of it lives.
    """

    def __init__(
        self,
        model: StepModel,
        params: Params,
        pools: Pools,
        *,
        page_size: int,
        num_pages: int,
        max_slots: int,
        max_seq_len: int,
        limits: StepLimits,
        device: jax.Device,
    ) -> None:
        self.num_pages = num_pages
        self.page_size = page_size
        self.max_slots = max_slots
        self.max_pages_per_slot = -(-max_seq_len // page_size)
        self.limits = limits
        self.compiles = 0
        self._model = model
        self._params = params
        self._pools = pools
        self._device = device
        self._state = DeviceState(
            jnp.zeros(max_slots, jnp.int32, device=device),
            jnp.zeros((max_slots, self.max_pages_per_slot), jnp.int32, device=device),
        )
        self._ladder = BucketLadder(limits.max_tokens, max_slots)
        self._layouts: dict[Bucket, Layout] = {}
        self._steps: dict[Bucket, StepFunction] = {}
        self._write_pages: jax.stages.Compiled | None = None
        self._lock = threading.Lock()

    def warmup(self, on_progress: ProgressCallback) -> None:
        """Compiles every bucket in parallel, then runs each on an empty plan, as often as graph capture wants."""
        begin, buckets = time.perf_counter(), self._ladder.buckets
        total = len(buckets) + 1
        hits = compile_cache.hits()
        with ThreadPoolExecutor(_COMPILE_THREADS, thread_name_prefix="compile") as threads:
            jobs = [threads.submit(self._compile_step, bucket) for bucket in buckets]
            jobs.append(threads.submit(self._compile_write_pages))
            for done, job in enumerate(as_completed(jobs)):
                job.result()
                on_progress(done + 1, total)
        runs = 1 if self._device.platform == "cpu" else _GPU_WARM_RUNS
        for bucket in buckets * runs:
            self._run(bucket, StepPlan(())).collect()
        self._write_overflow(PageDelta([self.max_slots], [0], [0]))
        elapsed, found = time.perf_counter() - begin, compile_cache.hits() - hits
        logger.info("warm-up: %d programs in %.1f s, %d of them from the compile cache", total, elapsed, found)

    def dispatch(self, plan: StepPlan) -> PendingResult:
        """Starts a step and returns without waiting for it."""
        return self._run(self._ladder.choose(plan), plan)

    def _run(self, bucket: Bucket, plan: StepPlan) -> PendingResult:
        step = self._steps.get(bucket) or self._compile_step(bucket)
        packed, overflow = self._layouts[bucket].pack(plan, no_slot=self.max_slots)
        if overflow:
            self._write_overflow(overflow)
        uploaded = jax.device_put(packed, self._device)
        self._pools, self._state, drawn = step(self._params, self._pools, self._state, uploaded)
        return PendingResult(drawn, plan)

    def _write_overflow(self, delta: PageDelta) -> None:
        """Writes pages that a step's packed plan has no room for (a long prompt's first chunk)."""
        write = self._write_pages or self._compile_write_pages()
        for begin in range(0, len(delta), _DELTA_CHUNK):
            columns = np.full((3, _DELTA_CHUNK), self.max_slots, np.int32)
            count = min(_DELTA_CHUNK, len(delta) - begin)
            columns[:, :count] = [values[begin : begin + count] for values in delta]
            uploaded = jax.device_put(columns, self._device)
            self._state = self._state._replace(block_table=write(self._state.block_table, uploaded))

    def _compile_step(self, bucket: Bucket) -> StepFunction:
        layout = Layout(bucket, self.page_size)
        jitted = jax.jit(make_step(self._model, layout), donate_argnums=(1, 2))
        packed = jax.ShapeDtypeStruct((layout.size,), jnp.int32, sharding=self._sharding)
        compiled: StepFunction = jitted.lower(self._params, self._pools, self._state, packed).compile()
        with self._lock:
            self._layouts[bucket] = layout
            self._steps[bucket] = compiled
            self.compiles += 1
        return compiled

    def _compile_write_pages(self) -> jax.stages.Compiled:
        jitted = jax.jit(lambda table, columns: write_pages(table, *columns), donate_argnums=0)
        columns = jax.ShapeDtypeStruct((3, _DELTA_CHUNK), jnp.int32, sharding=self._sharding)
        compiled = jitted.lower(self._state.block_table, columns).compile()
        with self._lock:
            self._write_pages = compiled
            self.compiles += 1
        return compiled

    @property
    def _sharding(self) -> jax.sharding.Sharding:
        return jax.sharding.SingleDeviceSharding(self._device)


class PendingResult:
    """Implements `plan.PendingStep`: the copy to the host is under way from the start."""

    def __init__(self, drawn: Drawn, plan: StepPlan) -> None:
        self._drawn = drawn
        self._rows = len(plan.slots)
        self._wants_logprobs = plan.wants_logprobs
        drawn.token_ids.copy_to_host_async()
        if self._wants_logprobs:
            for array in drawn.logprobs:
                array.copy_to_host_async()

    def collect(self) -> StepResult:
        """Blocks until the device is done and returns host arrays, one row a planned slot."""
        token_ids = np.asarray(self._drawn.token_ids)[: self._rows]
        if not self._wants_logprobs:
            return StepResult(token_ids)
        drawn, top_ids, top = (np.asarray(array)[: self._rows] for array in self._drawn.logprobs)
        return StepResult(token_ids, drawn, top_ids, top)
