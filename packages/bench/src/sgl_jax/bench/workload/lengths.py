"""How long synthetic prompts and answers are: one number, or a distribution to draw from."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Literal, Self

MAX_TOKENS = 10_000_000
"""More is a slip of the finger."""

_FORMS = "write 512, uniform:100:1000 (from, to) or lognormal:512:0.5 (median, sigma)"


@dataclass(frozen=True, slots=True)
class Lengths:
    """A distribution of numbers of tokens, each at least 1.

    Attributes:
        kind: `fixed` (always `a`), `uniform` (`a` to `b`, both included), or `lognormal` (median `a`, and `b` the
            standard deviation of its logarithm: 0.5 puts two thirds between 0.6 and 1.65 times the median).
        a, b: its parameters.
    """

    kind: Literal["fixed", "uniform", "lognormal"]
    a: float
    b: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the lengths that `512`, `uniform:100:1000` or `lognormal:512:0.5` names.

        Raises:
            ValueError: it is of no such form, or out of range.
        """
        kind, *numbers = text.strip().split(":") if ":" in text else ("fixed", text)
        try:
            match kind, [float(number) for number in numbers]:
                case "fixed", [a] if a.is_integer() and 1 <= a <= MAX_TOKENS:
                    return cls("fixed", a)
                case "uniform", [a, b] if a.is_integer() and b.is_integer() and 1 <= a <= b <= MAX_TOKENS:
                    return cls("uniform", a, b)
                case "lognormal", [a, b] if 1 <= a <= MAX_TOKENS and 0 <= b <= 3:
                    return cls("lognormal", a, b)
        except ValueError:
            pass
        raise ValueError(f"{text!r} is no length: {_FORMS}, all in tokens")

    def draw(self, rng: random.Random) -> int:
        """Return one length."""
        if self.kind == "uniform":
            return rng.randint(int(self.a), int(self.b))
        if self.kind == "lognormal":
            return min(MAX_TOKENS, max(1, round(rng.lognormvariate(math.log(self.a), self.b))))
        return int(self.a)

    def __str__(self) -> str:
        return f"{self.a:g}" if self.kind == "fixed" else f"{self.kind}:{self.a:g}:{self.b:g}"
