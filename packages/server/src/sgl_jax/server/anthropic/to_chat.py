"""A Messages request -> the chat request that asks the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sgl_jax.server.anthropic.schema import (
    AnthropicTool,
    AnthropicToolChoice,
    InputBlock,
    InputMessage,
    MessagesFields,
    MessagesRequest,
)
from sgl_jax.server.errors import bad_request
from sgl_jax.server.openai.dialect import Dialect
from sgl_jax.server.openai.schema.chat import ChatMessage, ChatRequest
from sgl_jax.server.openai.schema.response_format import JsonSchemaFormat, ResponseFormat
from sgl_jax.server.openai.schema.tools import (
    FunctionCall,
    FunctionDefinition,
    FunctionName,
    NamedToolChoice,
    Tool,
    ToolCall,
    ToolChoice,
)
from sgl_jax.server.unsupported import refuse_unsupported

MESSAGES = Dialect(
    id_prefix="msg_",
    names={
        "stop": "stop_sequences",
        "response_format": "output_config.format",
        "response_format.json_schema": "output_config.format",
        "tool_choice.function": "tool_choice",
    },
    lowers_max_tokens=True,
)
"""How the Messages API names what chat names otherwise. `max_tokens` is required there: few clients know what fits."""
_NEUTRAL: Mapping[str, tuple[Any, ...]] = {"container": (), "mcp_servers": ([],)}


def to_chat(body: MessagesFields) -> ChatRequest:
    """The chat request.

    Raises:
        ApiError: 400 for what is not supported.
    """
    refuse_unsupported(body, neutral_values=_NEUTRAL)
    messages = [message for number, one in enumerate(body.messages) for message in _messages(one, number)]
    if body.system:
        messages.insert(0, ChatMessage(role="system", content=_text(body.system, "system")))
    choice, last, config = body.tool_choice, messages[-1], body.output_config
    request = ChatRequest(
        model=body.model,
        messages=messages,
        tools=[_tool(tool, f"tools[{number}]") for number, tool in enumerate(body.tools or ())] or None,
        tool_choice=None if choice is None else _tool_choice(choice),
        parallel_tool_calls=None if choice is None else not choice.disable_parallel_tool_use,
        # The beginning of the answer, put into the model's mouth.
        continue_final_message=True if last.role == "assistant" and not last.tool_calls else None,
        enable_thinking=_enable_thinking(body),
        reasoning_effort=None if config is None else config.effort,
    )
    if config is not None and config.format is not None:
        schema = JsonSchemaFormat(schema=config.format.schema)
        request.response_format = ResponseFormat(type="json_schema", json_schema=schema)
    if isinstance(body, MessagesRequest):
        request.max_tokens = body.max_tokens
        request.stop = body.stop_sequences
        request.stream = body.stream
        request.temperature = body.temperature
        request.top_p = body.top_p
        request.top_k = body.top_k
    return request


def shows_thinking(body: MessagesFields) -> bool:
    """Whether reasoning is part of the answer: not where nobody asked for it, as clients of this API expect."""
    thinking = body.thinking
    return thinking is not None and thinking.type != "disabled" and thinking.display != "omitted"


def _enable_thinking(body: MessagesFields) -> bool | None:
    """None leaves it to the chat template."""
    if body.thinking is None or body.thinking.type == "disabled":
        return False
    return True if body.thinking.type == "enabled" else None


def _messages(message: InputMessage, number: int) -> Iterator[ChatMessage]:
    path = f"messages[{number}].content"
    if isinstance(message.content, str):
        yield ChatMessage(role=message.role, content=message.content)
    elif message.role == "assistant":
        yield _turn(message.content, path)
    else:
        said: list[str] = []
        for at, block in enumerate(message.content):
            if block.type != "tool_result":
                said.append(_block_text(block, f"{path}[{at}]"))
                continue
            if said:
                yield ChatMessage(role=message.role, content="\n".join(said))
                said = []
            call_id = _needed(block.tool_use_id, f"{path}[{at}].tool_use_id")
            content = _text(block.content or "", f"{path}[{at}].content")
            yield ChatMessage(role="tool", content=content, tool_call_id=call_id)
        if said or not message.content:
            yield ChatMessage(role=message.role, content="\n".join(said))


def _turn(blocks: Sequence[InputBlock], path: str) -> ChatMessage:
    """What the model said."""
    said: list[str] = []
    thought: list[str] = []
    calls: list[ToolCall] = []
    for number, block in enumerate(blocks):
        at = f"{path}[{number}]"
        match block.type:
            case "thinking":
                thought.append(block.thinking or "")
            case "redacted_thinking":  # nothing that this model could have said
                pass
            case "tool_use":
                function = FunctionCall(name=_needed(block.name, f"{at}.name"), arguments=block.input or {})
                calls.append(ToolCall(id=_needed(block.id, f"{at}.id"), function=function))
            case _:
                said.append(_block_text(block, at))
    reasoning = "\n".join(thought) or None
    return ChatMessage(role="assistant", content="\n".join(said), reasoning_content=reasoning, tool_calls=calls or None)


def _text(content: str | Sequence[InputBlock], path: str) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(_block_text(block, f"{path}[{number}]") for number, block in enumerate(content))


def _block_text(block: InputBlock, path: str) -> str:
    if block.type != "text":
        raise bad_request(f"{path}.type must be 'text' here, got {block.type!r}: this model reads text only.", path)
    return _needed(block.text, f"{path}.text", empty=True)


def _needed(value: str | None, path: str, *, empty: bool = False) -> str:
    if value is None or not (value or empty):
        raise bad_request(f"{path} is missing.", path)
    return value


def _tool(tool: AnthropicTool, path: str) -> Tool:
    if tool.type not in (None, "custom"):
        message = f"{path}.type {tool.type!r} is not supported: tools run at the client, so leave it out."
        raise bad_request(message, f"{path}.type", "not_supported")
    if tool.input_schema is None:
        raise bad_request(f"{path}.input_schema is missing.", f"{path}.input_schema")
    function = FunctionDefinition(
        name=tool.name, description=tool.description, parameters=tool.input_schema, strict=tool.strict
    )
    return Tool(function=function)


def _tool_choice(choice: AnthropicToolChoice) -> ToolChoice:
    match choice.type:
        case "any":
            return "required"
        case "tool":
            name = _needed(choice.name, "tool_choice.name")
            return NamedToolChoice(function=FunctionName(name=name))
        case "auto" | "none":
            return choice.type
