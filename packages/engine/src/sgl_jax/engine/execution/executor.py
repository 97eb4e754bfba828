"""Runs plans on a JAX device: pick the bucket, pack, dispatch, and hand back a pending result."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

import jax
import jax.numpy as jnp
import numpy as np

from sgl_jax.engine.execution import compile_cache
from sgl_jax.engine.execution.batch import Layout, PageDelta
from sgl_jax.engine.execution.buckets import Bucket, BucketLadder
from sgl_jax.engine.execution.score import NO_TARGET, ScoreFunction, make_score
from sgl_jax.engine.execution.slot_rules import upload_rules
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
from sgl_jax.engine.plan import ProgressCallback, PromptLogprobs, SlotHistory, StepLimits, StepPlan, StepResult
from sgl_jax.engine.sampling.adjust import load, no_rules
from sgl_jax.engine.sampling.logprobs import Logprobs
from sgl_jax.engine.sampling_params import SamplingParams

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
        vocab_size: logits of a token.
        limits: bounds of a step.
        device: where all of it lives.
        row_rungs, token_rungs: see `BucketLadder`.
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
        vocab_size: int,
        limits: StepLimits,
        device: jax.Device,
        row_rungs: Sequence[int] | None = None,
        token_rungs: Sequence[int] | None = None,
    ) -> None:
        self.num_pages = num_pages
        self.page_size = page_size
        self.max_slots = max_slots
        self.max_pages_per_slot = -(-max_seq_len // page_size)
        self.window = model.window if model.window is not None and model.window < max_seq_len else None
        self.limits = limits
        self.compiles = 0
        self._model = model
        self._params = params
        self._pools = pools
        self._device = device
        self._vocab_size = vocab_size
        self._mask_words = -(-vocab_size // 32)
        self._state = DeviceState(
            jnp.zeros(max_slots, jnp.int32, device=device),
            jnp.zeros((max_slots, self.max_pages_per_slot), jnp.int32, device=device),
            no_rules(max_slots, vocab_size, device),
        )
        self._ladder = BucketLadder(limits.max_tokens, max_slots, row_rungs=row_rungs, token_rungs=token_rungs)
        self._layouts: dict[Bucket, Layout] = {}
        self._steps: dict[Bucket, StepFunction] = {}
        self._ends = params[: len(model.ends.leaves)]
        self._hidden: dict[int, jax.ShapeDtypeStruct] = {}  # by tokens of the bucket, like the next
        self._scores: dict[int, ScoreFunction] = {}
        self._write_pages: jax.stages.Compiled | None = None
        self._load: jax.stages.Compiled | None = None
        self._no_masks: dict[int, jax.Array] = {}
        self._lock = threading.Lock()

    def warmup(self, on_progress: ProgressCallback) -> None:
        """Compiles every bucket in parallel, then runs each on an empty plan, as often as graph capture wants."""
        begin, buckets = time.perf_counter(), self._ladder.buckets
        total = len(buckets) + sum(not bucket.single for bucket in buckets) + 2
        hits = compile_cache.hits()
        with ThreadPoolExecutor(_COMPILE_THREADS, thread_name_prefix="compile") as threads:
            jobs = [threads.submit(self._compile_step, bucket) for bucket in buckets]
            jobs += [threads.submit(self._compile_write_pages), threads.submit(self._compile_load)]
            done = 0
            for job in as_completed(jobs):
                job.result()
                on_progress(done := done + 1, total)
            scores = [threads.submit(self._compile_score, num_tokens) for num_tokens in self._hidden]
            for score in as_completed(scores):
                score.result()
                on_progress(done := done + 1, total)
        runs = 1 if self._device.platform == "cpu" else _GPU_WARM_RUNS
        for bucket in buckets * runs:
            self._run(bucket, StepPlan(()), score=not bucket.single).collect()
        self._write_overflow(PageDelta([self.max_slots], [0], [0]))
        self._load_rules(0, SamplingParams(), SlotHistory((), (), ()))
        elapsed, found = time.perf_counter() - begin, compile_cache.hits() - hits
        logger.info("warm-up: %d programs in %.1f s, %d of them from the compile cache", total, elapsed, found)

    def dispatch(self, plan: StepPlan) -> PendingResult:
        """Starts a step and returns without waiting for it."""
        return self._run(self._ladder.choose(plan), plan)

    def _run(self, bucket: Bucket, plan: StepPlan, *, score: bool = False) -> PendingResult:
        step = self._steps.get(bucket) or self._compile_step(bucket)
        packed, overflow = self._layouts[bucket].pack(plan, no_slot=self.max_slots)
        if overflow:
            self._write_overflow(overflow)
        for slot in plan.slots:
            if slot.history is not None:
                self._load_rules(slot.slot, slot.sampling, slot.history)
        uploaded = jax.device_put(packed, self._device)
        masks = self._masks(bucket.num_rows, plan)
        self._pools, self._state, drawn = step(self._params, self._pools, self._state, uploaded, masks)
        return PendingResult(drawn, plan, self._score(drawn, plan) if score or plan.wants_scores else None)

    def _score(self, drawn: Drawn, plan: StepPlan) -> Logprobs:
        """Looks at the tokens that a step has just computed."""
        assert drawn.hidden is not None, "prompts are looked at in buckets of several tokens a row"
        num_tokens = drawn.hidden.shape[0]
        score = self._scores.get(num_tokens) or self._compile_score(num_tokens)
        targets = np.full(num_tokens, NO_TARGET, np.int32)
        begin = 0
        for slot in plan.slots:
            targets[begin : begin + len(slot.targets)] = slot.targets
            begin += slot.num_tokens
        return score(self._ends, drawn.hidden, jax.device_put(targets, self._device))

    def _masks(self, num_rows: int, plan: StepPlan) -> jax.Array:
        """The plan's masks on the device; where nobody asks, an array that is never read and always there."""
        if all(slot.mask is None for slot in plan.slots):
            if num_rows not in self._no_masks:
                self._no_masks[num_rows] = jnp.zeros((num_rows, self._mask_words), jnp.uint32, device=self._device)
            return self._no_masks[num_rows]
        masks = np.zeros((num_rows, self._mask_words), np.uint32)
        for row, slot in enumerate(plan.slots):
            if slot.mask is not None:
                masks[row] = slot.mask
        return jax.device_put(masks, self._device)

    def _write_overflow(self, delta: PageDelta) -> None:
        """Writes pages that a step's packed plan has no room for (a long prompt's first chunk)."""
        write = self._write_pages or self._compile_write_pages()
        for begin in range(0, len(delta), _DELTA_CHUNK):
            columns = np.full((3, _DELTA_CHUNK), self.max_slots, np.int32)
            count = min(_DELTA_CHUNK, len(delta) - begin)
            columns[:, :count] = [values[begin : begin + count] for values in delta]
            uploaded = jax.device_put(columns, self._device)
            self._state = self._state._replace(block_table=write(self._state.block_table, uploaded))

    def _load_rules(self, slot: int, sampling: SamplingParams, history: SlotHistory) -> None:
        """Tells a slot how to adjust the logits of the request that has it now."""
        load_rules = self._load or self._compile_load()
        row = upload_rules(sampling, history, self._vocab_size, self._device)
        number = jax.device_put(np.int32(slot), self._device)
        self._state = self._state._replace(rules=load_rules(self._state.rules, number, row))

    def _compile_step(self, bucket: Bucket) -> StepFunction:
        layout = Layout(bucket, self.page_size)
        jitted = jax.jit(make_step(self._model, layout), donate_argnums=(1, 2))
        packed = jax.ShapeDtypeStruct((layout.size,), jnp.int32, sharding=self._sharding)
        masks = jax.ShapeDtypeStruct((bucket.num_rows, self._mask_words), jnp.uint32, sharding=self._sharding)
        lowered = jitted.lower(self._params, self._pools, self._state, packed, masks)
        compiled: StepFunction = lowered.compile()
        with self._lock:
            if not bucket.single:
                self._hidden[bucket.num_tokens] = lowered.out_info[2].hidden
            self._layouts[bucket] = layout
            self._steps[bucket] = compiled
            self.compiles += 1
        return compiled

    def _compile_score(self, num_tokens: int) -> ScoreFunction:
        """For a bucket whose step is compiled."""
        form = self._hidden[num_tokens]
        hidden = jax.ShapeDtypeStruct(form.shape, form.dtype, sharding=self._sharding)
        targets = jax.ShapeDtypeStruct((num_tokens,), jnp.int32, sharding=self._sharding)
        compiled: ScoreFunction = jax.jit(make_score(self._model)).lower(self._ends, hidden, targets).compile()
        with self._lock:
            self._scores[num_tokens] = compiled
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

    def _compile_load(self) -> jax.stages.Compiled:
        number = jax.ShapeDtypeStruct((), jnp.int32, sharding=self._sharding)
        row = upload_rules(SamplingParams(), SlotHistory((), (), ()), self._vocab_size, self._device)
        compiled = jax.jit(load, donate_argnums=0).lower(self._state.rules, number, row).compile()
        with self._lock:
            self._load = compiled
            self.compiles += 1
        return compiled

    @property
    def _sharding(self) -> jax.sharding.Sharding:
        return jax.sharding.SingleDeviceSharding(self._device)


