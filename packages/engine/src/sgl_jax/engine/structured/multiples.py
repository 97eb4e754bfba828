"""How much work the `multipleOf` of a schema make.

llguidance looks at every remainder while it compiles, and nothing bounds that: 99999999 would take half an hour and
more memory than there is. Where two hold for the same number, remainders are those of their least common multiple.
"""

from __future__ import annotations

import math
from decimal import Decimal

MOST_REMAINDERS = 200_000
"""In one document: two seconds, 150 MB."""


class Multiples:
    """Counts the remainders of one document."""

    def __init__(self) -> None:
        self._common = 1
        self._total = 0

    def allows(self, divisor: float) -> bool:
        """Whether there is room for one more `multipleOf`; if so, it is counted."""
        digits = "".join(map(str, Decimal(str(divisor)).as_tuple().digits))
        remainders = int(digits.strip("0") or 1)  # powers of ten cost nothing
        common, total = math.lcm(self._common, remainders), self._total + remainders
        if max(common, total) > MOST_REMAINDERS:
            return False
        self._common, self._total = common, total
        return True
