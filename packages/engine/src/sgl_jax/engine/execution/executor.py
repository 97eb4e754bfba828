"""Runs plans on a JAX device: pick the bucket, pack, dispatch, and hand back a pending result."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from sgl_jax.engine.execution import device_env, host_memory
from sgl_jax.engine.execution.batch import Layout, PageDelta
from sgl_jax.engine.execution.buckets import Bucket, BucketLadder
from sgl_jax.engine.execution.copy_pages import MOST, make_copy_pages, pack_copies
from sgl_jax.engine.execution.plan_channel import PlanSender
from sgl_jax.engine.execution.pool import Pooled, make_pool, pool_inputs
from sgl_jax.engine.execution.profile import Profiler
from sgl_jax.engine.execution.program_store import ProgramStore
from sgl_jax.engine.execution.score import Scores, make_score, score_inputs
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
from sgl_jax.engine.parallel.mesh import EVERYWHERE, bring, cut_of, everywhere, on_all
from sgl_jax.engine.plan import (
    PageCopy,
    ProgressCallback,
    PromptLogprobs,
    SlotHistory,
    StepLimits,
    StepPlan,
    StepResult,
)
from sgl_jax.engine.sampling.adjust import load, no_rules
from sgl_jax.engine.sampling_params import SamplingParams

logger = logging.getLogger(__name__)

_DELTA_CHUNK = 2048
"""Pages that one call writes to block tables: those of 32 prompts of a thousand tokens."""
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
        hidden_size: width of the residual stream.
        vocab_size: logits of a token.
        limits: bounds of a step.
        device: where all of it lives, or the first of several.
        mesh: these, if they are several: each runs the model's share in every step.
        programs: keeps what is compiled.
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
        hidden_size: int,
        vocab_size: int,
        limits: StepLimits,
        device: jax.Device,
        mesh: Mesh | None = None,
        programs: ProgramStore,
        row_rungs: Sequence[int] | None = None,
        token_rungs: Sequence[int] | None = None,
    ) -> None:
        self.num_pages = num_pages
        self.page_size = page_size
        self.max_slots = max_slots
        self.max_pages_per_slot = -(-max_seq_len // page_size)
        self.window = model.window if model.window is not None and model.window < max_seq_len else None
        self.limits = limits
        self.copies_pages = device.platform == "cpu"  # a GPU computes a few tokens more in the same time
        self.compiles = 0
        self._model = model
        self._params = params
        self._pools = pools
        self._on_cpu = device.platform == "cpu"
        self._mesh = mesh
        self._place = device if mesh is None else everywhere(mesh)
        self._pool_cut = EVERYWHERE if mesh is None else cut_of(pools[0][0].stored)
        self._programs = programs
        self._profiler = Profiler(device_env.cache_folder(os.environ) / "profiles")
        self._hidden_size = hidden_size
        self._vocab_size = vocab_size
        self._mask_words = -(-vocab_size // 32)
        self._state = DeviceState(
            # Brought there: each shape of jnp.zeros would be a program to compile, at every start.
            bring(np.zeros(max_slots, np.int32), self._place),
            bring(np.zeros((max_slots, self.max_pages_per_slot), np.int32), self._place),
            no_rules(max_slots, vocab_size, self._place),
        )
        self._ladder = BucketLadder(
            *(limits.max_tokens, max_slots),
            row_rungs=row_rungs,
            token_rungs=token_rungs,
            decodes=model.draw is not None,
            fresh=model.attention.fresh,
        )
        self._layouts: dict[Bucket, Layout] = {}
        self._steps: dict[Bucket, StepFunction] = {}
        self._ends = params[: len(model.ends.leaves)]
        self._look: jax.stages.Compiled | None = None
        self._write_pages: jax.stages.Compiled | None = None
        self._copy: jax.stages.Compiled | None = None
        self._load: jax.stages.Compiled | None = None
        self._no_masks: dict[int, jax.Array] = {}
        self._lock = threading.Lock()
        self._others: PlanSender | None = None

    def lead(self, others: PlanSender) -> None:
        """From now on other nodes run every plan, too."""
        self._others = others

    def close(self) -> None:
        """See `plan.Executor`."""
        if self._others is not None:
            self._others.close()

    def warmup(self, on_progress: ProgressCallback) -> None:
        """Compiles every bucket in parallel, then runs each on an empty plan, as often as graph capture wants."""
        begin, buckets = time.perf_counter(), self._ladder.buckets
        total = len(buckets) + 3 + self.copies_pages
        with ThreadPoolExecutor(_COMPILE_THREADS, thread_name_prefix="compile") as threads:
            jobs = [threads.submit(self._compile_step, bucket) for bucket in buckets]
            jobs += [threads.submit(self._compile_look), threads.submit(self._compile_write_pages)]
            jobs += [threads.submit(self._compile_load)]
            if self.copies_pages:
                jobs += [threads.submit(self._compile_copy)]
            for done, job in enumerate(as_completed(jobs), start=1):
                job.result()
                on_progress(done, total)
        runs = 1 if self._on_cpu else _GPU_WARM_RUNS
        for bucket in buckets * runs:
            self._run(bucket, StepPlan(()), look=not bucket.single).collect()
        self._write_overflow(PageDelta([self.max_slots], [0], [0]))
        self._load_rules(0, SamplingParams(), SlotHistory((), (), ()))
        self._copy_pages([PageCopy(0, 0)] if self.copies_pages else [])
        host_memory.give_back()
        elapsed, found = time.perf_counter() - begin, self._programs.hits
        logger.info("warm-up: %d programs in %.1f s, %d of them from the compile cache", total, elapsed, found)

    def start_profile(self) -> str:
        """See `plan.Executor`."""
        return self._profiler.start()

    def stop_profile(self) -> str:
        """See `plan.Executor`."""
        return self._profiler.stop()

    def dispatch(self, plan: StepPlan) -> PendingResult:
        """Starts a step and returns without waiting for it."""
        if self._others is not None:
            self._others.send(plan)
        return self._run(self._ladder.choose(plan), plan)

    def _run(self, bucket: Bucket, plan: StepPlan, *, look: bool = False) -> PendingResult:
        step = self._steps.get(bucket) or self._compile_step(bucket)
        self._copy_pages(plan.copies)
        packed, overflow = self._layouts[bucket].pack(plan)
        if overflow:
            self._write_overflow(overflow)
        for slot in plan.slots:
            if slot.history is not None:
                self._load_rules(slot.slot, slot.sampling, slot.history)
        # On one device the call uploads it, for a tenth of the host's time that `device_put` takes.
        uploaded: Any = packed if self._mesh is None else bring(packed, self._place)
        masks = self._masks(bucket.num_rows, plan)
        self._pools, self._state, drawn = step(self._params, self._pools, self._state, uploaded, masks)
        looks = look or (plan.wants_scores if self._model.draw else plan.wants_pooled)
        return PendingResult(drawn, plan, self._look_at(drawn, plan) if looks else None, copies=not self._on_cpu)

    def _look_at(self, drawn: Drawn, plan: StepPlan) -> Scores | Pooled:
        """At what a step has left of its tokens: scores them, or pools them where nothing is drawn."""
        assert drawn.hidden is not None, "tokens are looked at in buckets of several tokens a row"
        program = self._look or self._compile_look()
        inputs = bring(self._look_inputs(plan), self._place)
        found: Scores | Pooled = program(self._ends, drawn.hidden, inputs)
        return found

    def _look_inputs(self, plan: StepPlan) -> Any:
        return (score_inputs if self._model.draw else pool_inputs)(plan, self.limits.max_tokens, self.max_slots)

    def _masks(self, num_rows: int, plan: StepPlan) -> jax.Array:
        """The plan's masks on the device; where nobody asks, an array that is never read and always there."""
        is_masked = any(slot.mask is not None for slot in plan.slots)
        if not is_masked and num_rows in self._no_masks:
            return self._no_masks[num_rows]
        masks = np.zeros((num_rows, self._mask_words), np.uint32)
        if not is_masked:
            return self._no_masks.setdefault(num_rows, bring(masks, self._place))
        for row, slot in enumerate(plan.slots):
            if slot.mask is not None:
                masks[row] = slot.mask
        return bring(masks, self._place)

    def _write_overflow(self, delta: PageDelta) -> None:
        """Writes pages that a step's packed plan has no room for (a long prompt's first chunk)."""
        write = self._write_pages or self._compile_write_pages()
        for begin in range(0, len(delta), _DELTA_CHUNK):
            columns = np.full((3, _DELTA_CHUNK), self.max_slots, np.int32)
            count = min(_DELTA_CHUNK, len(delta) - begin)
            columns[:, :count] = [values[begin : begin + count] for values in delta]
            uploaded = bring(columns, self._place)
            self._state = self._state._replace(block_table=write(self._state.block_table, uploaded))

    def _copy_pages(self, copies: Sequence[PageCopy]) -> None:
        """Copies pages, one after the other."""
        for begin in range(0, len(copies), MOST):
            copy_pages = self._copy or self._compile_copy()
            packed = bring(pack_copies(copies[begin : begin + MOST]), self._place)
            self._pools = copy_pages(self._pools, packed)

    def _load_rules(self, slot: int, sampling: SamplingParams, history: SlotHistory) -> None:
        """Tells a slot how to adjust the logits of the request that has it now."""
        load_rules = self._load or self._compile_load()
        row = upload_rules(sampling, history, self._vocab_size, self._place)
        number = bring(np.int32(slot), self._place)
        self._state = self._state._replace(rules=load_rules(self._state.rules, number, row))

    def _compile_step(self, bucket: Bucket) -> StepFunction:
        layout = Layout(bucket, self.page_size, self.max_slots)
        packed = self._shape(layout.size)
        masks = self._shape(bucket.num_rows, self._mask_words, dtype=jnp.uint32)
        step = make_step(self._model, layout, self.limits.max_tokens)
        arguments = self._params, self._pools, self._state, packed, masks
        if self._mesh is not None:
            step = on_all(self._mesh, step, arguments, (self._pool_cut, EVERYWHERE, EVERYWHERE))
        name = f"step {bucket} of {self.limits.max_tokens}"  # which no argument shows
        compiled: StepFunction = self._programs.compile(name, step, *arguments, donate=(1, 2))
        with self._lock:
            self._layouts[bucket] = layout
            self._steps[bucket] = compiled
            self.compiles += 1
        return compiled

    def _compile_look(self) -> jax.stages.Compiled:
        draws, model = self._model.draw is not None, self._model
        function: Callable[..., Scores | Pooled] = make_score(model) if draws else make_pool(model, self.max_slots)
        hidden = self._shape(self.limits.max_tokens, self._hidden_size, dtype=self._model.activation_dtype)
        inputs = jax.tree.map(lambda array: self._shape(*array.shape), self._look_inputs(StepPlan(())))
        name = "score" if draws else f"pool of {self.max_slots}"  # which no argument shows
        self._look = self._compile_small(name, function, self._ends, hidden, inputs)
        return self._look

    def _compile_write_pages(self) -> jax.stages.Compiled:
        arguments = (self._state.block_table, self._shape(3, _DELTA_CHUNK))
        self._write_pages = self._compile_small(
            "write pages", lambda table, columns: write_pages(table, *columns), *arguments, donate=(0,)
        )
        return self._write_pages

    def _compile_copy(self) -> jax.stages.Compiled:
        copy_pages = make_copy_pages(self.num_pages, self._model.attention.copy_pages)
        packed = self._shape(2 * MOST + 1)
        self._copy = self._compile_small(
            *("copy pages", copy_pages, self._pools, packed), donate=(0,), returns=self._pool_cut
        )
        return self._copy

    def _compile_load(self) -> jax.stages.Compiled:
        row = upload_rules(SamplingParams(), SlotHistory((), (), ()), self._vocab_size, self._place)
        self._load = self._compile_small("load rules", load, self._state.rules, self._shape(), row, donate=(0,))
        return self._load

    def _compile_small(
        self,
        name: str,
        function: Callable[..., Any],
        *arguments: Any,
        donate: tuple[int, ...] = (),
        returns: PartitionSpec = EVERYWHERE,
    ) -> jax.stages.Compiled:
        if self._mesh is not None:
            function = on_all(self._mesh, function, arguments, returns)
        compiled = self._programs.compile(name, function, *arguments, donate=donate)
        with self._lock:
            self.compiles += 1
        return compiled

    def _shape(self, *shape: int, dtype: jax.typing.DTypeLike = jnp.int32) -> jax.ShapeDtypeStruct:
        sharding = self._place if isinstance(self._place, NamedSharding) else SingleDeviceSharding(self._place)
        return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)


