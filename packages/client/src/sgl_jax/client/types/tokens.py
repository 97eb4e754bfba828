"""Answers of `POST /tokenize`, `/detokenize` and `/apply_template`."""

from __future__ import annotations

from pydantic import Field

from sgl_jax.client.types._base import ServerModel


class Tokens(ServerModel):
    """A text's tokens: `tokens` are ids, `token_strs` the vocabulary's spelling of them, where it was asked for."""

    tokens: list[int] = Field(default_factory=list)
    count: int = 0
    max_model_len: int | None = None
    token_strs: list[str | None] | None = None


class Text(ServerModel):
    """The text of a list of token ids, or of a conversation, in `prompt`."""

    prompt: str = ""

    @property
    def text(self) -> str:
        """The text."""
        return self.prompt
