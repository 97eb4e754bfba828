"""Which log-probabilities a native request wants, for all of its prompts or for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import msgspec

from sgl_jax.engine.sampling_params import SamplingParams
from sgl_jax.server.errors import bad_request
from sgl_jax.server.native.schema import NativeRequest

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class AskedLogprobs:
    """What one prompt's answer shows.

    Attributes:
        top: so many likeliest tokens beside the drawn one; None shows none at all.
        start: the first token of the prompt to show; None shows nothing of it.
        tokens: ids that are always shown.
    """

    top: int | None = None
    start: int | None = None
    tokens: tuple[int, ...] = ()

    def asked_of(self, sampling: SamplingParams) -> SamplingParams:
        """The same parameters, asking the engine for these log-probabilities."""
        if self.top is None:
            return sampling
        asked = msgspec.structs.replace(sampling, logprobs=self.top, token_ids_logprob=self.tokens)
        if self.start is None:
            return asked
        return msgspec.structs.replace(asked, prompt_logprobs=self.top, prompt_logprobs_from=self.start)


def asked_logprobs(body: NativeRequest, count: int) -> list[AskedLogprobs]:
    """One entry a prompt.

    Args:
        count: how many prompts there are.

    Raises:
        ApiError: 400 for a list that has not one entry a prompt.
    """
    wanted = _each(body.return_logprob or False, count, "return_logprob")
    tops = _each(body.top_logprobs_num or 0, count, "top_logprobs_num")
    starts = _each(-1 if body.logprob_start_len is None else body.logprob_start_len, count, "logprob_start_len")
    tokens = _chosen(body, count)
    return [
        AskedLogprobs(top, None if start < 0 else start, tuple(chosen)) if asked else AskedLogprobs()
        for asked, top, start, chosen in zip(wanted, tops, starts, tokens, strict=True)
    ]


def _each(given: T | list[T], count: int, param: str) -> list[T]:
    if not isinstance(given, list):
        return [given] * count
    if len(given) != count:
        raise bad_request(f"{param} has {len(given)} entries for {count} prompts.", param)
    return given


def _chosen(body: NativeRequest, count: int) -> list[list[int]]:
    """Each prompt's `token_ids_logprob`; nothing where no log-probabilities are asked for."""
    given = body.token_ids_logprob
    if not given or not body.return_logprob:
        return [[]] * count
    ids = [item for item in given if isinstance(item, int)]
    lists = [ids] * count if ids else [item for item in given if isinstance(item, list)]
    if len(ids) not in (0, len(given)) or len(lists) != count:
        message = f"token_ids_logprob must be a list of token ids, or {count} of them, one a prompt."
        raise bad_request(message, "token_ids_logprob")
    return lists
