"""A tokenizer for models that have none: dummy weights need something to read prompts with."""

from __future__ import annotations

import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from sgl_jax.engine.text.byte_alphabet import BYTE_OF_CHARACTER
from sgl_jax.engine.text.tokenizer_parts import TokenizerParts

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message.role + ': ' + message.content + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)
_SPACE = next(letter for letter, byte in BYTE_OF_CHARACTER.items() if byte == ord(" "))


def placeholder_parts(vocab_size: int) -> TokenizerParts:
    """One token a byte, ids 0 to 255; each further id decodes to a space and its own number.

    So every id that a model can draw has a text, and a stream of random tokens shows that it moves.
    """
    vocabulary = {letter: byte for letter, byte in BYTE_OF_CHARACTER.items() if byte < vocab_size}
    vocabulary |= {f"{_SPACE}{index}": index for index in range(256, vocab_size)}
    backend = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return TokenizerParts(
        backend=backend, bos_token=None, eos_token=None, special_tokens={}, chat_template=CHAT_TEMPLATE
    )
