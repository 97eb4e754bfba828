"""A Responses request -> the chat request that asks the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from sgl_jax.server.errors import bad_request
from sgl_jax.server.openai.dialect import Dialect
from sgl_jax.server.openai.responses.schema import FunctionTool, ResponsesRequest, TextFormat, ToolChoiceObject
from sgl_jax.server.openai.schema.chat import ChatMessage, ChatRequest
from sgl_jax.server.openai.schema.common import SamplingFields
from sgl_jax.server.openai.schema.response_format import JsonSchemaFormat, ResponseFormat
from sgl_jax.server.openai.schema.tools import FunctionDefinition, FunctionName, NamedToolChoice, Tool
from sgl_jax.server.unsupported import NEUTRAL, refuse_unsupported

RESPONSES = Dialect(
    id_prefix="resp_",
    names={
        "messages": "input",
        "max_completion_tokens": "max_output_tokens",
        "max_tokens": "max_output_tokens",
        "response_format": "text.format",
        "response_format.json_schema": "text.format",
        "tool_choice.function": "tool_choice",
    },
)
"""How the Responses API names what chat names otherwise."""
_NEUTRAL = {**NEUTRAL, "background": (False,), "conversation": (), "prompt": (), "truncation": ("disabled",)}
_LOGPROBS = "message.output_text.logprobs"


def to_chat(body: ResponsesRequest, messages: Sequence[ChatMessage]) -> ChatRequest:
    """The chat request.

    Args:
        messages: the conversation, with what the request says last.

    Raises:
        ApiError: 400 for what is not supported.
    """
    refuse_unsupported(body, neutral_values=_NEUTRAL)
    instructions = [] if body.instructions is None else [ChatMessage(role="system", content=body.instructions)]
    if not messages:
        raise bad_request("input is empty: send a text, or at least one item.", "input")
    tools, choice = _tools(body)
    effort = None if body.reasoning is None else body.reasoning.effort
    sampling: dict[str, Any] = {name: getattr(body, name) for name in SamplingFields.__struct_fields__}
    return ChatRequest(
        **sampling,
        messages=[*instructions, *messages],
        max_completion_tokens=body.max_output_tokens,
        logprobs=wants_logprobs(body),
        top_logprobs=body.top_logprobs,
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=body.parallel_tool_calls,
        response_format=None if body.text is None else _response_format(body.text.format),
        reasoning_effort=effort,
        enable_thinking=False if effort == "none" else None,
        chat_template_kwargs=body.chat_template_kwargs,
    )


def wants_logprobs(body: ResponsesRequest) -> bool:
    """Whether tokens come with their log-probabilities."""
    return bool(body.top_logprobs) or _LOGPROBS in (body.include or ())


def _tools(
    body: ResponsesRequest,
) -> tuple[list[Tool] | None, Literal["none", "auto", "required"] | NamedToolChoice | None]:
    tools = [_tool(tool, f"tools[{number}]") for number, tool in enumerate(body.tools or ())]
    choice = body.tool_choice
    if not isinstance(choice, ToolChoiceObject):
        return tools or None, choice
    if choice.type == "function":
        if not choice.name:
            raise bad_request("tool_choice.name is missing.", "tool_choice.name")
        return tools or None, NamedToolChoice(function=FunctionName(name=choice.name))
    known = {tool.function.name for tool in tools}
    allowed = [reference.name for reference in choice.tools or ()]
    for number, name in enumerate(allowed):
        if name not in known:
            path = f"tool_choice.tools[{number}]"
            raise bad_request(f"{path} names {name!r}, which is not among the tools: {', '.join(known)}.", path)
    if not allowed:
        raise bad_request("tool_choice.tools is empty: name the tools that may be called.", "tool_choice.tools")
    return [tool for tool in tools if tool.function.name in allowed], choice.mode or "auto"


def _tool(tool: FunctionTool, path: str) -> Tool:
    if tool.type != "function":
        message = f"{path}.type {tool.type!r} is not supported: functions are the only kind of tool here."
        raise bad_request(message, f"{path}.type", "not_supported")
    if tool.name is None:
        raise bad_request(f"{path}.name is missing.", f"{path}.name")
    return Tool(
        function=FunctionDefinition(
            name=tool.name, description=tool.description, parameters=tool.parameters, strict=tool.strict
        )
    )


def _response_format(given: TextFormat) -> ResponseFormat | None:
    if given.type == "text":
        return None
    if given.type == "json_object":
        return ResponseFormat(type="json_object")
    schema = JsonSchemaFormat(name=given.name, description=given.description, schema=given.schema, strict=given.strict)
    return ResponseFormat(type="json_schema", json_schema=schema)
