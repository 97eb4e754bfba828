"""Prompts on their way to the engine: text to ids, and the checks that need the model's facts."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping, Sequence

import msgspec

from sgl_jax.engine.errors import InvalidRequestError
from sgl_jax.engine.messages import EngineInfo, GenerateRequest
from sgl_jax.engine.sampling_params import SamplingParams
from sgl_jax.engine.text.tokenizer import Tokenizer
from sgl_jax.server.errors import bad_request, from_exception
from sgl_jax.server.generation import Prompt

INLINE_CHARACTERS = 2048
"""Texts up to here are worked on right on the event loop. That takes up to 2 ms; longer ones go to a
thread, or every other stream would wait meanwhile: a million characters take a second."""


async def encode(
    tokenizer: Tokenizer,
    texts: Sequence[str],
    *,
    add_special_tokens: bool,
    param: str,
    allow_empty: bool = False,
    max_tokens: int | None = None,
) -> list[Prompt]:
    """Tokenizes texts; long ones off the event loop.

    Args:
        param: the request field that holds them, for errors.
        max_tokens: longer ones lose their ends.

    Raises:
        ApiError: 400 for an empty text or one with a null byte.
    """
    for text in texts:
        check_text(text, param)
    work = functools.partial(
        tokenizer.encode_batch, texts, add_special_tokens=add_special_tokens, max_tokens=max_tokens
    )
    ids = work() if sum(map(len, texts)) <= INLINE_CHARACTERS else await asyncio.to_thread(work)
    prompts = [Prompt(one, text) for one, text in zip(ids, texts, strict=True)]
    if not all(ids) and not allow_empty:
        raise bad_request(f"{param} is empty: at least one token is needed.", param)
    return prompts


async def read_prompts(
    given: str | Sequence[str | int | list[int]],
    tokenizer: Tokenizer,
    vocab_size: int,
    param: str,
    *,
    check_count: Callable[[int], None],
    max_tokens: int | None = None,
) -> list[Prompt]:
    """A text, texts, token ids, or lists of these, as prompts.

    Args:
        param: the request field that holds them, for errors.
        check_count: is told how many there are before any work is done, and refuses too many.
        max_tokens: longer ones lose their ends.

    Raises:
        ApiError: 400.
    """
    items = [given] if isinstance(given, str) else given
    if not items:
        raise bad_request(f"{param} is an empty list: at least one entry is needed.", param)
    texts = [item for item in items if isinstance(item, str)]
    ids = [item for item in items if isinstance(item, int)]
    lists = [ids] if ids else [item for item in items if isinstance(item, list)]
    if len(texts) == len(items):
        check_count(len(texts))
        return await encode(tokenizer, texts, add_special_tokens=True, param=param, max_tokens=max_tokens)
    if texts or len(ids or lists) != len(items):
        raise bad_request(f"{param} must be a text, a list of texts, token ids, or a list of token id lists.", param)
    check_count(len(lists))
    for one in lists:
        check_ids(one, vocab_size, param)
    return [Prompt(one[:max_tokens]) for one in lists]


def check_text(text: str, param: str) -> None:
    """Refuses null bytes, which no prompt means and C code behind us might trip over."""
    if "\0" in text:
        raise bad_request(f"{param} holds a null byte (\\u0000); remove it.", param)


def check_ids(ids: Sequence[int], vocab_size: int, param: str) -> None:
    """Refuses an empty list and ids outside the vocabulary."""
    if not ids:
        raise bad_request(f"{param} is empty: at least one token is needed.", param)
    if (bad := min(ids)) < 0 or (bad := max(ids)) >= vocab_size:
        raise bad_request(f"{param} must hold token ids in [0, {vocab_size}), got {bad}.", param)


def room_after(prompts: Sequence[Prompt], info: EngineInfo, param: str, *, is_answered: bool = True) -> int:
    """How many tokens may follow the longest of the prompts; at least 1, or 0 where no answer is asked for.

    Raises:
        ApiError: 400 (`context_length_exceeded`) when a prompt leaves no room.
    """
    longest = max(len(prompt.ids) for prompt in prompts)
    window = info.max_model_len
    if longest + is_answered > window:
        raise bad_request(
            # By the first words, which are OpenAI's, clients know what to do.
            f"This model's maximum context length is {window} tokens for prompt and answer together; the prompt alone "
            f"has {longest}. Shorten it.",
            param,
            "context_length_exceeded",
        )
    return window - longest


def token_bias(given: Mapping[str, float] | None, param: str) -> dict[int, float]:
    """`logit_bias` as the engine wants it, token ids as numbers.

    Raises:
        ApiError: 400 for a key that is no token id.
    """
    for key in given or ():
        if not (key.isascii() and key.isdigit() and len(key) < 10):
            raise bad_request(f"{param} must have token ids as keys, got {key!r}.", param)
    return {int(key): bias for key, bias in (given or {}).items()}


def check_sampling(
    sampling: SamplingParams, info: EngineInfo, room: int, renames: Mapping[str, str], prompt_tokens: int
) -> None:
    """Refuses sampling parameters that the engine would refuse, under the caller's names for them.

    Args:
        room: tokens that may follow the prompt.
        renames: the engine's field names -> the caller's.
        prompt_tokens: length of the longest prompt, for the message.

    Raises:
        ApiError: 400.
    """
    try:
        sampling.validate(info.vocab_size)
    except InvalidRequestError as error:
        raise from_exception(error, renames) from None
    for stop in sampling.stop:
        check_text(stop, renames.get("stop", "stop"))
    for field, tokens in (
        ("max_new_tokens", sampling.max_new_tokens or 0),
        ("min_new_tokens", sampling.min_new_tokens),
    ):
        if tokens > room:
            name = renames.get(field, field)
            raise bad_request(
                f"This model's maximum context length is {prompt_tokens + room} tokens; {prompt_tokens} prompt tokens "
                f"and {name}={tokens} exceed it. Ask for at most {room}.",
                name,
                "context_length_exceeded",
            )


def siblings(
    job_id: str,
    prompts: Sequence[Prompt],
    sampling: Sequence[SamplingParams],
    n: int,
    *,
    priority: int | None,
    cache_salt: str | None,
) -> list[GenerateRequest]:
    """`n` engine requests a prompt, in the order of their index in the answer.

    Siblings of a seeded request get different seeds, or they would all say the same.

    Args:
        sampling: one entry a prompt.
        priority, cache_salt: of all of them; None is the default.
    """
    return [
        GenerateRequest(
            request_id=f"{job_id}-{number * n + sibling}",
            prompt_ids=prompt.ids,
            sampling=_with_seed(params, sibling),
            priority=priority or 0,
            cache_salt=cache_salt or "",
        )
        for number, (prompt, params) in enumerate(zip(prompts, sampling, strict=True))
        for sibling in range(n)
    ]


def check_count(prompts: int, n: int, limit: int) -> None:
    """Refuses a request for more sequences than one client may ask for at once."""
    if prompts * n > limit:
        raise bad_request(f"{prompts} prompts times n={n} exceed the limit of {limit} sequences a request.", "n")


def _with_seed(sampling: SamplingParams, sibling: int) -> SamplingParams:
    if sampling.seed is None or sibling == 0:
        return sampling
    wrapped = (sampling.seed + sibling + 2**63) % 2**64 - 2**63
    return msgspec.structs.replace(sampling, seed=wrapped)
