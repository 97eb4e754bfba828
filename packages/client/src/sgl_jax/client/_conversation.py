"""What may stand for a conversation -> a list of messages."""

from __future__ import annotations

from sgl_jax.client.types.params import MessageParam, Messages


def conversation(messages: Messages) -> list[MessageParam]:
    """The messages; a string is one of the user's."""
    return [{"role": "user", "content": messages}] if isinstance(messages, str) else list(messages)
