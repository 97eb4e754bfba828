"""A request's messages -> what chat templates take."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from typing import Any

import msgspec

from sgl_jax.engine.errors import ChatTemplateError
from sgl_jax.engine.text.chat_template import ChatTemplate
from sgl_jax.server.errors import bad_request
from sgl_jax.server.openai.schema.chat import ChatMessage
from sgl_jax.server.openai.schema.tools import Tool, ToolCall


def template_messages(messages: Sequence[ChatMessage], *, arguments_as_text: bool) -> list[dict[str, Any]]:
    """The conversation: content one string, arguments of tool calls an object (or JSON text).

    Raises:
        ApiError: 400 for a message without content, or with content that is not text.
    """
    return [_message(message, index, arguments_as_text) for index, message in enumerate(messages)]


def template_tools(tools: Sequence[Tool]) -> list[dict[str, Any]] | None:
    """The tools as OpenAI writes them, which is what templates know; None for none."""
    if not tools:
        return None
    described: list[dict[str, Any]] = msgspec.to_builtins(tools)
    for tool in described:
        tool["function"].pop("strict", None)  # an order to the server, nothing that a model knows
        tool["function"].setdefault("parameters", {"type": "object", "properties": {}})
    return [{"type": tool["type"], "function": tool["function"]} for tool in described]


def takes_arguments_as_text(template: ChatTemplate) -> bool:
    """Whether a template wants the arguments of tool calls as JSON text.

    Most iterate over them or encode them, so that text would come out quoted a second time. Some
    put them into the prompt as they are, which fails for an object, or shows it in Python's spelling.
    """
    name = "sgl_probe"

    def shown(arguments: Any) -> str:
        call = {"id": "abcdefghi", "type": "function", "function": {"name": "f", "arguments": arguments}}
        tool = {"type": "function", "function": {"name": "f", "description": "f", "parameters": {}}}
        conversation: list[dict[str, Any]] = [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "name": "f", "tool_call_id": "abcdefghi", "content": "b"},
        ]
        try:
            return template.render(conversation, tools=[tool])
        except ChatTemplateError:
            return ""

    as_object = shown({name: 1})
    if as_object and f"{{'{name}'" not in as_object:
        return False
    return f'{{"{name}": 1}}' in shown(f'{{"{name}": 1}}')


def _message(message: ChatMessage, index: int, arguments_as_text: bool) -> dict[str, Any]:
    # Templates know `system`; `developer` is OpenAI's newer name for it.
    rendered: dict[str, Any] = {"role": "system" if message.role == "developer" else message.role}
    if message.content is None and not (message.role == "assistant" and message.tool_calls):
        raise bad_request(f"messages[{index}].content must be a text or a list of parts.", f"messages[{index}].content")
    rendered["content"] = _text(message, index)
    if message.tool_calls:
        rendered["tool_calls"] = [_tool_call(call, arguments_as_text) for call in message.tool_calls]
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


def _tool_call(call: ToolCall, as_text: bool) -> dict[str, Any]:
    arguments: Any = call.function.arguments or {}
    if as_text and not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    elif not as_text and isinstance(arguments, str):
        # What the model once wrote need not be JSON; the template then shows it as it is.
        with contextlib.suppress(ValueError, RecursionError):
            arguments = json.loads(arguments)
    return {"id": call.id, "type": call.type, "function": {"name": call.function.name, "arguments": arguments}}
