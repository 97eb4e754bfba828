"""Compiles grammars beside the engine's steps, within limits, and remembers them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from sgl_jax.engine.errors import InvalidRequestError
from sgl_jax.engine.grammar import Grammar
from sgl_jax.engine.structured.constraint import Constraint
from sgl_jax.engine.structured.mask import MaskRow, all_but, allows
from sgl_jax.engine.structured.prelude import Prelude
from sgl_jax.engine.structured.translate import translate
from sgl_jax.engine.text.tokenizer import Tokenizer

COMPILE_THREADS = 2
COMPILE_SECONDS = 10.0
"""What a request waits for its grammar. The limits below end the work itself; they are counted, not timed."""
CACHED_GRAMMARS = 256


class _Compiled(NamedTuple):
    """A matcher at the start of its grammar, to be copied, or why there is none.

    Attributes:
        first: the tokens that the grammar allows first.
    """

    matcher: LLMatcher
    first: MaskRow
    error: str


class GrammarCompiler:
    """Turns grammars into constraints, in threads of its own.

    Args:
        load_tokenizer: called once, for the first grammar.
        vocab_size: the model's.
        eos_token_ids: tokens that end an answer, allowed where the grammar is satisfied.
    """

    def __init__(self, load_tokenizer: Callable[[], Tokenizer], vocab_size: int, eos_token_ids: Sequence[int]) -> None:
        self._load_tokenizer = load_tokenizer
        self._vocab_size = vocab_size
        self._eos_token_ids = list(eos_token_ids)
        self._threads = ThreadPoolExecutor(COMPILE_THREADS, thread_name_prefix="grammar")
        self._lock = threading.Lock()
        self._vocabulary: LLTokenizer | None = None
        self._special_tokens: dict[str, int] = {}
        self._inside_prelude = all_but(vocab_size, eos_token_ids)
        self._cache: OrderedDict[tuple[str, str, bool], _Compiled] = OrderedDict()

    def submit(self, grammar: Grammar) -> Future[Constraint]:
        """Starts compiling. The future raises `InvalidRequestError` for a grammar that cannot be compiled."""
        return self._threads.submit(self._compile, grammar)

    def close(self) -> None:
        """Takes no more work; does not wait for what runs."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _compile(self, grammar: Grammar) -> Constraint:
        vocabulary = self._loaded_vocabulary()
        key = (grammar.kind, grammar.text, grammar.lenient)
        with self._lock:
            compiled = self._cache.get(key)
            if compiled is not None:
                self._cache.move_to_end(key)
        if compiled is None:
            compiled = _compile(grammar, vocabulary, self._special_tokens)
            with self._lock:
                self._cache[key] = compiled
                while len(self._cache) > CACHED_GRAMMARS:
                    self._cache.popitem(last=False)
        if compiled.error:
            raise InvalidRequestError(f"The {grammar.kind} cannot be used: {compiled.error}", "grammar")
        prelude = self._prelude(grammar, vocabulary, compiled.first) if grammar.after else None
        return Constraint(compiled.matcher.deep_copy(), vocabulary, prelude)

    def _prelude(self, grammar: Grammar, vocabulary: LLTokenizer, first: MaskRow) -> Prelude:
        openings = []
        # Some models begin a line before they think.
        for text in (grammar.opening, f"\n{grammar.opening}") if grammar.opening else ():
            tokens = vocabulary.tokenize_str(text)
            # A token that the grammar may begin with must not decide for a prelude.
            if len(tokens) == 1 or not allows(first, tokens[0]):
                openings.append(tokens)
        if grammar.opening and not openings:
            raise InvalidRequestError(f"The {grammar.kind} cannot be told from {grammar.opening!r}.", "grammar")
        return Prelude(vocabulary, grammar.after.encode(), openings, None if grammar.optional else self._inside_prelude)

    def _loaded_vocabulary(self) -> LLTokenizer:
        with self._lock:
            if self._vocabulary is None:
                tokenizer = self._load_tokenizer()
                self._vocabulary = LLTokenizer(
                    tokenizer.to_json(), n_vocab=self._vocab_size, eos_token=self._eos_token_ids
                )
                spelled = ((tokenizer.id_to_token(token_id), token_id) for token_id in tokenizer.special_token_ids)
                self._special_tokens = {token: token_id for token, token_id in spelled if token}
            return self._vocabulary


def _compile(grammar: Grammar, vocabulary: LLTokenizer, special_tokens: Mapping[str, int]) -> _Compiled:
    limits = LLParserLimits(verbose_errors=False)
    first = all_but(vocabulary.vocab_size, ())
    try:
        matcher = LLMatcher(vocabulary, translate(grammar, special_tokens), log_level=0, limits=limits)
    except (ValueError, RecursionError) as error:
        return _Compiled(LLMatcher(vocabulary, "", log_level=0), first, str(error))
    if not matcher.is_error():
        # The first one builds the lexer: better here than between two steps.
        first = np.frombuffer(matcher.compute_bitmask(), np.uint32)
    return _Compiled(matcher, first, _explained(matcher.get_error()) if matcher.is_error() else "")


def _explained(message: str) -> str:
    """What is wrong with a grammar, where the library only says that something is."""
    if message.startswith("NoExtension"):
        return "no text fits it"
    if message.startswith(("regex parse error", "lookarounds not supported")):
        return f"'pattern': {' '.join(message.split())}"
    return message.split("\n<non-verbose/>")[0].replace("\n  while processing json-schema:///", " at ")
