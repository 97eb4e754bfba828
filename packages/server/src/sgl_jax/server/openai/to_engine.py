"""A decoded OpenAI request -> a `Job`: prompts as ids, sampling under the engine's names."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import Mapping
from typing import Any

from sgl_jax.engine.messages import EngineInfo
from sgl_jax.engine.sampling_params import SamplingParams
from sgl_jax.engine.text.chat_template import ChatTemplate
from sgl_jax.server.context import ServerContext
from sgl_jax.server.errors import bad_request
from sgl_jax.server.generation import Job, Prompt
from sgl_jax.server.openai.schema.chat import ChatMessage, ChatRequest, ToolCall
from sgl_jax.server.openai.schema.common import GenerationFields
from sgl_jax.server.openai.schema.completions import CompletionRequest
from sgl_jax.server.prompts import (
    INLINE_CHARACTERS,
    check_count,
    check_ids,
    check_sampling,
    encode,
    room_after,
    siblings,
)
from sgl_jax.server.unsupported import refuse_unsupported

COMPLETION_MAX_TOKENS = 16
"""OpenAI's default for `/v1/completions`; chat goes on up to the context window."""
_CHARACTERS_PER_MESSAGE = 32
"""A template's own work for a message is worth that many characters of tokenizing."""


async def chat_job(body: ChatRequest, context: ServerContext, info: EngineInfo) -> Job:
    """Renders and tokenizes the conversation.

    Raises:
        ApiError: 400 or 404 for what cannot be served.
        InvalidRequestError: the chat template refused the messages.
    """
    context.check_model(body.model)
    refuse_unsupported(body)
    if body.top_logprobs and not body.logprobs:
        raise bad_request("top_logprobs needs logprobs to be true.", "top_logprobs")
    text = await chat_text(body, context)
    prompts = await encode(context.tokenizer, [text], add_special_tokens=False, param="messages")
    wanted = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
    renames = {
        "prompt": "messages",
        "max_new_tokens": "max_tokens" if body.max_completion_tokens is None else "max_completion_tokens",
        "logprobs": "top_logprobs",
    }
    logprobs = (body.top_logprobs or 0) if body.logprobs else None
    return _job("chatcmpl", body, context, info, prompts, renames, wanted, logprobs)


async def completion_job(body: CompletionRequest, context: ServerContext, info: EngineInfo) -> Job:
    """Tokenizes the prompts.

    Raises:
        ApiError: 400 or 404 for what cannot be served.
    """
    context.check_model(body.model)
    refuse_unsupported(body)
    if body.best_of is not None and body.best_of != (body.n or 1):
        raise bad_request("best_of is not supported yet, except when equal to n.", "best_of", "not_supported")
    if body.echo and body.logprobs is not None:
        message = "echo together with logprobs is not supported yet: prompt log-probabilities are not computed."
        raise bad_request(message, "logprobs", "not_supported")
    prompts = await _completion_prompts(body, context, info)
    wanted = body.max_tokens
    if wanted is None:
        wanted = min(COMPLETION_MAX_TOKENS, room_after(prompts, info, "prompt"))
    return _job("cmpl", body, context, info, prompts, {"max_new_tokens": "max_tokens"}, wanted, body.logprobs)


async def chat_text(body: ChatRequest, context: ServerContext) -> str:
    """The conversation as the model's prompt text; a long one is rendered off the event loop.

    Raises:
        ApiError: 400 for options that contradict each other, or content that is not text.
        ChatTemplateError: there is no template, or it refused the messages.
    """
    if _is_short(body):
        return _render(body, context)
    return await asyncio.to_thread(_render, body, context)


def _is_short(body: ChatRequest) -> bool:
    # What else goes into a template can make it work for as long as it likes.
    if body.chat_template_kwargs or body.tools:
        return False
    size = 0
    for message in body.messages:
        content = message.content or ""
        size += len(content) if isinstance(content, str) else sum(len(part.text or "") for part in content)
        size += _CHARACTERS_PER_MESSAGE
    return size <= INLINE_CHARACTERS


