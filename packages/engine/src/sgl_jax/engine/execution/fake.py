"""An executor without a device: the host path in full, with scripted tokens. No jax.

It keeps what the real one keeps, a paged pool, block tables and last tokens, and writes a hash into
the pool where the real one writes keys and values: of the token and of the hashes before it, which it
reads back *through the pages* (the last one; with a window, all that the token sees). The token it
draws depends on the hash, hence on every token before it: a page given to two requests, a missed
write or a wrong position changes the text. Tests compare it with `script`.
There are no logits here, so penalties, bias and minimum length have no effect; masks of grammars do.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.config.model_spec import ModelSpec
from sgl_jax.engine.config.pooling import Pooling
from sgl_jax.engine.errors import ProfileError
from sgl_jax.engine.messages import EngineInfo
from sgl_jax.engine.plan import ProgressCallback, PromptLogprobs, SlotPlan, StepLimits, StepPlan, StepResult
from sgl_jax.engine.sampling_params import MAX_CHOSEN_LOGPROBS

_MASK = (1 << 64) - 1
NUM_TOP = 20


def script(
    token_ids: Sequence[int], count: int, *, vocab_size: int, seed: int = 0, window: int | None = None
) -> list[int]:
    """The `count` tokens that `FakeExecutor` draws after `token_ids`, computed without pages."""
    cells = _cells(token_ids, window)
    drawn: list[int] = []
    for _ in range(count):
        drawn.append(_draw(cells[-1], vocab_size, seed))
        cells.append(_cell(drawn[-1], cells[_first_seen(len(cells), window) :]))
    return drawn


def script_logprobs(token_ids: Sequence[int], *, window: int | None = None) -> list[float]:
    """What `FakeExecutor` says of the log-probabilities of a prompt's tokens, from the second one on."""
    cells = _cells(token_ids, window)
    return [_logprob(cell, target) for cell, target in zip(cells[:-1], token_ids[1:], strict=True)]


def script_chosen(token_ids: Sequence[int], chosen: Sequence[int], *, window: int | None = None) -> list[float]:
    """What `FakeExecutor` says of the log-probabilities of chosen tokens behind a prompt."""
    cell = _cells(token_ids, window)[-1]
    return [_logprob(cell, target) for target in chosen]


def script_outputs(token_ids: Sequence[int], hidden_size: int, *, window: int | None = None) -> npt.NDArray[np.float32]:
    """What `FakeExecutor` has for the model's outputs of a prompt, float32[T, hidden]."""
    return np.stack([_output(cell, hidden_size) for cell in _cells(token_ids, window)])


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
        window: int | None = None,
        hidden_size: int = 8,
        copies_pages: bool = True,
    ) -> None:
        self.num_pages = num_pages
        self.page_size = page_size
        self.max_slots = max_slots
        self.max_pages_per_slot = max_pages_per_slot
        self.window = window
        self.limits = limits
        self.copies_pages = copies_pages
        self.compiles = 0
        self._vocab_size = vocab_size
        self._hidden_size = hidden_size
        self._pool: list[int] = [0] * (num_pages * page_size)
        self._tables: list[list[int]] = [[0] * max_pages_per_slot for _ in range(max_slots)]
        self._last_tokens = [0] * max_slots

    def warmup(self, on_progress: ProgressCallback) -> None:
        """Nothing to compile."""
        on_progress(0, 0)

    def info(
        self,
        *,
        max_model_len: int | None = None,
        eos_token_ids: Sequence[int] = (),
        pooling: Pooling | None = None,
    ) -> EngineInfo:
        """What a core around this executor says of itself. Its texts may fill the pool, unless `max_model_len` says."""
        return EngineInfo(
            model_path="fake",
            architecture="Fake",
            vocab_size=self._vocab_size,
            max_model_len=max_model_len or self.num_pages * self.page_size,
            max_total_tokens=self.num_pages * self.page_size,
            max_running_requests=self.max_slots,
            eos_token_ids=list(eos_token_ids),
            dtype="none",
            device="fake",
            hidden_size=self._hidden_size,
            pooling=pooling,
        )

    def close(self) -> None:
        """There is nothing to end."""

    def start_profile(self) -> str:
        """There is no device to look at."""
        raise ProfileError("The fake engine has no device to profile.")

    def stop_profile(self) -> str:
        """Likewise."""
        raise ProfileError("No profile is being recorded.")

    def dispatch(self, plan: StepPlan) -> _Ready:
        """Runs the step at once; the result is ready when this returns."""
        token_ids = [0] * len(plan.slots)
        cells: list[list[int]] = [[] for _ in plan.slots]
        for source, target in plan.copies:
            first, other, size = source * self.page_size, target * self.page_size, self.page_size
            self._pool[other : other + size] = self._pool[first : first + size]
        # On the device every layer writes before it attends: a slot may read what another writes in this very step,
        # and would read it too where it should not.
        for slot in plan.slots:
            self._prepare(slot)
        for row in sorted(range(len(plan.slots)), key=lambda row: plan.slots[row].start):
            token_ids[row] = self._run(plan.slots[row], cells[row])
        prompt = _prompt_logprobs(plan, cells) if plan.wants_scores else None
        pooled = _pooled(plan, cells, self._hidden_size) if plan.wants_pooled else None
        return _Ready(np.asarray(token_ids, np.int32), plan.wants_logprobs, prompt, pooled)

    def _run(self, plan: SlotPlan, cells: list[int]) -> int:
        """Computes a slot's tokens; puts what it writes for each into `cells`."""
        table = self._tables[plan.slot]
        cell = 0
        for position, token_id in enumerate(plan.token_ids or (self._last_tokens[plan.slot],), plan.start):
            seen = range(_first_seen(position, self.window), position)
            cell = _cell(token_id, [self._pool[self._address(table, before)] for before in seen])
            self._pool[self._address(table, position)] = cell
            cells.append(cell)
        if not plan.sample:
            return -1
        self._last_tokens[plan.slot] = _allowed(_draw(cell, self._vocab_size, plan.seed), plan.mask)
        return self._last_tokens[plan.slot]

    def _prepare(self, plan: SlotPlan) -> None:
        """Writes the slot's new pages into its table, and destroys what lies where it will write."""
        table = self._tables[plan.slot]
        table[plan.new_page_index : plan.new_page_index + len(plan.new_pages)] = plan.new_pages
        for position in range(plan.start, plan.start + plan.num_tokens):
            self._pool[self._address(table, position)] = 0

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
        hidden_size=spec.hidden_size,
        limits=StepLimits(config.max_prefill_tokens, config.chunked_prefill_size or config.max_prefill_tokens),
    )


