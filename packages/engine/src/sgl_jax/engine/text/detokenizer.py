"""Token ids to text as they come, at a constant cost a token.

Whatever the split into pushes, the pieces joined are exactly `tokenizer.decode(all_ids)`. The
library's own `DecodeStream` is not used: it waits for ever on bytes that are not UTF-8, and it has
no end, so that what it still holds is lost.
"""

from __future__ import annotations

from codecs import utf_8_decode
from collections.abc import Sequence
from typing import Protocol

from sgl_jax.engine.text.byte_alphabet import TokenBytes
from sgl_jax.engine.text.tokenizer import Tokenizer


class IncrementalDetokenizer:
    """Turns one sequence's token ids into text.

    Text is given out as soon as it can no longer change, and never ends inside a character.
    """

    def __init__(self, tokenizer: Tokenizer, *, skip_special_tokens: bool = True) -> None:
        table = tokenizer.token_bytes(skip_special_tokens=skip_special_tokens)
        self._decoder: _Decoder
        if table is not None:
            self._decoder = _ByteDecoder(table)
        else:
            self._decoder = _WindowDecoder(tokenizer, skip_special_tokens)

    def push(self, token_ids: Sequence[int]) -> str:
        """The text that these ids complete, possibly none."""
        return self._decoder.push(token_ids)

    def flush(self) -> str:
        """The text still held back; bytes that never became a character are U+FFFD. Ends the sequence."""
        return self._decoder.flush()


class _Decoder(Protocol):
    def push(self, token_ids: Sequence[int]) -> str: ...

    def flush(self) -> str: ...


class _ByteDecoder:
    """For byte-level tokenizers: every token is a fixed run of bytes, so decoding is UTF-8 decoding.

    Holds at most the three bytes of an unfinished character.
    """

    def __init__(self, table: TokenBytes) -> None:
        self._table = table
        self._held = b""

    def push(self, token_ids: Sequence[int]) -> str:
        table = self._table
        data = table[token_ids[0]] if len(token_ids) == 1 else b"".join([table[token] for token in token_ids])
        if self._held:
            data = self._held + data
        text, consumed = utf_8_decode(data, "replace", False)
        self._held = data[consumed:]
        return text

    def flush(self) -> str:
        text, _ = utf_8_decode(self._held, "replace", True)
        self._held = b""
        return text


class _WindowDecoder:
    """For the others, where a token's text depends on its neighbours (a stripped first space, `##`, byte runs).

    Decodes a short window: the ids of the last emitted piece, for context, and those after it.
    """

    def __init__(self, tokenizer: Tokenizer, skip_special_tokens: bool) -> None:
        self._tokenizer = tokenizer
        self._skipped = tokenizer.special_token_ids if skip_special_tokens else frozenset()
        self._byte_fallback = "ByteFallback" in tokenizer.decoder_kinds
        self._byte_level = "ByteLevel" in tokenizer.decoder_kinds
        self._window: list[int] = []
        self._emitted = ""  # text of the window that is given out already
        self._fresh = 0  # index in the window of the first id after it

    def push(self, token_ids: Sequence[int]) -> str:
        # Skipped tokens leave no trace in the text, so they need not take room in the window.
        self._window.extend(token for token in token_ids if token not in self._skipped)
        if self._fresh == len(self._window) or self._unfinished():
            return ""
        text = self._decode(self._window)
        if self._byte_level and text.endswith("\ufffd"):
            return ""
        return self._emit(text)

    def flush(self) -> str:
        return self._emit(self._decode(self._window))

    def _unfinished(self) -> bool:
        # A run of byte tokens is decoded as a whole: one bad byte turns all of it into U+FFFD.
        # So nothing of a run is final before a token of another kind ends it.
        return self._byte_fallback and _is_byte_token(self._tokenizer.id_to_token(self._window[-1]))

    def _emit(self, text: str) -> str:
        piece = text[len(self._emitted) :]
        latest = self._window[self._fresh :]
        context = self._decode(latest)
        if context:
            self._window, self._emitted = latest, context
        else:  # an invisible piece gives no context (a first space is stripped again): keep the old one too
            self._emitted = text
        self._fresh = len(self._window)
        return piece

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=False)


def _is_byte_token(token: str | None) -> bool:
    return token is not None and len(token) == 6 and token.startswith("<0x") and token.endswith(">")
