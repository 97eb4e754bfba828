"""What a caller may ask of one generation: length, stops, and how the next token is drawn."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from sgl_jax.engine.errors import InvalidRequestError
from sgl_jax.engine.grammar import Grammar

MAX_STOP_STRINGS = 16
MAX_STOP_LENGTH = 1024
MAX_LOGPROBS = 20
MAX_CHOSEN_LOGPROBS = 128
"""Entries of `token_ids_logprob`."""
MAX_LOGIT_BIAS = 384
"""Entries of `logit_bias`; OpenAI takes 300."""
MAX_BIAS = 100
MAX_PENALTY = 2
REPETITION_RANGE = (1e-6, 1e6)
"""Others take any positive number; beyond these, float32 logits could become infinite."""
GREEDY_EPSILON = 1e-5
"""Temperatures below this are greedy: dividing by them would only make infinities."""


class SamplingParams(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Sampling parameters of one sequence, under SGLang's names.

    The order of operations is: repetition, frequency and presence penalty, logit bias, minimum length;
    then temperature, top-k, top-p, min-p; each later filter sees the distribution that the earlier ones
    left (as in Hugging Face and vLLM). The sampler's files give the formulas.

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
        logprobs: None for none, 0 for the chosen token's, k for the k likeliest too (at most 20). They are the
            model's own: neither penalties, bias nor temperature change them.
        prompt_logprobs: the same for the tokens of the prompt, from its second one on. They are computed, whatever
            the prefix cache has.
        prompt_logprobs_from: position of the first prompt token that gets one; what is before it may be cached.
        token_ids_logprob: these tokens' log-probabilities, too, wherever there are any by the fields above.
        frequency_penalty: taken from a token's logit for every time it was generated, in [-2, 2].
        presence_penalty: taken once from the logit of every token that was generated, in [-2, 2].
        repetition_penalty: divides the logit of every token in prompt or output where that is positive, else
            multiplies it; above 0, and 1 changes nothing.
        min_new_tokens: nothing ends the sequence before so many tokens: neither a stop token nor a stop string.
        logit_bias: token id -> what is added to its logit, in [-100, 100]; at most 384 entries.
        grammar: what the text must look like; tokens that do not fit are never drawn, at any temperature.
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
    prompt_logprobs: int | None = None
    prompt_logprobs_from: int = 0
    token_ids_logprob: tuple[int, ...] = ()
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    repetition_penalty: float = 1.0
    min_new_tokens: int = 0
    logit_bias: dict[int, float] = {}
    grammar: Grammar | None = None

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is always taken."""
        return self.temperature < GREEDY_EPSILON or self.top_k == 1

    @property
    def adjusts_logits(self) -> bool:
        """Whether the model's logits are changed before a token is drawn."""
        return bool(
            self.frequency_penalty
            or self.presence_penalty
            or self.repetition_penalty != 1
            or self.min_new_tokens
            or self.logit_bias
        )

    def validate(self, vocab_size: int) -> None:
        """Checks every range; raises `InvalidRequestError` naming the field and what would be valid."""
        if self.max_new_tokens is not None:
            _require(self.max_new_tokens >= 0, "max_new_tokens", "at least 0", self.max_new_tokens)
        _require(0 <= self.temperature < math.inf, "temperature", "a finite number >= 0", self.temperature)
        _require(-1 <= self.top_k < 2**31, "top_k", "-1 (all) or 1 to 2147483647", self.top_k)
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
        if self.prompt_logprobs is not None:
            asked = self.prompt_logprobs
            _require(0 <= asked <= MAX_LOGPROBS, "prompt_logprobs", f"in [0, {MAX_LOGPROBS}]", asked)
        first = self.prompt_logprobs_from
        _require(0 <= first < 2**31, "prompt_logprobs_from", "0 to 2147483647", first)
        self._validate_chosen(vocab_size)
        self._validate_adjustments(vocab_size)
        if self.grammar is not None:
            self.grammar.validate()
            # Where a grammar allows nothing but the end, there is nothing else to draw.
            _require(not self.min_new_tokens, "min_new_tokens", "0 with a grammar", self.min_new_tokens)

    def _validate_chosen(self, vocab_size: int) -> None:
        size = len(self.token_ids_logprob)
        expected = f"at most {MAX_CHOSEN_LOGPROBS} token ids"
        _require(size <= MAX_CHOSEN_LOGPROBS, "token_ids_logprob", expected, size)
        for token in self.token_ids_logprob:
            _require(0 <= token < vocab_size, "token_ids_logprob", f"token ids in [0, {vocab_size})", token)
        if self.logprobs is None and self.prompt_logprobs is None:
            _require(not size, "token_ids_logprob", "empty without logprobs", list(self.token_ids_logprob))

    def _validate_adjustments(self, vocab_size: int) -> None:
        for name in ("frequency_penalty", "presence_penalty"):
            value = getattr(self, name)
            _require(-MAX_PENALTY <= value <= MAX_PENALTY, name, f"in [-{MAX_PENALTY}, {MAX_PENALTY}]", value)
        low, high = REPETITION_RANGE
        valid = low <= self.repetition_penalty <= high
        _require(valid, "repetition_penalty", f"in [{low}, {high}] (1 is none)", self.repetition_penalty)
        longest = math.inf if self.max_new_tokens is None else self.max_new_tokens
        expected = "at least 0" if self.min_new_tokens < 0 else f"at most {longest}, all that may be generated"
        _require(0 <= self.min_new_tokens <= longest, "min_new_tokens", expected, self.min_new_tokens)
        size = len(self.logit_bias)
        _require(size <= MAX_LOGIT_BIAS, "logit_bias", f"a map of at most {MAX_LOGIT_BIAS} entries", size)
        for token, bias in self.logit_bias.items():
            _require(0 <= token < vocab_size, "logit_bias", f"a map from token ids in [0, {vocab_size})", token)
            _require(-MAX_BIAS <= bias <= MAX_BIAS, "logit_bias", f"a map to values in [-{MAX_BIAS}, {MAX_BIAS}]", bias)


def _require(valid: bool, param: str, expected: str, got: Any) -> None:
    if not valid:
        raise InvalidRequestError(f"{param} must be {expected}, got {got!r}.", param=param)
