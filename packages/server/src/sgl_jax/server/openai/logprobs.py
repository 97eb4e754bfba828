"""Log-probabilities in the two shapes that OpenAI has for them."""

from __future__ import annotations

from collections.abc import Sequence

from sgl_jax.engine.messages import TokenLogprobs
from sgl_jax.server.openai.schema.chat import ChatLogprobs, TokenLogprob, TopLogprob
from sgl_jax.server.openai.schema.common import PromptLogprob, PromptLogprobs
from sgl_jax.server.openai.schema.completions import CompletionLogprobs
from sgl_jax.server.token_text import ShowBytes, as_text, finite


def chat_logprobs(token_ids: Sequence[int], logprobs: Sequence[TokenLogprobs], show: ShowBytes) -> ChatLogprobs:
    """One entry a token, each with its likeliest rivals."""
    content = []
    for token_id, entry in zip(token_ids, logprobs, strict=False):
        spelled = show(token_id)
        top = [_top(rival, logprob, show) for rival, logprob in entry.top]
        content.append(TokenLogprob(as_text(spelled), finite(entry.logprob), list(spelled), top))
    return ChatLogprobs(content)


def completion_logprobs(
    token_ids: Sequence[int], logprobs: Sequence[TokenLogprobs | None], show: ShowBytes, offset: int
) -> CompletionLogprobs:
    """Columns.

    Args:
        logprobs: one entry a token; None for a prompt's first, which nothing precedes.
        offset: characters of the text before the first of these tokens.
    """
    tokens = [as_text(show(token_id)) for token_id in token_ids]
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token)
    return CompletionLogprobs(
        tokens=tokens,
        token_logprobs=[None if entry is None else finite(entry.logprob) for entry in logprobs],
        top_logprobs=[
            None
            if entry is None
            # The token comes last, and changes nothing where it is among the likeliest.
            else {as_text(show(one)): finite(logprob) for one, logprob in (*entry.top, (token_id, entry.logprob))}
            for token_id, entry in zip(token_ids, logprobs, strict=False)
        ],
        text_offset=offsets,
    )


def prompt_logprobs(
    token_ids: Sequence[int], logprobs: Sequence[TokenLogprobs], top: int, show: ShowBytes
) -> PromptLogprobs:
    """vLLM's list, one map a token of the prompt.

    Args:
        logprobs: one entry a token from the second on.
        top: how many of the likeliest tokens to show at each place, beside the prompt's own.
    """
    maps: PromptLogprobs = [None]
    for token_id, entry in zip(token_ids[1:], logprobs, strict=False):
        ranked = {
            rival: PromptLogprob(finite(logprob), rank, as_text(show(rival)))
            for rank, (rival, logprob) in enumerate(entry.top[:top], 1)
        }
        own = PromptLogprob(finite(entry.logprob), None, as_text(show(token_id)))
        maps.append({str(one): said for one, said in {token_id: own, **ranked}.items()})
    return maps


def _top(token_id: int, logprob: float, show: ShowBytes) -> TopLogprob:
    spelled = show(token_id)
    return TopLogprob(as_text(spelled), finite(logprob), list(spelled))
