"""Records to numbers.

Definitions, so that two readers compute the same:

- Latencies are of successful requests only; a failed request counts in the totals and in `failures`.
- A percentile is interpolated linearly between the two nearest values (pandas' and numpy's default).
- ITL pools the gaps of all requests, so a long answer weighs more than a short one. A gap lies between two *chunks*;
  where the server packs several tokens in a chunk it is longer than the time of a token.
- TPOT is `(e2e - ttft) / (output_tokens - 1)`, one value a request, tokens from `usage`; it is blind to packing.
- Rates divide by the total time: from the start of the run to the end of its last answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from sgl_jax.bench.record import RequestRecord
from sgl_jax.bench.runner import RunResult

PERCENTILES = (50.0, 90.0, 95.0, 99.0)

LATE_SECONDS = 0.005
"""A send that leaves this much after its due time counts as late."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """A set of durations in seconds; `percentiles` maps `p50`-like names to values."""

    count: int
    mean: float
    min: float
    max: float
    percentiles: dict[str, float]

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Distribution | None:
        """Return the distribution of the values that are not None; None when there are none."""
        series = pd.Series([value for value in values if value is not None], dtype="float64")
        if series.empty:
            return None
        quantiles = series.quantile([p / 100 for p in PERCENTILES], interpolation="linear")
        return cls(
            count=len(series),
            mean=float(series.mean()),
            min=float(series.min()),
            max=float(series.max()),
            percentiles={f"p{p:g}": float(value) for p, value in zip(PERCENTILES, quantiles, strict=True)},
        )


@dataclass(frozen=True, slots=True)
class Summary:
    """The numbers of one run. Times in seconds, rates a second, `success_rate` in percent.

    Attributes:
        total_tokens_generated: output tokens of successful requests, from `usage`.
        tokens_per_chunk: mean output tokens in a chunk; None when unknown.
        missing_usage: successful requests whose answer said nothing about tokens; theirs are not in any token number.
        late_sends: open-loop requests that left more than `LATE_SECONDS` after they were due.
        failures: number of failed requests by kind.
        first_failure: the message of the first failure.
        send_delay: how late open-loop requests left; None in a closed loop.
        lag: lateness of the tester's own event loop.
    """

    total_requests: int
    successful_requests: int
    failed_requests: int
    success_rate: float
    total_time: float
    average_response_time: float
    requests_per_second: float
    tokens_per_second: float
    total_tokens_generated: int
    input_tokens: int
    cached_tokens: int
    tokens_per_chunk: float | None
    missing_usage: int
    late_sends: int
    failures: dict[str, int]
    first_failure: str | None
    ttft: Distribution | None
    itl: Distribution | None
    tpot: Distribution | None
    e2e: Distribution | None
    send_delay: Distribution | None
    lag: Distribution | None

    def to_json(self) -> dict[str, Any]:
        """Return the summary as plain JSON values."""
        return asdict(self)


def summarize(result: RunResult) -> Summary:
    """Compute the numbers of a run."""
    table = frame(result.records)
    good = table[table["ok"]]
    succeeded = [record for record in result.records if record.ok]
    failed = [record.failure for record in sorted(result.records, key=lambda r: r.end) if record.failure is not None]
    counted = good[good["output_tokens"].notna()]
    output_tokens = int(counted["output_tokens"].sum())
    chunks = int(counted["chunks"].sum())
    e2e = Distribution.of(good["e2e"])
    open_loop = [record for record in result.records if record.due is not None]
    return Summary(
        total_requests=len(table),
        successful_requests=len(good),
        failed_requests=len(failed),
        success_rate=100.0 * len(good) / len(table) if len(table) else 0.0,
        total_time=result.duration,
        average_response_time=e2e.mean if e2e else 0.0,
        requests_per_second=_rate(len(good), result.duration),
        tokens_per_second=_rate(output_tokens, result.duration),
        total_tokens_generated=output_tokens,
        input_tokens=int(good["input_tokens"].sum()),
        cached_tokens=int(good["cached_tokens"].sum()),
        tokens_per_chunk=output_tokens / chunks if chunks else None,
        missing_usage=int(good["output_tokens"].isna().sum()),
        late_sends=sum(record.send_delay > LATE_SECONDS for record in open_loop),
        failures={str(kind): int(number) for kind, number in table["failure"].value_counts().items()},
        first_failure=failed[0].message if failed else None,
        ttft=Distribution.of(record.ttft for record in succeeded),
        itl=Distribution.of(gap for record in succeeded for gap in record.gaps),
        tpot=Distribution.of(record.tpot for record in succeeded),
        e2e=e2e,
        send_delay=Distribution.of(record.send_delay for record in open_loop),
        lag=Distribution.of(result.lag),
    )


def frame(records: Iterable[RequestRecord]) -> pd.DataFrame:
    """Return one row a request, with the columns of `_COLUMNS`; times in seconds, NaN where there is no value."""
    rows = [
        (
            record.index,
            record.ok,
            record.start,
            record.ttft,
            record.tpot,
            record.e2e,
            len(record.chunk_times),
            record.input_tokens,
            record.output_tokens,
            record.cached_tokens,
            record.failure.kind if record.failure else None,
        )
        for record in records
    ]
    return pd.DataFrame(rows, columns=list(_COLUMNS)).astype(_COLUMNS)


_COLUMNS = {
    "index": "int64",
    "ok": "bool",
    "start": "float64",
    "ttft": "float64",
    "tpot": "float64",
    "e2e": "float64",
    "chunks": "int64",
    "input_tokens": "float64",
    "output_tokens": "float64",
    "cached_tokens": "float64",
    "failure": "object",
}


def _rate(amount: float, seconds: float) -> float:
    return amount / seconds if seconds > 0 else 0.0
