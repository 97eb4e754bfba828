"""Continuous batching without phases: every step, each running request moves towards its own length.

One step is `schedule()` -> device -> `commit()`. With overlap, step N+1 is scheduled before step N
is committed: a request then has one *pending* token, drawn but unread. The scheduler may count it
(lengths are certain) but not look at it, so a sequence that ends with a stop token overruns by one
step; `commit` drops that extra token. Only a grammar has to look: see `awaits_result`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable

import msgspec
import numpy as np
import numpy.typing as npt

from sgl_jax.engine.cache.holding import Holding
from sgl_jax.engine.cache.prefix_cache import PrefixCache
from sgl_jax.engine.messages import Finish, StepOutputs, TokenDelta, TokenLogprobs
from sgl_jax.engine.plan import PageCopy, PromptLogprobs, SlotPlan, StepLimits, StepPlan, StepResult
from sgl_jax.engine.scheduling.budget import Budget
from sgl_jax.engine.scheduling.prompt_scores import chosen_logprobs
from sgl_jax.engine.scheduling.queue import WaitingQueue
from sgl_jax.engine.scheduling.request import Request


class ScheduledStep(msgspec.Struct, frozen=True):
    """A plan, and whose it is: `requests[i]` owns `plan.slots[i]`."""

    plan: StepPlan
    requests: tuple[Request, ...]


class Scheduler:
    """Owns all requests between `add` and their last delta.

    Args:
        cache: the KV pages, those of the past included.
        page_size: tokens a page.
        max_slots: requests that may run at once.
        limits: bounds of one step.
        policy: order of admission, see `WaitingQueue`.
    """

    def __init__(
        self, cache: PrefixCache, *, page_size: int, max_slots: int, limits: StepLimits, policy: str = "fcfs"
    ) -> None:
        self.cache = cache
        self.waiting = WaitingQueue(policy)
        self.running: dict[str, Request] = {}
        self.preempted_total = 0
        self._arrivals = 0
        self._arrivals_seen = 0
        self._page_size = page_size
        self._limits = limits
        self._max_slots = max_slots
        self._most_pages = cache.window.most_pages(limits.max_chunk)
        self._free_slots = list(range(max_slots - 1, -1, -1))

    def __contains__(self, request_id: str) -> bool:
        return request_id in self.running or request_id in self.waiting

    @property
    def longest(self) -> int:
        """Tokens that a sequence may grow to in this pool, if it has the pool to itself."""
        bound = self.cache.window.longest_sequence(self.cache.num_pages, self._limits.max_chunk)
        return sys.maxsize if bound is None else bound

    @property
    def awaits_result(self) -> bool:
        """Whether a running request cannot be planned before its last token is committed: its grammar must see it."""
        return any(request.num_pending and request.constraint is not None for request in self.running.values())

    def backlog(self, coming: int) -> int:
        """Requests that find no free slot, or that a step has passed over although there was one.

        Args:
            coming: requests that will be added later.
        """
        new = self._arrivals - self._arrivals_seen + coming
        return len(self.waiting) + coming - min(new, len(self._free_slots))

    def has_work(self) -> bool:
        """Whether any request is not finished yet."""
        return bool(self.running) or len(self.waiting) > 0

    def add(self, request: Request) -> None:
        """Queues a request that fits the pool (the core has checked)."""
        self._arrivals += 1
        request.arrival = self._arrivals
        request.queued_at = time.monotonic()
        self._wait(request)

    def abort(self, request_ids: Iterable[str]) -> None:
        """Drops requests and frees what they hold; unknown ids are ignored."""
        for request_id in request_ids:
            request = self.waiting.get(request_id) or self.running.get(request_id)
            if request is not None:
                self._end(request, Finish(reason="abort"))

    def schedule(self) -> ScheduledStep | None:
        """Plans the next step; None when nothing can move until an earlier step is committed.

        Running requests come first and in order of admission, so that neither a long prompt nor a
        full queue can starve them; what remains of the budget admits waiting ones.
        """
        budget = Budget(self._limits, self._max_slots)
        planned: list[tuple[Request, SlotPlan]] = []
        copies: list[PageCopy] = []
        self.cache.begin_step()
        self._arrivals_seen = self._arrivals
        for request in list(self.running.values()):
            if request.slot is None:
                continue  # preempted by a request before it in this very loop
            count = budget.grant(request.num_uncomputed)
            if count and self._reserve(request):
                planned.append((request, self._plan(request, count)))
                budget.spend(count)
        while budget.remaining and (admitted := self._admit(copies)) is not None:
            count = budget.grant(admitted.num_uncomputed)
            if not count:
                break  # too little is left for a part of it
            planned.append((admitted, self._plan(admitted, count)))
            budget.spend(count)
        if not planned:
            return None
        planned.sort(key=_chunks_last)
        requests, plans = zip(*planned, strict=True)
        return ScheduledStep(StepPlan(plans, tuple(copies)), requests)

    def commit(self, step: ScheduledStep, result: StepResult) -> StepOutputs:
        """Books what a step drew and says what is new for whom."""
        request_ids: list[str] = []
        deltas: list[TokenDelta] = []
        token_ids = result.token_ids.tolist()
        if result.prompt is not None:
            self._book_prompts(step, result.prompt, request_ids, deltas)
        last_token = -1
        for row, (request, plan) in enumerate(zip(step.requests, step.plan.slots, strict=True)):
            last_token += plan.num_tokens
            if request.pooling is not None:
                self._book_outputs(request, plan, result.pooled, row, request_ids, deltas)
            if not plan.sample:
                continue
            request.num_pending -= 1
            if request.finish is not None:
                continue
            first = len(request.token_ids) == request.num_prompt
            taken, finish = request.extend(token_ids[row])
            if finish is not None:
                self._end(request, finish)
            request_ids.append(request.request_id)
            deltas.append(
                TokenDelta(
                    taken,
                    finish,
                    (request.num_cached or 0) if first else 0,
                    [] if request.sampling.logprobs is None else [_logprobs(request, result, row, last_token)],
                    request.queue_seconds if first else 0.0,
                    request.scores.entries if first and request.scores is not None else [],
                )
            )
        return StepOutputs(request_ids, deltas)

    def check_integrity(self) -> None:
        """Asserts that pages and slots are owned exactly once. For tests."""
        self.cache.check_integrity([request.held for request in self.running.values()])
        slots = [request.slot for request in self.running.values()]
        assert None not in slots, "a running request has no slot"
        assert len(set(slots) | set(self._free_slots)) == len(slots) + len(self._free_slots), "a slot is owned twice"
        for request in self.running.values():
            held = request.held
            assert request.num_computed <= held.end * self._page_size, "computed past its pages"
            assert self._most_pages is None or len(held.pages) <= self._most_pages, "more pages than one can need"
            assert request.finish is None, "a finished request is still running"

    def _book_prompts(
        self, step: ScheduledStep, found: PromptLogprobs, request_ids: list[str], deltas: list[TokenDelta]
    ) -> None:
        """Gives requests the log-probabilities of their prompts, and ends those that wanted nothing else."""
        row = 0
        for request, plan in zip(step.requests, step.plan.slots, strict=True):
            scores = request.scores
            if plan.targets and scores is not None and request.finish is None:
                scores.take(plan, found, row)
                if request.only_scores and scores.complete:
                    self._end(request, Finish(reason="length"))
                    request_ids.append(request.request_id)
                    cached, waited = request.num_cached or 0, request.queue_seconds
                    deltas.append(TokenDelta([], request.finish, cached, [], waited, scores.entries))
            row += plan.num_tokens

    def _book_outputs(
        self,
        request: Request,
        plan: SlotPlan,
        pooled: npt.NDArray[np.float32] | None,
        row: int,
        request_ids: list[str],
        deltas: list[TokenDelta],
    ) -> None:
        """Gives a request what its embedding is made of, and ends it when that is all."""
        pooling = request.pooling
        if pooling is None or request.finish is not None:
            return
        pooling.take(plan, None if pooled is None else pooled[row])
        if pooling.complete:
            finish = Finish(reason="stop")
            self._end(request, finish)
            request_ids.append(request.request_id)
            cached, waited = request.num_cached or 0, request.queue_seconds
            deltas.append(TokenDelta([], finish, cached, [], waited, [], pooling.vector()))

    def _plan(self, request: Request, count: int) -> SlotPlan:
        """Turns `count` granted tokens into a plan and moves the request's counters past them."""
        assert request.slot is not None
        start = request.num_computed
        end = start + count
        sample = end == request.num_tokens and request.pooling is None
        known = len(request.token_ids)
        first_page = max(request.num_planned_pages, request.held.first)
        plan = SlotPlan(
            request.slot,
            start,
            count,
            request.token_ids[start:end] if end <= known else (),
            first_page,
            request.held.since(first_page),
            sample,
            request.sampling,
            request.seed,
            sample and request.adjusts,
            request.history() if request.adjusts and not request.num_planned_pages else None,  # a new slot
            request.mask if sample else None,
            request.scores.targets(request.token_ids, start, end) if request.scores is not None else (),
            request.pooling.span(start, end) if request.pooling is not None else None,
        )
        request.num_planned_pages = request.held.end
        request.num_computed = end
        request.num_pending += sample
        if count > 1:
            self._keep(request)  # siblings share a prompt's pages as soon as they are being written
        return plan

    def _reserve(self, request: Request) -> bool:
        """Gives the request pages for its next step, preempting later ones if need be."""
        if self._most_pages is not None:
            self.cache.advance(request.held, request.token_ids, request.num_computed)
        missing = self._missing(request, request.held)
        while missing > 0 and not self.cache.can_allocate(missing):
            victim = next(reversed(self.running.values()))
            self._preempt(victim)
            if victim is request:
                return False
        if missing > 0:
            request.held.pages += self.cache.allocate(missing)
        return True

    def _admit(self, copies: list[PageCopy]) -> Request | None:
        """Moves the head of the queue to the running set if a slot and pages for all its tokens are free.

        Adds to `copies` what the step is to begin with for its sake.

        Pages for the whole known sequence (with a window, for as much as it ever holds at once) are taken
        together: a prompt that was begun can be finished.
        """
        request = self.waiting.peek()
        if request is None or not self._free_slots or request.num_pending:
            return None  # a pending token of a preempted request arrives with the next commit
        reusable = request.reusable
        held = self.cache.match(reusable, request.cache_salt, request.priority)
        page, num_alike = self.cache.like(held, reusable)
        num_computed = held.end * self._page_size + num_alike
        self.cache.advance(held, request.token_ids, num_computed)
        missing = self._missing(request, held)
        if not self.cache.can_allocate(missing):
            self.cache.release(held)
            return None
        self.waiting.remove(request.request_id)
        request.held = held
        request.num_computed = num_computed
        own = self.cache.allocate(missing)
        held.pages += own
        if num_alike:
            copies.append(PageCopy(page, own[0]))
        if request.num_cached is None:
            request.num_cached = request.num_computed
            request.queue_seconds = time.monotonic() - request.queued_at
        request.slot = self._free_slots.pop()
        self.running[request.request_id] = request
        return request

    def _preempt(self, request: Request) -> None:
        """Takes everything from a running request; what the cache does not keep will be computed again."""
        self._release(request)
        self._wait(request)
        self.preempted_total += 1

    def _wait(self, request: Request) -> None:
        looks = self.waiting.looks_at_prefixes
        self.waiting.push(request, self.cache.matched_length(request.token_ids, request.cache_salt) if looks else 0)

    def _keep(self, request: Request) -> None:
        """Offers the request's full computed pages to the prefix cache."""
        self.cache.keep(request.held, request.token_ids, request.num_computed)

    def _end(self, request: Request, finish: Finish) -> None:
        request.finish = finish
        self._release(request)
        self.waiting.remove(request.request_id)  # a preempted request can end there, by its pending token

    def _release(self, request: Request) -> None:
        """Gives back slot and pages, if it has any; what was computed stays in the cache while there is room."""
        if self.running.pop(request.request_id, None) is None:
            return
        self.cache.keep_all(request.held, request.token_ids, request.num_computed)
        self.cache.release(request.held)
        request.held = Holding()
        request.num_computed = request.num_planned_pages = 0
        if request.slot is not None:
            self._free_slots.append(request.slot)
            request.slot = None

    def _missing(self, request: Request, held: Holding) -> int:
        """Pages to be added to those held before the whole sequence, or as much as fits a window, has its place."""
        missing = self.cache.window.pages_for(request.num_tokens) - held.end
        return missing if self._most_pages is None else min(missing, self._most_pages - len(held.pages))


def _chunks_last(planned: tuple[Request, SlotPlan]) -> bool:
    return planned[1].num_tokens > 1


def _logprobs(request: Request, result: StepResult, row: int, last_token: int) -> TokenLogprobs:
    """Of what a row drew; `last_token` is the last one computed for it, counted over all rows."""
    wanted = request.sampling.logprobs
    assert result.logprobs is not None
    top: list[tuple[int, float]] = []
    if wanted:
        assert result.top_ids is not None
        assert result.top_logprobs is not None
        top = list(zip(result.top_ids[row, :wanted].tolist(), result.top_logprobs[row, :wanted].tolist(), strict=True))
    chosen = chosen_logprobs(result.prompt, last_token, len(request.sampling.token_ids_logprob))
    return TokenLogprobs(float(result.logprobs[row]), top, chosen)
