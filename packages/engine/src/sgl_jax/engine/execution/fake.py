"""An executor without a device: the host path in full, with scripted tokens. No jax.

It keeps what the real one keeps, a paged pool, block tables and last tokens, and writes a running
hash of the sequence into the pool where the real one writes keys and values. The token it draws
depends on the hash read back *through the pages*, hence on every token before it: a page given to
two requests, a missed write or a wrong position changes the text. Tests compare it with `script`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.plan import ProgressCallback, SlotPlan, StepLimits, StepPlan, StepResult

_MASK = (1 << 64) - 1
_START = 0x9E3779B97F4A7C15
NUM_TOP = 20


def script(token_ids: Sequence[int], count: int, *, vocab_size: int, seed: int = 0) -> list[int]:
    """The `count` tokens that `FakeExecutor` draws after `token_ids`, computed without pages."""
    state = _START
    for token_id in token_ids:
        state = _mix(state, token_id)
    drawn: list[int] = []
    for _ in range(count):
        drawn.append(_draw(state, vocab_size, seed))
        state = _mix(state, drawn[-1])
    return drawn


class FakeExecutor:
    """Implements `plan.Executor`. Draws are a hash of the sequence and the seed, in `[0, vocab_size)`."""

    def __init__(
        self,
        *,
        num_pages: int,
        page_size: int,
        max_slots: int,
        max_pages_per_slot: int,
        vocab_size: int,
        limits: StepLimits,
    ) -> None:
        self.num_pages = num_pages
        self.page_size = page_size
        self.max_slots = max_slots
        self.max_pages_per_slot = max_pages_per_slot
        self.limits = limits
        self.compiles = 0
        self._vocab_size = vocab_size
        self._pool: list[int] = [0] * (num_pages * page_size)
        self._tables: list[list[int]] = [[] for _ in range(max_slots)]
        self._last_tokens = [0] * max_slots

    def warmup(self, on_progress: ProgressCallback) -> None:
        """Nothing to compile."""
        on_progress(0, 0)

    def dispatch(self, plan: StepPlan) -> _Ready:
        """Runs the step at once; the result is ready when this returns."""
        token_ids = [0] * len(plan.slots)
        # A slot may read what another writes in this very step: on the device every layer writes before it attends.
        for row in sorted(range(len(plan.slots)), key=lambda row: plan.slots[row].start):
            token_ids[row] = self._run(plan.slots[row])
        return _Ready(np.asarray(token_ids, np.int32), plan.wants_logprobs)

    def _run(self, plan: SlotPlan) -> int:
        table = self._tables[plan.slot]
        table[plan.new_page_index :] = plan.new_pages
        token_ids = plan.token_ids or (self._last_tokens[plan.slot],)
        position = plan.start
        state = self._pool[self._address(table, position - 1)] if position else _START
        for token_id in token_ids:
            state = _mix(state, token_id)
            self._pool[self._address(table, position)] = state
            position += 1
        if not plan.sample:
            return -1
        self._last_tokens[plan.slot] = _draw(state, self._vocab_size, plan.seed)
        return self._last_tokens[plan.slot]

    def _address(self, table: list[int], position: int) -> int:
        return table[position // self.page_size] * self.page_size + position % self.page_size


def fake_executor(config: EngineConfig, spec: ModelSpec) -> FakeExecutor:
    """A fake of the size that the flags ask for (default: 64 k tokens, 256 requests)."""
    num_pages = -(-(config.max_total_tokens or 65536) // config.page_size)
    max_seq_len = config.max_seq_len or spec.max_position_embeddings
    return FakeExecutor(
        num_pages=num_pages,
        page_size=config.page_size,
        max_slots=config.max_running_requests or 256,
        max_pages_per_slot=-(-max_seq_len // config.page_size),
        vocab_size=spec.vocab_size,
        limits=StepLimits(config.max_prefill_tokens, config.chunked_prefill_size or config.max_prefill_tokens),
    )


class _Ready:
    def __init__(self, token_ids: npt.NDArray[np.int32], logprobs: bool) -> None:
        self._token_ids = token_ids
        self._logprobs = logprobs

    def collect(self) -> StepResult:
        if not self._logprobs:
            return StepResult(self._token_ids)
        rows = len(self._token_ids)
        order = np.arange(NUM_TOP, dtype=np.int32)
        top_ids = self._token_ids[:, None] + order
        return StepResult(
            self._token_ids,
            np.full(rows, -0.5, np.float32),
            top_ids,
            np.tile(np.float32(-0.5) - order.astype(np.float32), (rows, 1)),
        )


def _mix(state: int, token_id: int) -> int:
    state = (state ^ (token_id + 1)) * 0xBF58476D1CE4E5B9 & _MASK
    return state ^ (state >> 31)


def _draw(state: int, vocab_size: int, seed: int) -> int:
    return (_mix(state, seed) >> 7) % vocab_size
