"""The contract between scheduling and execution: plain frozen integers down, plain arrays up.

`scheduling/` and `execution/` never import each other. A `StepPlan` says which tokens of which
slots to compute; a `StepResult` says which token each sampling slot drew.

A *slot* is a running request's row in the device-resident state (last token, block table). It is
assigned at admission and stays the same until the request ends or is preempted.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from sgl_jax.engine.sampling_params import SamplingParams


class SlotHistory(msgspec.Struct, frozen=True):
    """What the device is told once, when a request whose logits are adjusted gets a slot; it counts on from there.

    Attributes:
        prompt_ids, generated_ids: the whole sequence so far.
        ending_ids: tokens that end it; not to be drawn before `sampling.min_new_tokens` others.
    """

    prompt_ids: Sequence[int]
    generated_ids: Sequence[int]
    ending_ids: Collection[int]


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
        adjust: whether the logits are adjusted before the draw (penalties, bias, minimum length).
        history: what the slot must know for that, in the first plan of a request that ever adjusts.
        targets: the token after each of these, where its log-probability is wanted (one less at a prompt's end).
        pooled: first and one past the last of these tokens whose outputs are added up for an embedding; None for none.
        mask: uint32[ceil(V / 32)], bit `t % 32` of word `t // 32` for "token t may be drawn"; None allows all.
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
    adjust: bool = False
    history: SlotHistory | None = None
    mask: npt.NDArray[np.uint32] | None = None
    targets: Sequence[int] = ()
    pooled: tuple[int, int] | None = None


class PageCopy(NamedTuple):
    """A page that begins like another one: all of `source` goes to `target`, in every layer."""

    source: int
    target: int


class StepPlan(msgspec.Struct, frozen=True):
    """One device step.

    Attributes:
        slots: distinct ones; those that compute a single token come first.
        copies: what happens before anything else, in this order.
    """

    slots: tuple[SlotPlan, ...]
    copies: tuple[PageCopy, ...] = ()

    @property
    def num_tokens(self) -> int:
        """Tokens computed in this step, over all slots."""
        return sum(slot.num_tokens for slot in self.slots)

    @property
    def is_fresh(self) -> bool:
        """Whether every row is a prompt from its beginning on: nothing of it is cached, nothing is decoded."""
        return all(slot.start == 0 for slot in self.slots)

    @property
    def wants_logprobs(self) -> bool:
        """Whether any row that draws asked for log-probabilities."""
        return any(slot.sample and slot.sampling.logprobs is not None for slot in self.slots)

    @property
    def wants_scores(self) -> bool:
        """Whether any row wants log-probabilities of its prompt, or of chosen tokens."""
        return any(slot.targets or slot.sampling.token_ids_logprob for slot in self.slots)

    @property
    def wants_chosen(self) -> bool:
        """Whether any row wants log-probabilities of chosen tokens."""
        return any(slot.sampling.token_ids_logprob for slot in self.slots)

    @property
    def wants_pooled(self) -> bool:
        """Whether any row's outputs are added up for an embedding."""
        return any(slot.pooled is not None for slot in self.slots)


class PromptLogprobs(msgspec.Struct, frozen=True):
    """Log-probabilities of prompt tokens, one row a computed token, in the order of the plan.

    Attributes:
        logprobs: float32[T], of the target behind the token; arbitrary where there is none.
        top_ids, top_logprobs: int32[T, 20] and float32[T, 20], best first.
        chosen: float32[T, at least as many as any row chose], of `token_ids_logprob`; also where a row draws.
    """

    logprobs: npt.NDArray[np.float32]
    top_ids: npt.NDArray[np.int32]
    top_logprobs: npt.NDArray[np.float32]
    chosen: npt.NDArray[np.float32] | None = None


class StepResult(msgspec.Struct, frozen=True):
    """What the device drew, row `i` for `plan.slots[i]`; rows that did not sample hold arbitrary values.

    Attributes:
        token_ids: int32[R].
        logprobs: float32[R], log-probability of the drawn token under the model's untempered
            distribution; None when no row asked.
        top_ids, top_logprobs: int32[R, 20] and float32[R, 20], best first; None when no row asked.
        prompt: of prompt tokens, and of chosen ones; None when no row asked.
        pooled: float32[R, hidden], the sum of each row's `SlotPlan.pooled`; None when no row asked.
    """

    token_ids: npt.NDArray[np.int32]
    logprobs: npt.NDArray[np.float32] | None = None
    top_ids: npt.NDArray[np.int32] | None = None
    top_logprobs: npt.NDArray[np.float32] | None = None
    prompt: PromptLogprobs | None = None
    pooled: npt.NDArray[np.float32] | None = None


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
    window: int | None
    """Keys that a token sees at most in any layer, its own included; None when some layer sees all."""
    limits: StepLimits
    """What one plan may hold at most."""
    copies_pages: bool
    """Whether plans may have copies: where computing a few tokens again costs more than one."""
    compiles: int
    """XLA compilations so far."""

    def warmup(self, on_progress: ProgressCallback) -> None:
        """Compiles (and runs) every bucket."""

    def dispatch(self, plan: StepPlan) -> PendingStep:
        """Starts a step and returns without waiting for it."""

    def close(self) -> None:
        """Nothing will be dispatched any more."""

    def start_profile(self) -> str:
        """Records what the device does from now on; returns the folder.

        Raises:
            ProfileError: it records already, or cannot.
        """

    def stop_profile(self) -> str:
        """Writes what was recorded; returns the folder. Raises `ProfileError` when nothing is recorded."""


class ProgressCallback(Protocol):
    """Hears how far long work has come."""

    def __call__(self, done: int, total: int) -> None:
        """Reports `done` of `total` parts."""
