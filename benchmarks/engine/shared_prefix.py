"""Time to first token of 32 requests with a common system prompt of 1,000 tokens and 12 tokens of their own.

Three waves on SmolLM2 (Q4_1), CPU: without the prefix cache; with it, cold (the wave's requests
share the prompt as it is computed); with it, warm (other questions, the same system prompt).
"""

from __future__ import annotations

import random
import statistics

from smollm2 import drive, make_core

REQUESTS, SYSTEM, OWN = 32, 1000, 12


def run() -> list[dict[str, object]]:
    chance = random.Random(0)
    system = [chance.randrange(100, 40000) for _ in range(SYSTEM)]

    def wave() -> list[list[int]]:
        return [system + [chance.randrange(100, 40000) for _ in range(OWN)] for _ in range(REQUESTS)]

    rows: list[dict[str, object]] = []
    without = make_core(max_running_requests=REQUESTS, max_total_tokens=40000, disable_radix_cache=True)
    waves = [("no cache", without)]
    firsts: dict[str, float] = {}
    with_cache = make_core(max_running_requests=REQUESTS, max_total_tokens=40000)
    waves += [("cold", with_cache), ("warm", with_cache)]
    for name, core in waves:
        first = [times[0] for times in drive(core, wave(), 4).values()]
        firsts[name] = statistics.median(first)
        rows.append(
            {
                "wave": name,
                "median s": round(firsts[name], 3),
                "slowest s": round(max(first), 3),
                "ratio to no cache": round(firsts[name] / firsts["no cache"], 3),
            }
        )
    return rows
