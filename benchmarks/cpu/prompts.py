"""Prompts of exactly so many tokens of the benchmark's model, no two of which begin alike."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from sgl_jax.bench.workload.base import Message, RequestSpec
from sgl_jax.engine.config.engine_config import EngineConfig
from sgl_jax.engine.text.load import load_tokenizer
from sgl_jax.engine.text.tokenizer import Tokenizer

ATTEMPTS = 20


class ExactPrompts:
    """A workload of `sgl-jax-bench`: greedy-sized requests whose prompts every server counts alike.

    Args:
        model: the GGUF file, for its tokenizer.
        tokens: length of every prompt.
        new_tokens: length of every answer.
        seed: equal seeds give equal prompts; prompts of different seeds share no beginning worth caching.
    """

    def __init__(self, model: Path, tokens: int, new_tokens: int, seed: int) -> None:
        self._model = model
        self._tokens = tokens
        self._new_tokens = new_tokens
        self._seed = seed

    @property
    def name(self) -> str:
        return f"prompts of {self._tokens} tokens, seed {self._seed}"

    def requests(self) -> Iterator[RequestSpec]:
        chance = random.Random(self._seed)
        index = 0
        while True:
            yield RequestSpec(index, (Message("user", self._text(chance)),), self._new_tokens)
            index += 1

    def _text(self, chance: random.Random) -> str:
        tokenizer, words = _tokenizer(self._model), _words(self._model)
        for _ in range(ATTEMPTS):
            text = "".join(chance.choice(words) for _ in range(self._tokens))
            if len(tokenizer.encode(text)) == self._tokens:
                return text
        raise RuntimeError("the model's words do not keep to themselves; another tokenizer needs other prompts")


@cache
def _tokenizer(model: Path) -> Tokenizer:
    return load_tokenizer(EngineConfig(model_path=str(model)))


@cache
def _words(model: Path) -> list[str]:
    """Texts of tokens that are a blank and a plain word."""
    tokenizer = _tokenizer(model)
    texts = (tokenizer.decode([token_id]) for token_id in range(tokenizer.vocab_size))
    return [text for text in texts if re.fullmatch(r" [a-z]{3,8}", text) and len(tokenizer.encode(text)) == 1]
