"""What a parser found -> OpenAI's messages and deltas."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import UNSET

from sgl_jax.engine.messages import Finish
from sgl_jax.server.openai.schema.chat import AssistantMessage, Delta
from sgl_jax.server.openai.schema.tools import AnswerFunction, AnswerToolCall, FunctionDelta, ToolCallDelta
from sgl_jax.server.parsing.events import (
    Answer,
    CallArguments,
    CallBegin,
    Content,
    Event,
    Reasoning,
    assemble,
)
from sgl_jax.server.parsing.parser import Parser


def read_answer(parser: Parser, text: str) -> Answer:
    """Takes a whole answer apart."""
    return assemble(parser.push(text) + parser.finish())


def message_of(answer: Answer) -> AssistantMessage:
    """The message; `content` is null where there are calls instead of any."""
    calls = [AnswerToolCall(call.id, AnswerFunction(call.name, call.arguments)) for call in answer.calls]
    return AssistantMessage(
        content=None if calls and not answer.content else answer.content,
        reasoning_content=answer.reasoning or UNSET,
        tool_calls=calls or UNSET,
    )


def deltas_of(events: Iterable[Event]) -> list[Delta]:
    """One delta for each event that a client hears of; the end of a call is none."""
    deltas = []
    for event in events:
        match event:
            case Content(text):
                deltas.append(Delta(text))
            case Reasoning(text):
                deltas.append(Delta(reasoning_content=text))
            case CallBegin(index, id, name):
                deltas.append(Delta(tool_calls=[ToolCallDelta(index, FunctionDelta("", name), id, "function")]))
            case CallArguments(index, text):
                deltas.append(Delta(tool_calls=[ToolCallDelta(index, FunctionDelta(text))]))
    return deltas


def finish_reason(finish: Finish, called: bool) -> str:
    """`tool_calls` where the model stopped of its own accord to have tools called, else the engine's reason."""
    return "tool_calls" if called and finish.reason == "stop" else finish.reason
