"""A decoded OpenAI request -> a `Job`: prompts as ids, sampling under the engine's names."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from functools import partial

import msgspec

from sgl_jax.engine.messages import EngineInfo
from sgl_jax.engine.sampling_params import SamplingParams
from sgl_jax.engine.text.chat_template import ChatTemplate
from sgl_jax.server.context import ServerContext
from sgl_jax.server.errors import bad_request
from sgl_jax.server.generation import Job, Prompt
from sgl_jax.server.grammars import AskedGrammar, asked_grammar
from sgl_jax.server.openai.chat_grammar import Turn, chat_grammar
from sgl_jax.server.openai.dialect import CHAT, Dialect
from sgl_jax.server.openai.messages import template_messages, template_tools
from sgl_jax.server.openai.schema.chat import ChatRequest
from sgl_jax.server.openai.schema.common import GenerationFields
from sgl_jax.server.openai.schema.completions import CompletionRequest
from sgl_jax.server.openai.schema.tools import Tool
from sgl_jax.server.openai.tool_choice import ToolUse, tool_use
from sgl_jax.server.parsing.chat_format import PLAIN, AnswerFormat, Wanted
from sgl_jax.server.prompts import (
    INLINE_CHARACTERS,
    check_count,
    check_sampling,
    encode,
    read_prompts,
    room_after,
    siblings,
    token_bias,
)
from sgl_jax.server.unsupported import refuse_unsupported

COMPLETION_MAX_TOKENS = 16
"""OpenAI's default for `/v1/completions`; chat goes on up to the context window."""
_COMPLETIONS = Dialect(id_prefix="cmpl-")
_CHARACTERS_PER_MESSAGE = 32
"""A template's own work for a message is worth that many characters of tokenizing."""


async def chat_job(body: ChatRequest, context: ServerContext, info: EngineInfo, dialect: Dialect = CHAT) -> Job:
    """Renders and tokenizes the conversation.

    Args:
        dialect: the API that was translated into `body`.

    Raises:
        ApiError: 400 or 404 for what cannot be served.
        InvalidRequestError: the chat template refused the messages.
    """
    if body.top_logprobs and not body.logprobs:
        raise bad_request("top_logprobs needs logprobs to be true.", "top_logprobs")
    use, prompt = await chat_prompt(body, context)
    text = prompt.text or ""
    wanted = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
    renames = {
        "prompt": "messages",
        "max_new_tokens": "max_tokens" if body.max_completion_tokens is None else "max_completion_tokens",
        "min_new_tokens": "min_tokens",
        "logprobs": "top_logprobs",
    }
    logprobs = (body.top_logprobs or 0) if body.logprobs else None
    wishes = Wanted(
        tools=use.declared,
        parallel=body.parallel_tool_calls is not False,
        forced=bool(use.forced),
        separate_reasoning=body.separate_reasoning is not False,
        stream_reasoning=body.stream_reasoning is not False,
    )
    answer = context.chat_format.answer(wishes, text, _begun(body))
    turn = Turn(context.chat_format, text, _begun(body))
    # Schemas can be large, and are gone through: not here, where every stream would wait.
    is_small = body.response_format is None and not use.offered
    asked = chat_grammar(body, use, turn) if is_small else await asyncio.to_thread(chat_grammar, body, use, turn)
    return _job(
        dialect,
        body,
        context,
        info,
        [prompt],
        renames,
        wanted,
        logprobs,
        answer,
        prompt_logprobs=body.prompt_logprobs,
        asked=asked,
    )


async def chat_prompt(body: ChatRequest, context: ServerContext) -> tuple[ToolUse, Prompt]:
    """What the model reads, and what it may call.

    Raises:
        ApiError: 400 or 404 for what cannot be served.
        InvalidRequestError: the chat template refused the messages.
    """
    context.check_model(body.model)
    refuse_unsupported(body)
    use = tool_use(body, context.chat_format)
    text = await chat_text(body, context, use.offered)
    (prompt,) = await encode(context.tokenizer, [text], add_special_tokens=False, param="messages")
    return use, prompt


async def completion_job(body: CompletionRequest, context: ServerContext, info: EngineInfo) -> Job:
    """Tokenizes the prompts.

    Raises:
        ApiError: 400 or 404 for what cannot be served.
    """
    context.check_model(body.model)
    refuse_unsupported(body)
    kept, drawn = body.n or 1, _drawn(body)
    if drawn > kept and body.stream:
        raise bad_request("best_of cannot be streamed: which are the best is known at the end.", "best_of")
    check = partial(check_count, n=drawn, limit=context.max_sequences)
    prompts = await read_prompts(body.prompt, context.tokenizer, info.vocab_size, "prompt", check_count=check)
    # What is drawn in vain must be judged, too.
    logprobs = (body.logprobs or 0) if drawn > kept else body.logprobs
    wanted = body.max_tokens
    if wanted is None:
        wanted = min(max(COMPLETION_MAX_TOKENS, body.min_tokens or 0), room_after(prompts, info, "prompt"))
    renames = {"max_new_tokens": "max_tokens", "min_new_tokens": "min_tokens"}
    echoed = body.logprobs if body.echo else None
    of_prompt = max((count for count in (echoed, body.prompt_logprobs) if count is not None), default=None)
    is_small = body.response_format is None
    asked = asked_grammar(body) if is_small else await asyncio.to_thread(asked_grammar, body)
    return _job(
        _COMPLETIONS,
        body,
        context,
        info,
        prompts,
        renames,
        wanted,
        logprobs,
        prompt_logprobs=of_prompt,
        asked=asked,
        n=drawn,
    )


