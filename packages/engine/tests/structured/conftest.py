"""A compiler over SmolLM2's tokenizer, and ways to ask its constraints."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from sgl_jax.engine.config.default_model import find_default_model
from sgl_jax.engine.grammar import Grammar
from sgl_jax.engine.structured.compiler import GrammarCompiler
from sgl_jax.engine.structured.constraint import Constraint
from sgl_jax.engine.structured.mask import allows
from sgl_jax.engine.text.tokenizer import Tokenizer

EOS = 2
VOCAB_SIZE = 49_160  # beyond the tokenizer's: models pad their vocabulary


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    path = find_default_model()
    assert path is not None
    return Tokenizer.from_path(path)


@pytest.fixture(scope="session")
def compiler(tokenizer: Tokenizer) -> Iterator[GrammarCompiler]:
    compiler = GrammarCompiler(lambda: tokenizer, VOCAB_SIZE, [EOS])
    yield compiler
    compiler.close()


@pytest.fixture(scope="session")
def compiled(compiler: GrammarCompiler) -> Callable[..., Constraint]:
    """Compiles a grammar, given as `Grammar`'s fields."""

    def compile(kind: str, text: str, **fields: object) -> Constraint:
        return compiler.submit(Grammar(kind=kind, text=text, **fields)).result(30)

    return compile


@pytest.fixture(scope="session")
def fits(compiled: Callable[..., Constraint], tokenizer: Tokenizer) -> Callable[..., bool]:
    """Whether a text, token by token, is an answer that a grammar lets begin, go on and end."""

    def fits(kind: str, text: str, answer: str, **fields: object) -> bool:
        constraint = compiled(kind, text, **fields)
        for token in [*tokenizer.encode(answer, add_special_tokens=False), EOS]:
            row = constraint.allowed()
            if row is not None and not allows(row, token):
                return False
            if token != EOS:
                constraint.accept(token)
        return True

    return fits
