"""The contract between scheduling and execution: plain frozen integers down, plain arrays up.

`scheduling/` and `execution/` never import each other. A `StepPlan` says which tokens of which
slots to compute; a `StepResult` says which token each sampling slot drew.

A *slot* is a running request's row in the device-resident state (last token, block table). It is
assigned at admission and stays the same until the request ends or is preempted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from sgl_jax.engine.sampling_params import SamplingParams


class SlotPlan(msgspec.Struct, frozen=True):
    """One request's share of a step: compute `num_tokens` tokens from position `start`.

    Attributes:
        slot: row of the device-resident state.
        start: position of the first token computed, = tokens whose KV is already there.
        num_tokens: how many tokens are computed, at least 1.
        token_ids: the ids, when the host knows them; empty means "the slot's last drawn token",
            which only the device knows yet (then `num_tokens` is 1).
        new_page_index: index in the slot's block table of the first of `new_pages`.
        new_pages: page ids to append to the slot's block table before the step.
        sample: whether the last of these tokens draws a new one.
        sampling: how to draw it.
        seed: 32-bit seed of the draw (the request's own or one given by the engine).
    """

    slot: int
    start: int
    num_tokens: int
    token_ids: Sequence[int]
    new_page_index: int
    new_pages: Sequence[int]
    sample: bool
    sampling: SamplingParams
    seed: int


class StepPlan(msgspec.Struct, frozen=True):
    """One device step. Slots are distinct; those that compute a single token come first."""

    slots: tuple[SlotPlan, ...]

    @property
    def num_tokens(self) -> int:
        """Tokens computed in this step, over all slots."""
        return sum(slot.num_tokens for slot in self.slots)

    @property
    def wants_logprobs(self) -> bool:
        """Whether any row that draws asked for log-probabilities."""
        return any(slot.sample and slot.sampling.logprobs is not None for slot in self.slots)


class StepResult(msgspec.Struct, frozen=True):
    """What the device drew, row `i` for `plan.slots[i]`; rows that did not sample hold arbitrary values.

    Attributes:
        token_ids: int32[R].
        logprobs: float32[R], log-probability of the drawn token under the model's untempered
            distribution; None when no row asked.
        top_ids, top_logprobs: int32[R, 20] and float32[R, 20], best first; None when no row asked.
    """

    token_ids: npt.NDArray[np.int32]
    logprobs: npt.NDArray[np.float32] | None = None
    top_ids: npt.NDArray[np.int32] | None = None
    top_logprobs: npt.NDArray[np.float32] | None = None


class PendingStep(Protocol):
    """A dispatched step whose result may not be there yet."""

    def collect(self) -> StepResult:
        """Blocks until the device is done and returns host arrays."""


class StepLimits(msgspec.Struct, frozen=True):
    """Bounds of one step.

    Attributes:
        max_tokens: tokens computed over all requests.
        max_chunk: tokens computed for one request.
    """

    max_tokens: int
    max_chunk: int


class Executor(Protocol):
    """Runs plans in the order given. Implemented by `execution.executor` and `execution.fake`."""

    num_pages: int
    page_size: int
    max_slots: int
    max_pages_per_slot: int
    limits: StepLimits
    """What one plan may hold at most."""
    compiles: int
    """XLA compilations so far."""

    def warmup(self, on_progress: ProgressCallback) -> None:
        """Compiles (and runs) every bucket."""

    def dispatch(self, plan: StepPlan) -> PendingStep:
        """Starts a step and returns without waiting for it."""


class ProgressCallback(Protocol):
    """Hears how far long work has come."""

    def __call__(self, done: int, total: int) -> None:
        """Reports `done` of `total` parts."""
