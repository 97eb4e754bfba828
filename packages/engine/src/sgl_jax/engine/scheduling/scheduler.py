"""Continuous batching without phases: every step, each running request moves towards its own length.

One step is `schedule()` -> device -> `commit()`. With overlap, step N+1 is scheduled before step N
is committed: a request then has one *pending* token, drawn but unread. The scheduler may count it
(lengths are certain) but not look at it, so a sequence that ends with a stop token overruns by one
step; `commit` drops that extra token.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from sgl_jax.engine.cache.page_pool import PagePool
from sgl_jax.engine.messages import Finish, StepOutputs, TokenDelta, TokenLogprobs
from sgl_jax.engine.plan import SlotPlan, StepLimits, StepPlan, StepResult
from sgl_jax.engine.scheduling.budget import Budget
from sgl_jax.engine.scheduling.queue import WaitingQueue
from sgl_jax.engine.scheduling.request import Request


class ScheduledStep(msgspec.Struct, frozen=True):
    """A plan, and whose it is: `requests[i]` owns `plan.slots[i]`."""

    plan: StepPlan
    requests: tuple[Request, ...]


class Scheduler:
    """Owns all requests between `add` and their last delta.

    Args:
        pool: the KV pages to hand out.
        page_size: tokens a page.
        max_slots: requests that may run at once.
        limits: bounds of one step.
    """

    def __init__(self, pool: PagePool, *, page_size: int, max_slots: int, limits: StepLimits) -> None:
        self.pool = pool
        self.waiting = WaitingQueue()
        self.running: dict[str, Request] = {}
        self.preempted_total = 0
        self._page_size = page_size
        self._limits = limits
        self._free_slots = list(range(max_slots - 1, -1, -1))

    def __contains__(self, request_id: str) -> bool:
        return request_id in self.running or request_id in self.waiting

    def has_work(self) -> bool:
        """Whether any request is not finished yet."""
        return bool(self.running) or len(self.waiting) > 0

    def add(self, request: Request) -> None:
        """Queues a request that fits the pool (the core has checked)."""
        self.waiting.push(request)

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
        budget = Budget(self._limits)
        planned: list[tuple[Request, SlotPlan]] = []
        for request in list(self.running.values()):
            if request.slot is None:
                continue  # preempted by a request before it in this very loop
            count = budget.grant(request.num_uncomputed)
            if count and self._reserve(request, request.num_computed + count):
                planned.append((request, self._plan(request, count)))
                budget.spend(count)
        while budget.remaining and (admitted := self._admit()) is not None:
            count = budget.grant(admitted.num_uncomputed)
            planned.append((admitted, self._plan(admitted, count)))
            budget.spend(count)
        if not planned:
            return None
        planned.sort(key=_chunks_last)
        return ScheduledStep(StepPlan(tuple(plan for _, plan in planned)), tuple(request for request, _ in planned))

    def commit(self, step: ScheduledStep, result: StepResult) -> StepOutputs:
        """Books what a step drew and says what is new for whom."""
        request_ids: list[str] = []
        deltas: list[TokenDelta] = []
        token_ids = result.token_ids.tolist()
        for row, (request, plan) in enumerate(zip(step.requests, step.plan.slots, strict=True)):
            if not plan.sample:
                continue
            request.num_pending -= 1
            if request.finish is not None:
                continue
            token_id = token_ids[row]
            first = len(request.token_ids) == request.num_prompt
            finish = request.append(token_id)
            if finish is not None:
                self._end(request, finish)
            request_ids.append(request.request_id)
            deltas.append(
                TokenDelta(
                    [token_id],
                    finish,
                    request.num_cached if first else 0,
                    [] if request.sampling.logprobs is None else [_logprobs(request.sampling.logprobs, result, row)],
                )
            )
        return StepOutputs(request_ids, deltas)

    def check_integrity(self) -> None:
        """Asserts that pages and slots are owned exactly once. For tests."""
        self.pool.check_integrity()
        held = [page for request in self.running.values() for page in request.pages]
        assert len(held) == len(set(held)), "two requests hold the same page"
        assert len(held) + self.pool.num_free == self.pool.num_pages, "a page is lost"
        slots = [request.slot for request in self.running.values()]
        assert None not in slots, "a running request has no slot"
        assert len(set(slots) | set(self._free_slots)) == len(slots) + len(self._free_slots), "a slot is owned twice"
        for request in self.running.values():
            assert request.num_computed <= len(request.pages) * self._page_size, "computed past its pages"
            assert request.finish is None, "a finished request is still running"

    def _plan(self, request: Request, count: int) -> SlotPlan:
        """Turns `count` granted tokens into a plan and moves the request's counters past them."""
        assert request.slot is not None
        start = request.num_computed
        end = start + count
        sample = end == request.num_tokens
        known = len(request.token_ids)
        first_page = request.num_planned_pages
        plan = SlotPlan(
            request.slot,
            start,
            count,
            request.token_ids[start:end] if end <= known else (),
            first_page,
            request.pages[first_page:],
            sample,
            request.sampling,
            request.seed,
        )
        request.num_planned_pages = len(request.pages)
        request.num_computed = end
        request.num_pending += sample
        return plan

    def _reserve(self, request: Request, num_tokens: int) -> bool:
        """Gives the request pages for `num_tokens`, preempting later ones if need be."""
        missing = self._pages_for(num_tokens) - len(request.pages)
        while missing > 0 and not self.pool.can_allocate(missing):
            victim = next(reversed(self.running.values()))
            self._preempt(victim)
            if victim is request:
                return False
        if missing > 0:
            request.pages += self.pool.allocate(missing)
        return True

    def _admit(self) -> Request | None:
        """Moves the head of the queue to the running set if a slot and pages for all its tokens are free.

        Pages for the whole known sequence are taken at once: a prompt that was begun can be finished.
        """
        request = self.waiting.peek()
        if request is None or not self._free_slots or request.num_pending:
            return None  # a pending token of a preempted request arrives with the next commit
        pages = self._pages_for(request.num_tokens)
        if not self.pool.can_allocate(pages):
            return None
        self.waiting.pop()
        request.pages = self.pool.allocate(pages)
        request.slot = self._free_slots.pop()
        self.running[request.request_id] = request
        return request

    def _preempt(self, request: Request) -> None:
        """Takes everything from a running request; it will be computed again from its first token."""
        self._release(request)
        request.num_computed = 0
        self.waiting.push_front(request)
        self.preempted_total += 1

    def _end(self, request: Request, finish: Finish) -> None:
        request.finish = finish
        self._release(request)
        self.waiting.remove(request.request_id)  # a preempted request can end there, by its pending token

    def _release(self, request: Request) -> None:
        self.running.pop(request.request_id, None)
        self.pool.release(request.pages)
        request.pages = []
        request.num_planned_pages = 0
        if request.slot is not None:
            self._free_slots.append(request.slot)
            request.slot = None

    def _pages_for(self, num_tokens: int) -> int:
        return -(-num_tokens // self._page_size)


def _chunks_last(planned: tuple[Request, SlotPlan]) -> bool:
    return planned[1].num_tokens > 1


def _logprobs(wanted: int, result: StepResult, row: int) -> TokenLogprobs:
    assert result.logprobs is not None
    top: list[tuple[int, float]] = []
    if wanted:
        assert result.top_ids is not None
        assert result.top_logprobs is not None
        top = list(zip(result.top_ids[row, :wanted].tolist(), result.top_logprobs[row, :wanted].tolist(), strict=True))
    return TokenLogprobs(float(result.logprobs[row]), top)
