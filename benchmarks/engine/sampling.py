"""What drawing costs: a decode step of requests that draw, against greedy ones in turns. SmolLM2 on CPU."""

from __future__ import annotations

import itertools
import statistics

from smollm2 import drive, make_core

ROUNDS, NEW_TOKENS = 3, 48
WAYS: dict[str, dict[str, float]] = {
    "greedy": {},
    "temperature 0.8": {"temperature": 0.8},
    "top-p 0.95": {"temperature": 0.8, "top_p": 0.95},
    "top-k 20, top-p 0.9": {"temperature": 0.8, "top_k": 20, "top_p": 0.9},
    "penalties": {"frequency_penalty": 0.5, "repetition_penalty": 1.1},
}


def run() -> list[dict[str, object]]:
    core = make_core(max_running_requests=32, max_total_tokens=8192)
    rows: list[dict[str, object]] = []
    for batch in (1, 16, 32):
        prompts = [[100 + number + place for place in range(8)] for number in range(batch)]
        steps: dict[str, list[float]] = {way: [] for way in WAYS}
        for _, (way, how) in itertools.product(range(ROUNDS), WAYS.items()):
            arrivals = drive(core, prompts, NEW_TOKENS, **how)["0"][8:]
            steps[way].append(statistics.median(later - earlier for earlier, later in itertools.pairwise(arrivals)))
        for way, seconds in steps.items():
            ratio = statistics.median(one / other for one, other in zip(seconds, steps["greedy"], strict=True))
            step_ms = round(1e3 * statistics.median(seconds), 2)
            rows.append({"sequences": batch, "drawing": way, "step ms": step_ms, "ratio to greedy": round(ratio, 2)})
    core.close()
    return rows
