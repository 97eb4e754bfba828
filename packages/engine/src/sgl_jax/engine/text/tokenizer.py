"""Text to token ids and back, for Hugging Face folders and GGUF files alike."""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Sequence
from pathlib import Path

import tokenizers

from sgl_jax.engine.errors import InvalidRequestError, ModelLoadError
from sgl_jax.engine.text.byte_alphabet import TokenBytes
from sgl_jax.engine.text.gguf_tokenizer import load_gguf
from sgl_jax.engine.text.hf_tokenizer import load_folder
from sgl_jax.engine.text.tokenizer_parts import TokenizerParts


class Tokenizer:
    """A model's tokenizer.

    As in Hugging Face, a special token's spelling inside a text (`<|im_start|>`) becomes that
    token, wherever the text came from; this is what lets a rendered chat template be encoded. Such
    a text must be encoded with `add_special_tokens=False`: the template has written BOS already.

    Attributes:
        bos_token, eos_token: spelling, or None. Which tokens *end* a sequence is the model
            config's matter (`ModelSpec.eos_token_ids`); there may be more of them.
        special_tokens: further named tokens for chat templates, such as `pad_token`.
        special_token_ids: ids that `skip_special_tokens` leaves out.
        chat_template: Jinja source, or None.
        tool_chat_template: another one for conversations with tools, or None.
        decoder_kinds: the steps of decoding, by the library's names (`ByteLevel`, `ByteFallback`, …).
    """

    def __init__(self, parts: TokenizerParts) -> None:
        self._backend = parts.backend
        self.bos_token = parts.bos_token
        self.eos_token = parts.eos_token
        self.special_tokens = parts.special_tokens
        self.chat_template = parts.chat_template
        self.tool_chat_template = parts.tool_chat_template
        self.special_token_ids = frozenset(
            index for index, token in parts.backend.get_added_tokens_decoder().items() if token.special
        )
        self.decoder_kinds = _decoder_kinds(parts.backend)
        self._bytes_visible = TokenBytes(self.id_to_token, skipped=self.special_token_ids)
        self._bytes_all = TokenBytes(self.id_to_token, skipped=frozenset())
        self._showing: dict[frozenset[int], Tokenizer] = {}  # their tables fill up, so they are kept

    @classmethod
    def from_path(cls, path: Path) -> Tokenizer:
        """Loads the tokenizer of a Hugging Face model folder or a `.gguf` file.

        Raises:
            ModelLoadError: there is none, or it is damaged or of an unknown kind.
        """
        if path.is_dir():
            return cls(load_folder(path))
        if path.suffix == ".gguf":
            return cls(load_gguf(path))
        if path.name == "tokenizer.json" and path.is_file():
            return cls(load_folder(path.parent))
        if not path.exists():
            raise ModelLoadError(f"{path} does not exist. Give a local model folder or a .gguf file.")
        raise ModelLoadError(f"{path} is neither a model folder nor a .gguf file.")

    def showing(self, tokens: Collection[str]) -> Tokenizer:
        """This tokenizer, but `skip_special_tokens` leaves these special tokens in the text.

        So somebody can see the markers of tool calls and reasoning, and nobody the other special tokens.

        Args:
            tokens: spellings; those that are no special tokens here make no difference.
        """
        found = frozenset(index for token in tokens if (index := self.token_to_id(token)) is not None)
        shown = found & self.special_token_ids
        if not shown:
            return self
        if shown not in self._showing:
            other = copy.copy(self)
            other.special_token_ids = self.special_token_ids - shown
            other._bytes_visible = TokenBytes(self.id_to_token, skipped=other.special_token_ids)
            other._showing = {}
            self._showing[shown] = other
        return self._showing[shown]

    @property
    def vocab_size(self) -> int:
        """Number of tokens, added ones included; the model's own vocabulary may be padded beyond it."""
        return self._backend.get_vocab_size(with_added_tokens=True)

    @property
    def bos_token_id(self) -> int | None:
        """Id of `bos_token`, or None."""
        return None if self.bos_token is None else self.token_to_id(self.bos_token)

    @property
    def eos_token_id(self) -> int | None:
        """Id of `eos_token`, or None."""
        return None if self.eos_token is None else self.token_to_id(self.eos_token)

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Token ids of a text.

        Args:
            text: any valid Unicode.
            add_special_tokens: whether to add BOS or EOS where the model asks for them.

        Raises:
            InvalidRequestError: the text holds a lone surrogate, which is no character.
        """
        return self.encode_batch([text], add_special_tokens=add_special_tokens)[0]

    def encode_batch(
        self, texts: Sequence[str], *, add_special_tokens: bool = True, max_tokens: int | None = None
    ) -> list[list[int]]:
        """Token ids of several texts, encoded in parallel.

        Args:
            add_special_tokens: as for `encode`.
            max_tokens: longer texts lose their ends, not the special tokens around them; None keeps all.

        Raises:
            InvalidRequestError: as `encode`; or `max_tokens` leaves no room for anything but special tokens.
        """
        try:
            # The fast variant leaves out character offsets, which nobody here asks for.
            found = self._backend.encode_batch_fast(list(texts), add_special_tokens=add_special_tokens)
        except TypeError as error:
            raise InvalidRequestError(
                "The text is not valid Unicode: it holds half of a surrogate pair, such as \\ud83d alone. "
                "Send the whole character, or remove it."
            ) from error
        if max_tokens is None:
            return [encoding.ids for encoding in found]
        special = self._backend.num_special_tokens_to_add(is_pair=False) if add_special_tokens else 0
        return [self._cut(text, encoding, max_tokens, special) for text, encoding in zip(texts, found, strict=True)]

    def _cut(self, text: str, encoding: tokenizers.Encoding, max_tokens: int, special: int) -> list[int]:
        if len(encoding.ids) <= max_tokens:
            return encoding.ids
        if max_tokens <= special:
            raise InvalidRequestError(f"A text cut to {max_tokens} tokens has none of its own left; allow more.")
        if not special:
            return encoding.ids[:max_tokens]
        # Special tokens may stand on either side, so that the plain ones are cut before they come.
        plain = self._backend.encode(text, add_special_tokens=False)
        plain.truncate(max_tokens - special)
        return self._backend.post_process(plain).ids

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """Text of token ids. Bytes that are not UTF-8 become U+FFFD; ids outside the vocabulary vanish.

        Raises:
            InvalidRequestError: an id is negative or does not fit 32 bits.
        """
        if skip_special_tokens:  # not the library's own way, which knows nothing of `showing`
            ids = [token for token in ids if token not in self.special_token_ids]
        try:
            return self._backend.decode(ids, skip_special_tokens=False)
        except OverflowError as error:
            raise InvalidRequestError(f"Token ids must lie in [0, {self.vocab_size}).") from error

    def id_to_token(self, token_id: int) -> str | None:
        """The vocabulary's spelling of a token (`Ġthe`), or None when there is no such id."""
        try:
            return self._backend.id_to_token(token_id)
        except OverflowError:
            return None

    def token_to_id(self, token: str) -> int | None:
        """The id of a token in the vocabulary's spelling, or None."""
        return self._backend.token_to_id(token)

    def to_json(self) -> str:
        """The whole tokenizer in the format of `tokenizer.json`, as other libraries read it."""
        return self._backend.to_str()

    def token_bytes(self, *, skip_special_tokens: bool = True) -> TokenBytes | None:
        """A table from token id to the bytes it stands for, shared by all callers.

        Returns:
            The table, in which skipped special tokens are empty; or None when this tokenizer is
            not byte-level, so that a token's text depends on its neighbours.
        """
        if self.decoder_kinds != ("ByteLevel",):
            return None
        return self._bytes_visible if skip_special_tokens else self._bytes_all


def _decoder_kinds(backend: tokenizers.Tokenizer) -> tuple[str, ...]:
    if backend.decoder is None:
        return ()
    described = json.loads(backend.decoder.__getstate__())
    steps = described.get("decoders", [described])
    return tuple(str(step["type"]) for step in steps)
