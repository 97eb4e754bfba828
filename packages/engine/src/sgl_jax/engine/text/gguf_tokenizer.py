"""Builds a tokenizer from the fields of a GGUF file: byte-level BPE (`gpt2`) or SentencePiece BPE (`llama`)."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors

from sgl_jax.engine.config.gguf_metadata import read_metadata
from sgl_jax.engine.errors import ModelLoadError
from sgl_jax.engine.text.gguf_pretokenizers import rule_named
from sgl_jax.engine.text.tokenizer_parts import TokenizerParts

_PREFIX = "tokenizer.ggml."
_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
"""SentencePiece writes a space as this character."""


class _TokenType(IntEnum):
    """Values of `tokenizer.ggml.token_type`."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    BYTE = 6


_UNSPELLED = frozenset({_TokenType.UNKNOWN, _TokenType.CONTROL, _TokenType.BYTE})
"""Tokens whose spelling in the vocabulary is only a name."""


def load_gguf(path: Path) -> TokenizerParts:
    """Reads the tokenizer inside a `.gguf` file.

    Raises:
        ModelLoadError: the file is damaged, or its tokenizer is of a kind that is not known here.
    """
    metadata = read_metadata(path)
    try:
        return _build(metadata)
    except ModelLoadError as error:
        raise ModelLoadError(f"{path}: {error}") from None


def _build(metadata: dict[str, Any]) -> TokenizerParts:
    fields = {key.removeprefix(_PREFIX): value for key, value in metadata.items() if key.startswith(_PREFIX)}
    model = fields.get("model")
    builder = _BUILDERS.get(model) if isinstance(model, str) else None
    if builder is None:
        raise ModelLoadError(
            f"The GGUF file's tokenizer model is {model!r}; known are {', '.join(sorted(_BUILDERS))}. "
            "Pass the model's Hugging Face tokenizer folder with --tokenizer-path."
        )
    tokens = _strings(fields, "tokens")
    named = {name: _token_at(fields, name, tokens) for name in ("bos", "eos", "unknown", "padding")}
    try:
        backend, adds_bos = builder(fields, tokens)
        _add_special_tokens(backend, fields, tokens)
        _add_post_processor(backend, fields, adds_bos, named)
    except ModelLoadError:
        raise
    except Exception as error:  # the library raises bare Exception, e.g. for a merge of unknown tokens
        raise ModelLoadError(f"The GGUF file's tokenizer is inconsistent: {error}. Convert the model again.") from error
    template = metadata.get("tokenizer.chat_template")
    further = {"unk_token": named["unknown"], "pad_token": named["padding"]}
    return TokenizerParts(
        backend=backend,
        bos_token=named["bos"],
        eos_token=named["eos"],
        special_tokens={name: text for name, text in further.items() if text is not None},
        chat_template=template if isinstance(template, str) else None,
    )


def _byte_level_bpe(fields: dict[str, Any], tokens: list[str]) -> tuple[Tokenizer, bool]:
    rule = rule_named(str(fields.get("pre", "default")))
    # A merge is two tokens around a space; a token never holds one (the byte alphabet spells it Ġ).
    merges = [(left, right) for left, _, right in (merge.partition(" ") for merge in _strings(fields, "merges"))]
    vocabulary = {text: index for index, text in enumerate(tokens)}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=rule.whole_words))
    if rule.nfc:
        backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = rule.build()
    backend.decoder = decoders.ByteLevel()
    return backend, rule.adds_bos


