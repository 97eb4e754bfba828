"""Milliseconds a decoded token of one short request (8 prompt tokens, 48 new ones), SmolLM2 (Q4_1) on CPU.

Each setting is measured in turn with the smallest pool, five pairs; the ratio is the median of the
pairs' ratios. SGLang-JAX went from 3.6 to 924 ms on a tiny model as its pool grew from 512 to 32,000.
"""

from __future__ import annotations

import itertools
import statistics

from smollm2 import drive, make_core

POOLS = (512, 8192, 32768, 262144)
LIMITS = (512, 32768)
NEW_TOKENS = 48


def per_token(core: object) -> float:
    times = drive(core, [[5, 6, 7, 8, 9, 10, 11, 12]], NEW_TOKENS)["0"]  # type: ignore[arg-type]
    return statistics.median(later - earlier for earlier, later in itertools.pairwise(times)) * 1e3


def run() -> list[dict[str, object]]:
    common = {"max_running_requests": 1, "chunked_prefill_size": 16}
    base = make_core(**common, max_total_tokens=POOLS[0], max_seq_len=LIMITS[0])
    rows: list[dict[str, object]] = []
    for pool in POOLS:
        for limit in LIMITS:
            core = make_core(**common, max_total_tokens=pool, max_seq_len=limit)
            pairs = [(per_token(base), per_token(core)) for _ in range(5)]
            rows.append(
                {
                    "pool": pool,
                    "context limit": limit,
                    "ms a token": round(statistics.median(mine for _, mine in pairs), 1),
                    "ratio to pool 512": round(statistics.median(mine / other for other, mine in pairs), 3),
                }
            )
            core.close()
            del core
            print(rows[-1], flush=True)
    return rows