class PendingResult:
    """Implements `plan.PendingStep`: where there is anything to copy to the host, that is under way from the start."""

    def __init__(self, drawn: Drawn, plan: StepPlan, found: Scores | Pooled | None, *, copies: bool) -> None:
        self._drawn = drawn._replace(hidden=None)  # as large as the step; nobody needs it now
        self._pooled = found.sums if isinstance(found, Pooled) else None
        self._prompt = found.targets if isinstance(found, Scores) else None
        self._chosen = found.chosen if isinstance(found, Scores) and plan.wants_chosen else None
        self._num_tokens = plan.num_tokens
        self._rows = len(plan.slots)
        self._wants_logprobs = plan.wants_logprobs
        if not copies:
            return
        drawn.token_ids.copy_to_host_async()
        if self._wants_logprobs:
            for array in drawn.logprobs:
                array.copy_to_host_async()
        for array in (*(self._prompt or ()), self._chosen, self._pooled):
            if array is not None:
                array.copy_to_host_async()

    def collect(self) -> StepResult:
        """Blocks until the device is done and returns host arrays, one row a planned slot."""
        token_ids = np.asarray(self._drawn.token_ids)[: self._rows]
        prompt = None
        if self._prompt is not None:
            logprobs, top_ids, top = (np.asarray(array)[: self._num_tokens] for array in self._prompt)
            chosen = None if self._chosen is None else np.asarray(self._chosen)[: self._num_tokens]
            prompt = PromptLogprobs(logprobs, top_ids, top, chosen)
        pooled = None if self._pooled is None else np.asarray(self._pooled)[: self._rows]
        if not self._wants_logprobs:
            return StepResult(token_ids, prompt=prompt, pooled=pooled)
        drawn, top_ids, top = (np.asarray(array)[: self._rows] for array in self._drawn.logprobs)
        return StepResult(token_ids, drawn, top_ids, top, prompt, pooled)
