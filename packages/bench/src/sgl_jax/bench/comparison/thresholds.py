"""`--fail-if 'ttft_p99 > +10%'`: what a change must not do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, Self

from sgl_jax.bench.comparison.measures import Measure
from sgl_jax.bench.errors import ThresholdError

_FORM = "write MEASURE > +PERCENT% or MEASURE < -PERCENT%, as in 'ttft_p99 > +10%' or 'tokens_per_second < -5%'"
_PATTERN = re.compile(r"\s*([\w.]+)\s*([<>])\s*([+-]?)\s*(\d+(?:\.\d*)?|\.\d+)\s*(%?)\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Threshold:
    """A limit to a measure's change.

    Attributes:
        measure: what must not change too much.
        direction: `>` limits growth, `<` limits shrinking.
        change: the limit as a share of the baseline: 0.1 for +10%, -0.05 for -5%.
    """

    measure: Measure
    direction: Literal["<", ">"]
    change: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the threshold that `text` writes down.

        Raises:
            ThresholdError: it does not; says what is wrong with it.
        """
        match = _PATTERN.fullmatch(text)
        if match is None:
            raise ThresholdError(f"--fail-if {text!r} is not understood: {_FORM}")
        name, direction, sign, digits, percent = match.groups()
        if not percent:
            raise ThresholdError(f"--fail-if {text!r}: changes are in percent; {_FORM}")
        if sign == ("-" if direction == ">" else "+"):
            raise ThresholdError(f"--fail-if {text!r}: '>' limits a rise and '<' a fall; {_FORM}")
        try:
            measure = Measure.parse(name)
        except ValueError as error:
            raise ThresholdError(f"--fail-if {text!r}: {error}") from error
        change = float(digits) / 100
        if direction == "<":
            return cls(measure, "<", -change)
        return cls(measure, ">", change)

    def broken_by(self, ratio: float) -> bool:
        """Return whether new over baseline is beyond the limit."""
        return ratio > 1 + self.change if self.direction == ">" else ratio < 1 + self.change

    def __str__(self) -> str:
        return f"{self.measure.name} {self.direction} {100 * self.change:+g}%"
