"""How single tokens are shown: the bytes that each stands for, and a number for how likely it was."""

from __future__ import annotations

from collections.abc import Callable

from sgl_jax.engine.text.tokenizer import Tokenizer

ShowBytes = Callable[[int], bytes]

LOGPROB_FLOOR = -9999.0
"""Stands for minus infinity, which JSON does not have (OpenAI's own convention)."""


def token_shower(tokenizer: Tokenizer) -> ShowBytes:
    """A function from token id to bytes, special tokens included.

    Exact for byte-level tokenizers; for others it is what the token decodes to on its own.
    """
    table = tokenizer.token_bytes(skip_special_tokens=False)
    if table is not None:
        return table.__getitem__
    return lambda token_id: tokenizer.decode([token_id], skip_special_tokens=False).encode()


def as_text(spelled: bytes) -> str:
    """Bytes as text; what is not UTF-8 (half a character) shows as U+FFFD."""
    return spelled.decode(errors="replace")


def finite(logprob: float) -> float:
    """The value, or the floor for what JSON cannot say."""
    return logprob if logprob > LOGPROB_FLOOR else LOGPROB_FLOOR
