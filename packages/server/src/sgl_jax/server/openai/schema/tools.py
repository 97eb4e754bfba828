"""Tools in a chat: what a request declares, what was called before, what the answer calls."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from sgl_jax.server.parsing.reader import NAME_LIMIT

Name = Annotated[str, Meta(min_length=1, max_length=NAME_LIMIT)]


class FunctionDefinition(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A function that the model may call."""

    name: Name
    description: Annotated[str | None, Meta(description="What it does, for the model.")] = None
    parameters: Annotated[dict[str, Any] | None, Meta(description="JSON schema of its arguments.")] = None
    strict: Annotated[bool | None, Meta(description="Hold the arguments to the schema, whoever asks for the call.")] = (
        None
    )


class Tool(msgspec.Struct, kw_only=True):
    """One tool. Functions are the only kind."""

    function: FunctionDefinition
    type: Literal["function"] = "function"


class FunctionName(msgspec.Struct, kw_only=True):
    """A function, by name."""

    name: Name


class NamedToolChoice(msgspec.Struct, kw_only=True):
    """The one function to call."""

    function: FunctionName
    type: Literal["function"] = "function"


ToolChoice = Literal["none", "auto", "required"] | NamedToolChoice


class FunctionCall(msgspec.Struct, kw_only=True):
    """The function that a tool call names, with its arguments as JSON text (an object is taken too)."""

    name: str
    arguments: str | dict[str, Any] | None = None


class ToolCall(msgspec.Struct, kw_only=True):
    """A tool call that the assistant made earlier in the conversation."""

    function: FunctionCall
    id: str | None = None
    type: Literal["function"] = "function"


class AnswerFunction(msgspec.Struct, frozen=True):
    """The function to call; `arguments` is JSON text."""

    name: str
    arguments: str


class AnswerToolCall(msgspec.Struct, frozen=True):
    """A call that the model makes."""

    id: str
    function: AnswerFunction
    type: Literal["function"] = "function"


class FunctionDelta(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a chunk adds to a call: its function's name comes once, then the arguments, piece by piece."""

    arguments: str
    name: str | None = None


class ToolCallDelta(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a chunk adds to the call number `index`; `id` and `type` come once."""

    index: int
    function: FunctionDelta
    id: str | None = None
    type: Literal["function"] | None = None
