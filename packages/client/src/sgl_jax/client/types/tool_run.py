"""What `client.chat.run_tools` gives."""

from __future__ import annotations

from dataclasses import dataclass

from sgl_jax.client.types._base import Usage
from sgl_jax.client.types.chat import ChatCompletion
from sgl_jax.client.types.params import MessageParam


@dataclass(frozen=True, slots=True)
class ToolRun:
    """A conversation that tools took part in, up to an answer that asks for none.

    Attributes:
        completion: the last answer.
        messages: the conversation, from what was given to the last answer; go on from it.
        usage: tokens of all turns together.
        turns: how many answers it took.
    """

    completion: ChatCompletion
    messages: list[MessageParam]
    usage: Usage
    turns: int

    @property
    def text(self) -> str:
        """The last answer's text."""
        return self.completion.text