class _Ready:
    def __init__(
        self,
        token_ids: npt.NDArray[np.int32],
        logprobs: bool,
        prompt: PromptLogprobs | None,
        pooled: npt.NDArray[np.float32] | None,
    ) -> None:
        self._token_ids = token_ids
        self._logprobs = logprobs
        self._prompt = prompt
        self._pooled = pooled

    def collect(self) -> StepResult:
        if not self._logprobs:
            return StepResult(self._token_ids, prompt=self._prompt, pooled=self._pooled)
        rows = len(self._token_ids)
        order = np.arange(NUM_TOP, dtype=np.int32)
        top_ids = self._token_ids[:, None] + order
        return StepResult(
            self._token_ids,
            np.full(rows, -0.5, np.float32),
            top_ids,
            np.tile(np.float32(-0.5) - order.astype(np.float32), (rows, 1)),
            self._prompt,
            self._pooled,
        )


def _prompt_logprobs(plan: StepPlan, cells: Sequence[Sequence[int]]) -> PromptLogprobs:
    order = np.arange(NUM_TOP, dtype=np.int32)
    targets = np.zeros(plan.num_tokens, np.int32)
    logprobs = np.zeros(plan.num_tokens, np.float32)
    chosen = np.zeros((plan.num_tokens, MAX_CHOSEN_LOGPROBS), np.float32) if plan.wants_chosen else None
    begin = 0
    for slot, written in zip(plan.slots, cells, strict=True):
        end = begin + len(slot.targets)
        targets[begin:end] = slot.targets
        logprobs[begin:end] = [_logprob(cell, target) for cell, target in zip(written, slot.targets, strict=False)]
        wanted = slot.sampling.token_ids_logprob
        if chosen is not None and wanted:
            rows = [[_logprob(cell, token) for token in wanted] for cell in written]
            chosen[begin : begin + slot.num_tokens, : len(wanted)] = rows
        begin += slot.num_tokens
    return PromptLogprobs(logprobs, targets[:, None] + order, logprobs[:, None] - order.astype(np.float32), chosen)


def _pooled(plan: StepPlan, cells: Sequence[Sequence[int]], hidden_size: int) -> npt.NDArray[np.float32]:
    pooled = np.zeros((len(plan.slots), hidden_size), np.float32)
    for row, (slot, written) in enumerate(zip(plan.slots, cells, strict=True)):
        for cell in written[slice(*slot.pooled)] if slot.pooled is not None else ():
            pooled[row] += _output(cell, hidden_size)
    return pooled


def _allowed(token_id: int, mask: npt.NDArray[np.uint32] | None) -> int:
    """The token, or the next higher one (from 0 again after the last) that the mask allows."""
    if mask is None:
        return token_id
    allowed = np.flatnonzero(np.unpackbits(mask.view(np.uint8), bitorder="little"))
    return int(allowed[np.searchsorted(allowed, token_id) % len(allowed)])


def _first_seen(position: int, window: int | None) -> int:
    """The first position whose cell goes into that of `position`."""
    return max(0, position - (1 if window is None else window - 1))


def _cells(token_ids: Sequence[int], window: int | None) -> list[int]:
    cells: list[int] = []
    for token_id in token_ids:
        cells.append(_cell(token_id, cells[_first_seen(len(cells), window) :]))
    return cells


def _logprob(cell: int, target: int) -> float:
    """Made up, but of both; a float32 holds it exactly."""
    return -((_mix(cell, target) >> 9) % 4096) / 256


def _output(cell: int, hidden_size: int) -> npt.NDArray[np.float32]:
    """Made up; sums of some thousands are exact in float32."""
    return np.asarray([(_mix(cell, index) >> 9) % 512 - 255.5 for index in range(hidden_size)], np.float32)


def _cell(token_id: int, seen: Sequence[int]) -> int:
    """What stands in the pool for a token."""
    return functools.reduce(_mix, seen, token_id + 1)


def _mix(state: int, token_id: int) -> int:
    state = (state ^ (token_id + 1)) * 0xBF58476D1CE4E5B9 & _MASK
    return state ^ (state >> 31)


def _draw(state: int, vocab_size: int, seed: int) -> int:
    return (_mix(state, seed) >> 7) % vocab_size
