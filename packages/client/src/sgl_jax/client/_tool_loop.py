"""The conversation of a model with its tools, as steps. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from sgl_jax.client._batch import BatchResult
from sgl_jax.client._exceptions import ToolLimitError, TruncatedAnswerError
from sgl_jax.client._options import ClientOptions
from sgl_jax.client._requests import Call, Each, Steps, exchange, result_of
from sgl_jax.client.tools import Tool, ToolError, text_of
from sgl_jax.client.types._base import PromptTokensDetails, Usage
from sgl_jax.client.types.chat import ChatCompletion, ToolCall
from sgl_jax.client.types.params import MessageParam
from sgl_jax.client.types.tool_run import ToolRun


def tool_loop(
    messages: Sequence[MessageParam],
    tools: Sequence[Tool],
    *,
    ask: Callable[[list[MessageParam], Mapping[str, Any]], Call],
    params: Mapping[str, Any],
    max_turns: int,
    options: ClientOptions,
) -> Steps[ToolRun]:
    """Steps that ask, call the tools that the answer wants, tell their results, and ask again, up to a plain answer.

    Args:
        ask: the call that asks for the next answer, with these messages and parameters.
        max_turns: how many answers there may be.

    Raises `ToolLimitError`, `TruncatedAnswerError` for a call of a tool that was cut off, what a tool raises (a
    `ToolError` is told to the model instead), and the client's errors.
    """
    by_name = {tool.name: tool for tool in tools}
    asked = {**params, "tools": [tool.definition for tool in by_name.values()]}
    conversation, usage, turn = list(messages), Usage(), 0
    while True:
        call = ask(list(conversation), asked)
        reply = yield from exchange(call, options)
        completion: ChatCompletion = result_of(call, reply)
        turn, usage = turn + 1, _sum(usage, completion.usage)
        conversation.append(completion.message)
        wanted = completion.message.tool_calls
        if not wanted:
            return ToolRun(completion, conversation, usage, turn)
        if completion.choices[0].finish_reason == "length":
            message = "The call of a tool is not whole: its tokens ran out; a larger max_tokens gives it more."
            raise TruncatedAnswerError(message, completion=completion, request_id=reply.request_id)
        ended = yield Each([partial(_call, by_name, one) for one in wanted])
        assert isinstance(ended, list)
        conversation += [_told(one, result) for one, result in zip(wanted, ended, strict=True)]
        if turn == max_turns:
            message = f"The model still calls tools after {turn} turns; a larger max_turns gives it more."
            raise ToolLimitError(message, completion=completion, messages=conversation, request_id=reply.request_id)
        if asked.get("tool_choice") not in (None, "none"):
            asked["tool_choice"] = "auto"  # a call that was demanded has been made; demanded for ever, it never ends


def _call(by_name: Mapping[str, Tool], wanted: ToolCall) -> Any:
    tool = by_name.get(wanted.function.name)
    if tool is None:
        raise ToolError(f"there is no tool {wanted.function.name!r}; there are {', '.join(by_name)}")
    return tool.call(wanted.function.arguments)


def _told(wanted: ToolCall, result: BatchResult[Any]) -> MessageParam:
    content = f"Error: {result.error}" if isinstance(result.error, ToolError) else text_of(result.unwrap())
    return {"role": "tool", "tool_call_id": wanted.id, "content": content}


def _sum(one: Usage, other: Usage | None) -> Usage:
    if other is None:
        return one
    cached = [u.prompt_tokens_details.cached_tokens or 0 for u in (one, other) if u.prompt_tokens_details is not None]
    return Usage(
        prompt_tokens=one.prompt_tokens + other.prompt_tokens,
        completion_tokens=one.completion_tokens + other.completion_tokens,
        total_tokens=one.total_tokens + other.total_tokens,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=sum(cached)) if cached else None,
    )
