"""The room before the queue: requests whose grammar is still being compiled."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import NamedTuple

from sgl_jax.engine.errors import InvalidRequestError, SglJaxError
from sgl_jax.engine.grammar import Grammar
from sgl_jax.engine.scheduling.request import Request
from sgl_jax.engine.structured.compiler import COMPILE_SECONDS, GrammarCompiler
from sgl_jax.engine.structured.constraint import Constraint, GrammarFailedError

logger = logging.getLogger(__name__)


class _Entry(NamedTuple):
    request: Request
    constraint: Future[Constraint]
    deadline: float


class CompilingRequests:
    """Holds a request until its grammar is compiled, refused or late.

    Args:
        compiler: None for an engine that knows no text: it refuses every grammar.
    """

    def __init__(self, compiler: GrammarCompiler | None) -> None:
        self._compiler = compiler
        self._entries: dict[str, _Entry] = {}

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, request: Request, grammar: Grammar) -> None:
        """Starts compiling. Raises `InvalidRequestError` when this engine cannot."""
        if self._compiler is None:
            raise InvalidRequestError("This engine has no tokenizer, so it cannot keep to a grammar.", "grammar")
        compiling = self._compiler.submit(grammar)
        self._entries[request.request_id] = _Entry(request, compiling, time.monotonic() + COMPILE_SECONDS)

    def abort(self, request_ids: Iterable[str]) -> None:
        """Drops requests; unknown ids are ignored."""
        for request_id in request_ids:
            if entry := self._entries.pop(request_id, None):
                entry.constraint.cancel()

    def settled(self, patience: float) -> list[tuple[Request, SglJaxError | None]]:
        """Takes out the requests that can be queued, with None, and those that are refused, with the reason.

        Args:
            patience: seconds to wait for the first of them.
        """
        wait([entry.constraint for entry in self._entries.values()], patience, FIRST_COMPLETED)
        found = [(entry.request, error) for entry in self._entries.values() for error in _outcome(entry)]
        for request, _ in found:
            del self._entries[request.request_id]
        return found

    def close(self) -> None:
        """Stops compiling."""
        if self._compiler is not None:
            self._compiler.close()


def _outcome(entry: _Entry) -> list[SglJaxError | None]:
    """Nothing while it compiles, else one entry: None, or why it is refused."""
    if not entry.constraint.done():
        if time.monotonic() < entry.deadline:
            return []
        message = f"The grammar takes longer than {COMPILE_SECONDS:g} s to compile; make it simpler."
        return [InvalidRequestError(message, "grammar")]
    try:
        entry.request.constrain(entry.constraint.result())
    except SglJaxError as error:
        return [error]
    except GrammarFailedError as error:
        return [InvalidRequestError(str(error), "grammar")]
    except Exception as error:  # a mistake of ours, which must not end the other requests
        logger.exception("compiling a grammar failed")
        return [InvalidRequestError(f"The grammar cannot be compiled ({type(error).__name__}: {error}).", "grammar")]
    return [None]
