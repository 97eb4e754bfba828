"""What a caller may ask of one generation: length, stops, and how the next token is drawn."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from sgl_jax.engine.errors import InvalidRequestError

MAX_STOP_STRINGS = 16
MAX_STOP_LENGTH = 1024
MAX_LOGPROBS = 20
GREEDY_EPSILON = 1e-5
"""Temperatures below this are greedy: dividing by them would only make infinities."""


class SamplingParams(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Sampling parameters of one sequence, under SGLang's names.

    The order of operations is: temperature, top-k, top-p, min-p; each later filter sees the
    distribution that the earlier ones left (as in Hugging Face and vLLM).

    Attributes:
        max_new_tokens: upper bound of generated tokens; None means up to the context window.
        temperature: 0 is exactly greedy.
        top_k: keep the k likeliest tokens; -1 (or 0) keeps all.
        top_p: keep the smallest set of likeliest tokens with at least this mass, in (0, 1].
        min_p: drop tokens less likely than `min_p` times the likeliest, in [0, 1].
        seed: makes this sequence's draws reproducible whatever else is in the batch.
        stop: strings that end the text; they are cut from it unless `no_stop_trim`.
        stop_token_ids: token ids that end the sequence, beside the model's own.
        ignore_eos: go on after the model's end-of-sequence tokens.
        skip_special_tokens: leave special tokens out of the text.
        no_stop_trim: keep the matched stop string or token in the text.
        logprobs: None for none, 0 for the chosen token's, k for the k likeliest too (at most 20).
    """

    max_new_tokens: int | None = None
    temperature: float = 1.0
    top_k: int = -1
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    skip_special_tokens: bool = True
    no_stop_trim: bool = False
    logprobs: int | None = None

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is always taken."""
        return self.temperature < GREEDY_EPSILON or self.top_k == 1

    def validate(self, vocab_size: int) -> None:
        """Checks every range; raises `InvalidRequestError` naming the field and what would be valid."""
        if self.max_new_tokens is not None:
            _require(self.max_new_tokens >= 0, "max_new_tokens", "at least 0", self.max_new_tokens)
        _require(0 <= self.temperature < math.inf, "temperature", "a finite number >= 0", self.temperature)
        _require(self.top_k >= -1, "top_k", "-1 (all) or at least 1", self.top_k)
        _require(0 < self.top_p <= 1, "top_p", "in (0, 1]", self.top_p)
        _require(0 <= self.min_p <= 1, "min_p", "in [0, 1]", self.min_p)
        if self.seed is not None:
            _require(-(2**63) <= self.seed < 2**63, "seed", "a 64-bit integer", self.seed)
        _require(len(self.stop) <= MAX_STOP_STRINGS, "stop", f"at most {MAX_STOP_STRINGS} strings", len(self.stop))
        for text in self.stop:
            _require(0 < len(text) <= MAX_STOP_LENGTH, "stop", f"strings of 1 to {MAX_STOP_LENGTH} characters", text)
        for token in self.stop_token_ids:
            _require(0 <= token < vocab_size, "stop_token_ids", f"token ids in [0, {vocab_size})", token)
        if self.logprobs is not None:
            _require(0 <= self.logprobs <= MAX_LOGPROBS, "logprobs", f"in [0, {MAX_LOGPROBS}]", self.logprobs)


def _require(valid: bool, param: str, expected: str, got: Any) -> None:
    if not valid:
        raise InvalidRequestError(f"{param} must be {expected}, got {got!r}.", param=param)
