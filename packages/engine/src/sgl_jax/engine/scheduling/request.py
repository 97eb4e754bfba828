"""A request on its way: one counter (`num_computed`) catching up with another (`num_tokens`)."""

from __future__ import annotations

from dataclasses import dataclass, field

from sgl_jax.engine.messages import Finish, GenerateRequest
from sgl_jax.engine.sampling_params import SamplingParams


@dataclass(slots=True, eq=False)
class Request:
    """Scheduling state of one sequence.

    There is no prefill or decode phase. A new request has its whole prompt to compute, a running
    one its latest token, a preempted one everything again; chunks and prefix hits only move
    `num_computed`.

    Attributes:
        token_ids: prompt and generated tokens that the host knows.
        num_prompt: how many of them were the prompt.
        max_tokens: longest that `token_ids` may grow (prompt plus output).
        stop_token_ids: ids that end the sequence.
        seed: 32 bits; the request's own or the engine's choice.
        priority: larger is more urgent.
        cache_salt: name space of its prefixes in the cache.
        arrival: running number, given by the scheduler.
        num_computed: tokens whose KV is written, or will be by the steps already dispatched.
        num_pending: tokens drawn by dispatched steps that the host has not read yet (0 or 1).
        slot: row of the device-resident state while running, else None.
        pages: KV pages, in sequence order.
        num_planned_pages: how many of `pages` the device's block table already holds.
        num_kept_pages: how many of `pages` the prefix cache was offered.
        num_cached: prompt tokens that came from the prefix cache at first admission; None before it.
        finish: set once, when the request has ended for whatever reason.
    """

    request_id: str
    token_ids: list[int]
    num_prompt: int
    max_tokens: int
    sampling: SamplingParams
    stop_token_ids: frozenset[int]
    seed: int
    priority: int = 0
    cache_salt: str = ""
    arrival: int = 0
    num_computed: int = 0
    num_pending: int = 0
    slot: int | None = None
    pages: list[int] = field(default_factory=list)
    num_planned_pages: int = 0
    num_kept_pages: int = 0
    num_cached: int | None = None
    finish: Finish | None = None

    @classmethod
    def create(cls, message: GenerateRequest, *, max_tokens: int, eos: frozenset[int], seed: int) -> Request:
        """Makes a request of a validated message; `eos` are the model's own stop tokens."""
        sampling = message.sampling
        stops = eos if not sampling.ignore_eos else frozenset[int]()
        return cls(
            request_id=message.request_id,
            token_ids=list(message.prompt_ids),
            num_prompt=len(message.prompt_ids),
            max_tokens=max_tokens,
            sampling=sampling,
            stop_token_ids=stops.union(sampling.stop_token_ids),
            seed=seed,
            priority=message.priority,
            cache_salt=message.cache_salt,
        )

    @property
    def num_tokens(self) -> int:
        """Length of the sequence, counting a drawn token that the host has not read."""
        return len(self.token_ids) + self.num_pending

    @property
    def computed_token_ids(self) -> list[int]:
        """Tokens that the host knows and whose KV is written."""
        return self.token_ids[: self.num_computed]

    @property
    def num_uncomputed(self) -> int:
        """Tokens still to be fed to the model before it can draw the next one; 0 when no more may be drawn."""
        num_tokens = len(self.token_ids) + self.num_pending
        return num_tokens - self.num_computed if num_tokens < self.max_tokens else 0

    def append(self, token_id: int) -> Finish | None:
        """Takes a drawn token; returns why the sequence ends here, if it does."""
        self.token_ids.append(token_id)
        if token_id in self.stop_token_ids:
            return Finish(reason="stop", matched=token_id)
        if len(self.token_ids) >= self.max_tokens:
            return Finish(reason="length")
        return None
