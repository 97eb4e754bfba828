"""A recorded trace: requests with the times at which they came."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from sgl_jax.bench.errors import WorkloadError
from sgl_jax.bench.workload.base import RequestSpec
from sgl_jax.bench.workload.request_lines import RequestLine, read_request_lines


class Trace:
    """Requests in the order in which they came. Unlike other workloads it ends.

    Args:
        name: for reports and results files.
        lines: all with timestamps, ascending; at least one.
    """

    def __init__(self, name: str, lines: Sequence[RequestLine]) -> None:
        self._name = name
        self._lines = lines

    @property
    def name(self) -> str:
        """A short name for reports and results files."""
        return self._name

    def __len__(self) -> int:
        return len(self._lines)

    def requests(self) -> Iterator[RequestSpec]:
        """Return a fresh iterator over the requests."""
        return (line.request(index) for index, line in enumerate(self._lines))

    def offsets(self, speed: float) -> list[float]:
        """Return when each request is due, in seconds after the first; twice the `speed` halves them."""
        moments = [line.timestamp or 0.0 for line in self._lines]
        return [(moment - moments[0]) / speed for moment in moments]


def read_trace(path: Path, max_tokens: int, seed: int) -> Trace:
    """Read a trace: JSON Lines as in `request_lines`, each with a `timestamp`, in any order.

    Raises:
        WorkloadError: the file cannot be read, or a line cannot be used or has no timestamp.
    """
    lines = list(read_request_lines(path, max_tokens, seed))
    if not lines:
        raise WorkloadError(f"trace {path} holds no request")
    missing = sum(line.timestamp is None for line in lines)
    if missing:
        raise WorkloadError(f'trace {path}: {missing} of {len(lines)} lines have no "timestamp"')
    return Trace(f"trace {path.name}", sorted(lines, key=lambda line: line.timestamp or 0.0))
