"""How a reranker of Qwen3's kind is asked: one question a document, to be answered with yes or no.

The wording is the one that Qwen3-Reranker was trained with (its model card): another wording ranks worse.
"""

from __future__ import annotations

from collections.abc import Sequence

from sgl_jax.engine.text.tokenizer import Tokenizer
from sgl_jax.server.errors import bad_request
from sgl_jax.server.generation import Prompt
from sgl_jax.server.prompts import encode

INSTRUCT = "Given a web search query, retrieve relevant passages that answer the query"
BEFORE = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
)
AFTER = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
_NEEDED = ("<|im_start|>", "<|im_end|>")


def labels(tokenizer: Tokenizer) -> tuple[int, int] | None:
    """The tokens for yes and for no; None for a model that cannot be asked like this."""
    yes, no = tokenizer.token_to_id("yes"), tokenizer.token_to_id("no")
    if yes is None or no is None or any(tokenizer.token_to_id(token) is None for token in _NEEDED):
        return None
    return yes, no


async def questions(
    tokenizer: Tokenizer, query: str, documents: Sequence[str], instruct: str | None, max_tokens: int | None
) -> list[Prompt]:
    """One prompt a document.

    Args:
        instruct: what to look for; None is `INSTRUCT`.
        max_tokens: of each prompt; longer documents lose their ends.

    Raises:
        ApiError: 400 for a null byte, or where `max_tokens` leaves no room.
    """
    before, after = tokenizer.encode_batch([BEFORE, AFTER], add_special_tokens=False)
    room = None if max_tokens is None else max_tokens - len(before) - len(after)
    if room is not None and room < 1:
        fixed = len(before) + len(after)
        message = f"truncate_prompt_tokens must be above {fixed}, the length of the question alone."
        raise bad_request(message, "truncate_prompt_tokens")
    task = INSTRUCT if instruct is None else instruct
    texts = [f"<Instruct>: {task}\n<Query>: {query}\n<Document>: {document}" for document in documents]
    asked = await encode(tokenizer, texts, add_special_tokens=False, param="documents", max_tokens=room)
    return [Prompt([*before, *prompt.ids, *after]) for prompt in asked]


def instructed_query(instruct: str, query: str) -> str:
    """A query as Qwen3-Embedding and its kin want it when they are told what to look for."""
    return f"Instruct: {instruct}\nQuery:{query}"
