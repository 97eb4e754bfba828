"""How each GGUF byte-level BPE model splits text into words before merging: a table, no code per model.

`tokenizer.ggml.pre` names the rule. The patterns are those of the models' own `tokenizer.json`
files; names that share a rule share a row. Sources: the pre-tokenizer section of each family's
published `tokenizer.json`, and the names as the GGUF converters write them.
"""

from __future__ import annotations

from dataclasses import dataclass

from tokenizers import Regex, pre_tokenizers

from sgl_jax.engine.errors import ModelLoadError

_CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_PUNCTUATION_AND_SPACE = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASED_TAIL = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"

_WORDS_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_WORDS_LLAMA3 = rf"{_CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{_PUNCTUATION_AND_SPACE}"
_WORDS_QWEN2 = rf"{_CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{_PUNCTUATION_AND_SPACE}"
_WORDS_QWEN35 = (
    rf"{_CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}"
    r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_WORDS_TEKKEN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*|\p{{N}}|{_CASED_TAIL}"
)
_WORDS_GPT4O = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_CONTRACTION}?"
    rf"|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_CONTRACTION}?|\p{{N}}{{1,3}}|{_CASED_TAIL}"
)
_DEEPSEEK3 = (
    r"\p{N}{1,3}",
    r"[一-龥぀-ゟ゠-ヿ]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
)


@dataclass(frozen=True, slots=True)
class PreTokenizerRule:
    """One way to cut text into words.

    Attributes:
        patterns: applied in turn, each to the pieces that the one before left; both matches and
            what lies between them become pieces.
        nfc: whether the text is brought into Unicode normal form C first.
        whole_words: whether a word that is itself a token is taken without merging.
        adds_bos: whether BOS is prepended when the file does not say.
    """

    patterns: tuple[str, ...]
    nfc: bool = False
    whole_words: bool = False
    adds_bos: bool = False

    def build(self) -> pre_tokenizers.PreTokenizer:
        """The rule as a pre-tokenizer that ends in the byte-level alphabet."""
        splits = [pre_tokenizers.Split(Regex(pattern), behavior="isolated") for pattern in self.patterns]
        to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        return pre_tokenizers.Sequence([*splits, to_bytes])


_GPT2 = PreTokenizerRule((_WORDS_GPT2,))
_DIGITS_APART = PreTokenizerRule((r"\p{N}", _WORDS_GPT2))
_LLAMA3 = PreTokenizerRule((_WORDS_LLAMA3,), whole_words=True, adds_bos=True)
_LLAMA3_MERGED = PreTokenizerRule((_WORDS_LLAMA3,))
_QWEN2 = PreTokenizerRule((_WORDS_QWEN2,), nfc=True)

RULES: dict[str, PreTokenizerRule] = {
    "default": _GPT2,
    "gpt-2": _GPT2,
    "gpt2": _GPT2,
    "mpt": _GPT2,
    "olmo": _GPT2,
    "jais": _GPT2,
    "phi-2": _GPT2,
    "exaone4": _GPT2,
    "smollm": _DIGITS_APART,
    "starcoder": _DIGITS_APART,
    "refact": _DIGITS_APART,
    "command-r": _DIGITS_APART,
    "codeshell": _DIGITS_APART,
    "exaone": _DIGITS_APART,
    "minerva-7b": _DIGITS_APART,
    "llama-bpe": _LLAMA3,
    "llama3": _LLAMA3,
    "llama-v3": _LLAMA3,
    "falcon3": _LLAMA3,
    "falcon-h1": _LLAMA3,
    "lfm2": _LLAMA3,
    "pixtral": _LLAMA3,
    "dbrx": _LLAMA3_MERGED,
    "smaug-bpe": _LLAMA3_MERGED,
    "glm4": _LLAMA3_MERGED,
    "chatglm-bpe": _LLAMA3_MERGED,
    "qwen2": _QWEN2,
    "deepseek-r1-qwen": _QWEN2,
    "stablelm2": PreTokenizerRule((_WORDS_QWEN2,)),
    "qwen35": PreTokenizerRule((_WORDS_QWEN35,), nfc=True),
    "tekken": PreTokenizerRule((_WORDS_TEKKEN,), whole_words=True, adds_bos=True),
    "gpt-4o": PreTokenizerRule((_WORDS_GPT4O,)),
    "llama4": PreTokenizerRule((_WORDS_GPT4O,)),
    "deepseek-v3": PreTokenizerRule(_DEEPSEEK3),
}
"""`tokenizer.ggml.pre` -> rule."""


def rule_named(name: str) -> PreTokenizerRule:
    """The rule of that name.

    Raises:
        ModelLoadError: no such rule, naming those that there are.
    """
    rule = RULES.get(name)
    if rule is None:
        raise ModelLoadError(
            f"The GGUF file's pre-tokenizer {name!r} is not known (known: {', '.join(sorted(RULES))}). "
            "Pass the model's Hugging Face tokenizer folder with --tokenizer-path."
        )
    return rule
