"""What the engine returns to programs."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from sgl_jax.engine.messages import Finish, TokenDelta, TokenLogprobs


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """One finished sequence.

    Attributes:
        text: generated text, without the stop string or token that ended it.
        token_ids: generated ids; a stop token that ended the sequence is the last one.
        finish: why it ended.
        prompt_tokens: length of the prompt.
        cached_tokens: prompt tokens that the prefix cache saved.
        logprobs: one entry a token when asked for, else empty.
        prompt_logprobs: one entry a prompt token, from its second one (or `prompt_logprobs_from`) on, when asked for.
    """

    text: str
    token_ids: list[int]
    finish: Finish
    prompt_tokens: int
    cached_tokens: int = 0
    logprobs: list[TokenLogprobs] = []
    prompt_logprobs: list[TokenLogprobs] = []


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a sequence being generated.

    Attributes:
        text: new text, possibly empty while a character or a stop string is undecided.
        token_ids: new ids.
        finish: set on the last chunk.
    """

    text: str
    token_ids: list[int]
    finish: Finish | None = None


class Embedding(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One text as a vector.

    Attributes:
        vector: float32[dimensions], of length 1 where the model's vectors are normalised.
        prompt_tokens: length of the text.
        cached_tokens: those that the prefix cache saved.
    """

    vector: npt.NDArray[np.float32]
    prompt_tokens: int
    cached_tokens: int = 0

    @classmethod
    def of(cls, delta: TokenDelta, prompt_tokens: int) -> Embedding:
        """From the delta that carries it."""
        vector = np.frombuffer(delta.embedding, "<f4")
        return cls(vector=vector, prompt_tokens=prompt_tokens, cached_tokens=delta.cached_tokens)
