"""The results of a run: where the numbers come from, the numbers, and the raw records; and the file that holds them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from sgl_jax.bench.errors import ResultsError
from sgl_jax.bench.metrics import Summary, summarize
from sgl_jax.bench.record import RequestRecord
from sgl_jax.bench.runner import RunResult
from sgl_jax.bench.server_side.series import ServerSeries
from sgl_jax.bench.slo import Slo
from sgl_jax.bench.timeline import Timeline, timeline

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = "sgl-jax-bench/1"
"""Changes when a reader of the old form would misread the new one."""

DAMAGE = (KeyError, TypeError, ValueError, AttributeError)
"""What reading a document of another form ends in."""


@dataclass(frozen=True)
class Results:
    """One run with all that is known about it.

    Attributes:
        run: the records.
        workload: the workload's name.
        strategy: the strategy's name and numbers.
        provenance: command, flags, versions, machine, git commit, server.
        slo: the objectives, if there are any.
        server_side: what the server said of itself meanwhile.
    """

    run: RunResult
    workload: str
    strategy: dict[str, Any]
    provenance: dict[str, Any]
    slo: Slo | None = None
    server_side: ServerSeries = field(default_factory=ServerSeries)

    @cached_property
    def summary(self) -> Summary:
        """The run's numbers."""
        return summarize(self.run, self.slo)

    @cached_property
    def timeline(self) -> Timeline:
        """The run over time."""
        return timeline(self.run)

    def frame(self) -> pd.DataFrame:
        """Return one row a request; times in seconds, NaN where there is no value."""
        from sgl_jax.bench.frame import frame

        return frame(self.run)

    def to_json(self) -> dict[str, Any]:
        """Return the whole document as plain JSON values; times in seconds since the start of the run."""
        records = sorted(self.run.records, key=lambda record: (record.index, record.turn))
        return {
            "schema": SCHEMA,
            "provenance": self.provenance,
            "started_at": datetime.fromtimestamp(self.run.started_at, UTC).isoformat(timespec="milliseconds"),
            "workload": self.workload,
            "strategy": self.strategy,
            "slo": self.slo and self.slo.limits(),
            "duration": self.run.duration,
            "summary": self.summary.to_json(),
            "timeline": self.timeline.to_json(),
            "server_side": self.server_side.to_json(),
            "lag": [round(seconds, 6) for seconds in self.run.lag],
            "requests": [record.to_json(self.run.origin) for record in records],
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """Return the results that `to_json` wrote; the summary is computed anew.

        Raises:
            KeyError, TypeError, ValueError: `document` is something else.
        """
        run = RunResult(
            records=tuple(RequestRecord.from_json(value) for value in document["requests"]),
            origin=0.0,
            started_at=datetime.fromisoformat(document["started_at"]).timestamp(),
            duration=document["duration"],
            lag=tuple(document["lag"]),
        )
        return cls(
            run=run,
            workload=document["workload"],
            strategy=document["strategy"],
            provenance=document["provenance"],
            slo=None if document["slo"] is None else Slo(**document["slo"]),
            server_side=ServerSeries.from_json(document["server_side"]),
        )

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a results file of `run` or `load`.

        Raises:
            ResultsError: it cannot be read, or is something else.
        """
        return cls.from_document(read_document(Path(path)), Path(path))

    @classmethod
    def from_document(cls, document: dict[str, Any], path: Path) -> Self:
        """Return the results of a document that was read from `path`.

        Raises:
            ResultsError: it holds something else.
        """
        if "levels" in document:
            raise ResultsError(f"{path} holds a sweep, and a single run is wanted: a file of `run` or `load`")
        try:
            return cls.from_json(document)
        except DAMAGE as error:
            raise ResultsError(f"{path} is damaged: {type(error).__name__} {error}") from error

    def write(self, path: str | Path) -> None:
        """Write a results file.

        Raises:
            ResultsError: the disk is full, or there is no such folder.
        """
        write_document(Path(path), self.to_json())


def check_writable(path: Path) -> None:
    """Fail before the run rather than after it.

    Raises:
        ResultsError: a file at `path` could not be written.
    """
    if path.is_dir():
        raise ResultsError(f"cannot write to {path}, it is a folder: name a file in it")
    if not path.parent.is_dir():
        raise ResultsError(f"cannot write to {path}: there is no folder {path.parent}; make it first")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ResultsError(f"cannot write to {path}: no permission")


def read_document(path: Path) -> dict[str, Any]:
    """Return a results file as plain JSON values.

    Raises:
        ResultsError: it cannot be read, or no version of this tool that we know wrote it.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ResultsError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ResultsError(f"{path} is not a results file: {error}") from error
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema != SCHEMA:
        raise ResultsError(f"{path} is not a results file of this version: its schema is {schema!r}, not {SCHEMA!r}")
    checked: dict[str, Any] = document
    return checked


def write_document(path: Path, document: dict[str, Any]) -> None:
    """Write JSON, replacing an older file only when the new one is complete.

    Raises:
        ResultsError: the disk is full, or the folder went away.
    """
    write_text(path, json.dumps(document, allow_nan=False, separators=(",", ":")) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, replacing an older file only when the new one is complete.

    Raises:
        ResultsError: the disk is full, or the folder went away.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise ResultsError(f"cannot write {path}: {error.strerror or error}") from error
