"""The engine's heart: takes requests, and makes one step after another with one step in flight.

A step has two halves. The first plans and dispatches step N+1; the second reads what step N drew
and books it. While the device computes N+1, the host is free to commit N and plan N+2, so host work
hides behind the device.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Sequence

import msgspec

from sgl_jax.engine.cache.prefix_cache import PrefixCache
from sgl_jax.engine.errors import ContextLengthError, InvalidRequestError, ProfileError, QueueFullError, SglJaxError
from sgl_jax.engine.messages import (
    ControlReply,
    ControlVerb,
    EngineInfo,
    Finish,
    GenerateRequest,
    StepOutputs,
    TokenDelta,
)
from sgl_jax.engine.plan import Executor, PendingStep
from sgl_jax.engine.sampling_params import SamplingParams
from sgl_jax.engine.scheduling.compiling import CompilingRequests
from sgl_jax.engine.scheduling.prompt_scores import PromptScores
from sgl_jax.engine.scheduling.request import Request
from sgl_jax.engine.scheduling.scheduler import ScheduledStep, Scheduler
from sgl_jax.engine.stats import EngineStats
from sgl_jax.engine.structured.compiler import GrammarCompiler

logger = logging.getLogger(__name__)

_SMOOTHING = 0.1
_COMPILE_POLL_SECONDS = 0.005
_PLAIN = SamplingParams()
_InFlight = tuple[ScheduledStep, PendingStep]


class EngineCore:
    """Scheduler and executor joined. Not thread-safe: one thread calls everything but construction.

    Args:
        executor: runs the plans.
        info: facts that do not change while the engine lives; its `max_model_len` falls to what the pool can carry.
        max_queued_requests: requests waiting for a slot beyond which new ones are refused.
        random_seed: base of the seeds given to requests that bring none.
        prefix_cache: keep the pages of past prompts and answers for those that begin the same way.
        schedule_policy: order of admission, see `WaitingQueue`.
        overlap: keep a step in flight while the one before is committed.
        grammars: compiles what requests ask their answers to look like; without it such requests are refused.
    """

    def __init__(
        self,
        executor: Executor,
        info: EngineInfo,
        *,
        max_queued_requests: int = 4096,
        random_seed: int = 0,
        overlap: bool = True,
        prefix_cache: bool = True,
        schedule_policy: str = "fcfs",
        grammars: GrammarCompiler | None = None,
    ) -> None:
        self._executor = executor
        self._scheduler = Scheduler(
            PrefixCache(
                *(executor.num_pages, executor.page_size),
                window=executor.window,
                enabled=prefix_cache,
                within_pages=executor.copies_pages,
            ),
            page_size=executor.page_size,
            max_slots=executor.max_slots,
            limits=executor.limits,
            policy=schedule_policy,
        )
        self.info = msgspec.structs.replace(info, max_model_len=min(info.max_model_len, self._scheduler.longest))
        self._compiling = CompilingRequests(grammars)
        self._max_queued_requests = max_queued_requests
        self._random = random.Random(random_seed)
        self._overlap = overlap
        self._eos = frozenset(info.eos_token_ids)
        self._in_flight: _InFlight | None = None
        self._ended: list[tuple[str, Finish]] = []
        self._paused = False
        self._stats = EngineStats(pages_total=executor.num_pages)
        self._compiles_at_start = executor.compiles

    def submit(self, request: GenerateRequest) -> None:
        """Queues a request.

        A refusal comes out of the next `step()` as a delta with `Finish(reason="error")`, so that
        there is one way to learn a request's fate. An id that is already live is dropped with a
        warning: answering it would end the other request.
        """
        if request.request_id in self._scheduler or request.request_id in self._compiling:
            logger.warning("request id %r is already in use; the second request was dropped", request.request_id)
            return
        try:
            self._accept(request, self._check(request))
        except SglJaxError as error:
            self._ended.append((request.request_id, _refusal(error)))

    def abort(self, request_ids: Sequence[str]) -> None:
        """Drops requests; nothing more comes out for them. Unknown ids are ignored."""
        self._scheduler.abort(request_ids)
        self._compiling.abort(request_ids)
        gone = frozenset(request_ids)
        self._ended = [ended for ended in self._ended if ended[0] not in gone]

    def has_work(self) -> bool:
        """Whether `step()` has anything to do; if not, wait for the next `submit`."""
        if self._paused:  # refusals still go out
            return bool(self._ended)
        return self._moves() or len(self._compiling) > 0

    def step(self) -> StepOutputs:
        """Dispatches the next step and commits the one before; returns what is new.

        Raises:
            RuntimeError: the device failed; the engine cannot go on.
        """
        if self._paused:
            return self._with_ended(StepOutputs())
        self._take_compiled()
        if self._in_flight is not None and self._scheduler.awaits_result:
            outputs = self._collect(self._in_flight)
            self._in_flight = self._dispatch()
            return self._with_ended(outputs)
        dispatched = self._dispatch()
        if self._overlap:
            due, self._in_flight = self._in_flight, dispatched
        else:
            due = dispatched
        return self._with_ended(StepOutputs() if due is None else self._collect(due))

    def stats(self) -> EngineStats:
        """A snapshot of counters and gauges."""
        stats = msgspec.structs.replace(self._stats)
        stats.running = len(self._scheduler.running)
        stats.waiting = len(self._scheduler.waiting) + len(self._compiling)
        stats.preempted_total = self._scheduler.preempted_total
        stats.pages_free = self._scheduler.cache.num_available
        stats.pages_cached = self._scheduler.cache.num_cached
        stats.pages_evicted_total = self._scheduler.cache.evicted_total
        stats.compiles_total = self._executor.compiles
        stats.compiles_after_warmup = self._executor.compiles - self._compiles_at_start
        return stats

    def control(self, control_id: str, verb: ControlVerb) -> ControlReply:
        """Answers a rare question, or carries out a rare order."""
        reply = ControlReply(control_id=control_id)
        try:
            match verb:
                case "stats":
                    reply = msgspec.structs.replace(reply, stats=self.stats())
                case "flush_cache":
                    self._scheduler.cache.flush()
                case "pause" | "continue":
                    self._paused = verb == "pause"
                case "start_profile":
                    reply = msgspec.structs.replace(reply, folder=self._executor.start_profile())
                case "stop_profile":
                    reply = msgspec.structs.replace(reply, folder=self._executor.stop_profile())
        except ProfileError as error:
            reply = msgspec.structs.replace(reply, error=str(error))
        return reply

    def check_integrity(self) -> None:
        """Asserts the scheduler's and the pool's invariants. For tests."""
        self._scheduler.check_integrity()

    def close(self) -> None:
        """Waits for the step in flight; the core is not usable afterwards."""
        self._compiling.close()
        if self._in_flight is not None:
            self._in_flight[1].collect()
            self._in_flight = None
        self._executor.close()

    def _check(self, request: GenerateRequest) -> int:
        """Validates a request; returns how long its sequence may grow."""
        prompt = request.prompt_ids
        self._check_kind(request)
        request.sampling.validate(self.info.vocab_size)
        if not prompt:
            raise InvalidRequestError("The prompt is empty: at least one token is needed.", "prompt")
        if min(prompt) < 0 or max(prompt) >= self.info.vocab_size:
            raise InvalidRequestError(f"Prompt token ids must lie in [0, {self.info.vocab_size}).", "prompt")
        if self._scheduler.backlog(len(self._compiling)) >= self._max_queued_requests:
            raise QueueFullError(f"{self._max_queued_requests} requests are waiting already; try again later.")
        longest = self.info.max_model_len
        if request.embedding is not None:
            if len(prompt) > longest:
                raise ContextLengthError(
                    f"The text has {len(prompt)} tokens; at most {longest} are embedded.", "prompt"
                )
            return len(prompt)
        wanted = request.sampling.max_new_tokens
        if len(prompt) >= longest and wanted != 0:
            raise ContextLengthError(
                f"The prompt has {len(prompt)} tokens; at most {longest - 1} leave room for an answer.", "prompt"
            )
        for name, tokens in (("max_new_tokens", wanted or 0), ("min_new_tokens", request.sampling.min_new_tokens)):
            if len(prompt) + tokens > longest:
                raise ContextLengthError(
                    f"{len(prompt)} prompt tokens and {name}={tokens} exceed the limit of {longest} tokens; "
                    f"ask for at most {max(longest - len(prompt), 0)}.",
                    name,
                )
        return longest if wanted is None else len(prompt) + wanted

    def _check_kind(self, request: GenerateRequest) -> None:
        """Refuses what this engine was not started for, and embeddings of a size that it does not have."""
        if request.embedding is None:
            if self.info.is_embedding:
                raise InvalidRequestError(
                    "This engine makes embeddings and generates no text; start it without --is-embedding for that."
                )
            return
        if not self.info.is_embedding:
            raise InvalidRequestError(
                "This engine generates text and makes no embeddings; start it with --is-embedding for that."
            )
        if request.sampling != _PLAIN:
            raise InvalidRequestError("An embedding has no sampling parameters: leave them out.", "sampling")
        dimensions, most = request.embedding.dimensions, self.info.hidden_size
        if dimensions is not None and not 1 <= dimensions <= most:
            raise InvalidRequestError(f"dimensions must lie in [1, {most}], got {dimensions}.", "dimensions")

    def _with_ended(self, outputs: StepOutputs) -> StepOutputs:
        """Adds the requests that ended without ever reaching a step."""
        if self._ended:
            for request_id, finish in self._ended:
                outputs.request_ids.append(request_id)
                outputs.deltas.append(TokenDelta([], finish))
            self._ended.clear()
        return outputs

    def _accept(self, request: GenerateRequest, max_tokens: int) -> None:
        """Queues a valid request; `max_tokens` is how long its sequence may grow."""
        scores = PromptScores.of(request)
        is_done = scores is None or scores.complete
        if max_tokens == len(request.prompt_ids) and is_done and request.embedding is None:
            self._ended.append((request.request_id, Finish(reason="length")))
            return
        seed = request.sampling.seed
        seed32 = self._random.getrandbits(32) if seed is None else (seed ^ (seed >> 32)) & 0xFFFFFFFF
        made = Request.create(request, max_tokens=max_tokens, eos=self._eos, seed=seed32, pooling=self.info.pooling)
        if request.sampling.grammar is None:
            self._scheduler.add(made)
        else:
            self._compiling.add(made, request.sampling.grammar)
        self._stats.prompt_tokens_total += len(request.prompt_ids)

    def _take_compiled(self) -> None:
        """Queues the requests whose grammar is ready now."""
        if not len(self._compiling):
            return
        for request, error in self._compiling.settled(0.0 if self._moves() else _COMPILE_POLL_SECONDS):
            if error is None:
                self._scheduler.add(request)
            else:
                self._ended.append((request.request_id, _refusal(error)))

    def _moves(self) -> bool:
        """Whether there is something to do without waiting for a grammar."""
        return self._in_flight is not None or bool(self._ended) or self._scheduler.has_work()

    def _dispatch(self) -> _InFlight | None:
        """Plans the next step and sends it off; None when there is nothing to compute."""
        begin = time.perf_counter()
        scheduled = self._scheduler.schedule()
        planned = time.perf_counter()
        if scheduled is None:
            return None
        in_flight = scheduled, self._executor.dispatch(scheduled.plan)
        stats = self._stats
        stats.schedule_ms += _SMOOTHING * ((planned - begin) * 1e3 - stats.schedule_ms)
        stats.dispatch_ms += _SMOOTHING * ((time.perf_counter() - planned) * 1e3 - stats.dispatch_ms)
        return in_flight

    def _collect(self, in_flight: _InFlight) -> StepOutputs:
        """Waits for a step and books what it drew."""
        step, pending = in_flight
        begin = time.perf_counter()
        result = pending.collect()
        arrived = time.perf_counter()
        outputs = self._scheduler.commit(step, result)
        stats = self._stats
        stats.steps_total += 1
        for delta in outputs.deltas:
            stats.generated_tokens_total += len(delta.token_ids)
            stats.cached_tokens_total += delta.cached_tokens
            stats.finished_total += delta.finish is not None
        stats.wait_ms += _SMOOTHING * ((arrived - begin) * 1e3 - stats.wait_ms)
        stats.commit_ms += _SMOOTHING * ((time.perf_counter() - arrived) * 1e3 - stats.commit_ms)
        return outputs


_REFUSAL_CODES = {ContextLengthError: "context_length", QueueFullError: "queue_full"}


def _refusal(error: SglJaxError) -> Finish:
    return Finish(
        reason="error",
        message=str(error),
        param=getattr(error, "param", None),
        code=_REFUSAL_CODES.get(type(error), "invalid_request"),
    )
