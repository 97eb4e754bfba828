"""The results as JSON and as Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cells import Cell
from contenders import Contender
from rounds import Turn, median_of, ratio_of, rounds_of

FIGURES = {
    "tokens_per_second": "Output tokens a second, prefill included",
    "decode_per_second": "Decoding: clients over the median time of a token (TPOT), tokens a second",
    "prefill_per_second": "Prefill: prompt tokens over the median TTFT of a client alone, a second",
    "ttft": "Time to the first token, median, ms",
    "ttft_p90": "Time to the first token, 90th percentile, ms",
}


@dataclass
class Weight:
    """A server that runs alone.

    Attributes:
        ready_seconds: from the start of the process to the first answered completion, caches warm.
        idle_cores: processor time over time, while nobody asks anything.
        idle_mb, peak_mb: PSS of all its processes, ready and at most under `cells.HEAVY`.
    """

    ready_seconds: float
    idle_cores: float
    idle_mb: float
    peak_mb: float


@dataclass
class Report:
    """All that is written down.

    Attributes:
        title: of the table.
        provenance: machine, versions, git.
        preliminary: why the figures are not the last word, or an empty string.
        contenders: who took part, in the order of the columns.
        left_out: who did not, and why.
        weights: of each server alone.
        turns: of all cores.
        one_core: turns on one core.
    """

    title: str
    provenance: dict[str, Any]
    preliminary: str
    contenders: Sequence[Contender]
    left_out: dict[str, str]
    weights: dict[str, Weight] = field(default_factory=dict)
    turns: list[Turn] = field(default_factory=list)
    one_core: list[Turn] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {
            "provenance": self.provenance,
            "preliminary": self.preliminary,
            "settings": {contender.name: contender.settings for contender in self.contenders},
            "left_out": self.left_out,
            "alone": {name: vars(weight) for name, weight in self.weights.items()},
            "turns": [_turn(turn) for turn in self.turns],
            "one_core": [_turn(turn) for turn in self.one_core],
            "ratios": [*_ratios(self.turns, "all cores"), *_ratios(self.one_core, "one core")],
        }

    def to_markdown(self) -> str:
        parts = [f"# {self.title}", ""]
        if self.preliminary:
            parts += [f"**Preliminary: {self.preliminary}.**", ""]
        parts += [
            "SmolLM2-135M-Instruct, greedy, answers of exactly 64 tokens, prompts of an exact length that nobody has",
            "seen before. Contenders take turns within a round, on the same prompts and cores: medians of rounds, and",
            "medians of the ratios within rounds. *4 x 64* is four clients with prompts of 64 tokens.",
            "",
            " · ".join(f"{key} {value}" for key, value in self.provenance.items()),
            "",
        ]
        parts += [*_settings(self.contenders, self.left_out), *_alone(self.weights)]
        for where, turns in (("all cores", self.turns), ("one core", self.one_core)):
            if turns:
                parts += [f"## On {where}", ""]
                for figure, heading in FIGURES.items():
                    parts += [f"### {heading}", "", *_figure(turns, figure), ""]
                parts += ["### Ratios, above 1 is better for us", "", *_ratio_table(_ratios(turns, where)), ""]
        return "\n".join(parts)


def _turn(turn: Turn) -> dict[str, Any]:
    return {
        "round": turn.round,
        "cell": turn.cell.name,
        "contender": turn.contender.name,
        **turn.measured.to_json(),
    }


def _settings(contenders: Sequence[Contender], left_out: Mapping[str, str]) -> Iterable[str]:
    yield from ("| contender | settings |", "|---|---|")
    yield from (f"| {contender.name} | {contender.settings} |" for contender in contenders)
    yield from (f"| {name} | left out: {reason} |" for name, reason in left_out.items())
    yield ""


def _alone(weights: Mapping[str, Weight]) -> Iterable[str]:
    if not weights:
        return
    yield from ("## Each server alone", "")
    yield from (
        "| server | ready after, s | memory when ready, MB | at most, MB | cores when idle |",
        "|---|---|---|---|---|",
    )
    for name, weight in weights.items():
        yield (
            f"| {name} | {weight.ready_seconds:.1f} | {weight.idle_mb:.0f} | {weight.peak_mb:.0f} "
            f"| {weight.idle_cores:.2f} |"
        )
    yield ""


def _figure(turns: Sequence[Turn], figure: str) -> Iterable[str]:
    names = list(dict.fromkeys(turn.contender.name for turn in turns))
    yield "| clients x prompt | rounds | " + " | ".join(names) + " |"
    yield "|---|---|" + "---|" * len(names)
    for cell in _cells(turns):
        if figure == "prefill_per_second" and cell.clients > 1:
            continue  # there the first token waits for others
        values = [median_of(turns, cell, name, figure) for name in names]
        shown = " | ".join("" if value is None else _short(value) for value in values)
        yield f"| {cell.name} | {rounds_of(turns, cell)} | {shown} |"


def _ratios(turns: Sequence[Turn], where: str) -> list[dict[str, Any]]:
    """Ours over each peer with the same weights, and our default over each peer's other weights."""
    contenders = list({turn.contender.name: turn.contender for turn in turns}.values())
    ours = [contender for contender in contenders if contender.engine == "ours"]
    rows = []
    for peer in (contender for contender in contenders if contender.engine != "ours"):
        for us in ours:
            if us.weights not in (peer.weights, "Q4_1"):
                continue
            for cell in _cells(turns):
                speed = ratio_of(turns, cell, us.name, peer.name, "tokens_per_second")
                decode = ratio_of(turns, cell, us.name, peer.name, "decode_per_second")
                first = ratio_of(turns, cell, peer.name, us.name, "ttft")
                if speed and decode and first:
                    row = {"on": where, "ours": us.name, "peer": peer.name, "cell": cell.name}
                    rows.append({**row, "tok/s": round(speed, 2), "decode": round(decode, 2), "TTFT": round(first, 2)})
    return rows


def _ratio_table(rows: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    pairs = list(dict.fromkeys((row["ours"], row["peer"]) for row in rows))
    cells = list(dict.fromkeys(row["cell"] for row in rows))
    found = {(row["ours"], row["peer"], row["cell"]): row for row in rows}
    yield "tok/s · decoding · TTFT"
    yield ""
    yield "| ours / peer | " + " | ".join(cells) + " |"
    yield "|---|" + "---|" * len(cells)
    for ours, peer in pairs:
        shown = []
        for cell in cells:
            row = found.get((ours, peer, cell))
            shown.append("" if row is None else f"{row['tok/s']} · {row['decode']} · {row['TTFT']}")
        yield f"| {ours} / {peer} | " + " | ".join(shown) + " |"


def _cells(turns: Sequence[Turn]) -> list[Cell]:
    return list(dict.fromkeys(turn.cell for turn in turns))


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"