def _drawn(body: CompletionRequest) -> int:
    """How many answers to draw for each prompt.

    Raises:
        ApiError: 400 for fewer than are to be returned.
    """
    kept = body.n or 1
    if body.best_of is not None and body.best_of < kept:
        raise bad_request(f"best_of must be at least n, which is {kept}, got {body.best_of}.", "best_of")
    return body.best_of or kept


async def chat_text(body: ChatRequest, context: ServerContext, tools: Sequence[Tool] = ()) -> str:
    """The conversation as the model's prompt text; a long one is rendered off the event loop.

    Args:
        tools: what the model is told of.

    Raises:
        ApiError: 400 for options that contradict each other, or content that is not text.
        ChatTemplateError: there is no template, or it refused the messages.
    """
    if _is_short(body, tools):
        return _render(body, context, tools)
    return await asyncio.to_thread(_render, body, context, tools)


def _begun(body: ChatRequest) -> str | None:
    """The beginning of the answer, where the model is to go on with the final message."""
    if not body.continue_final_message:
        return None
    content = body.messages[-1].content or ""
    return content if isinstance(content, str) else "\n".join(part.text or "" for part in content)


def _is_short(body: ChatRequest, tools: Sequence[Tool]) -> bool:
    # What else goes into a template can make it work for as long as it likes.
    if body.chat_template_kwargs or tools:
        return False
    size = 0
    for message in body.messages:
        content = message.content or ""
        size += len(content) if isinstance(content, str) else sum(len(part.text or "") for part in content)
        size += _CHARACTERS_PER_MESSAGE
    return size <= INLINE_CHARACTERS


def _render(body: ChatRequest, context: ServerContext, tools: Sequence[Tool]) -> str:
    go_on = bool(body.continue_final_message)
    if go_on and body.add_generation_prompt:
        message = "add_generation_prompt and continue_final_message exclude each other; set one of them."
        raise bad_request(message, "continue_final_message")
    add_prompt = not go_on if body.add_generation_prompt is None else body.add_generation_prompt
    variables = dict(body.chat_template_kwargs or {})
    if body.reasoning_effort is not None:
        variables.setdefault("reasoning_effort", body.reasoning_effort)
    if body.enable_thinking is not None:
        variables.setdefault("enable_thinking", body.enable_thinking)
    for name in ("messages", "tools", "add_generation_prompt", "continue_final_message"):
        if name in variables:
            raise bad_request(f"Set {name} beside chat_template_kwargs, not inside.", f"chat_template_kwargs.{name}")
    template = context.chat_template or ChatTemplate(None)
    return template.render(
        template_messages(body.messages, arguments_as_text=context.chat_format.arguments_as_text),
        add_generation_prompt=add_prompt,
        continue_final_message=go_on,
        tools=template_tools(tools),
        **variables,
    )


def _job(
    dialect: Dialect,
    body: GenerationFields,
    context: ServerContext,
    info: EngineInfo,
    prompts: list[Prompt],
    renames: Mapping[str, str],
    max_new_tokens: int | None,
    logprobs: int | None,
    answer: AnswerFormat = PLAIN,
    *,
    prompt_logprobs: int | None = None,
    asked: AskedGrammar | None = None,
    n: int | None = None,
) -> Job:
    if body.stream and body.prompt_logprobs is not None:
        raise bad_request("prompt_logprobs does not come in a stream; send one of both.", "prompt_logprobs")
    n = body.n or 1 if n is None else n
    room = room_after(prompts, info, renames.get("prompt", "prompt"), is_answered=max_new_tokens != 0)
    if dialect.lowers_max_tokens and max_new_tokens is not None:
        max_new_tokens = min(max_new_tokens, room)
    sampling = msgspec.structs.replace(_sampling(body, max_new_tokens, logprobs), prompt_logprobs=prompt_logprobs)
    if asked is not None:
        sampling = msgspec.structs.replace(sampling, grammar=asked.grammar)
        renames = {**renames, "grammar": asked.param}
    renames = dialect.renames(renames)
    check_sampling(sampling, info, room, renames, max(len(prompt.ids) for prompt in prompts))
    job_id = f"{dialect.id_prefix}{uuid.uuid4().hex}"
    params = [sampling] * len(prompts)
    requests = siblings(job_id, prompts, params, n, priority=body.priority, cache_salt=body.cache_salt)
    return Job(
        id=job_id,
        requests=requests,
        prompts=prompts,
        n=n,
        aliases={body.rid: [request.request_id for request in requests]} if body.rid else {},
        renames=renames,
        answer=answer,
    )


def _sampling(body: GenerationFields, max_new_tokens: int | None, logprobs: int | None) -> SamplingParams:
    stop = [body.stop] if isinstance(body.stop, str) else body.stop or []
    return SamplingParams(
        max_new_tokens=max_new_tokens,
        temperature=1.0 if body.temperature is None else body.temperature,
        top_k=-1 if body.top_k is None else body.top_k,
        top_p=1.0 if body.top_p is None else body.top_p,
        min_p=body.min_p or 0.0,
        seed=body.seed,
        stop=tuple(stop),
        stop_token_ids=tuple(body.stop_token_ids or ()),
        ignore_eos=bool(body.ignore_eos),
        skip_special_tokens=body.skip_special_tokens is not False,
        no_stop_trim=bool(body.no_stop_trim),
        logprobs=logprobs,
        frequency_penalty=body.frequency_penalty or 0.0,
        presence_penalty=body.presence_penalty or 0.0,
        repetition_penalty=1.0 if body.repetition_penalty is None else body.repetition_penalty,
        min_new_tokens=body.min_tokens or 0,
        logit_bias=token_bias(body.logit_bias, "logit_bias"),
    )
