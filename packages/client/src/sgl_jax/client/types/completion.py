"""Answers of `POST /v1/completions`: whole, and in chunks (which have the same shape)."""

from __future__ import annotations

from pydantic import Field

from sgl_jax.client.types._base import PromptLogprob, ServerModel, Usage


class CompletionLogprobs(ServerModel):
    """Log-probabilities in columns, one entry a token; a prompt's first token has None."""

    tokens: list[str] = Field(default_factory=list)
    token_logprobs: list[float | None] = Field(default_factory=list)
    top_logprobs: list[dict[str, float] | None] | None = None
    text_offset: list[int] = Field(default_factory=list)


class CompletionChoice(ServerModel):
    """One answer; index = prompt * n + sample. `matched_stop` is the stop string or token id that ended it."""

    index: int = 0
    text: str = ""
    logprobs: CompletionLogprobs | None = None
    finish_reason: str | None = None
    matched_stop: int | str | None = None
    prompt_logprobs: list[dict[str, PromptLogprob] | None] | None = None


class Completion(ServerModel):
    """A whole answer, or one event of a streamed one (its texts are then pieces)."""

    id: str = ""
    object: str = "text_completion"
    created: int = 0
    model: str = ""
    choices: list[CompletionChoice] = Field(default_factory=list)
    usage: Usage | None = None

    @property
    def text(self) -> str:
        """The first choice's text."""
        return "".join(choice.text for choice in self.choices if choice.index == 0)
