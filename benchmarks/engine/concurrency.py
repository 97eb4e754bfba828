"""Output tokens a second and idle device time by concurrency: 32 prompt tokens, 64 new ones, SmolLM2 (Q4_1), CPU.

Idle is the share of a decode step in which the device had nothing queued: the time from a step's
result being read to the next step's dispatch, which with overlap happens before the read and is 0.
"""

from __future__ import annotations

import itertools
import random
import statistics

from smollm2 import drive, make_core

PROMPT, NEW_TOKENS = 32, 64


def run() -> list[dict[str, object]]:
    chance = random.Random(0)
    core = make_core(max_running_requests=32, max_total_tokens=8192)
    rows: list[dict[str, object]] = []
    base = 0.0
    for count in (1, 2, 4, 8, 16, 32):
        rates = []
        for _ in range(3):
            prompts = [[chance.randrange(100, 40000) for _ in range(PROMPT)] for _ in range(count)]
            arrivals = drive(core, prompts, NEW_TOKENS)
            steps = sorted({moment for times in arrivals.values() for moment in times[count:]})
            gap = statistics.median(later - earlier for earlier, later in itertools.pairwise(steps))
            rates.append(count / gap)
        stats = core.stats()
        rate = statistics.median(rates)
        base = base or rate
        rows.append(
            {
                "requests": count,
                "tok/s (decode)": round(rate, 1),
                "x one request": round(rate / base, 2),
                "step ms": round(count / rate * 1e3, 1),
                "schedule ms": round(stats.schedule_ms, 2),
                "dispatch ms": round(stats.dispatch_ms, 2),
                "wait ms": round(stats.wait_ms, 2),
                "commit ms": round(stats.commit_ms, 2),
            }
        )
        print(rows[-1], flush=True)
    return rows
