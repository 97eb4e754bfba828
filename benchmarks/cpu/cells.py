"""What is measured: a number of clients, prompts of a length; one cell is measured by `sgl-jax-bench` through HTTP."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from prompts import ExactPrompts
from servers import Server

from sgl_jax.bench.api import closed_loop
from sgl_jax.bench.errors import BenchError

NEW_TOKENS = 64
TIMEOUT = 300.0


@dataclass(frozen=True)
class Cell:
    """One load.

    Attributes:
        clients: requests under way at a time.
        prompt: tokens of every prompt.
        requests: how many are sent in all.
        brief: whether everybody runs it, and not only the thorough ones.
        quick: whether a quick run has it.
    """

    clients: int
    prompt: int
    requests: int
    brief: bool = False
    quick: bool = False

    @property
    def name(self) -> str:
        return f"{self.clients} x {self.prompt}"


CELLS = (
    Cell(1, 64, 4, brief=True, quick=True),
    Cell(4, 64, 8),
    Cell(8, 64, 16),
    Cell(16, 64, 32, brief=True, quick=True),
    Cell(32, 64, 32, brief=True),
    Cell(1, 512, 2, brief=True, quick=True),
    Cell(4, 512, 4),
    Cell(16, 512, 16),
    Cell(32, 512, 32),
)
ONE_CORE_CELLS = (Cell(1, 64, 4), Cell(8, 64, 8))
HEAVY = Cell(8, 512, 8)
"""For what memory a server takes at most."""


@dataclass(frozen=True)
class Measured:
    """The figures of one cell in one round. Times in ms, rates a second.

    Attributes:
        tokens_per_second: output tokens over the whole time, prefill included.
        decode_per_second: clients over the median time of a token: what decoding alone gives.
        prefill_per_second: prompt tokens over the median TTFT; with one client that is the speed of prefill.
        lag: of the load generator's own event loop, median.
        failed: requests without a whole answer of the right length.
    """

    tokens_per_second: float
    decode_per_second: float
    prefill_per_second: float
    ttft: float
    ttft_p90: float
    tpot: float
    lag: float
    failed: int
    first_failure: str | None = None

    def to_json(self) -> dict[str, object]:
        return {
            name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in asdict(self).items()
        }


class CellError(Exception):
    """A server could not be measured; the message says why."""


def measure(server: Server, cell: Cell, model: Path, seed: int) -> Measured:
    """Sends the cell's requests, greedy, each with prompt and answer of exact lengths.

    Raises:
        CellError: nothing came back, or prompts and answers had other lengths than asked for.
    """
    try:
        results = closed_loop(
            server.url,
            concurrent=cell.clients,
            requests=cell.requests,
            workload=ExactPrompts(model, cell.prompt, NEW_TOKENS, seed),
            endpoint="completions",
            temperature=0.0,
            ignore_eos=True,
            timeout=TIMEOUT,
            scrape=0.0,
        )
    except BenchError as error:
        raise CellError(str(error)) from error
    summary = results.summary
    if summary.ttft is None or summary.tpot is None:
        raise CellError(f"no request succeeded: {summary.first_failure}")
    short = sum(record.output_tokens != NEW_TOKENS for record in results.run.records if record.ok)
    counted = {record.input_tokens for record in results.run.records if record.ok}
    if not counted <= {cell.prompt, cell.prompt + 1}:  # one more: a token that begins the text
        raise CellError(f"prompts of {cell.prompt} tokens were counted as {sorted(counted, key=str)}")
    ttft, tpot = summary.ttft.percentiles, summary.tpot.percentiles
    return Measured(
        tokens_per_second=summary.tokens_per_second,
        decode_per_second=min(cell.clients, cell.requests) / tpot["p50"],
        prefill_per_second=cell.prompt / ttft["p50"],
        ttft=1e3 * ttft["p50"],
        ttft_p90=1e3 * ttft["p90"],
        tpot=1e3 * tpot["p50"],
        lag=1e3 * summary.lag.percentiles["p50"] if summary.lag else 0.0,
        failed=summary.failed_requests + short,
        first_failure=summary.first_failure,
    )
