"""From texts and token ids to jobs whose sequences generate nothing."""

from __future__ import annotations

import array
import sys
import uuid
from collections.abc import Mapping, Sequence
from functools import partial

from fastapi import Request

from sgl_jax.engine.messages import EmbeddingParams, EngineInfo, GenerateRequest
from sgl_jax.engine.sampling_params import SamplingParams
from sgl_jax.server.context import ServerContext
from sgl_jax.server.disconnect import unless_disconnected
from sgl_jax.server.errors import bad_request
from sgl_jax.server.generation import Job, Prompt, collect
from sgl_jax.server.generation import Sequence as Finished
from sgl_jax.server.prompts import read_prompts
from sgl_jax.server.search.schema import SearchFields, SearchUsage

MAX_INPUTS = 2048
"""Texts of one request, as OpenAI has it."""


def check_inputs(count: int, context: ServerContext, param: str) -> None:
    """Refuses none at all, and more than one client may ask for at once."""
    limit = min(MAX_INPUTS, context.max_sequences)
    if not 1 <= count <= limit:
        raise bad_request(f"{param} must hold 1 to {limit} entries, got {count}; send several requests.", param)


def check_repeated(shared: int, count: int, context: ServerContext, param: str) -> None:
    """Refuses what is small in the body and large once it stands before every entry of `param`.

    Args:
        shared: characters (or token ids) of what is repeated.
        count: how often.

    Raises:
        ApiError: 400.
    """
    most = context.limits.max_body_bytes
    if shared * count > most:
        raise bad_request(
            f"{count} entries of {param}, each with the same {shared} characters or token ids, make more than {most} "
            "(--max-body-bytes); send several requests.",
            param,
        )


async def read_inputs(
    given: str | Sequence[str | int | list[int]],
    context: ServerContext,
    info: EngineInfo,
    param: str,
    max_tokens: int | None = None,
) -> list[Prompt]:
    """A text, texts, token ids, or lists of these, as prompts.

    Args:
        param: the request field that holds them, for errors.
        max_tokens: longer ones lose their ends.

    Raises:
        ApiError: 400.
    """
    check = partial(check_inputs, context=context, param=param)
    return await read_prompts(
        given, context.tokenizer, info.vocab_size, param, check_count=check, max_tokens=max_tokens
    )


def cut_length(asked: int | None, longest: int) -> int | None:
    """The length that `truncate_prompt_tokens` means; `longest` is what the model takes.

    Raises:
        ApiError: 400 for 0.
    """
    if asked == 0:
        raise bad_request("truncate_prompt_tokens must be -1 or at least 1, got 0.", "truncate_prompt_tokens")
    return longest if asked == -1 else asked


def check_lengths(prompts: Sequence[Prompt], longest: int, param: str) -> None:
    """Refuses prompts that the model does not take whole.

    Raises:
        ApiError: 400 (`context_length_exceeded`).
    """
    length = max(len(prompt.ids) for prompt in prompts)
    if length > longest:
        raise bad_request(
            f"An entry of {param} has {length} tokens; this server takes at most {longest}. Shorten it.",
            param,
            "context_length_exceeded",
        )


def embedding_job(
    kind: str, body: SearchFields, prompts: list[Prompt], params: EmbeddingParams, renames: Mapping[str, str]
) -> Job:
    """A job whose sequences are the prompts' embeddings."""
    return _job(kind, body, prompts, renames, embedding=params)


def label_job(kind: str, body: SearchFields, prompts: list[Prompt], labels: Sequence[int], param: str) -> Job:
    """A job that says how likely each label is to follow each prompt.

    Raises:
        ApiError: 400 for labels that the engine does not take.
    """
    sampling = SamplingParams(
        max_new_tokens=1, temperature=0.0, ignore_eos=True, logprobs=0, token_ids_logprob=tuple(labels)
    )
    return _job(kind, body, prompts, {"token_ids_logprob": param}, sampling=sampling)


async def run_whole(request: Request, context: ServerContext, job: Job) -> list[Finished]:
    """Runs a job of which a part is worth nothing.

    Raises:
        ApiError: 400 (`aborted`) when somebody ended it.
        ClientGoneError: the client left.
    """
    sequences = await unless_disconnected(request.receive, collect(context, job))
    if any(sequence.finish.reason == "abort" for sequence in sequences):
        raise bad_request("The request was aborted before it was finished.", code="aborted")
    return sequences


def label_logprobs(sequence: Finished) -> list[float]:
    """What a sequence of a label job found."""
    return sequence.logprobs[0].chosen


def floats(embedding: bytes) -> array.array[float]:
    """The values of a little-endian float32 vector."""
    values = array.array("f", embedding)
    if sys.byteorder == "big":
        values.byteswap()
    return values


def usage_of(job: Job) -> SearchUsage:
    """Tokens that the model has read."""
    return SearchUsage(job.prompt_tokens, job.prompt_tokens)


def _job(
    kind: str,
    body: SearchFields,
    prompts: list[Prompt],
    renames: Mapping[str, str],
    *,
    sampling: SamplingParams | None = None,
    embedding: EmbeddingParams | None = None,
) -> Job:
    job_id = f"{kind}-{uuid.uuid4().hex}"
    requests = [
        GenerateRequest(
            request_id=f"{job_id}-{number}",
            prompt_ids=prompt.ids,
            sampling=sampling or SamplingParams(),
            priority=body.priority or 0,
            cache_salt=body.cache_salt or "",
            embedding=embedding,
        )
        for number, prompt in enumerate(prompts)
    ]
    aliases = {body.rid: [request.request_id for request in requests]} if body.rid else {}
    return Job(id=job_id, requests=requests, prompts=prompts, aliases=aliases, renames=renames)
