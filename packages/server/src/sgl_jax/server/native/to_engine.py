"""A decoded native request -> a `Job`."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from msgspec import UNSET

from sgl_jax.engine.messages import EngineInfo, GenerateRequest
from sgl_jax.engine.sampling_params import SamplingParams
from sgl_jax.server.context import ServerContext
from sgl_jax.server.errors import bad_request
from sgl_jax.server.generation import Job, Prompt
from sgl_jax.server.grammars import AskedGrammar, asked_grammar
from sgl_jax.server.native.logprobs import asked_logprobs
from sgl_jax.server.native.schema import DEFAULT_MAX_NEW_TOKENS, NativeRequest, NativeSamplingParams
from sgl_jax.server.prompts import check_count, check_ids, check_sampling, encode, room_after, siblings, token_bias
from sgl_jax.server.unsupported import refuse_unsupported

_DEFAULTS = NativeSamplingParams()


async def native_job(body: NativeRequest, context: ServerContext, info: EngineInfo) -> Job:
    """Tokenizes the prompts and pairs each with its sampling parameters.

    Raises:
        ApiError: 400 or 404 for what cannot be served.
    """
    context.check_model(body.model)
    refuse_unsupported(body)
    given = body.text if body.input_ids is None else body.input_ids
    count = len(given) if isinstance(given, list) and not isinstance((given or [0])[0], int) else 1
    params, paths = _params(body, count)
    n = params[0].n
    if any(one.n != n for one in params):
        raise bad_request("sampling_params: n must be the same for all prompts.", "sampling_params.n")
    check_count(count, n, context.max_sequences)
    prompts = await _prompts(body, context, info)
    sampling, asked = [], [asked_grammar(one, path) for one, path in zip(params, paths, strict=True)]
    shown = asked_logprobs(body, count)
    for one, path, prompt, grammar, logprobs in zip(params, paths, prompts, asked, shown, strict=True):
        refuse_unsupported(one, path)
        room = room_after([prompt], info, _field(body), is_answered=one.max_new_tokens != 0)
        sampling.append(logprobs.asked_of(_sampling(one, path, room, grammar)))
        check_sampling(sampling[-1], info, room, _renames(path, grammar), len(prompt.ids))
    job_id = uuid.uuid4().hex
    requests = siblings(job_id, prompts, sampling, n, priority=body.priority, cache_salt=body.cache_salt)
    return Job(
        id=job_id,
        requests=requests,
        prompts=prompts,
        n=n,
        aliases=_aliases(body, requests, n),
        renames={"prompt": _field(body), "grammar": _grammar_field(asked)},
    )


def is_batch(body: NativeRequest, job: Job) -> bool:
    """Whether the answer is a list."""
    several = isinstance(body.text, list) or bool(body.input_ids and isinstance(body.input_ids[0], list))
    return several or job.n > 1


async def _prompts(body: NativeRequest, context: ServerContext, info: EngineInfo) -> list[Prompt]:
    if (body.text is None) == (body.input_ids is None):
        raise bad_request("Send either text or input_ids.", "text")
    if body.text is not None:
        texts = [body.text] if isinstance(body.text, str) else body.text
        if not texts:
            raise bad_request("text is an empty list: at least one prompt is needed.", "text")
        return await encode(context.tokenizer, texts, add_special_tokens=True, param="text")
    given = body.input_ids or []
    ids = [item for item in given if isinstance(item, int)]
    lists = [item for item in given if isinstance(item, list)]
    if ids and lists:
        raise bad_request("input_ids must be token ids, or a list of token id lists, not both.", "input_ids")
    for one in lists or [ids]:
        check_ids(one, info.vocab_size, "input_ids")
    return [Prompt(one) for one in lists or [ids]]


def _params(body: NativeRequest, count: int) -> tuple[list[NativeSamplingParams], list[str]]:
    """Each prompt's parameters, and their path in the request for errors."""
    given = body.sampling_params
    if not isinstance(given, list):
        return [given or _DEFAULTS] * count, ["sampling_params."] * count
    if len(given) != count:
        raise bad_request(f"sampling_params has {len(given)} entries for {count} prompts.", "sampling_params")
    return given, [f"sampling_params[{index}]." for index in range(count)]


def _sampling(params: NativeSamplingParams, path: str, room: int, asked: AskedGrammar | None) -> SamplingParams:
    wanted = params.max_new_tokens
    if wanted is UNSET:
        wanted = min(max(DEFAULT_MAX_NEW_TOKENS, params.min_new_tokens or 0), room)
    stop = [params.stop] if isinstance(params.stop, str) else params.stop or []
    return SamplingParams(
        max_new_tokens=wanted,
        temperature=params.temperature,
        top_k=params.top_k,
        top_p=params.top_p,
        min_p=params.min_p,
        seed=params.sampling_seed if params.seed is None else params.seed,
        stop=tuple(stop),
        stop_token_ids=tuple(params.stop_token_ids or ()),
        ignore_eos=params.ignore_eos,
        skip_special_tokens=params.skip_special_tokens,
        no_stop_trim=params.no_stop_trim,
        frequency_penalty=params.frequency_penalty or 0.0,
        presence_penalty=params.presence_penalty or 0.0,
        repetition_penalty=1.0 if params.repetition_penalty is None else params.repetition_penalty,
        min_new_tokens=params.min_new_tokens or 0,
        logit_bias=token_bias(params.logit_bias, path + "logit_bias"),
        grammar=None if asked is None else asked.grammar,
    )


def _aliases(body: NativeRequest, requests: list[GenerateRequest], n: int) -> dict[str, list[str]]:
    """The caller's ids -> engine ids: one for everything, or one a prompt."""
    ids = [request.request_id for request in requests]
    if not isinstance(body.rid, list):
        return {body.rid: ids} if body.rid else {}
    if len(body.rid) * n != len(ids):
        raise bad_request(f"rid has {len(body.rid)} entries for {len(ids) // n} prompts.", "rid")
    aliases: dict[str, list[str]] = {}
    for number, rid in enumerate(body.rid):
        aliases.setdefault(rid, []).extend(ids[number * n : (number + 1) * n])
    return aliases


def _renames(path: str, asked: AskedGrammar | None) -> dict[str, str]:
    names = {name: path + name for name in SamplingParams.__struct_fields__}
    own = {"logprobs": "top_logprobs_num", "token_ids_logprob": "token_ids_logprob"}
    return {**names, **own, "grammar": _grammar_field([asked])}


def _grammar_field(asked: Sequence[AskedGrammar | None]) -> str:
    """Where grammars were asked for: the field, or what several have in common."""
    fields = {one.param for one in asked if one is not None}
    return fields.pop() if len(fields) == 1 else "sampling_params"


def _field(body: NativeRequest) -> str:
    return "input_ids" if body.text is None else "text"