def _sentencepiece_bpe(fields: dict[str, Any], tokens: list[str]) -> tuple[Tokenizer, bool]:
    scores = fields.get("scores")
    if not isinstance(scores, list) or len(scores) != len(tokens):
        raise ModelLoadError("The GGUF file's tokenizer needs one 'tokenizer.ggml.scores' entry a token.")
    vocabulary = {text: index for index, text in enumerate(tokens)}
    unknown = _token_at(fields, "unknown", tokens)
    model = models.BPE(
        vocab=vocabulary,
        merges=_merges_from_scores(vocabulary, scores, _types(fields, tokens)),
        unk_token=unknown,
        fuse_unk=True,
        byte_fallback=True,
    )
    backend = Tokenizer(model)
    adds_space = bool(fields.get("add_space_prefix", True))
    prefix = [normalizers.Prepend(_SPACE)] if adds_space else []
    backend.normalizer = normalizers.Sequence([*prefix, normalizers.Replace(" ", _SPACE)])
    strip = [decoders.Strip(" ", 1, 0)] if adds_space else []
    backend.decoder = decoders.Sequence(
        [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    return backend, True


_BUILDERS: dict[str, Callable[[dict[str, Any], list[str]], tuple[Tokenizer, bool]]] = {
    "gpt2": _byte_level_bpe,
    "llama": _sentencepiece_bpe,
}


def _merges_from_scores(vocabulary: dict[str, int], scores: list[float], types: list[int]) -> list[tuple[str, str]]:
    """SentencePiece merges the pair whose union scores best; as ranked merges, that is every split, best first.

    A text never becomes a control, unknown or byte token by merging, whatever it spells.
    """
    id_of, ranked = vocabulary.get, []
    for text, index in vocabulary.items():
        if types[index] in _UNSPELLED:
            continue
        for cut in range(1, len(text)):
            left = id_of(text[:cut])
            if left is not None and (right := id_of(text[cut:])) is not None:
                ranked.append((-scores[index], left, right, text, cut))
    ranked.sort()
    return [(text[:cut], text[cut:]) for *_, text, cut in ranked]


def _types(fields: dict[str, Any], tokens: list[str]) -> list[int]:
    types = fields.get("token_type")
    if not isinstance(types, list) or len(types) != len(tokens):
        raise ModelLoadError("The GGUF file's tokenizer needs one 'tokenizer.ggml.token_type' entry a token.")
    return types


def _add_special_tokens(backend: Tokenizer, fields: dict[str, Any], tokens: list[str]) -> None:
    types = _types(fields, tokens)
    kinds = {_TokenType.CONTROL, _TokenType.UNKNOWN}
    special = [text for text, kind in zip(tokens, types, strict=True) if kind in kinds]
    ordinary = [text for text, kind in zip(tokens, types, strict=True) if kind == _TokenType.USER_DEFINED]
    backend.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in special])
    backend.add_tokens([AddedToken(text, special=False, normalized=False) for text in ordinary])


def _add_post_processor(
    backend: Tokenizer, fields: dict[str, Any], adds_bos: bool, named: dict[str, str | None]
) -> None:
    before = [named["bos"]] if fields.get("add_bos_token", adds_bos) else []
    after = [named["eos"]] if fields.get("add_eos_token", False) else []
    if not before and not after:
        return
    added = [text for text in (*before, *after) if text is not None]
    if len(added) != len(before) + len(after):
        raise ModelLoadError("The GGUF file asks for BOS or EOS to be added, but does not say which token it is.")
    backend.post_processor = processors.TemplateProcessing(
        single=[*(text for text in before if text), "$A", *(text for text in after if text)],
        special_tokens=[(text, backend.token_to_id(text)) for text in dict.fromkeys(added)],
    )


def _token_at(fields: dict[str, Any], name: str, tokens: list[str]) -> str | None:
    index = fields.get(f"{name}_token_id")
    if index is None:
        return None
    if not isinstance(index, int) or not 0 <= index < len(tokens):
        raise ModelLoadError(f"The GGUF file's {name}_token_id {index!r} is not a token of its vocabulary.")
    return tokens[index]


def _strings(fields: dict[str, Any], name: str) -> list[str]:
    value = fields.get(name)
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise ModelLoadError(f"The GGUF file has no list of strings '{_PREFIX}{name}'.")
    return value
