"""The ladder of compiled step shapes. Few, so that start-up is short; close, so that little is padded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from sgl_jax.engine.plan import StepPlan

if TYPE_CHECKING:
    from sgl_jax.engine.attention.backends import FreshPrompts


class Bucket(NamedTuple):
    """Static shape of a step.

    Attributes:
        num_tokens: length of the token axis.
        num_rows: sequences.
        single: every row has one token (then `num_tokens == num_rows`).
        fresh: every row is a prompt from its beginning on, of at most `row_tokens`.
    """

    num_tokens: int
    num_rows: int
    single: bool
    fresh: bool = False

    @property
    def row_tokens(self) -> int:
        """Places that each fresh prompt has."""
        return self.num_tokens // self.num_rows

    def __str__(self) -> str:
        if self.fresh:
            return f"fresh {self.num_tokens} tokens x{self.num_rows}"
        return f"decode x{self.num_rows}" if self.single else f"mixed {self.num_tokens} tokens x{self.num_rows}"


class BucketLadder:
    """All buckets of an engine, and the cheapest that holds a plan.

    Args:
        max_tokens: most tokens of a step.
        max_rows: most sequences of a step.
        row_rungs, token_rungs: sizes to compile instead of the powers of two; the most is always among them.
        decodes: whether there are buckets of single tokens.
        fresh: shapes of the steps that hold whole prompts only, where a backend serves these apart.
    """

    def __init__(
        self,
        max_tokens: int,
        max_rows: int,
        *,
        row_rungs: Sequence[int] | None = None,
        token_rungs: Sequence[int] | None = None,
        decodes: bool = True,
        fresh: FreshPrompts | None = None,
    ) -> None:
        self._rows = _rungs(1, max_rows, 2) if row_rungs is None else _topped(row_rungs, max_rows)
        if not decodes:
            self._rows = []
        tokens = _rungs(min(16, max_tokens), max_tokens, 2) if token_rungs is None else _topped(token_rungs, max_tokens)
        self._mixed = [(count, min(max_rows, count)) for count in tokens]
        self._fresh = [
            Bucket(count, rows, False, True)
            for count in tokens
            for rows in (() if fresh is None or count < fresh.least_tokens else fresh.rows)
            if rows <= max_rows
        ]

    @property
    def buckets(self) -> list[Bucket]:
        """Every bucket, the most often needed first."""
        decode = [Bucket(rows, rows, True) for rows in self._rows]
        return decode + [Bucket(tokens, rows, False) for tokens, rows in self._mixed] + self._fresh

    def choose(self, plan: StepPlan) -> Bucket:
        """The smallest bucket that holds the plan."""
        num_rows, num_tokens = len(plan.slots), plan.num_tokens
        if self._rows and num_tokens == num_rows and not plan.wants_scores:
            rows = next(rows for rows in self._rows if rows >= num_rows)
            return Bucket(rows, rows, True)
        tokens, rows = next(shape for shape in self._mixed if shape[0] >= num_tokens and shape[1] >= num_rows)
        if self._fresh and plan.is_fresh:
            longest = max(slot.num_tokens for slot in plan.slots)
            fitting = (
                bucket
                for bucket in self._fresh
                if bucket.num_tokens == tokens and bucket.num_rows >= num_rows and bucket.row_tokens >= longest
            )
            return next(fitting, Bucket(tokens, rows, False))
        return Bucket(tokens, rows, False)


def _topped(rungs: Sequence[int], last: int) -> list[int]:
    """The given rungs below `last`, and `last`."""
    return [*sorted({rung for rung in rungs if rung < last}), last]


def _rungs(first: int, last: int, factor: int) -> list[int]:
    """first, first * factor, … and finally last itself."""
    rungs = []
    while first < last:
        rungs.append(first)
        first *= factor
    return [*rungs, last]
