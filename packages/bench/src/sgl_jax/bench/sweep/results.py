"""The results of a sweep."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from sgl_jax.bench.errors import ResultsError
from sgl_jax.bench.metrics import Summary
from sgl_jax.bench.results import DAMAGE, SCHEMA
from sgl_jax.bench.server_side.series import ServerSeries


@dataclass(frozen=True, slots=True)
class Level:
    """What was measured at one level of load.

    Attributes:
        value: concurrent requests, or requests a second.
        summary: the numbers.
        server_side: what the server said of itself meanwhile.
    """

    value: float
    summary: Summary
    server_side: ServerSeries


@dataclass(frozen=True, slots=True)
class SweepResults:
    """All levels of a sweep, in rising order.

    Attributes:
        unit: what the levels count: `concurrent requests` or `requests per second`.
        levels: at least one.
        stopped: why there is no higher level, a sentence.
        best: the level with the highest throughput among those that keep the objectives; None when none does.
        workload, started_at, provenance: as of a run.
    """

    unit: str
    levels: tuple[Level, ...]
    stopped: str
    best: float | None
    workload: str
    started_at: datetime
    provenance: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the whole document as plain JSON values."""
        return {
            "schema": SCHEMA,
            "provenance": self.provenance,
            "started_at": self.started_at.isoformat(timespec="milliseconds"),
            "workload": self.workload,
            "unit": self.unit,
            "stopped": self.stopped,
            "best": self.best,
            "levels": [
                {
                    "value": level.value,
                    "summary": level.summary.to_json(),
                    "server_side": level.server_side.to_json(),
                }
                for level in self.levels
            ],
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """Return the results that `to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError: `document` is something else.
        """
        levels = tuple(
            Level(value["value"], Summary.from_json(value["summary"]), ServerSeries.from_json(value["server_side"]))
            for value in document["levels"]
        )
        return cls(
            unit=document["unit"],
            levels=levels,
            stopped=document["stopped"],
            best=document["best"],
            workload=document["workload"],
            started_at=datetime.fromisoformat(document["started_at"]),
            provenance=document["provenance"],
        )

    @classmethod
    def from_document(cls, document: dict[str, Any], path: Path) -> Self:
        """Return the results of a document that was read from `path`.

        Raises:
            ResultsError: it holds something else.
        """
        try:
            return cls.from_json(document)
        except DAMAGE as error:
            raise ResultsError(f"{path} is damaged: {type(error).__name__} {error}") from error
