"""`POST /tokenize`, `/detokenize` and `/apply_template`, and `GET /tokenizer_info`, in vLLM's shapes."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Request, Response
from msgspec import Meta

from sgl_jax.engine.text.detokenizer import IncrementalDetokenizer
from sgl_jax.engine.text.tokenizer import Tokenizer
from sgl_jax.server.body import BodyReader
from sgl_jax.server.context import ServerContext
from sgl_jax.server.errors import bad_request
from sgl_jax.server.json_response import json_response
from sgl_jax.server.openai.schema.chat import ChatMessage, ChatRequest
from sgl_jax.server.openai.schema.tools import Tool
from sgl_jax.server.openai.to_engine import chat_text
from sgl_jax.server.openapi import describe
from sgl_jax.server.prompts import INLINE_CHARACTERS, check_ids, encode


class TemplateFields(msgspec.Struct, kw_only=True):
    """What goes into a chat template beside the messages."""

    model: str | None = None
    tools: Annotated[list[Tool] | None, Meta(description="Functions that the template tells the model of.")] = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None


class TokenizeRequest(TemplateFields, kw_only=True):
    """Body of `POST /tokenize`: a prompt, or a conversation that the chat template turns into one."""

    prompt: str | None = None
    messages: Annotated[list[ChatMessage], Meta(min_length=1)] | None = None
    add_special_tokens: Annotated[
        bool | None, Meta(description="Default: true for a prompt, false for messages (the template has them).")
    ] = None
    return_token_strs: Annotated[bool | None, Meta(description="Also give the vocabulary's spelling.")] = None


class TokenizeAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of `POST /tokenize`."""

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str | None] | None = None


class TemplateRequest(TemplateFields, kw_only=True):
    """Body of `POST /apply_template`."""

    messages: Annotated[list[ChatMessage], Meta(min_length=1)]


class TemplateAnswer(msgspec.Struct, frozen=True):
    """Answer of `POST /apply_template`: what the model would be given."""

    prompt: str


class DetokenizeRequest(msgspec.Struct, kw_only=True):
    """Body of `POST /detokenize`."""

    tokens: list[int]
    model: str | None = None


class DetokenizeAnswer(msgspec.Struct, frozen=True):
    """Answer of `POST /detokenize`."""

    prompt: str


class TokenizerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of `GET /tokenizer_info`: what a client needs to write prompts itself."""

    tokenizer_class: str = "Tokenizer"
    bos_token: str | None
    eos_token: str | None
    pad_token: str | None
    chat_template: str | None


def tokenization_router(context: ServerContext) -> APIRouter:
    """The routes, bound to a server's parts."""
    router = APIRouter(tags=["tokens"])
    tokenize_reader = BodyReader(TokenizeRequest)
    template_reader = BodyReader(TemplateRequest)
    detokenize_reader = BodyReader(DetokenizeRequest)

    @router.post(
        "/tokenize",
        operation_id="tokenize",
        summary="Text to token ids",
        **describe(body=TokenizeRequest, example={"prompt": "Hello, world!"}, answer=TokenizeAnswer),
    )
    async def tokenize(request: Request) -> Response:
        info = context.ready_info()
        body = await tokenize_reader.read(request, context)
        context.check_model(body.model)
        text, param = await _text(body, context)
        special = body.messages is None if body.add_special_tokens is None else body.add_special_tokens
        (prompt,) = await encode(context.tokenizer, [text], add_special_tokens=special, param=param, allow_empty=True)
        strings = await _spell(context.tokenizer, prompt.ids) if body.return_token_strs else None
        return json_response(
            TokenizeAnswer(
                count=len(prompt.ids), max_model_len=info.max_model_len, tokens=prompt.ids, token_strs=strings
            )
        )

    @router.post(
        "/apply_template",
        operation_id="apply_template",
        summary="Messages to the text of a prompt",
        **describe(
            body=TemplateRequest, example={"messages": [{"role": "user", "content": "Hello!"}]}, answer=TemplateAnswer
        ),
    )
    async def apply_template(request: Request) -> Response:
        context.ready_info()
        body = await template_reader.read(request, context)
        context.check_model(body.model)
        return json_response(TemplateAnswer(await _rendered(body, body.messages, context)))

    @router.post(
        "/detokenize",
        operation_id="detokenize",
        summary="Token ids to text",
        **describe(body=DetokenizeRequest, example={"tokens": [1, 2, 3]}, answer=DetokenizeAnswer),
    )
    async def detokenize(request: Request) -> Response:
        info = context.ready_info()
        body = await detokenize_reader.read(request, context)
        context.check_model(body.model)
        if body.tokens:
            check_ids(body.tokens, info.vocab_size, "tokens")
        return json_response(DetokenizeAnswer(await _decode(context.tokenizer, body.tokens)))

    @router.get(
        "/tokenizer_info",
        operation_id="tokenizer_info",
        summary="Special tokens and the chat template",
        **describe(answer=TokenizerInfo),
    )
    async def tokenizer_info() -> Response:
        tokenizer, template = context.tokenizer, context.chat_template
        return json_response(
            TokenizerInfo(
                bos_token=tokenizer.bos_token,
                eos_token=tokenizer.eos_token,
                pad_token=tokenizer.special_tokens.get("pad_token"),
                chat_template=None if template is None else template.source,
            )
        )

    return router


async def _decode(tokenizer: Tokenizer, ids: list[int]) -> str:
    if len(ids) <= INLINE_CHARACTERS:
        return tokenizer.decode(ids, skip_special_tokens=False)
    # Bit by bit: the library decodes under the interpreter's lock, so a thread would help nobody.
    detokenizer = IncrementalDetokenizer(tokenizer, skip_special_tokens=False)
    pieces = []
    for start in range(0, len(ids), INLINE_CHARACTERS):
        pieces.append(detokenizer.push(ids[start : start + INLINE_CHARACTERS]))
        await asyncio.sleep(0)
    return "".join([*pieces, detokenizer.flush()])


async def _spell(tokenizer: Tokenizer, ids: list[int]) -> list[str | None]:
    def spell() -> list[str | None]:
        return [tokenizer.id_to_token(one) for one in ids]

    return spell() if len(ids) <= INLINE_CHARACTERS else await asyncio.to_thread(spell)


async def _text(body: TokenizeRequest, context: ServerContext) -> tuple[str, str]:
    """The text to tokenize, and the field that it came from."""
    if (body.prompt is None) == (body.messages is None):
        raise bad_request("Send either prompt or messages.", "prompt")
    if body.messages is None:
        return body.prompt or "", "prompt"
    return await _rendered(body, body.messages, context), "messages"


async def _rendered(fields: TemplateFields, messages: list[ChatMessage], context: ServerContext) -> str:
    """The prompt that the chat template makes of a conversation."""
    chat = ChatRequest(
        messages=messages,
        add_generation_prompt=fields.add_generation_prompt,
        continue_final_message=fields.continue_final_message,
        chat_template_kwargs=fields.chat_template_kwargs,
    )
    return await chat_text(chat, context, fields.tools or ())
