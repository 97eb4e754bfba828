"""Items of the Responses API -> messages of a chat."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum

import msgspec

from sgl_jax.server.errors import bad_request
from sgl_jax.server.openai.responses.items import OutputItem
from sgl_jax.server.openai.responses.schema import InputItem, InputPart
from sgl_jax.server.openai.schema.chat import ChatMessage
from sgl_jax.server.openai.schema.tools import FunctionCall, ToolCall

FindItem = Callable[[str], OutputItem | None]
"""A stored answer's item by its id."""
_TEXT_PARTS = frozenset({"input_text", "output_text", "reasoning_text", "summary_text", "text"})


class _Part(IntEnum):
    """Of a turn of the model, in their order."""

    REASONING = 0
    TEXT = 1
    CALLS = 2


class Conversation:
    """Puts items together: what one turn of the model was split into becomes one message again.

    Args:
        before: the messages to go on with; they stay as they are.
        find: finds the item that an `item_reference` means.

    Attributes:
        messages: so far.
    """

    def __init__(self, before: Sequence[ChatMessage], find: FindItem) -> None:
        self.messages: list[ChatMessage] = [*before]
        self._find = find
        self._latest: _Part | None = None  # of the model's message that may still grow

    def add(self, given: str | Sequence[InputItem]) -> None:
        """Takes in a request's `input`.

        Raises:
            ApiError: 400 for an item that is incomplete, or of a type that is not supported.
        """
        if isinstance(given, str):
            self._append(ChatMessage(role="user", content=given))
            return
        for number, item in enumerate(given):
            self._add(item, f"input[{number}]")

    def add_output(self, output: Sequence[OutputItem]) -> None:
        """Takes in what the model said."""
        for item in output:
            self._add(as_input(item), "output")

    def _add(self, item: InputItem, path: str) -> None:
        match item.type:
            case "message":
                self._message(item, path)
            case "function_call":
                function = FunctionCall(name=_needed(item, "name", path), arguments=item.arguments)
                call = ToolCall(id=_needed(item, "call_id", path), function=function)
                turn = self._turn(_Part.CALLS)
                turn.tool_calls = [*(turn.tool_calls or ()), call]
            case "function_call_output":
                content = _text(item.output or "", f"{path}.output")
                call_id = _needed(item, "call_id", path)
                self._append(ChatMessage(role="tool", content=content, tool_call_id=call_id))
            case "reasoning":
                if said := _text(item.content or item.summary or "", f"{path}.content"):
                    self._turn(_Part.REASONING).reasoning_content = said
            case "item_reference":
                found = self._find(_needed(item, "id", path))
                if found is None:
                    raise bad_request(
                        f"{path}.id: there is no stored item {item.id!r}; send the item itself.", f"{path}.id"
                    )
                self._add(as_input(found), path)
            case _:
                raise bad_request(
                    f"{path}.type {item.type!r} is not supported: items are messages, function calls with their "
                    "outputs, and reasoning.",
                    f"{path}.type",
                    "not_supported",
                )

    def _message(self, item: InputItem, path: str) -> None:
        if item.role is None:
            raise bad_request(f"{path}.role is missing.", f"{path}.role")
        if item.content is None:
            raise bad_request(f"{path}.content must be a text or a list of parts.", f"{path}.content")
        content = _text(item.content, f"{path}.content")
        if item.role == "assistant":
            self._turn(_Part.TEXT).content = content
        else:
            self._append(ChatMessage(role=item.role, content=content))

    def _turn(self, part: _Part) -> ChatMessage:
        """The model's message that goes on with this part, or a new one."""
        latest = self._latest
        if latest is None or not (latest < part or latest is part is _Part.CALLS):
            self._append(ChatMessage(role="assistant", content=""))
        self._latest = part
        return self.messages[-1]

    def _append(self, message: ChatMessage) -> None:
        self.messages.append(message)
        self._latest = None


def as_input(item: OutputItem) -> InputItem:
    """An item of an answer, as a client sends it back."""
    return msgspec.convert(msgspec.to_builtins(item), InputItem)


def _needed(item: InputItem, name: str, path: str) -> str:
    value: str | None = getattr(item, name)
    if not value:
        raise bad_request(f"{path}.{name} is missing.", f"{path}.{name}")
    return value


def _text(content: str | Sequence[InputPart], path: str) -> str:
    if isinstance(content, str):
        return content
    texts = []
    for number, part in enumerate(content):
        at = f"{path}[{number}]"
        if part.type == "refusal":
            texts.append(part.refusal or "")
        elif part.type not in _TEXT_PARTS:
            raise bad_request(f"{at}.type must be 'input_text', got {part.type!r}: this model reads text only.", at)
        elif part.text is None:
            raise bad_request(f"{at}.text is missing.", f"{at}.text")
        else:
            texts.append(part.text)
    return "\n".join(texts)
