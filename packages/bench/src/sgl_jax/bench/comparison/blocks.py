"""A run as blocks of neighbouring requests, which is what the bootstrap draws from.

Requests that are in the server together share its state: a stall, a long prefill, a hot cache. Drawing single requests
would take them for independent and find differences where there are none, so blocks are drawn whole. A block must be
longer than what neighbours share, and there must be enough blocks to draw from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from sgl_jax.bench.record import RequestRecord
from sgl_jax.bench.results import Results

Floats = npt.NDArray[np.float64]

MIN_BLOCKS = 20
_BINS = 192
_SMALL = 250_000
"""OpenBLAS starts threads for larger products, which takes longer than ours do."""


@dataclass(frozen=True)
class Histogram:
    """The values of a latency in each block, counted in common bins.

    Attributes:
        edges: (bins,) upper ends of the bins, ascending.
        below: (blocks, bins) number of a block's values up to each edge.
    """

    edges: Floats
    below: Floats

    def counts(self, weights: Floats) -> Floats:
        """Return (draws, bins): how many values lie below each edge, for (draws, blocks) weights of the blocks."""
        slices = min(-(-len(weights) * self.below.size // _SMALL), len(weights) // 16) or 1
        return np.concatenate([part @ self.below for part in np.array_split(weights, slices)])

    def quantiles(self, counts: Floats, share: float) -> Floats:
        """Return a quantile of each draw.

        Args:
            counts: (draws, bins) as `counts` returns.
            share: of values below the quantile, 0 to 1.

        Returns:
            (draws,) values; linear inside a bin.
        """
        wanted = (counts[:, -1] - 1) * share + 0.5
        position = np.minimum((counts < wanted[:, None]).sum(axis=1), len(self.edges) - 1)
        before = np.maximum(position - 1, 0)
        rows = np.arange(len(counts))
        low = np.where(position > 0, counts[rows, before], 0.0)
        part = np.clip((wanted - low) / np.maximum(counts[rows, position] - low, 1e-9), 0.0, 1.0)
        start, end = self.edges[before], self.edges[position]
        return np.asarray(start + (end - start) * part)


class BlockedRun:
    """The numbers of one run, block by block, in the order in which requests were sent."""

    def __init__(self, results: Results) -> None:
        self.results = results
        records = sorted(results.run.records, key=lambda record: record.sent)
        length = max(len(records) ** (1 / 3), results.summary.mean_concurrency)
        number = min(max(MIN_BLOCKS, round(len(records) / max(length, 1.0))), len(records))
        bounds = np.linspace(0, len(records), number + 1).astype(int)
        self._blocks = [records[low:high] for low, high in pairwise(bounds)]

    def __len__(self) -> int:
        return len(self._blocks)

    @property
    def closed_loop(self) -> bool:
        """Whether answers decided when the next request was sent."""
        return self.results.strategy.get("kind") == "concurrent"

    @cached_property
    def requests(self) -> Floats:
        """(blocks,) number of requests."""
        return self._sums(lambda record: 1.0)

    @cached_property
    def successes(self) -> Floats:
        """(blocks,) number of successful requests."""
        return self._sums(lambda record: float(record.ok))

    @cached_property
    def good(self) -> Floats:
        """(blocks,) number of requests within the objectives."""
        slo = self.results.slo
        return self._sums(lambda record: float(slo is not None and slo.met_by(record)))

    @cached_property
    def tokens(self) -> Floats:
        """(blocks,) output tokens of successful requests."""
        return self._sums(lambda record: float(record.output_tokens or 0) if record.ok else 0.0)

    @cached_property
    def busy(self) -> Floats:
        """(blocks,) seconds that requests were under way, added up."""
        return self._sums(lambda record: record.end - record.sent)

    def sums(self, latency: str) -> tuple[Floats, Floats]:
        """Return sum and number of a latency's values in each block, both (blocks,)."""
        values = [np.fromiter(_values(block, latency), dtype=np.float64) for block in self._blocks]
        return np.array([each.sum() for each in values]), np.array([float(len(each)) for each in values])

    def histogram(self, latency: str) -> Histogram:
        """Return a latency's values, counted; at least one request must have one."""
        values = [np.fromiter(_values(block, latency), dtype=np.float64) for block in self._blocks]
        everything = np.sort(np.concatenate(values))
        if len(everything) > _BINS:
            # Half of the bins for the slowest tenth, where the percentiles of interest are.
            shares = np.concatenate([np.linspace(0, 0.9, _BINS // 2, endpoint=False), np.linspace(0.9, 1, _BINS // 2)])
            everything = np.quantile(everything, shares)
        edges = np.unique(everything)
        below = [np.searchsorted(np.sort(each), edges, side="right") for each in values]
        return Histogram(edges, np.array(below, dtype=np.float64))

    def _sums(self, value: Callable[[RequestRecord], float]) -> Floats:
        return np.array([sum(map(value, block)) for block in self._blocks], dtype=np.float64)


def _values(records: Iterable[RequestRecord], latency: str) -> Iterable[float]:
    for record in records:
        if record.ok:
            if latency == "itl":
                yield from record.gaps
            elif (value := getattr(record, latency)) is not None:
                yield value
