"""What all answers have in common: they keep fields that this version of the client does not know."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class ServerModel(BaseModel):
    """An answer, or a part of one. Unknown fields are kept as attributes and in `model_extra`.

    Almost every field has a default: an answer that lacks one is still an answer.
    """

    # defer_build: a model's validator is made at its first use, not at import
    model_config = ConfigDict(extra="allow", protected_namespaces=(), defer_build=True)


class PromptLogprob(ServerModel):
    """How likely a token was at a place in the prompt. `rank` counts from 1; None beyond the likeliest asked for."""

    logprob: float = 0.0
    rank: int | None = None
    decoded_token: str = ""


class PromptTokensDetails(ServerModel):
    """Where the prompt's tokens came from: `cached_tokens` were saved by the prefix cache."""

    cached_tokens: int | None = None


class Usage(ServerModel):
    """Real token counts of one request."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    prompt_tokens_details: PromptTokensDetails | None = None
