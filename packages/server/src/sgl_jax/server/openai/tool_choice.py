"""Which tools a request offers to the model, and which of them it must call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sgl_jax.server.errors import bad_request
from sgl_jax.server.openai.schema.chat import ChatRequest
from sgl_jax.server.openai.schema.tools import NamedToolChoice, Tool
from sgl_jax.server.parsing.chat_format import ChatFormat
from sgl_jax.server.parsing.tools.declared import Tools


@dataclass(frozen=True, slots=True)
class ToolUse:
    """What a request says about tools.

    Attributes:
        offered: what the model is told of; none under `tool_choice: none`, which is the surest way to keep it from
            calling.
        forced: names of the functions of which one must be called; empty where the model is free.
    """

    offered: Sequence[Tool] = ()
    forced: tuple[str, ...] = ()

    @property
    def declared(self) -> Tools | None:
        """The offered functions and the schemas of their parameters; None where calls are not looked for."""
        if not self.offered:
            return None
        return {tool.function.name: tool.function.parameters or {} for tool in self.offered}


def tool_use(body: ChatRequest, format: ChatFormat) -> ToolUse:
    """Reads `tools` and `tool_choice`.

    Raises:
        ApiError: 400 for a choice that does not fit the tools, or that cannot be honoured.
    """
    tools, choice = body.tools or [], body.tool_choice or "auto"
    if choice == "none" or (choice == "auto" and not tools):
        return ToolUse()
    if not tools:
        raise bad_request(
            "tool_choice needs tools to choose from; send tools, or leave tool_choice out.", "tool_choice"
        )
    if format.tools is None:
        raise bad_request(
            "tools are not supported here: this model's chat template shows no known format for tool calls, or reading "
            "them was switched off. Start the server with --tool-call-parser=NAME, or leave tools out.",
            "tools",
            "not_supported",
        )
    if choice == "auto":
        return ToolUse(tools)
    names = tuple(tool.function.name for tool in tools)
    if isinstance(choice, NamedToolChoice):
        if choice.function.name not in names:
            message = f"tool_choice names {choice.function.name!r}, which is not among the tools: {', '.join(names)}."
            raise bad_request(message, "tool_choice.function.name")
        names = (choice.function.name,)
    return ToolUse(tools, names)
