"""Requests as a table: as a pandas frame for notebooks, and as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from io import StringIO
from typing import TYPE_CHECKING, Any

from sgl_jax.bench.runner import RunResult

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = {
    "index": "int64",
    "turn": "int64",
    "workload": "object",
    "ok": "bool",
    "due": "float64",
    "sent": "float64",
    "end": "float64",
    "ttft": "float64",
    "itl_mean": "float64",
    "itl_max": "float64",
    "tpot": "float64",
    "e2e": "float64",
    "send_delay": "float64",
    "queue_wait": "float64",
    "chunks": "int64",
    "input_tokens": "float64",
    "output_tokens": "float64",
    "cached_tokens": "float64",
    "finish_reason": "object",
    "failure": "object",
}


def frame(run: RunResult) -> pd.DataFrame:
    """Return one row a request in the order in which they were sent.

    `due`, `sent` and `end` are seconds since the start of the run, the other times durations in seconds; what has no
    value is NaN.
    """
    import pandas as pd  # takes seconds: only for those who want it

    return pd.DataFrame(_rows(run), columns=list(_COLUMNS)).astype(_COLUMNS)


def to_csv(run: RunResult) -> str:
    """Return the same as CSV; what has no value is empty."""
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows(_rows(run))
    return out.getvalue()


def _rows(run: RunResult) -> Iterator[tuple[Any, ...]]:
    for record in sorted(run.records, key=lambda record: record.sent):
        gaps = record.gaps
        yield (
            record.index,
            record.turn,
            record.workload,
            record.ok,
            None if record.due is None else record.due - run.origin,
            record.sent - run.origin,
            record.end - run.origin,
            record.ttft,
            sum(gaps) / len(gaps) if gaps else None,
            max(gaps, default=None),
            record.tpot,
            record.e2e,
            record.send_delay,
            record.queue_wait,
            len(record.chunk_times),
            record.input_tokens,
            record.output_tokens,
            record.cached_tokens,
            record.finish_reason,
            record.failure.kind if record.failure else None,
        )