def _render(body: ChatRequest, context: ServerContext) -> str:
    go_on = bool(body.continue_final_message)
    if go_on and body.add_generation_prompt:
        message = "add_generation_prompt and continue_final_message exclude each other; set one of them."
        raise bad_request(message, "continue_final_message")
    add_prompt = not go_on if body.add_generation_prompt is None else body.add_generation_prompt
    variables = dict(body.chat_template_kwargs or {})
    if body.reasoning_effort is not None:
        variables.setdefault("reasoning_effort", body.reasoning_effort)
    for name in ("messages", "tools", "add_generation_prompt", "continue_final_message"):
        if name in variables:
            raise bad_request(f"Set {name} beside chat_template_kwargs, not inside.", f"chat_template_kwargs.{name}")
    template = context.chat_template or ChatTemplate(None)
    return template.render(
        [_message(message, index) for index, message in enumerate(body.messages)],
        add_generation_prompt=add_prompt,
        continue_final_message=go_on,
        **variables,
    )


def _job(
    kind: str,
    body: GenerationFields,
    context: ServerContext,
    info: EngineInfo,
    prompts: list[Prompt],
    renames: Mapping[str, str],
    max_new_tokens: int | None,
    logprobs: int | None,
) -> Job:
    n = body.n or 1
    sampling = _sampling(body, max_new_tokens, logprobs)
    room = room_after(prompts, info, renames.get("prompt", "prompt"))
    check_sampling(sampling, info, room, renames, max(len(prompt.ids) for prompt in prompts))
    job_id = f"{kind}-{uuid.uuid4().hex}"
    params = [sampling] * len(prompts)
    requests = siblings(job_id, prompts, params, n, priority=body.priority, cache_salt=body.cache_salt)
    return Job(
        id=job_id,
        requests=requests,
        prompts=prompts,
        n=n,
        aliases={body.rid: [request.request_id for request in requests]} if body.rid else {},
        renames=renames,
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
    )


async def _completion_prompts(body: CompletionRequest, context: ServerContext, info: EngineInfo) -> list[Prompt]:
    prompt = [body.prompt] if isinstance(body.prompt, str) else body.prompt
    texts = [item for item in prompt if isinstance(item, str)]
    if texts and len(texts) == len(prompt):
        check_count(len(texts), body.n or 1, context.limits.max_sequences)
        return await encode(context.tokenizer, texts, add_special_tokens=True, param="prompt")
    ids = [item for item in prompt if isinstance(item, int)]
    lists = [ids] if ids else [item for item in prompt if isinstance(item, list)]
    if len(ids or lists) != len(prompt) or not lists:
        raise bad_request("prompt must be a text, a list of texts, token ids, or a list of token id lists.", "prompt")
    check_count(len(lists), body.n or 1, context.limits.max_sequences)
    for one in lists:
        check_ids(one, info.vocab_size, "prompt")
    return [Prompt(one) for one in lists]


def _message(message: ChatMessage, index: int) -> dict[str, Any]:
    """The message as chat templates expect it: content one string, tool arguments an object."""
    # Templates know `system`; `developer` is OpenAI's newer name for it.
    rendered: dict[str, Any] = {"role": "system" if message.role == "developer" else message.role}
    if message.content is None and not (message.role == "assistant" and message.tool_calls):
        raise bad_request(f"messages[{index}].content must be a text or a list of parts.", f"messages[{index}].content")
    rendered["content"] = _text(message, index)
    if message.tool_calls:
        rendered["tool_calls"] = [_tool_call(call) for call in message.tool_calls]
    for name in ("name", "tool_call_id", "reasoning_content"):
        if (value := getattr(message, name)) is not None:
            rendered[name] = value
    return rendered


def _text(message: ChatMessage, index: int) -> str:
    if not isinstance(message.content, list):
        return message.content or ""
    for number, part in enumerate(message.content):
        path = f"messages[{index}].content[{number}]"
        if part.type not in ("text", "input_text"):
            raise bad_request(f"{path}.type must be 'text', got {part.type!r}: this model reads text only.", path)
        if part.text is None:
            raise bad_request(f"{path}.text is missing.", f"{path}.text")
    return "\n".join(part.text or "" for part in message.content)


def _tool_call(call: ToolCall) -> dict[str, Any]:
    arguments = call.function.arguments
    if isinstance(arguments, str):
        # What the model once wrote need not be JSON; the template then shows it as it is.
        with contextlib.suppress(ValueError, RecursionError):
            arguments = json.loads(arguments)
    return {"id": call.id, "type": call.type, "function": {"name": call.function.name, "arguments": arguments}}