class PendingResult:
    """Implements `plan.PendingStep`: the copy to the host is under way from the start."""

    def __init__(self, drawn: Drawn, plan: StepPlan, prompt: Logprobs | None) -> None:
        self._drawn = drawn._replace(hidden=None)  # as large as the step; nobody needs it now
        self._prompt = prompt
        self._num_tokens = plan.num_tokens
        self._rows = len(plan.slots)
        self._wants_logprobs = plan.wants_logprobs
        drawn.token_ids.copy_to_host_async()
        if self._wants_logprobs:
            for array in drawn.logprobs:
                array.copy_to_host_async()
        for array in prompt or ():
            array.copy_to_host_async()

    def collect(self) -> StepResult:
        """Blocks until the device is done and returns host arrays, one row a planned slot."""
        token_ids = np.asarray(self._drawn.token_ids)[: self._rows]
        prompt = None
        if self._prompt is not None:
            prompt = PromptLogprobs(*(np.asarray(array)[: self._num_tokens] for array in self._prompt))
        if not self._wants_logprobs:
            return StepResult(token_ids, prompt=prompt)
        drawn, top_ids, top = (np.asarray(array)[: self._rows] for array in self._drawn.logprobs)
        return StepResult(token_ids, drawn, top_ids, top, prompt)
