"""What is written down about one request while it runs; every number of a report is computed from these records.

All times are seconds of one monotonic clock (`time.perf_counter`), so they can be subtracted from one another but
mean nothing to another process. A results file stores them relative to the start of the run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any, Self

Clock = Callable[[], float]
"""Returns seconds; never goes back."""


@dataclass(frozen=True, slots=True)
class RequestFailure:
    """Why a request did not succeed.

    Attributes:
        kind: what to group by: `timeout`, `connection`, `http_503`, `stream`, `client`.
        message: one line for people.
        status: the HTTP status, when there was an answer.
    """

    kind: str
    message: str
    status: int | None = None


@dataclass(slots=True)
class RequestRecord:
    """One request's raw measurements.

    Attributes:
        index: which request of the workload; the turns of one conversation share it.
        turn: which turn of its conversation, from 0.
        workload: which part of a mixed workload it came from; None when there is one only.
        sent: when the request was handed to the HTTP client.
        due: when an open-loop schedule wanted it sent; None in a closed loop.
        chunk_times: arrival of every chunk that carried output, in order. One chunk may carry several tokens.
        end: when the answer was complete, or the failure was known.
        input_tokens, output_tokens, cached_tokens: from the server's `usage`; None where it said nothing.
        queue_wait: seconds that it waited for its turn, where the server tells.
        finish_reason: as the server gave it.
        failure: None for a success.
    """

    index: int
    sent: float
    due: float | None = None
    turn: int = 0
    workload: str | None = None
    chunk_times: list[float] = field(default_factory=list)
    end: float = float("nan")
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    queue_wait: float | None = None
    finish_reason: str | None = None
    failure: RequestFailure | None = None

    @property
    def ok(self) -> bool:
        """Whether the whole answer arrived."""
        return self.failure is None

    @property
    def start(self) -> float:
        """Where latency is counted from: when the request was due, or else when it was sent.

        Counting from the due time is what keeps a late send from hiding a slow server (coordinated omission).
        """
        return self.sent if self.due is None else self.due

    @property
    def send_delay(self) -> float:
        """How much later than due the request left, in seconds; 0 in a closed loop."""
        return 0.0 if self.due is None else self.sent - self.due

    @property
    def e2e(self) -> float:
        """Seconds from the start to the end of the answer."""
        return self.end - self.start

    @property
    def ttft(self) -> float | None:
        """Time to first token: seconds from the start to the first chunk with output; None if none came."""
        return self.chunk_times[0] - self.start if self.chunk_times else None

    @property
    def gaps(self) -> list[float]:
        """Inter-token latencies: seconds between neighbouring chunks, one fewer than there are chunks."""
        return [later - earlier for earlier, later in pairwise(self.chunk_times)]

    @property
    def tpot(self) -> float | None:
        """Time per output token after the first: (e2e - ttft) / (output_tokens - 1); None below two tokens."""
        if self.ttft is None or self.output_tokens is None or self.output_tokens < 2:
            return None
        return (self.e2e - self.ttft) / (self.output_tokens - 1)

    def to_json(self, origin: float) -> dict[str, Any]:
        """Return the record as plain JSON values, its times in seconds since `origin`."""
        failure = self.failure
        return {
            "index": self.index,
            "turn": self.turn,
            "workload": self.workload,
            "due": None if self.due is None else _since(origin, self.due),
            "sent": _since(origin, self.sent),
            "first_token": _since(origin, self.chunk_times[0]) if self.chunk_times else None,
            "gaps": [round(gap, 7) for gap in self.gaps],
            "end": _since(origin, self.end),
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cached_tokens": self.cached_tokens,
            "queue_wait": self.queue_wait,
            "finish_reason": self.finish_reason,
            "failure": failure and {"kind": failure.kind, "message": failure.message, "status": failure.status},
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Return the record that `to_json` wrote, on a clock that starts with its run.

        Raises:
            KeyError, TypeError: `value` is something else.
        """
        failure = value["failure"]
        first = value["first_token"]
        gaps = value["gaps"]
        return cls(
            index=value["index"],
            turn=value["turn"],
            workload=value["workload"],
            due=value["due"],
            sent=value["sent"],
            chunk_times=[] if first is None else list(accumulate(gaps, initial=first)),
            end=value["end"],
            input_tokens=value["input_tokens"],
            output_tokens=value["output_tokens"],
            cached_tokens=value["cached_tokens"],
            queue_wait=value["queue_wait"],
            finish_reason=value["finish_reason"],
            failure=failure and RequestFailure(failure["kind"], failure["message"], failure["status"]),
        )


def _since(origin: float, moment: float) -> float:
    return round(moment - origin, 7)
