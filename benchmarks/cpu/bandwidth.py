"""One sequence's decoding step against the machine's reading speed: writes `results/bandwidth.json` and `.md`.

`uv run python benchmarks/cpu/bandwidth.py`. A step of one sequence reads every matrix once, so the bytes that it needs
over its time are a share of what the memory gives. Reading is a sum over a large array, a part of it a core; it is
measured before and after each batch of steps. Bytes are those of the weights a step reads and of the keys and values in
its context; nothing is assumed to stay in a cache.
"""

from __future__ import annotations

import itertools
import os
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "engine")]

import tables  # noqa: E402
from provenance import provenance  # noqa: E402
from smollm2 import drive, make_core  # noqa: E402

ROUNDS = 10
PROMPT, NEW_TOKENS = 16, 64
READ_BYTES = 1 << 29
LAYERS, HEAD, KV_A_TOKEN = 106_168_320 * 20 / 32, 28_311_552 * 34 / 32, 30 * 2 * 3 * 64 * 2
"""Bytes: of Q4_1 blocks, of Q8_0 blocks, and of what a token leaves in the cache."""


def read_speed(parts: list[npt.NDArray[np.int64]], threads: ThreadPoolExecutor) -> float:
    """GB/s, the best of three."""
    best = 0.0
    for _ in range(3):
        begin = time.perf_counter()
        list(threads.map(np.add.reduce, parts))
        best = max(best, READ_BYTES / (time.perf_counter() - begin) / 1e9)
    return best


def main() -> None:
    cores = len(os.sched_getaffinity(0))
    parts = np.array_split(np.ones(READ_BYTES // 8, np.int64), cores)
    core = make_core(max_running_requests=32, max_total_tokens=8192)
    read = LAYERS + HEAD + KV_A_TOKEN * (PROMPT + NEW_TOKENS / 2)
    rows: list[dict[str, object]] = []
    shares: list[float] = []
    with ThreadPoolExecutor(cores) as threads:
        for _ in range(ROUNDS):
            before = read_speed(parts, threads)
            arrivals = drive(core, [[100 + number for number in range(PROMPT)]], NEW_TOKENS)["0"][4:]
            median = statistics.median(later - earlier for earlier, later in itertools.pairwise(arrivals))
            speed = max(before, read_speed(parts, threads))
            shares.append(read / median / 1e9 / speed)
            rows.append(
                {
                    "round": len(rows) + 1,
                    "reading GB/s": round(speed, 1),
                    "step ms": round(median * 1e3, 2),
                    "step GB/s": round(read / median / 1e9, 1),
                    "share": round(shares[-1], 3),
                }
            )
    core.close()
    source = {**provenance(), "MB a step": round(read / 1e6, 1), "median share": round(statistics.median(shares), 3)}
    print(tables.write(HERE / "results" / "bandwidth", __doc__ or "", source, rows))


if __name__ == "__main__":
    main()
