"""What both kinds of tokenizer file are read into."""

from __future__ import annotations

from dataclasses import dataclass

import tokenizers


@dataclass(frozen=True, slots=True)
class TokenizerParts:
    """The contents of a tokenizer's files, whatever their format.

    Attributes:
        backend: the tokenizer proper; its post-processor adds BOS and EOS as the model asks.
        bos_token, eos_token: their spelling, for chat templates; None when the model has none.
        special_tokens: further named ones (`pad_token`, `unk_token`, …), for chat templates.
        chat_template: Jinja source, or None.
        tool_chat_template: another one for conversations with tools, where the model has two.
    """

    backend: tokenizers.Tokenizer
    bos_token: str | None
    eos_token: str | None
    special_tokens: dict[str, str]
    chat_template: str | None
    tool_chat_template: str | None = None
