"""Time to first token of 32 requests with a common system prompt of 1,000 tokens and some tokens of their own.

Waves on SmolLM2 (Q4_1), CPU: without the prefix cache; with it, cold (the wave's requests share the prompt
as it is computed); with it, warm (other questions, the same system prompt). Medians of three such pairs.
A cold wave that shares computes 1,000 + 32 n tokens and a warm one 32 n, so even where both run equally fast
the ratio of their medians is 16 n / (1,000 + 16 n): 16 % with 12 tokens of one's own, 6 % with 4.
"""

from __future__ import annotations

import random
import statistics

from smollm2 import drive, make_core

from sgl_jax.engine.core import EngineCore

REQUESTS, SYSTEM, OWN, PAIRS = 32, 1000, (12, 4), 3


def run() -> list[dict[str, object]]:
    chance = random.Random(0)

    def some(count: int) -> list[int]:
        return [chance.randrange(100, 40000) for _ in range(count)]

    def firsts(core: EngineCore, system: list[int], own: int) -> list[float]:
        wave = [system + some(own) for _ in range(REQUESTS)]
        return [times[0] for times in drive(core, wave, 4).values()]

    without = make_core(max_running_requests=REQUESTS, max_total_tokens=40000, disable_radix_cache=True)
    unshared = firsts(without, some(SYSTEM), OWN[0])
    alone = statistics.median(unshared)
    rows: list[dict[str, object]] = [
        {"own tokens": OWN[0], "wave": "no cache", "median s": round(alone, 3), "slowest s": round(max(unshared), 3)}
        | {"to no cache": 1.0, "to cold": ""}
    ]
    core = make_core(max_running_requests=REQUESTS, max_total_tokens=40000)
    for own in OWN:
        waves: dict[str, list[list[float]]] = {"cold": [], "warm": []}
        for _ in range(PAIRS):
            system = some(SYSTEM)
            for found in waves.values():
                found.append(firsts(core, system, own))
        medians = {name: statistics.median(map(statistics.median, found)) for name, found in waves.items()}
        rows += [
            {
                "own tokens": own,
                "wave": name,
                "median s": round(medians[name], 3),
                "slowest s": round(statistics.median(map(max, found)), 3),
                "to no cache": round(medians[name] / alone, 3),
                "to cold": round(medians[name] / medians["cold"], 3),
            }
            for name, found in waves.items()
        ]
    return rows
