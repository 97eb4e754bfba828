"""`POST /parse_function_call` and `/separate_reasoning`: the parsers, for text that is there already."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Request, Response
from msgspec import Meta

from sgl_jax.server.body import BodyReader
from sgl_jax.server.context import ServerContext
from sgl_jax.server.errors import bad_request
from sgl_jax.server.json_response import json_response
from sgl_jax.server.openai.parsed import read_answer
from sgl_jax.server.openai.schema.tools import Tool
from sgl_jax.server.openapi import describe
from sgl_jax.server.parsing.chat_format import ChatFormat, Wanted
from sgl_jax.server.parsing.events import Answer
from sgl_jax.server.parsing.formats import AUTO, REASONING_FORMATS, TOOL_FORMATS, Format, find_format
from sgl_jax.server.prompts import INLINE_CHARACTERS

Text = Annotated[str, Meta(max_length=2**20, description="What a model said, markers included.")]


class FunctionCallBody(msgspec.Struct, kw_only=True):
    """Body of `POST /parse_function_call`."""

    text: Text
    tools: list[Tool]
    tool_call_parser: Annotated[str | None, Meta(description="A name of `--tool-call-parser`; by default its.")] = None


class ParsedCall(msgspec.Struct, frozen=True):
    """One call; `parameters` is JSON text."""

    tool_index: int
    name: str
    parameters: str


class ParsedFunctionCalls(msgspec.Struct, frozen=True):
    """Answer of `POST /parse_function_call`."""

    normal_text: str
    calls: list[ParsedCall]


class ReasoningBody(msgspec.Struct, kw_only=True):
    """Body of `POST /separate_reasoning`."""

    text: Text
    reasoning_parser: Annotated[str | None, Meta(description="A name of `--reasoning-parser`; by default its.")] = None


class SeparatedReasoning(msgspec.Struct, frozen=True):
    """Answer of `POST /separate_reasoning`."""

    reasoning_text: str
    text: str


CALL_EXAMPLE: dict[str, Any] = {
    "text": '<tool_call>\n{"name": "now", "arguments": {"zone": "UTC"}}\n</tool_call>',
    "tools": [{"type": "function", "function": {"name": "now"}}],
    "tool_call_parser": "hermes",
}
REASONING_EXAMPLE = {"text": "<think>Easy.</think>42", "reasoning_parser": "qwen3"}


def parsing_router(context: ServerContext) -> APIRouter:
    """The routes, bound to a server's parts."""
    router = APIRouter(tags=["native"])
    call_reader = BodyReader(FunctionCallBody)
    reasoning_reader = BodyReader(ReasoningBody)

    @router.post(
        "/parse_function_call",
        operation_id="parse_function_call",
        summary="Tell tool calls from text",
        **describe(body=FunctionCallBody, example=CALL_EXAMPLE, answer=ParsedFunctionCalls),
    )
    async def parse_function_call(request: Request) -> Response:
        body = await call_reader.read(request, context)
        format = _chosen(TOOL_FORMATS, body.tool_call_parser, context.chat_format.tools, "tool_call_parser")
        tools = {tool.function.name: tool.function.parameters or {} for tool in body.tools}
        answer = await _read(ChatFormat(tools=format), Wanted(tools=tools), body.text)
        calls = [ParsedCall(index, call.name, call.arguments) for index, call in enumerate(answer.calls)]
        return json_response(ParsedFunctionCalls(answer.content, calls))

    @router.post(
        "/separate_reasoning",
        operation_id="separate_reasoning",
        summary="Tell reasoning from the answer",
        **describe(body=ReasoningBody, example=REASONING_EXAMPLE, answer=SeparatedReasoning),
    )
    async def separate_reasoning(request: Request) -> Response:
        body = await reasoning_reader.read(request, context)
        own = context.chat_format.reasoning
        format = _chosen(REASONING_FORMATS, body.reasoning_parser, own, "reasoning_parser")
        answer = await _read(ChatFormat(reasoning=format), Wanted(), body.text)
        return json_response(SeparatedReasoning(answer.reasoning, answer.content))

    return router


def _chosen(formats: Sequence[Format], name: str | None, own: Format | None, param: str) -> Format:
    """The format of that name; without one, the served model's own."""
    format = own
    if name is not None and name != AUTO:
        try:
            format = find_format(formats, name, None)
        except KeyError:
            format = None
    if format is None:
        names = ", ".join(one.name for one in formats)
        hint = "" if own is not None else "; this server's model has none of its own"
        raise bad_request(f"{param} must be one of {names}{hint}.", param)
    return format


async def _read(format: ChatFormat, wanted: Wanted, text: str) -> Answer:
    parser = format.answer(wanted, "", None).new_parser()
    if len(text) <= INLINE_CHARACTERS:
        return read_answer(parser, text)
    return await asyncio.to_thread(read_answer, parser, text)
