"""Service-level objectives: what one request must keep to count as good."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

from sgl_jax.bench.durations import format_ms, parse_duration
from sgl_jax.bench.record import RequestRecord


@dataclass(frozen=True, slots=True)
class Slo:
    """The longest that a good request may take, in seconds; None sets no limit.

    Attributes:
        ttft: until the first token.
        itl: between any two neighbouring chunks of the answer.
        tpot: per output token after the first, on average over the answer.
        e2e: until the end of the answer.
    """

    ttft: float | None = None
    itl: float | None = None
    tpot: float | None = None
    e2e: float | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the objectives that `ttft:300ms,itl:50ms` names.

        Raises:
            ValueError: it is not of that form.
        """
        names = [field.name for field in fields(cls)]
        limits: dict[str, float] = {}
        for part in text.split(","):
            name, colon, limit = (piece.strip() for piece in part.partition(":"))
            if not colon or name not in names:
                raise ValueError(
                    f"{part.strip()!r} is no objective: write NAME:DURATION, as in ttft:300ms; "
                    f"names are {', '.join(names)}"
                )
            if name in limits:
                raise ValueError(f"{name} has two limits: keep one")
            limits[name] = parse_duration(limit)
        return cls(**limits)

    def met_by(self, record: RequestRecord) -> bool:
        """Return whether the request succeeded and kept every limit; what has no value breaks none."""
        if not record.ok:
            return False
        pairs = ((self.ttft, record.ttft), (self.tpot, record.tpot), (self.e2e, record.e2e))
        if any(limit is not None and value is not None and value > limit for limit, value in pairs):
            return False
        longest = self.itl
        return longest is None or all(gap <= longest for gap in record.gaps)

    def limits(self) -> dict[str, float]:
        """Return the limits that are set, by name, in seconds."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: limit for name, limit in named.items() if limit is not None}

    def __str__(self) -> str:
        return ", ".join(f"{name.upper()} {format_ms(limit)} ms" for name, limit in self.limits().items())
