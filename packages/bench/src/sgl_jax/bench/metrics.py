"""Records to numbers.

Definitions, so that two readers compute the same:

- Latencies are of successful requests only; a failed request counts in the totals and in `failures`.
- A percentile is interpolated linearly between the two nearest values (numpy's default).
- ITL pools the gaps of all requests, so a long answer weighs more than a short one. A gap lies between two *chunks*;
  where the server packs several tokens in a chunk it is longer than the time of a token.
- TPOT is `(e2e - ttft) / (output_tokens - 1)`, one value a request, tokens from `usage`; it is blind to packing.
- Rates divide by the total time: from the start of the run to the end of its last answer.
- A request counts as good when it succeeds and keeps every limit of the objectives; goodput is their rate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from sgl_jax.bench.distribution import Distribution
from sgl_jax.bench.record import RequestRecord
from sgl_jax.bench.runner import RunResult
from sgl_jax.bench.slo import Slo
from sgl_jax.bench.timeline import concurrency_steps

_DISTRIBUTIONS = ("ttft", "itl", "tpot", "e2e", "queue_wait", "send_delay", "lag")

LATE_SECONDS = 0.005
"""A send that leaves this much after its due time counts as late."""


@dataclass(frozen=True, slots=True)
class Goodput:
    """What was done within the service-level objectives.

    Attributes:
        objectives: the limits, by name, in seconds.
        good_requests: requests that succeeded and kept all of them.
        share: of all requests, failed ones included, in percent.
        requests_per_second, tokens_per_second: of good requests.
    """

    objectives: dict[str, float]
    good_requests: int
    share: float
    requests_per_second: float
    tokens_per_second: float


@dataclass(frozen=True, slots=True)
class Summary:
    """The numbers of one run. Times in seconds, rates a second, `success_rate` in percent.

    Attributes:
        tokens_per_second: output tokens of successful requests.
        input_tokens_per_second: input tokens of successful requests, cached ones included.
        total_tokens_generated: output tokens of successful requests, from `usage`.
        tokens_per_chunk: mean output tokens in a chunk; None when unknown.
        missing_usage: successful requests whose answer said nothing about tokens; theirs are not in any token number.
        late_sends: open-loop requests that left more than `LATE_SECONDS` after they were due.
        mean_concurrency, max_concurrency: requests that were under way at a time.
        failures: number of failed requests by kind.
        first_failure: the message of the first failure.
        goodput: None when there are no objectives.
        queue_wait: how long requests waited in the server for their turn; None where it does not tell.
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
    input_tokens_per_second: float
    total_tokens_generated: int
    input_tokens: int
    cached_tokens: int
    tokens_per_chunk: float | None
    missing_usage: int
    late_sends: int
    mean_concurrency: float
    max_concurrency: int
    failures: dict[str, int]
    first_failure: str | None
    goodput: Goodput | None
    ttft: Distribution | None
    itl: Distribution | None
    tpot: Distribution | None
    e2e: Distribution | None
    queue_wait: Distribution | None
    send_delay: Distribution | None
    lag: Distribution | None

    def to_json(self) -> dict[str, Any]:
        """Return the summary as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Return the summary that `to_json` wrote.

        Raises:
            KeyError, TypeError: `value` is something else.
        """
        distributions = {name: value[name] and Distribution(**value[name]) for name in _DISTRIBUTIONS}
        return cls(**{**value, **distributions, "goodput": value["goodput"] and Goodput(**value["goodput"])})


def summarize(result: RunResult, slo: Slo | None = None) -> Summary:
    """Compute the numbers of a run, and its goodput where there are objectives."""
    records, seconds = result.records, result.duration
    good = [record for record in records if record.ok]
    failures = [record.failure for record in sorted(records, key=lambda r: r.end) if record.failure is not None]
    counted = [record for record in good if record.output_tokens is not None]
    output_tokens = _tokens(counted)
    input_tokens = sum(record.input_tokens or 0 for record in good)
    chunks = sum(len(record.chunk_times) for record in counted)
    e2e = Distribution.of(record.e2e for record in good)
    open_loop = [record for record in records if record.due is not None]
    return Summary(
        total_requests=len(records),
        successful_requests=len(good),
        failed_requests=len(failures),
        success_rate=100.0 * len(good) / len(records) if records else 0.0,
        total_time=seconds,
        average_response_time=e2e.mean if e2e else 0.0,
        requests_per_second=_rate(len(good), seconds),
        tokens_per_second=_rate(output_tokens, seconds),
        input_tokens_per_second=_rate(input_tokens, seconds),
        total_tokens_generated=output_tokens,
        input_tokens=input_tokens,
        cached_tokens=sum(record.cached_tokens or 0 for record in good),
        tokens_per_chunk=output_tokens / chunks if chunks else None,
        missing_usage=len(good) - len(counted),
        late_sends=sum(record.send_delay > LATE_SECONDS for record in open_loop),
        mean_concurrency=_rate(sum(record.end - record.sent for record in records), seconds),
        max_concurrency=max((running for _, running in concurrency_steps(records)), default=0),
        failures=dict(Counter(failure.kind for failure in failures).most_common()),
        first_failure=failures[0].message if failures else None,
        goodput=None if slo is None else _goodput(records, slo, seconds),
        ttft=Distribution.of(record.ttft for record in good),
        itl=Distribution.of(gap for record in good for gap in record.gaps),
        tpot=Distribution.of(record.tpot for record in good),
        e2e=e2e,
        queue_wait=Distribution.of(record.queue_wait for record in good),
        send_delay=Distribution.of(record.send_delay for record in open_loop),
        lag=Distribution.of(result.lag),
    )


def _goodput(records: Sequence[RequestRecord], slo: Slo, seconds: float) -> Goodput:
    good = [record for record in records if slo.met_by(record)]
    return Goodput(
        objectives=slo.limits(),
        good_requests=len(good),
        share=100.0 * len(good) / len(records) if records else 0.0,
        requests_per_second=_rate(len(good), seconds),
        tokens_per_second=_rate(_tokens(good), seconds),
    )


def _tokens(records: Sequence[RequestRecord]) -> int:
    return sum(record.output_tokens or 0 for record in records)


def _rate(amount: float, seconds: float) -> float:
    return amount / seconds if seconds > 0 else 0.0
