"""A request on its way: one counter (`num_computed`) catching up with another (`num_tokens`)."""

from __future__ import annotations

from dataclasses import dataclass, field

from sgl_jax.engine.cache.holding import Holding
from sgl_jax.engine.config.pooling import Pooling
from sgl_jax.engine.messages import Finish, GenerateRequest
from sgl_jax.engine.plan import SlotHistory
from sgl_jax.engine.sampling_params import SamplingParams
from sgl_jax.engine.scheduling.pooling import TextPooling
from sgl_jax.engine.scheduling.prompt_scores import PromptScores
from sgl_jax.engine.structured.constraint import Constraint, GrammarFailedError
from sgl_jax.engine.structured.mask import MaskRow


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
        min_tokens: length up to which stop tokens end nothing.
        adjusts: whether its logits are adjusted before a draw.
        stop_token_ids: ids that end the sequence.
        seed: 32 bits; the request's own or the engine's choice.
        priority: larger is more urgent.
        cache_salt: name space of its prefixes in the cache.
        arrival: running number, given by the scheduler.
        queued_at: clock (seconds) when it joined the queue for the first time.
        num_computed: tokens whose KV is written, or will be by the steps already dispatched.
        num_pending: tokens drawn by dispatched steps that the host has not read yet (0 or 1).
        slot: row of the device-resident state while running, else None.
        held: its KV pages; nothing while it waits.
        num_planned_pages: how many of the sequence's pages the device's block table has been told; 0 when
            the slot is new.
        num_cached: prompt tokens that came from the prefix cache at first admission; None before it.
        queue_seconds: how long it waited for that.
        constraint: the way through its grammar, if it has one.
        mask: tokens that may be drawn next, see `SlotPlan.mask`.
        scores: log-probabilities of its prompt, if it asks for them.
        pooling: its embedding, if it wants that and nothing generated.
        finish: set once, when the request has ended for whatever reason.
    """

    request_id: str
    token_ids: list[int]
    num_prompt: int
    max_tokens: int
    sampling: SamplingParams
    stop_token_ids: frozenset[int]
    seed: int
    min_tokens: int = 0
    adjusts: bool = False
    priority: int = 0
    cache_salt: str = ""
    arrival: int = 0
    queued_at: float = 0.0
    num_computed: int = 0
    num_pending: int = 0
    slot: int | None = None
    held: Holding = field(default_factory=Holding)
    num_planned_pages: int = 0
    num_cached: int | None = None
    queue_seconds: float = 0.0
    constraint: Constraint | None = None
    mask: MaskRow | None = None
    scores: PromptScores | None = None
    pooling: TextPooling | None = None
    finish: Finish | None = None

    @classmethod
    def create(
        cls,
        message: GenerateRequest,
        *,
        max_tokens: int,
        eos: frozenset[int],
        seed: int,
        pooling: Pooling | None = None,
    ) -> Request:
        """Makes a request of a validated message; `eos` are the model's own stop tokens, `pooling` its way to embed."""
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
            min_tokens=len(message.prompt_ids) + sampling.min_new_tokens,
            adjusts=sampling.adjusts_logits,
            priority=message.priority,
            cache_salt=message.cache_salt,
            scores=PromptScores.of(message),
            pooling=TextPooling.of(message, pooling),
        )

    @property
    def num_tokens(self) -> int:
        """Length of the sequence, counting a drawn token that the host has not read."""
        return len(self.token_ids) + self.num_pending

    @property
    def num_uncomputed(self) -> int:
        """Tokens still to be fed to the model before it can draw the next one; 0 when no more may be drawn."""
        num_tokens = len(self.token_ids) + self.num_pending
        if num_tokens < self.max_tokens:
            return num_tokens - self.num_computed
        if self.pooling is not None:
            return self.num_prompt - self.num_computed
        return max(self.num_prompt - 1 - self.num_computed, 0) if self.only_scores else 0

    @property
    def only_scores(self) -> bool:
        """Whether nothing is to be drawn, and the prompt is computed only to be looked at."""
        return self.scores is not None and self.max_tokens == self.num_prompt

    @property
    def reusable(self) -> list[int]:
        """The leading tokens that may come from the prefix cache.

        Never the last two: the last one's logits draw the next token, and by itself it would be computed otherwise
        than in a prompt (see `Budget`). Nor those whose logits say how likely the prompt is, or whose outputs make the
        embedding.
        """
        count = max(len(self.token_ids) - 2, 0)
        if self.scores is not None:
            count = min(count, self.scores.num_reusable)
        if self.pooling is not None:
            count = min(count, self.pooling.num_reusable)
        return self.token_ids[:count]

    def history(self) -> SlotHistory:
        """What a slot must know to adjust this request's logits; every token must have been read."""
        assert not self.num_pending
        prompt_ids, generated_ids = self.token_ids[: self.num_prompt], self.token_ids[self.num_prompt :]
        return SlotHistory(prompt_ids, generated_ids, self.stop_token_ids)

    def constrain(self, constraint: Constraint) -> None:
        """Binds the answer to a grammar, from its start on."""
        self.constraint = constraint
        self.mask = constraint.allowed()

    def extend(self, token_id: int) -> tuple[list[int], Finish | None]:
        """Takes a drawn token and those that its grammar forces after it.

        Returns:
            The tokens taken, and why the sequence ends behind them, if it does.
        """
        taken, finish = [token_id], self.append(token_id)
        constraint = self.constraint
        if constraint is None or finish is not None:
            return taken, finish
        try:
            constraint.accept(token_id)
            # Nobody draws a forced token: it has no log-probability, and the device does not count it.
            forced = constraint.forced() if self.sampling.logprobs is None and not self.adjusts else []
            self.mask = constraint.allowed()
        except GrammarFailedError as error:
            return taken, Finish(reason="error", code="invalid_request", param="grammar", message=str(error))
        for token in forced:
            taken.append(token)
            if (finish := self.append(token)) is not None:
                return taken, finish
        return taken, Finish(reason="stop") if constraint.finished else None

    def append(self, token_id: int) -> Finish | None:
        """Takes a drawn token; returns why the sequence ends here, if it does."""
        self.token_ids.append(token_id)
        if token_id in self.stop_token_ids and len(self.token_ids) > self.min_tokens:
            return Finish(reason="stop", matched=token_id)
        if len(self.token_ids) >= self.max_tokens:
            return Finish(reason="length")
        return None
